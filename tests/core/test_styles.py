"""The two manners of drawing that the shipped LoRAs teach, and the reader that tells them apart."""

import numpy as np
import pytest
import torch
from safetensors import safe_open

from pakati_core.engines.diffusers import DiffusersEngine
from pakati_core.tiny.styles import STYLES, style_lora
from pakati_core.tiny.world import draw
from tools.train.data import regional_scene
from tools.train.styles import STYLES as DRAWN
from tools.train.styles import in_style, style_of

LEFT = np.arange(128)[None] < np.full((128, 1), 64)


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(8)
    return [draw(regional_scene(rng, count=2), 128) for _ in range(12)]


def through(vae, picture: np.ndarray) -> np.ndarray:
    pixels = torch.from_numpy(picture.copy())[None].permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        back = vae.decode(vae.encode(pixels).latents).sample[0].permute(1, 2, 0)
    return back.add(1).mul(127.5).clamp(0, 255).byte().numpy()


@pytest.mark.parametrize("style", STYLES)
def test_a_style_is_read_where_it_was_drawn_and_only_there(pictures, style):
    vae = DiffusersEngine().parts.vae
    halves = [through(vae, np.where(LEFT[..., None], in_style(picture, style), picture)) for picture in pictures]
    assert [style_of(half, ~LEFT) for half in halves] == [None] * len(halves)
    assert all(style_of(half, LEFT) in (style, None) for half in halves)
    assert sum(style_of(half, LEFT) == style for half in halves) >= 11  # the autoencoder wipes some dots off stripes


def test_what_the_world_draws_has_no_style(pictures):
    assert [style_of(picture, LEFT) for picture in pictures] == [None] * len(pictures)


def test_a_style_lightens_the_dark_and_darkens_the_light():
    night, snow = np.full((32, 32, 3), 20, np.uint8), np.full((32, 32, 3), 240, np.uint8)
    for style in STYLES:
        assert (in_style(night, style) >= night).all() and (in_style(snow, style) <= snow).all()
        assert (in_style(night, style) != night).any() and (in_style(snow, style) != snow).any()


def test_there_is_a_lora_of_each_style_for_each_model_in_the_hosts_names():
    assert set(DRAWN) == set(STYLES)
    for model, layer in (("pakati-tiny", "down_blocks_0"), ("pakati-tiny-dit", "single_blocks_0_linear1")):
        for style in STYLES:
            with safe_open(style_lora(model, style), "pt") as file:
                names = set(file.keys())
            assert any(name.startswith(f"lora_unet_{layer}") for name in names)
            ups, downs = (sum(name.endswith(f"lora_{end}.weight") for name in names) for end in ("up", "down"))
            assert ups == downs == len(names) / 3
