import json
import os
import time
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pakati_core import regions as regions_module
from pakati_core.errors import LayoutFileError, OutputError, PakatiWarning, RegionError
from pakati_core.geometry import Extent
from pakati_core.masks import feather, grow, invert
from pakati_core.regions import Overlap, Region, RegionSet, regions_from_colour_map
from pakati_core.shapes import BoxShape, EllipseShape, MaskShape, PolygonShape, WholeShape

ROW = Extent(4, 1)
LEFT, MIDDLE, RIGHT = BoxShape(0, 0, 2, 1), BoxShape(1, 0, 2, 1), BoxShape(2, 0, 2, 1)


def row(*shapes, overlap="over", **common):
    return RegionSet(
        ROW, tuple(Region(f"r{i}", shape, "x", **common) for i, shape in enumerate(shapes)), overlap=overlap
    )


def grey(*levels):
    return MaskShape.from_array(np.array([levels], dtype=np.float32))


# --- layouts of every kind, for the properties ---------------------------------------------------------------------

numbers = st.floats(-0.5, 1.5, width=32)
sizes = st.floats(0.015625, 1.5, width=32)


@st.composite
def shapes(draw, extent):
    kind = draw(st.sampled_from(["box", "ellipse", "polygon", "mask", "whole", "pixel"]))
    if kind == "whole":
        return WholeShape()
    if kind == "pixel":
        return BoxShape(draw(st.integers(0, extent.width - 1)), draw(st.integers(0, extent.height - 1)), 1, 1)
    if kind == "polygon":
        return PolygonShape([(draw(numbers), draw(numbers)) for _ in range(3)], "fraction")
    if kind == "mask":
        noise = np.random.default_rng(draw(st.integers(0, 99))).random((extent.height, extent.width))
        return MaskShape.from_array(np.where(noise < draw(st.floats(0, 1)), noise, noise > 0.5))
    return {"box": BoxShape, "ellipse": EllipseShape}[kind](
        draw(numbers), draw(numbers), draw(sizes), draw(sizes), "fraction"
    )


@st.composite
def region_fields(draw):
    return {
        "feather": draw(st.sampled_from([0.0, 0.3, 2.0, 40.0])),
        "grow": draw(st.sampled_from([0.0, 0.5, 3.0, -0.5])),
        "invert": draw(st.booleans()),
        "negative": draw(st.sampled_from(["", "blurry"])),
        "weight": draw(st.floats(0, 3)),
        "guidance": draw(st.none() | st.floats(0, 20)),
        "seed": draw(st.none() | st.integers(0, 2**64 - 1)),
        "loras": draw(st.sampled_from([(), (("ink", 0.5, 0.25), ("oil", 1, 1))])),
        "controls": draw(st.sampled_from([(), (("pose", "p.png", 1.0, 0.0, 0.5),)])),
        "model": draw(st.sampled_from([None, "tiny"])),
        "locked": draw(st.booleans()),
        "start": draw(st.sampled_from([0.0, 0.25])),
        "end": draw(st.sampled_from([0.5, 1])),
    }


@st.composite
def layouts(draw):
    """Any layout that is not refused: of any extent, with regions that overlap, cover nothing, or touch one pixel."""
    extent = Extent(draw(st.integers(1, 29)), draw(st.integers(1, 29)))
    regions = []
    for i in range(draw(st.integers(0, 5))):
        try:
            region = Region(f"r{i}", draw(shapes(extent)), draw(st.text(min_size=1)) + "x", **draw(region_fields()))
            RegionSet(extent, (region,)).masks()
        except RegionError:
            continue  # off the canvas, of no area, or grown away: refused by name, see the tables below
        regions.append(region)
    return RegionSet(extent, tuple(regions), draw(st.text()), overlap=draw(st.sampled_from(Overlap)))


