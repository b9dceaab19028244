"""The region nodes, each called as the executor calls it: unconnected inputs are absent."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pakati.nodes import regions as nodes
from pakati.pakati_core.errors import PakatiError, RegionError, ShapeError
from pakati.pakati_core.regions import Overlap
from pakati.pakati_core.tiny.check import Wanted
from pakati.pakati_core.tiny.words import encode
from pakati.pakati_core.tiny.world import CLASHES, is_held_out

ROOT = Path(__file__).absolute().parents[2]
LEFT_HALF = {"shape": "box", "units": {"units": "fraction", "x": 0.0, "y": 0.0, "width": 0.5, "height": 1.0}}
WHOLE = {"shape": "whole canvas"}


def box(x=0, y=0, width=2, height=4) -> dict:
    return {"shape": "box", "units": {"units": "pixels", "x": x, "y": y, "width": width, "height": height}}


def polygon(points: str, units="pixels") -> dict:
    return {"shape": "polygon", "units": {"units": units, "points": points}}


def draw(shape=LEFT_HALF, width=32, height=16, **edge):
    """region, mask"""
    return nodes.PakatiRegionMask.execute(width, height, shape, **edge).result


def chain(*prompts, **last):
    """The regions after so many Regional Prompts; `last` goes to the last one."""
    regions = None
    for i, prompt in enumerate(prompts):
        linked = {} if regions is None else {"regions": regions}
        own = last if i == len(prompts) - 1 else {}
        (regions,) = nodes.PakatiRegionalPrompt.execute(draw()[0], prompt, **{**linked, **own}).result
    return regions


class TestRegionMask:
    @pytest.mark.parametrize(
        "shape, area",
        [
            (box(), 8),
            (box(x=-1, width=2), 4),
            (LEFT_HALF, 16 * 16),
            ({**LEFT_HALF, "shape": "ellipse"}, 16 * 16 * torch.pi / 4),
            (polygon("(0, 0), (4, 0), (0, 4)"), 8),
            (polygon("(0, 0), (1, 0), (1, 1), (0, 1)", "fraction"), 32 * 16),
            (WHOLE, 32 * 16),
        ],
        ids=["box", "beyond the canvas", "fraction", "ellipse", "polygon", "polygon in fractions", "whole"],
    )
    def test_the_mask_covers_the_shape(self, shape, area):
        region, mask = draw(shape)
        assert mask.shape == (1, 16, 32) and mask.dtype == torch.float32
        assert mask.sum().item() == pytest.approx(area, rel=1e-4)
        assert region.extent == (32, 16)

    def test_the_edge_is_grown_then_inverted_then_feathered(self):
        mask = draw(box(width=8, height=16), grow=2.0, feather=3.0, invert=True)[1]
        assert mask[0, 8, 0] == 0 and mask[0, 8, 31] == 1
        assert mask[0, 8, 9] + mask[0, 8, 10] == pytest.approx(1)

    @pytest.mark.parametrize(
        "shape, edge, message",
        [
            (box(x=100), {}, "nothing inside the 32x16 canvas"),
            (box(), {"grow": -8.0}, "empty once grown"),
            (polygon("(0, 0), (9, 9)"), {}, "at least three"),
            (polygon("(0, 0), (9, 9), (9, 0), (0, 9)"), {}, "crosses itself"),
        ],
        ids=["outside", "shrunk away", "two corners", "crossing"],
    )
    def test_what_cannot_be_drawn_is_refused(self, shape, edge, message):
        with pytest.raises(RegionError, match=message):
            draw(shape, **edge)


class TestPoints:
    @pytest.mark.parametrize(
        "text",
        ["(1,2), (3.5, -4), (.5, 1e1)", "[[1, 2], [3.5, -4], [0.5, 10]]", "(1, 2)\n(3.5, -4)\n(0.5, 10),\n"],
        ids=["pairs", "JSON", "one a line"],
    )
    def test_points_are_read(self, text):
        assert nodes.read_points(text) == [(1, 2), (3.5, -4), (0.5, 10)]

    @pytest.mark.parametrize(
        "text", ["", "1, 2, 3, 4", "(1, 2), (3, 4), (5)", "(1, 2), (3, x), (5, 6)", "(1, 2, 3), (4, 5, 6)", "(nan, 0)"]
    )
    def test_other_text_is_refused_with_the_right_form(self, text):
        with pytest.raises(ShapeError, match=r"write them as \(x1, y1\), \(x2, y2\)"):
            nodes.read_points(text)


class TestRegionFromMask:
    @pytest.mark.parametrize("shape", [(1, 8, 12), (8, 12)], ids=["MASK", "without a batch"])
    def test_the_mask_is_the_canvas(self, shape):
        painted = torch.zeros(shape)
        painted[..., :6] = 1
        region, mask = nodes.PakatiRegionFromMask.execute(painted).result
        assert region.extent == (12, 8)
        assert torch.equal(mask, painted.reshape(1, 8, 12))

    def test_overshoot_is_cut(self):
        _, mask = nodes.PakatiRegionFromMask.execute(torch.full((1, 4, 4), 1.02)).result
        assert mask.max() == 1

    @pytest.mark.parametrize(
        "mask, message",
        [
            (torch.ones(3, 8, 8), "batch of 3"),
            (torch.ones(0, 8, 8), "batch of 0"),
            (torch.zeros(1, 8, 8), "black all over"),
            (torch.full((1, 8, 8), torch.nan), "NaN"),
        ],
        ids=["batch", "empty batch", "black", "NaN"],
    )
    def test_what_is_no_region_is_refused(self, mask, message):
        with pytest.raises(PakatiError, match=message):
            nodes.PakatiRegionFromMask.execute(mask)


class TestRegionFromColour:
    picture = torch.zeros(1, 4, 8, 3)
    picture[..., :4, 0] = 1.0
    picture[..., 4:, 1] = 0.98

    @pytest.mark.parametrize(
        "colour, columns", [("#ff0000", slice(0, 4)), ("#00ff00", slice(4, 8))], ids=["exact", "near"]
    )
    def test_the_region_is_where_the_colour_is(self, colour, columns):
        region, mask = nodes.PakatiRegionFromColour.execute(self.picture, colour).result
        wanted = torch.zeros(1, 4, 8)
        wanted[..., columns] = 1
        assert region.extent == (8, 4)
        assert torch.equal(mask, wanted)

    @pytest.mark.parametrize("colour, options", [("#0000ff", {}), ("#00ff00", {"tolerance": 0}), ("mud?", {})])
    def test_a_colour_that_is_not_there_is_refused(self, colour, options):
        with pytest.raises(RegionError, match=colour.replace("?", r"\?")):
            nodes.PakatiRegionFromColour.execute(self.picture, colour, **options)


class TestRegionalPrompt:
    def test_a_chain_keeps_its_order_and_names(self):
        regions = chain("sand", "snow", "night")
        assert [(region.id, region.prompt) for region in regions.regions] == [
            ("region 1", "sand"),
            ("region 2", "snow"),
            ("region 3", "night"),
        ]
        assert regions.extent == (32, 16)
        assert (regions.prompt, regions.negative) == ("", "")

    def test_its_controls_reach_the_region(self):
        controls = {"negative": "rain", "weight": 0.5, "start": 0.25, "end": 0.75, "name": " hill "}
        region = chain("sand", "snow", **controls).regions[-1]
        assert {name: getattr(region, name) for name in controls} == {**controls, "name": "hill"}

    def test_the_edge_reaches_the_region(self):
        region, mask = draw(feather=3.0, grow=1.0)
        (regions,) = nodes.PakatiRegionalPrompt.execute(region, "sand").result
        assert torch.equal(regions.masks(), mask)

    def test_one_region_serves_two_chains(self):
        region, _ = draw()
        results = [nodes.PakatiRegionalPrompt.execute(region, prompt).result[0] for prompt in ("sand", "snow")]
        assert [each.regions[0].prompt for each in results] == ["sand", "snow"]
        assert region.region.prompt == ""

    def test_canvases_of_two_sizes_are_refused_by_name(self):
        other, _ = draw(width=64)
        with pytest.raises(RegionError, match="'region 2' was drawn on a 64x16 canvas .* on 32x16"):
            nodes.PakatiRegionalPrompt.execute(other, "snow", chain("sand"))

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"name": "region 1"}, "'region 1' is there twice"),
            ({"start": 0.6, "end": 0.4}, "start 0.6 is not before end 0.4"),
            ({"weight": -1.0}, "weight is -1.0"),
        ],
        ids=["a name twice", "a time range the wrong way round", "a negative weight"],
    )
    def test_what_makes_no_sense_is_refused(self, options, message):
        with pytest.raises(RegionError, match=message):
            chain("sand", "snow", **options)

    def test_a_missing_prompt_is_said_in_the_log(self):
        region, _ = draw()
        with pytest.warns(match="region 'region 1' has no prompt"):
            nodes.PakatiRegionalPrompt.execute(region, " ")


class TestApplyRegions:
    @pytest.mark.parametrize("drawn", Overlap)
    @pytest.mark.parametrize("chosen", [None, "as drawn", *Overlap])
    def test_it_hands_everything_on(self, monkeypatch, drawn, chosen):
        import pakati.nodes.regional_attention as adapter

        monkeypatch.setattr(adapter, "apply_regions", lambda *given: given[:1] + given[2:5])
        options, layout = {"overlap": chosen} if chosen else {}, replace(chain("sand"), overlap=drawn)
        *handed_on, regions = nodes.PakatiApplyRegions.execute("m", "c", ["p"], ["n"], layout, **options).result
        assert handed_on == ["m", ["p"], ["n"]]
        assert regions.overlap == (chosen if chosen in tuple(Overlap) else drawn)
        assert regions.regions[0].prompt == "sand"


class TestRegionOverlay:
    @pytest.fixture(autouse=True)
    def no_files(self, monkeypatch):
        monkeypatch.setattr(nodes.ui, "PreviewImage", lambda image, cls: image)

    def test_paper_where_no_picture_is_connected(self):
        output = nodes.PakatiRegionOverlay.execute(chain("sand"))
        image = output.result[0]
        assert image.ndim == 4 and image.shape[0] == 1 and image.shape[-1] == 3
        assert torch.equal(output.ui, image)
        assert 0 <= image.min() < image.max() <= 1

    @pytest.mark.parametrize("channels", [3, 4], ids=["RGB", "with transparency"])
    def test_every_picture_of_a_batch_is_drawn_on(self, channels):
        batch = torch.stack([torch.zeros(16, 32, channels), torch.ones(16, 32, channels)])
        (image,) = nodes.PakatiRegionOverlay.execute(chain("sand"), batch).result
        assert image.shape[0] == 2
        assert image[0].mean() < image[1].mean()


def test_the_quickstart_asks_only_for_what_the_embedded_model_knows():
    prompt = json.loads((ROOT / "workflows" / "api" / "regional_quickstart.json").read_text(encoding="utf-8"))
    asked = [node["inputs"] for node in prompt.values() if node["class_type"] == "PakatiRegionalPrompt"]
    assert len(asked) == 4
    for each in asked:
        assert encode(each["prompt"] + each["negative"]).unknown == []
        wanted = Wanted.of(each["prompt"])
        assert wanted.material is not None
        if wanted.kind and wanted.colour:
            assert not is_held_out(wanted.kind, wanted.colour) and wanted.colour not in CLASHES[wanted.material]
