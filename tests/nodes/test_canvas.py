"""The canvas nodes, each called as the executor calls it, and the graphs that two of them become."""

import folder_paths
import pytest
import torch

from pakati.nodes import canvas as nodes
from pakati.pakati_core.errors import CanvasError, PakatiError, ProjectError, ShapeError
from pakati.pakati_core.geometry import Extent
from pakati.pakati_core.regions import Region, RegionSet
from pakati.pakati_core.shapes import BoxShape


def picture(seed=0, width=96, height=64, count=1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, height, width, 3), generator=generator) / 255


def hole(width=96, height=64) -> torch.Tensor:
    mask = torch.zeros(1, height, width)
    mask[:, 16:40, 30:60] = 1
    return mask


def crop(image=None, mask=None, **more):
    small = {"context": 4.0, "best": 64, "smallest": 32} | more
    return nodes.PakatiRegionCrop.execute(
        picture() if image is None else image, hole() if mask is None else mask, **small
    ).result


class TestCropAndPaste:
    def test_the_crop_holds_the_mask_at_a_size_that_the_model_likes(self):
        image, mask, cut = crop()
        assert image.shape == (1, 32, 40, 3) and mask.shape == (1, 32, 40)
        assert mask.sum() == hole().sum()
        x, y, _, _ = cut.plan.whole_box
        assert torch.equal(image[0], picture()[0, y : y + 32, x : x + 40])

    def test_detail_paints_more_pixels(self):
        image, _, _ = crop(mode="detail")
        assert max(image.shape[1:3]) == 64

    def test_what_comes_back_as_it_was_changes_nothing(self):
        image, _, cut = crop()
        pasted = nodes.PakatiRegionPaste.execute(cut, image).result[0]
        assert torch.allclose(pasted, picture(), rtol=0, atol=1e-6)

    @pytest.mark.parametrize("blend", nodes.BLENDS)
    @pytest.mark.parametrize("mode", nodes.MODES)
    def test_every_pixel_that_the_mask_left_black_is_the_very_same(self, mode, blend):
        before = torch.rand(2, 64, 96, 3, generator=torch.Generator().manual_seed(5))  # no multiples of 1/255
        image, _, cut = crop(before, mode=mode)
        after, taken, seam = nodes.PakatiRegionPaste.execute(cut, torch.rand_like(image), blend=blend).result
        outside = hole()[0] == 0
        assert torch.equal(after[:, outside], before[:, outside])
        assert (after != before).any(-1)[:, ~outside].float().mean() > 0.3
        assert taken.shape == (2, 64, 96) and taken[:, outside].max() == 0 and taken.max() == 1
        assert len(seam.splitlines()) == 2

    def test_several_crops_are_pasted_into_one_picture(self):
        image, _, cut = crop()
        assert nodes.PakatiRegionPaste.execute(cut, image.repeat(3, 1, 1, 1)).result[0].shape == (3, 64, 96, 3)

    @pytest.mark.parametrize(
        "image, mask, words",
        [
            (None, torch.zeros(1, 64, 96), "black all over"),
            (None, torch.ones(1, 32, 32), "mask is 32x32 but image is 96x64"),
            (None, torch.ones(2, 64, 96), "batch of 2 but one was wanted"),
        ],
        ids=["empty", "another size", "a batch"],
    )
    def test_a_mask_that_does_not_fit_is_refused(self, image, mask, words):
        with pytest.raises(ShapeError, match=words):
            crop(image, mask)

    def test_a_crop_that_was_scaled_is_refused(self):
        _, _, cut = crop()
        with pytest.raises(ShapeError, match="the painted crop is 16x16 but 40x32 was cut"):
            nodes.PakatiRegionPaste.execute(cut, torch.rand(1, 16, 16, 3))


def steps(graph: dict) -> dict[str, dict]:
    """Inputs by class of node; a link is written as the class that it comes from and the output's number."""
    classes = {id: node["class_type"] for id, node in graph.items()}

    def named(value):
        linked = isinstance(value, list) and len(value) == 2 and value[0] in classes
        return f"{classes[value[0]]} {value[1]}" if linked else value

    return {
        node["class_type"]: {name: named(value) for name, value in node["inputs"].items()} for node in graph.values()
    }


class TestFluxFill:
    def test_it_becomes_the_recipe_that_the_host_ships(self):
        out = nodes.PakatiFluxFillInpaint.execute("model", "clip", "vae", "image", "mask", "a boat", seed=3, steps=20)
        assert out.expand is not None
        assert steps(out.expand) == {
            "CLIPTextEncode": {"clip": "clip", "text": "a boat"},
            "FluxGuidance": {"conditioning": "CLIPTextEncode 0", "guidance": 30.0},
            "ConditioningZeroOut": {"conditioning": "CLIPTextEncode 0"},
            "InpaintModelConditioning": {
                "positive": "FluxGuidance 0", "negative": "ConditioningZeroOut 0", "vae": "vae", "pixels": "image",
                "mask": "mask", "noise_mask": True,
            },
            "DifferentialDiffusion": {"model": "model", "strength": 1.0},
            "KSampler": {
                "model": "DifferentialDiffusion 0", "positive": "InpaintModelConditioning 0",
                "negative": "InpaintModelConditioning 1", "latent_image": "InpaintModelConditioning 2", "seed": 3,
                "steps": 20, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0,
            },
            "VAEDecode": {"samples": "KSampler 0", "vae": "vae"},
        }  # fmt: skip
        assert out.expand[out.result[0][0]]["class_type"] == "VAEDecode"