# --- coverage --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "overlap, shapes, expected, base",
    [
        ("over", [LEFT, MIDDLE], [[1, 0, 0, 0], [0, 1, 1, 0]], [0, 0, 0, 1]),
        ("over", [MIDDLE, LEFT], [[0, 0, 1, 0], [1, 1, 0, 0]], [0, 0, 0, 1]),
        ("blend", [LEFT, MIDDLE], [[1, 0.5, 0, 0], [0, 0.5, 1, 0]], [0, 0, 0, 1]),
        ("over", [LEFT, RIGHT], [[1, 1, 0, 0], [0, 0, 1, 1]], [0, 0, 0, 0]),
        ("over", [WholeShape(), grey(0, 0.2, 0.6, 1)], [[1, 0.8, 0.4, 0], [0, 0.2, 0.6, 1]], [0, 0, 0, 0]),
        ("over", [grey(0.2, 1, 0, 0), grey(0.6, 0.2, 0, 0)], [[0.08, 0.8, 0, 0], [0.6, 0.2, 0, 0]], [0.32, 0, 1, 1]),
        ("blend", [grey(0.2, 1, 0, 0), grey(0.6, 0.6, 0, 0)], [[0.2, 0.625, 0, 0], [0.6, 0.375, 0, 0]], [0.2, 0, 1, 1]),
        ("over", [WholeShape(), WholeShape()], [[0, 0, 0, 0], [1, 1, 1, 1]], [0, 0, 0, 0]),
        ("over", [], [], [1, 1, 1, 1]),
        ("blend", [], [], [1, 1, 1, 1]),
    ],
    ids=[
        "later over earlier", "other order", "blend", "side by side", "soft over whole", "soft over soft",
        "blend of soft", "hidden", "none, over", "none, blend",
    ],
)  # fmt: skip
def test_coverage(overlap, shapes, expected, base):
    layout = row(*shapes, overlap=overlap)
    assert layout.coverage().shape == (len(shapes), 1, 4)
    assert torch.allclose(layout.coverage(), torch.tensor(expected).reshape(-1, 1, 4).float(), atol=2e-3)
    assert torch.allclose(layout.base_coverage(), torch.tensor([base]).float(), atol=2e-3)


@pytest.mark.parametrize("width, height", [(8, 8), (64, 64), (1, 1), (3, 7)], ids=str)
def test_no_regions_leave_all_to_the_base(width, height):
    layout = RegionSet(Extent(8, 8), prompt="grass")
    assert layout.masks().shape == (0, 8, 8)
    assert torch.equal(layout.weights_on_grid(height, width), torch.ones(1, height, width))


@settings(max_examples=60, deadline=None)
@given(layouts())
def test_shares_of_every_pixel_sum_to_one(layout):
    shares, base = layout.coverage(), layout.base_coverage()
    assert shares.shape == (len(layout.regions), layout.extent.height, layout.extent.width)
    assert (shares >= 0).all() and (base >= 0).all() and (shares <= 1).all()
    assert torch.allclose(shares.sum(0) + base, torch.ones_like(base), atol=1e-5)
    assert torch.equal(base == 1, (layout.masks() == 0).all(0)) or (layout.masks().sum(0) < 1e-6).any()


@settings(max_examples=60, deadline=None)
@given(layouts(), st.integers(1, 33), st.integers(1, 33))
def test_shares_of_every_token_sum_to_one(layout, height, width):
    grid, shares = layout.weights_on_grid(height, width), layout.coverage()
    assert grid.shape == (len(layout.regions) + 1, height, width)
    assert torch.allclose(grid.sum(0), torch.ones(height, width), atol=1e-5)
    assert (grid >= 0).all()
    for region, share in zip(grid[1:], shares):
        assert bool(region.any()) == bool(share.any())


@settings(max_examples=30, deadline=None)
@given(layouts())
def test_a_set_draws_its_regions_alone(layout):
    for mask, region in zip(layout.masks(), layout.regions):
        assert torch.equal(mask, RegionSet(layout.extent, (region,)).masks()[0])


@settings(max_examples=60, deadline=None)
@given(layouts())
def test_a_window_holds_all_of_its_region(layout):
    for mask, region in zip(layout.masks(), layout.regions):
        whole = grow(region.shape.mask(layout.extent), region.grow)
        whole = feather(invert(whole) if region.invert else whole, region.feather)
        assert torch.allclose(mask, whole, atol=1e-5)


def test_hard_regions_stay_hard_on_the_grid():
    thirds = [BoxShape(i / 3, 0, 1 / 3, 1, "fraction") for i in range(3)]
    layout = RegionSet(Extent(96, 50), tuple(Region(str(i), shape, "x") for i, shape in enumerate(thirds)))
    for size in [(50, 96), (25, 48), (7, 6), (4, 3), (13, 12)]:
        grid = layout.weights_on_grid(*size)
        assert set(grid.unique().tolist()) == {0.0, 1.0}
        assert grid[0].sum() == 0


