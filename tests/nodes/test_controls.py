"""ControlNets in one node: equal to the host's own chain, and with a mask only where the mask is. Criterion 35."""

import importlib
from pathlib import Path

import folder_paths
import pytest
import torch
from comfy.controlnet import ControlBase
from comfy_extras.nodes_canny import Canny

from pakati.nodes.controls import PakatiControlNetApply
from pakati.nodes.masked_control import grid_of
from pakati.pakati_core.characters.edges import canny, from_opencv
from pakati.pakati_core.errors import PakatiError, ShapeError
from pakati.pakati_core.tiny.world import Scene, Thing, draw
from tests.core import original
from tests.nodes.test_with_stock_nodes import SHALLOW_SD15, WordlessClip, empty, k_sampler, prompts

stock = importlib.import_module("nodes")


def hint(seed: int) -> torch.Tensor:
    return torch.rand(1, 128, 128, 3, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """MODEL and CONTROL_NET: a reduced random SD1.5 and a ControlNet for it, through the host's own loaders."""
    folder: Path = tmp_path_factory.mktemp("models")
    unet = original.unet("model.diffusion_model", SHALLOW_SD15, context=768, linear=False)
    original.save(unet, folder / "shallow.safetensors")
    original.save(original.controlnet(SHALLOW_SD15, context=768), folder / "shallow_control.safetensors")
    folder_paths.add_model_folder_path("diffusion_models", str(folder), is_default=True)
    folder_paths.add_model_folder_path("controlnet", str(folder), is_default=True)
    model = stock.UNETLoader().load_unet("shallow.safetensors", "default")[0]
    return model, stock.ControlNetLoader().load_controlnet("shallow_control.safetensors")[0]


def row(number: int, net, image, strength=1.0, start=0.0, end=1.0, mask=None, **preprocess) -> dict:
    how = {f"preprocess_{number}": "as is"} | {f"{name}_{number}": value for name, value in preprocess.items()}
    values = {"control_net": net, "image": image, "preprocess": how, "strength": strength, "start": start, "end": end}
    return {f"{name}_{number}": value for name, value in values.items()} | (
        {f"mask_{number}": mask} if mask is not None else {}
    )


def controlled(loaded, *rows: dict) -> tuple:
    """The node's outputs for the base prompts."""
    controls = {"controls": str(len(rows))}
    for each in rows:
        controls |= each
    return PakatiControlNetApply.execute(*prompts(WordlessClip()), controls).result


def paint(model, positive, negative, steps=1) -> torch.Tensor:
    return k_sampler(model, positive, negative, empty(), steps=steps)


def test_two_controls_equal_the_host_s_chain(loaded):
    model, net = loaded
    ours = controlled(loaded, row(1, net, hint(1), 0.7), row(2, net, hint(2), 0.4, 0.0, 0.6))
    conditioning = prompts(WordlessClip())
    apply = stock.ControlNetApplyAdvanced().apply_controlnet
    theirs = apply(*apply(*conditioning, net, hint(1), 0.7, 0.0, 1.0), net, hint(2), 0.4, 0.0, 0.6)
    assert torch.equal(paint(model, *ours[:2]), paint(model, *theirs))
    assert torch.equal(ours[2], hint(1))


def test_a_white_mask_changes_nothing_and_a_black_one_leaves_the_control_out(loaded):
    model, net = loaded
    bare = paint(model, *prompts(WordlessClip()))
    plain = paint(model, *controlled(loaded, row(1, net, hint(1)))[:2])
    white = paint(model, *controlled(loaded, row(1, net, hint(1), mask=torch.ones(1, 128, 128)))[:2])
    black = paint(model, *controlled(loaded, row(1, net, hint(1), mask=torch.zeros(1, 128, 128)))[:2])
    assert torch.equal(white, plain) and torch.equal(black, bare)
    assert (plain - bare).abs().mean() > 0.01 * bare.std()
    assert torch.equal(paint(model, *prompts(WordlessClip())), bare), "the model is as it was"


def test_a_control_acts_where_its_mask_is(loaded):
    model, net = loaded
    mask = torch.zeros(1, 128, 128)
    mask[..., :64] = 1
    bare = paint(model, *prompts(WordlessClip()))
    change = (paint(model, *controlled(loaded, row(1, net, hint(1), mask=mask))[:2]) - bare).abs().mean((0, 1))
    inside, outside = change.tensor_split(2, dim=1)
    assert inside.mean() > 1.5 * outside.mean()


@pytest.mark.parametrize("shape", [(2, 4, 8, 8), (2, 64, 4)], ids=["pixels", "tokens"])
def test_what_a_control_adds_is_nothing_outside_its_mask(shape):
    """Through the host's own merge, with an earlier control that acts everywhere."""
    from pakati.nodes.masked_control import _merge_inside

    control = ControlBase()
    control.strength = 0.5
    own, previous = torch.ones(shape), torch.full(shape, 3.0)
    mask = torch.zeros(64, 64)
    mask[:, :32] = 1
    merged = _merge_inside(
        control, mask, {"middle": [own], "output": [None], "input": []},
        {"middle": [previous], "output": [previous], "input": []}, None,
    )  # fmt: skip
    total = merged["middle"][0] if len(shape) == 4 else merged["middle"][0].movedim(1, -1).reshape(2, 4, 8, 8)
    assert torch.equal(total[..., :4], torch.full((2, 4, 8, 4), 3.5))
    assert torch.equal(total[..., 4:], torch.full((2, 4, 8, 4), 3.0))
    assert torch.equal(merged["output"][0], previous)


@pytest.mark.parametrize(
    "tokens, size, wanted", [(64, (8, 8), (8, 8)), (96, (64, 96), (8, 12)), (48, (300, 100), (12, 4))]
)
def test_the_grid_of_tokens_has_the_shape_of_the_mask(tokens, size, wanted):
    assert grid_of(tokens, torch.zeros(size)) == wanted


def test_criterion_35_canny_is_the_host_s_bit_for_bit(loaded):
    image = torch.from_numpy(1 * draw(Scene("brick", (Thing("star", "blue", 0.5, 0.5, 0.3),)), 128)).float()[None] / 255
    seen = controlled(loaded, row(1, loaded[1], image, preprocess="canny", low=0.3, high=0.7))[2]
    assert torch.equal(seen, Canny.execute(image, 0.3, 0.7).result[0])
    assert 0.01 < seen.mean() < 0.5


@pytest.mark.parametrize("material", ["brick", "sky", "grass"])
def test_criterion_35_the_headless_canny_draws_the_host_s_lines(material):
    image = (
        torch.from_numpy(1 * draw(Scene(material, (Thing("house", "red", 0.5, 0.5, 0.3),)), 160)).float()[None] / 255
    )
    low, high = from_opencv(100, 200)
    theirs = Canny.execute(image, low, high).result[0]
    ours = canny(image, low, high)
    # Where both sides of a line are equally strong, rounding decides which of two pixels is the line.
    assert (ours != theirs).float().mean() < 2e-3
    near = torch.nn.functional.max_pool2d(theirs.movedim(-1, 1), 3, 1, 1).movedim(1, -1)
    assert (ours <= near).all()
    assert 0.002 < theirs.mean() < 0.5


def test_criterion_35_opencv_s_thresholds_are_the_host_s_within_one_level():
    assert from_opencv(100, 200) == pytest.approx((0.39, 0.78), abs=0.005)
    assert [round(255 * threshold) for threshold in from_opencv(100, 200)] == [100, 200]


def test_mistakes_are_named_by_their_input(loaded):
    net = loaded[1]
    with pytest.raises(PakatiError, match="start_1"):
        controlled(loaded, row(1, net, hint(1), start=0.5, end=0.5))
    with pytest.raises(ShapeError, match="low_1"):
        controlled(loaded, row(1, net, hint(1), preprocess="canny", low=0.9, high=0.2))
    with pytest.raises(ShapeError, match="batch of 2"):
        controlled(loaded, row(1, net, hint(1), mask=torch.ones(2, 8, 8)))
    unchanged = controlled(loaded, row(1, net, hint(1), strength=0.0, mask=torch.ones(1, 8, 8)))
    assert "control" not in unchanged[0][0][1]