class TestRegionEdit:
    SAMPLER = {"seed": 1, "steps": 4, "cfg": 3.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 0.8}

    def edit(self, **more) -> dict[str, dict]:
        out = nodes.PakatiRegionEdit.execute(
            "model", "positive", "negative", "vae", "image", "mask", **self.SAMPLER, **more
        )
        assert out.expand is not None
        assert [out.expand[id]["class_type"] for id, _ in out.result] == ["PakatiRegionPaste"] * 2
        return steps(out.expand)

    def test_it_becomes_crop_sampler_and_paste(self):
        graph = self.edit(mode="detail", context=8.0, blend="feather", band=5.0)
        assert list(graph) == [
            "PakatiRegionCrop", "InpaintModelConditioning", "DifferentialDiffusion", "KSampler", "VAEDecode",
            "PakatiRegionPaste",
        ]  # fmt: skip
        assert graph["PakatiRegionCrop"] == {
            "image": "image", "mask": "mask", "mode": "detail", "context": 8.0, "best": 1024, "smallest": 384,
            "multiple_of": 8,
        }  # fmt: skip
        assert graph["InpaintModelConditioning"]["pixels"] == "PakatiRegionCrop 0"
        assert graph["InpaintModelConditioning"]["mask"] == "PakatiRegionCrop 1"
        assert self.SAMPLER.items() <= graph["KSampler"].items()
        assert graph["KSampler"]["model"] == "DifferentialDiffusion 0"
        pasted = {"crop": "PakatiRegionCrop 2", "image": "VAEDecode 0", "blend": "feather", "band": 5.0}
        assert graph["PakatiRegionPaste"] == pasted

    def test_a_hard_mask_needs_no_differential_diffusion(self):
        graph = self.edit(soft=False)
        assert "DifferentialDiffusion" not in graph and graph["KSampler"]["model"] == "model"


@pytest.fixture
def output(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path / "temp"))
    return tmp_path


def save(image, name="boats", **more):
    return nodes.PakatiCanvasSave.execute(image, name, **more).result[0]


REGIONS = RegionSet(Extent(96, 64), (Region("lake", BoxShape(30, 16, 30, 24), "a lake"),))


class TestKeeping:
    def test_a_step_comes_back_as_it_was_saved(self, output):
        first = save(picture(1), regions=REGIONS)
        second = save(picture(2), canvas=first, title="another")
        assert (first.step, second.step) == (1, 2)
        assert first.path == output / "pakati" / "boats.pakati"
        image, regions, canvas = nodes.PakatiCanvasLoad.execute("boats", 1).result
        assert torch.equal(image, picture(1)) and regions == REGIONS and canvas == first
        image, regions, canvas = nodes.PakatiCanvasLoad.execute("boats", 0).result
        assert torch.equal(image, picture(2)) and regions == REGIONS and canvas == second

    def test_saving_the_very_same_again_adds_no_step(self, output):
        first = save(picture(1))
        save(picture(2), canvas=first)
        assert save(picture(1)) == first
        assert save(picture(2), canvas=first).step == 2
        assert save(picture(3), canvas=first).step == 3

    def test_the_editor_notices_a_new_step(self, output):
        save(picture(1))
        before = nodes.PakatiCanvasLoad.fingerprint_inputs("boats", 0)
        assert before == nodes.PakatiCanvasLoad.fingerprint_inputs("boats", 0)
        save(picture(2))
        assert before != nodes.PakatiCanvasLoad.fingerprint_inputs("boats", 0)

    def test_the_history_shows_a_line_and_a_picture_for_each_step(self, output):
        first = save(picture(1), title="the start")
        strip, text = nodes.PakatiCanvasHistory.execute(save(picture(2), canvas=first, title="a boat")).result
        assert ["the start" in line or "a boat" in line for line in text.splitlines()] == [True, True]
        assert text.splitlines()[1].startswith("*")
        alone, _ = nodes.PakatiCanvasHistory.execute(first, last=1).result
        assert strip.shape[2] > 1.5 * alone.shape[2]

    @pytest.mark.parametrize("name", ["", "../evil", "a/b", "/etc/passwd", "a\\b", ".hidden", "x" * 200])
    def test_a_name_that_is_a_path_is_refused(self, output, name):
        with pytest.raises(ProjectError, match="name is"):
            save(picture(), name)
        assert list(output.iterdir()) == []

    def test_other_mistakes_are_named(self, output):
        first = save(picture())
        with pytest.raises(CanvasError, match="'boats' but name is 'ships'"):
            save(picture(), "ships", canvas=first)
        with pytest.raises(CanvasError, match="holds 96x64 pictures, not 32x32"):
            save(picture(width=32, height=32))
        with pytest.raises(PakatiError, match="batch of 2"):
            save(picture(count=2))
        with pytest.raises(CanvasError, match="there is no step 9"):
            nodes.PakatiCanvasLoad.execute("boats", 9)
        with pytest.raises(ProjectError, match="no project at"):
            nodes.PakatiCanvasLoad.execute("nowhere", 0)