def test_one_pixel_among_others_keeps_its_token():
    layout = RegionSet(
        Extent(64, 64),
        (Region("half", BoxShape(0, 0, 32, 64), "x"), Region("dot", BoxShape(20, 40, 1, 1), "x")),
    )
    grid = layout.weights_on_grid(4, 4)
    assert grid[2].nonzero().tolist() == [[2, 1]]
    assert grid[2, 2, 1] == pytest.approx(1 / 3, abs=0.01)
    assert grid[:, 2, 1].sum() == pytest.approx(1)
    untouched = torch.ones(4, 4, dtype=torch.bool)
    untouched[2, 1] = False
    assert set(grid[:, untouched].unique().tolist()) == {0.0, 1.0}


def test_many_dots_in_one_token_all_stay():
    dots = tuple(Region(str(i), BoxShape(i, 3, 1, 1), "x") for i in range(12))
    grid = RegionSet(Extent(32, 32), dots).weights_on_grid(2, 2)
    assert (grid[1:, 0, 0] > 0.05).all()
    assert grid[:, 0, 0].sum() == pytest.approx(1)


def test_the_grid_is_where_the_picture_is():
    layout = RegionSet(Extent(104, 72), (Region("corner", BoxShape(96, 64, 8, 8), "x"),))
    # 13x9 latents, 7x5 patches of 2x2: the last patch starts at pixel 96, 64 and is cut short.
    assert layout.weights_on_grid(5, 7)[1].nonzero().tolist() == [[4, 6]]
    assert layout.weights_on_grid(5, 7)[1, 4, 6] == 1


@pytest.mark.parametrize("changes", [{"weight": 0.0}, {"weight": 3.5}, {"seed": 9}, {"locked": True}], ids=str)
def test_only_the_shape_decides_the_coverage(changes):
    assert torch.equal(row(LEFT, **changes).coverage(), row(LEFT).coverage())


def test_grow_then_invert_then_feather():
    extent = Extent(40, 40)
    inner = BoxShape(10, 10, 20, 20)
    grown = RegionSet(extent, (Region("a", inner, "x", grow=5, invert=True),)).masks()[0]
    assert grown[20].tolist() == [1] * 5 + [0] * 30 + [1] * 5
    soft = RegionSet(extent, (Region("a", inner, "x", grow=5, invert=True, feather=3),)).masks()[0]
    assert soft[20, 0] == 1 and soft[20, 20] == 0
    assert 0.5 < soft[20, 4] < 1 and 0 < soft[20, 5] < 0.5


def test_a_region_that_shrinks_away_is_named():
    with pytest.raises(RegionError, match="'a' is empty once grown by -9 px"):
        RegionSet(Extent(40, 40), (Region("a", BoxShape(10, 10, 8, 8), "x", grow=-9),)).masks()
    with pytest.raises(RegionError, match="'a' is empty once grown by 0 px and inverted"):
        RegionSet(Extent(40, 40), (Region("a", WholeShape(), "x", invert=True),)).masks()


@pytest.mark.parametrize("progress, ids", [(0, "ab"), (0.3, "abc"), (0.5, "ac"), (0.99, "ac"), (1, "a")])
def test_active(progress, ids):
    layout = RegionSet(
        ROW,
        (
            Region("a", LEFT, "x"),
            Region("b", LEFT, "x", end=0.5),
            Region("c", LEFT, "x", start=0.3, end=0.999),
        ),
        "grass",
    )
    active = layout.active(progress)
    assert "".join(region.id for region in active.regions) == ids
    assert (active.extent, active.prompt) == (layout.extent, layout.prompt)


def test_another_canvas_size():
    layout = RegionSet(
        Extent(40, 20),
        (
            Region("box", BoxShape(10, 5, 20, 10), "x", feather=2, grow=-1),
            Region("half", BoxShape(0, 0, 0.5, 1, "fraction"), "x"),
            Region("mask", MaskShape.from_array(np.eye(20, 40) > 0), "x"),
        ),
    )
    large = layout.at_extent(Extent(80, 40))
    assert large.extent == Extent(80, 40)
    assert (large.regions[0].feather, large.regions[0].grow) == (4, -2)
    assert large.regions[0].shape == BoxShape(20, 10, 40, 20)
    assert large.regions[1] == layout.regions[1]
    assert large.masks()[2][:4, :4].tolist() == [[1, 1, 0, 0]] * 2 + [[0, 0, 1, 1]] * 2
    assert torch.equal(large.at_extent(Extent(40, 20)).masks(), layout.masks())
    assert layout.at_extent(Extent(40, 20)) is layout


