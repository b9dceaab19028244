"""The workflows of the canvas on a real server: what is edited changes, and every other pixel is the very same."""

import copy
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.host.flux_small import FILL_CHANNELS, write_flux, write_taesd

ROOT = Path(__file__).parents[2]
LIMIT_S = 600
TEXT = 128  # channels of the embedded text encoder


def workflow(name: str, **changes) -> dict:
    """changes: inputs by class of node."""
    prompt = json.loads((ROOT / "workflows" / "api" / f"{name}.json").read_text(encoding="utf-8"))
    for node in prompt.values():
        node["inputs"] |= copy.deepcopy(changes.get(node["class_type"], {}))
    return prompt


def shown(server, outputs: dict, node: str) -> Image.Image:
    (entry,) = outputs[node]["images"]
    return Image.open(io.BytesIO(server.image(entry))).convert("RGB")


@pytest.fixture(scope="module")
def outputs(server) -> dict:
    return server.run(workflow("persistent_canvas"), LIMIT_S)


@pytest.fixture(scope="module")
def states(server, outputs) -> list:
    from pakati_core.canvas import load_project

    return list(load_project(server.folder / "output" / "pakati" / "persistent_canvas.pakati")[0].history)


def test_the_canvas_keeps_both_steps_and_only_the_region_differs(states):
    assert [(state.id, state.parent) for state in states] == [(1, None), (2, 1)]
    assert [state.title for state in states] == ["paint four regions", "checks instead of the night"]
    assert [region.id for region in states[0].regions.regions] == ["night", "beach", "shore", "hill"]
    before, after = (np.asarray(state.image) for state in states)
    changed = (before != after).any(-1)
    assert changed[:128, :128].mean() > 0.9
    assert not changed[128:].any() and not changed[:, 128:].any()


def test_the_reader_sees_what_was_asked_for_before_and_after(states):
    from pakati_core.tiny.check import see_regions

    first = states[0].regions
    edited = tuple(replace(r, prompt="checks") if r.id == "night" else r for r in first.regions)
    for state, layout in zip(states, (first, replace(first, regions=edited))):
        seen = see_regions(state.image, layout)
        assert all(region.right for region in seen.values()), {name: region.text for name, region in seen.items()}


def test_the_history_is_shown(server, outputs):
    assert shown(server, outputs, "44").width > 2 * 224


@pytest.fixture(scope="module")
def hole(server) -> Image.Image:
    """The files that the workflow names. The picture is noise; what is transparent in it is what LoadImage masks."""
    for folder in ("models/diffusion_models", "models/vae", "input"):
        (server.folder / folder).mkdir(parents=True, exist_ok=True)
    write_flux(server.folder / "models/diffusion_models/flux1-fill-dev.safetensors", TEXT, TEXT, channels=FILL_CHANNELS)
    write_taesd(server.folder / "models/vae/ae.safetensors")
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (256, 320, 3), np.uint8)).convert("RGBA")
    alpha = Image.new("L", image.size, 255)
    ImageDraw.Draw(alpha).ellipse((120, 60, 200, 160), fill=0)
    image.putalpha(alpha)
    image.save(server.folder / "input" / "example.png")
    return image


def test_flux_fill_paints_the_mask_and_nothing_else(server, hole):
    """The transformer is a reduced one in the original layout. The host knows Flux's two text encoders in their full
    size only, 10 GB of them, so that the embedded one speaks in their place."""
    prompt = workflow("flux_fill_region", PakatiFluxFillInpaint={"steps": 2}, PakatiRegionCrop={"smallest": 128})
    loader = next(id for id, node in prompt.items() if node["class_type"] == "DualCLIPLoader")
    prompt[loader] = {"class_type": "PakatiTinyLoader", "inputs": {}}
    for node in prompt.values():
        node["inputs"] |= {name: [loader, 1] for name, value in node["inputs"].items() if value == [loader, 0]}
    painted = np.asarray(shown(server, server.run(prompt, LIMIT_S), "9"))
    old, mask = np.asarray(hole)[..., :3], np.asarray(hole)[..., 3] == 0
    assert "model_type FLUX" in server.log
    assert np.array_equal(painted[~mask], old[~mask])
    assert (painted != old).any(-1)[mask].mean() > 0.5
