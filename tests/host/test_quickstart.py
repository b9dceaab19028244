"""The shipped workflow on a real server: what each region asked for is in the picture that comes back."""

import copy
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "workflows" / "api" / "regional_quickstart.json"
LIMIT_S = 300


@pytest.fixture(scope="module")
def check():
    """pakati_core by itself: the reader belongs to no node, and the host's process is another one."""
    import sys

    sys.path.insert(0, str(ROOT))
    from pakati_core.regions import RegionSet
    from pakati_core.tiny.check import see_regions

    return lambda image: see_regions(image, RegionSet.load(ROOT / "pakati_core" / "tiny" / "demo.json"))


def quickstart(**changes) -> dict:
    prompt = copy.deepcopy(json.loads(QUICKSTART.read_text(encoding="utf-8")))
    for node in prompt.values():
        node["inputs"] |= changes.get(node["class_type"], {})
    return prompt


def pictures(server, outputs: dict) -> list[Image.Image]:
    entries = outputs["33"]["images"]
    return [Image.open(io.BytesIO(server.image(entry))).convert("RGB") for entry in entries]


def test_every_region_of_the_quickstart_is_read_right(server, check):
    (picture,) = pictures(server, server.run(quickstart(), LIMIT_S))
    assert picture.size == (256, 256)
    seen = check(picture)
    assert len(seen) == 4
    assert all(region.right for region in seen.values()), {name: region.text for name, region in seen.items()}


def test_the_same_prompt_gives_the_same_bytes(server):
    """ComfyUI would answer from its cache: another seed in between, and /free, make it paint anew."""
    one = pictures(server, server.run(quickstart(KSampler={"steps": 4}), LIMIT_S))[0]
    other = pictures(server, server.run(quickstart(KSampler={"steps": 4, "seed": 8}), LIMIT_S))[0]
    server.fetch("/free", {"unload_models": True, "free_memory": True})
    again = pictures(server, server.run(quickstart(KSampler={"steps": 4}), LIMIT_S))[0]
    assert np.array_equal(np.asarray(one), np.asarray(again))
    assert not np.array_equal(np.asarray(one), np.asarray(other))


ADVANCED = {
    "class_type": "KSamplerAdvanced",
    "inputs": {
        "add_noise": "enable", "noise_seed": 7, "steps": 4, "cfg": 4.0, "sampler_name": "euler", "scheduler": "simple",
        "start_at_step": 0, "end_at_step": 4, "return_with_leftover_noise": "disable",
        "model": ["30", 0], "positive": ["30", 1], "negative": ["30", 2], "latent_image": ["5", 0],
    },
}  # fmt: skip
CUSTOM = {
    "40": {"class_type": "RandomNoise", "inputs": {"noise_seed": 7}},
    "41": {
        "class_type": "CFGGuider",
        "inputs": {"model": ["30", 0], "positive": ["30", 1], "negative": ["30", 2], "cfg": 4.0},
    },
    "42": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
    "43": {
        "class_type": "BasicScheduler",
        "inputs": {"model": ["30", 0], "scheduler": "simple", "steps": 4, "denoise": 1.0},
    },
    "31": {
        "class_type": "SamplerCustomAdvanced",
        "inputs": {
            "noise": ["40", 0],
            "guider": ["41", 0],
            "sampler": ["42", 0],
            "sigmas": ["43", 0],
            "latent_image": ["5", 0],
        },
    },
}


@pytest.mark.parametrize("nodes", [{"31": ADVANCED}, CUSTOM], ids=["KSamplerAdvanced", "SamplerCustomAdvanced"])
def test_other_samplers_paint_the_same_picture(server, nodes):
    expected = pictures(server, server.run(quickstart(KSampler={"steps": 4, "seed": 7}), LIMIT_S))[0]
    got = pictures(server, server.run(quickstart() | copy.deepcopy(nodes), LIMIT_S))[0]
    assert np.abs(np.asarray(got, np.int16) - np.asarray(expected, np.int16)).max() <= 1


def test_a_batch_an_image_and_a_second_pass_at_another_size(server):
    """Three pictures at once; then, enlarged in latent space, a second pass with the same regions."""
    prompt = quickstart(KSampler={"steps": 3}, EmptyLatentImage={"batch_size": 3})
    prompt["50"] = {
        "class_type": "LatentUpscale",
        "inputs": {"samples": ["31", 0], "upscale_method": "bilinear", "width": 328, "height": 264, "crop": "disabled"},
    }
    prompt["51"] = copy.deepcopy(prompt["31"])
    prompt["51"]["inputs"] |= {"latent_image": ["50", 0], "denoise": 0.5, "seed": 3}
    prompt["32"]["inputs"]["samples"] = ["51", 0]
    found = pictures(server, server.run(prompt, LIMIT_S))
    assert [picture.size for picture in found] == [(328, 264)] * 3
    assert all(torch.from_numpy(np.array(picture)).float().std() > 5 for picture in found)


def test_a_mistake_in_a_region_is_one_sentence_that_names_it(server):
    prompt = quickstart()
    prompt["11"]["inputs"] |= {"shape.units.x": 900.0}
    with pytest.raises(RuntimeError, match="outside|inside"):
        server.run(prompt, LIMIT_S)