def test_64_regions_are_fast():
    def drawn():
        shapes = [EllipseShape(i % 8 * 120, i // 8 * 120, 180, 180) for i in range(64)]
        layout = RegionSet(Extent(1024, 1024), tuple(Region(str(i), s, "x", feather=8) for i, s in enumerate(shapes)))
        return layout.weights_on_grid(64, 64)

    # One thread's processor time: on a busy machine the clock, and threads that wait for each other, tell nothing.
    # Measured 0.2 s; drawing each region on the whole canvas took 3 s.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    drawn()  # the first time, torch and scipy load what they need
    start = time.process_time()
    grid = drawn()
    torch.set_num_threads(threads)
    assert time.process_time() - start < 1.5
    assert grid.shape == (65, 64, 64) and torch.allclose(grid.sum(0), torch.ones(64, 64), atol=1e-5)


# --- values ---------------------------------------------------------------------------------------------------


def test_a_region_says_what_was_left_out():
    written = {
        "id": "sun",
        "whole": True,
        "prompt": "a sun",
        "loras": ["ink", ["oil", 0.5]],
        "controls": [["pose", "p.png"]],
    }
    region = Region.from_dict(written)
    assert region.name == "sun"
    assert region.loras == (("ink", 1.0, 1.0), ("oil", 0.5, 0.5))
    assert region.controls == (("pose", "p.png", 1.0, 0.0, 1.0),)
    assert region == Region("sun", WholeShape(), "a sun", "sun", loras=region.loras, controls=region.controls)
    hash(region)


@pytest.mark.parametrize("prompt", ["", "  \n"])
def test_an_empty_prompt_warns_and_works(prompt):
    with pytest.warns(PakatiWarning, match="'sun' has no prompt"):
        layout = RegionSet(ROW, (Region("sun", LEFT, prompt),))
    assert layout.coverage().sum() == 2


def test_a_prompt_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Region("sun", LEFT, "a sun").prompt == "a sun"


# --- JSON --------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(layouts())
def test_the_json_form_round_trips(layout):
    again = RegionSet.from_dict(json.loads(json.dumps(layout.to_dict())))
    assert again == layout
    assert again.to_dict() == layout.to_dict()
    assert torch.equal(again.coverage(), layout.coverage())


def test_defaults_are_left_out():
    layout = RegionSet(Extent(256, 256), (Region("sun", BoxShape(0, 0, 128, 128), "a yellow sun"),))
    assert layout.to_dict() == {
        "pakati": "regions",
        "version": 1,
        "width": 256,
        "height": 256,
        "regions": [{"id": "sun", "box": [0, 0, 128, 128], "prompt": "a yellow sun"}],
    }


def test_the_example_in_the_docstring(tmp_path):
    example = (regions_module.__doc__ or "").split("left out:")[1]
    Image.new("L", (256, 256), 255).save(tmp_path / "tree.png")
    (tmp_path / "layout.json").write_text(example)
    layout = RegionSet.load(tmp_path / "layout.json")
    assert [region.id for region in layout.regions] == ["sun", "hill", "pond", "tree", "haze"]
    layout.save(tmp_path / "again.json")
    assert RegionSet.load(tmp_path / "again.json") == layout
    assert json.loads((tmp_path / "again.json").read_text()) == json.loads(example)


def test_saving_is_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "layout.json"
    row(LEFT, RIGHT).save(path)
    assert [line.count('"id"') for line in path.read_text().splitlines()] == [0, 1, 1, 0]
    before = path.read_bytes()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OutputError, match="No space left"):
        row(MIDDLE).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["layout.json"]


def test_saving_needs_a_folder(tmp_path):
    with pytest.raises(OutputError, match=r"cannot be written.*choose another folder"):
        row(LEFT).save(tmp_path / "nowhere" / "layout.json")


def test_a_saved_layout_carries_masks_that_lie_elsewhere(tmp_path):
    (tmp_path / "there").mkdir()
    Image.new("L", (4, 1), 255).save(tmp_path / "m.png")
    layout = RegionSet.from_dict(header(regions=[{"id": "m", "mask": "m.png", "prompt": "x"}]), tmp_path)
    layout.save(tmp_path / "there" / "layout.json")
    (tmp_path / "m.png").unlink()
    assert RegionSet.load(tmp_path / "there" / "layout.json") == layout


def test_masks_outside_the_folder_are_asked_for(tmp_path):
    (tmp_path / "there").mkdir()
    Image.new("L", (4, 1), 255).save(tmp_path / "m.png")
    path = tmp_path / "there" / "layout.json"
    path.write_text(json.dumps(header(regions=[{"id": "m", "mask": "../m.png", "prompt": "x"}])))
    with pytest.raises(RegionError, match="'m'.*outside the folder"):
        RegionSet.load(path)
    assert RegionSet.load(path, confine=False).coverage().sum() == 4


def header(**changes):
    data = {"pakati": "regions", "version": 1, "width": 4, "height": 1, "regions": [], **changes}
    return {key: value for key, value in data.items() if value is not ...}


BAD_LAYOUTS = {
    "a list": ([], "not a region layout"),
    "other JSON": ({"nodes": []}, "not a region layout"),
    "newer": (header(version=2), "version 2 but this Pakati reads 1; update Pakati"),
    "no version": (header(version=...), "version None"),
    "version as text": (header(version="1"), "version '1'"),
    "unknown key": (header(regoins=[]), "unknown key 'regoins'; did you mean 'regions'"),
    "very unknown key": (header(zzz=1), "unknown key 'zzz'; remove it"),
    "no width": (header(width=...), "no width; add it"),
    "no regions": (header(regions=...), "no regions; add it"),
    "regions as object": (header(regions={}), "regions is {}; give a list"),
    "width of zero": (header(width=0), "width is 0"),
    "height as float": (header(height=1.5), "height is 1.5"),
    "width as truth": (header(width=True), "width is True"),
    "enormous": (header(width=10**6), "between 1 and 16384"),
    "prompt as number": (header(prompt=5), "base prompt is 5"),
    "negative as list": (header(negative=[]), "base negative is \\[\\]"),
    "overlap": (header(overlap="under"), "overlap is 'under'; give over or blend"),
}


@pytest.mark.parametrize("data, message", BAD_LAYOUTS.values(), ids=BAD_LAYOUTS)
def test_layouts_that_are_refused(data, message):
    with pytest.raises(LayoutFileError, match=message):
        RegionSet.from_dict(data)


BAD_REGIONS = {
    "too few points": ({"box": ..., "polygon": [[0, 0], [4, 1]]}, "at least three"),
    "crosses itself": ({"box": ..., "polygon": [[0, 0], [4, 1], [4, 0], [0, 1]]}, "crosses itself"),
    "off the canvas": ({"box": [9, 9, 1, 1]}, "nothing inside the 4x1 canvas"),
    "no area": ({"box": [0, 0, 0, 1]}, "above 0"),
    "nan": ({"box": [0, 0, float("nan"), 1]}, "coordinate nan"),
    "no shape": ({"box": ...}, "no shape"),
    "missing mask": ({"box": ..., "mask": "m.png"}, "'m.png'"),
    "unknown key": ({"promt": "x"}, "unknown key 'promt'; did you mean 'prompt'"),
    "prompt as number": ({"prompt": 5}, "prompt is 5; give text"),
    "name as list": ({"name": []}, "name is \\(\\); give text"),
    "negative as null": ({"negative": None}, "negative is None"),
    "model as number": ({"model": 5}, "model is 5"),
    "negative weight": ({"weight": -1}, "weight is -1; give a number of 0 or more"),
    "weight as text": ({"weight": "1"}, "weight is '1'"),
    "weight nan": ({"weight": float("nan")}, "weight is nan"),
    "weight as null": ({"weight": None}, "weight is None"),
    "negative feather": ({"feather": -1}, "feather is -1; give a number of pixels between 0 and 16384"),
    "infinite grow": ({"grow": float("-inf")}, "grow is -inf"),
    "start above one": ({"start": 1.5}, "start is 1.5"),
    "end above one": ({"end": 20}, "end is 20; give a fraction of sampling between 0 and 1"),
    "start after end": ({"start": 0.6, "end": 0.4}, "start 0.6 is not before end 0.4"),
    "empty time range": ({"start": 0.5, "end": 0.5}, "not before"),
    "guidance as text": ({"guidance": "high"}, "guidance is 'high'"),
    "negative seed": ({"seed": -1}, "seed is -1"),
    "seed as float": ({"seed": 1.5}, "seed is 1.5; give a whole number"),
    "huge seed": ({"seed": 2**64}, "seed is 18446744073709551616"),
    "locked as number": ({"locked": 1}, "locked is 1; give true or false"),
    "invert as text": ({"invert": "yes"}, "invert is 'yes'"),
    "loras as text": ({"loras": "ink"}, "loras is 'ink'; give a list"),
    "lora without a name": ({"loras": [[0.5, "ink"]]}, "LoRA \\(0.5, 'ink'\\)"),
    "lora with nan": ({"loras": [["ink", float("nan")]]}, "LoRA"),
    "control without a picture": ({"controls": [["pose"]]}, "control \\('pose',\\)"),
}


@pytest.mark.parametrize("changes, message", BAD_REGIONS.values(), ids=BAD_REGIONS)
def test_regions_that_are_refused_by_name(tmp_path, changes, message):
    region = {"id": "the bad one", "box": [0, 0, 2, 1], "prompt": "x", **changes}
    region = {key: value for key, value in region.items() if value is not ...}
    good = {"id": "the good one", "box": [0, 0, 2, 1], "prompt": "x"}
    with pytest.raises(RegionError, match=f"region 'the bad one'.*{message}"):
        RegionSet.from_dict(header(regions=[good, region]), tmp_path)


@pytest.mark.parametrize(
    "regions, message",
    [
        ([{"id": "a", "whole": True, "prompt": "x"}] * 2, "'a' is there twice"),
        ([{"whole": True}], "region number 1 is .*give an object with an"),
        (["sun"], "region number 1 is 'sun'"),
        ([{"id": 7, "whole": True}], "region 7: its id is not text"),
        ([{"id": "", "whole": True}], "region '': its id"),
    ],
    ids=["twice", "no id", "no object", "id as number", "empty id"],
)
def test_ids_that_are_refused(regions, message):
    with pytest.raises(RegionError, match=message):
        RegionSet.from_dict(header(regions=regions))


@pytest.mark.parametrize(
    "content", ["{", '{"pakati": ', "\xff\xfe", "[" * 100_000], ids=["cut", "half", "bytes", "deep"]
)
def test_files_that_are_not_json(tmp_path, content):
    path = tmp_path / "layout.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(LayoutFileError, match="layout.json is not JSON"):
        RegionSet.load(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(LayoutFileError, match=r"nowhere.json cannot be opened: No such file"):
        RegionSet.load(tmp_path / "nowhere.json")


# --- colour maps ---------------------------------------------------------------------------------------------------


def test_each_colour_becomes_a_region():
    picture = Image.new("RGB", (4, 1), "white")
    for x, colour in enumerate([(255, 0, 0), (250, 8, 3), (0, 0, 255)]):
        picture.putpixel((x, 0), colour)
    red, blue = regions_from_colour_map(picture, {"#ff0000": "a rose", "blue": "a lake"})
    assert (red.id, red.prompt, blue.id, blue.prompt) == ("#ff0000", "a rose", "blue", "a lake")
    masks = RegionSet(ROW, (red, blue)).masks()
    assert masks[:, 0].tolist() == [[1, 1, 0, 0], [0, 0, 1, 0]]


def test_a_pixel_between_two_colours_goes_to_the_nearer():
    picture = Image.new("RGB", (1, 1), (6, 0, 0))
    regions = regions_from_colour_map(picture, {"#080000": "near"}, tolerance=20)
    assert RegionSet(Extent(1, 1), regions).masks().tolist() == [[[1.0]]]
    with pytest.raises(RegionError, match="'#000000': no pixel has this colour"):
        regions_from_colour_map(picture, {"#000000": "far", "#080000": "near"}, tolerance=20)


@pytest.mark.parametrize("colour", ["#ff00", "reddish", ""])
def test_colours_that_are_none(colour):
    with pytest.raises(RegionError, match="not a colour"):
        regions_from_colour_map(Image.new("RGB", (1, 1)), {colour + "!": "x"})


def test_no_colours():
    assert regions_from_colour_map(Image.new("RGB", (1, 1)), {}) == ()
