"""Two LoRAs in two regions on a real server: stock loaders, SDXL's layout, random files under the names they have."""

import copy

import numpy as np
import torch
from safetensors.torch import save_file

from tests.core.original import unet
from tests.host.files import BIG_CLIP_WIDTH, CLIP_WIDTH, SMALL_SDXL, write_sdxl
from tests.host.test_regional_workflows import SIDE, picture, small

FILES = "character_one.safetensors", "character_two.safetensors"


def write_lora(path, seed: int, phrase: str) -> None:
    """kohya's layout: the linear layers of the UNet, with a trigger phrase in the header."""
    generator, tensors = torch.Generator().manual_seed(seed), {}
    for name, shape in unet("", SMALL_SDXL, context=CLIP_WIDTH + BIG_CLIP_WIDTH, linear=True):
        if "transformer_blocks" in name and name.endswith(".weight") and len(shape) == 2:
            layer = "lora_unet_" + name.strip(".").removesuffix(".weight").replace(".", "_")
            tensors[f"{layer}.lora_up.weight"] = torch.randn(shape[0], 4, generator=generator) / 10
            tensors[f"{layer}.lora_down.weight"] = torch.randn(4, shape[1], generator=generator) / shape[1] ** 0.5
            tensors[f"{layer}.alpha"] = torch.tensor(4.0)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, {"modelspec.trigger_phrase": phrase})


def changed(prompt: dict, number: str, **inputs) -> dict:
    prompt = copy.deepcopy(prompt)
    prompt[number]["inputs"] |= inputs
    return prompt


def test_each_lora_acts_in_its_own_half(server):
    write_sdxl(server.folder / "models")
    for seed, name in enumerate(FILES):
        write_lora(server.folder / "models" / "loras" / name, seed, f"person {seed}")
    prompt = small("two_characters_two_loras")
    first = picture(server, prompt)
    assert first.shape == (SIDE, SIDE, 3)
    assert first.std() > 5
    for number, side in (("40", 0), ("41", 1)):
        weaker = changed(prompt, number, strength_model=0.0)
        halves = np.array_split(np.abs(picture(server, weaker) - first).mean(-1), 2, axis=1)
        means = [half.mean() for half in halves]
        assert means[side] > 1.3 * means[1 - side], f"LoRA of node {number}: left and right change by {means}"
        assert means[side] > 0.5
    off = changed(changed(prompt, "40", enabled=False), "41", enabled=False)
    silent = changed(changed(prompt, "40", strength_model=0.0, strength_clip=0.0), "41", enabled=False)
    assert np.array_equal(picture(server, off), picture(server, silent))
