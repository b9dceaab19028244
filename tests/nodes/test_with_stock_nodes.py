"""Regions beside the host's own nodes: a LoRA, a ControlNet, image to image, a second pass at another size.

Each is asked the same three things: do regions act, does the stock node still act, is the plain model left as it was.
"""

import importlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import folder_paths
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pakati.nodes.regions import PakatiApplyRegions
from pakati.nodes.tiny_model import load_tiny
from pakati.pakati_core.geometry import Extent
from pakati.pakati_core.regions import Region, RegionSet
from pakati.pakati_core.shapes import BoxShape
from pakati.pakati_core.tiny import WEIGHTS
from tests.core import original

stock = importlib.import_module("nodes")  # the host's; ours is pakati.nodes
LEFT = RegionSet(Extent(128, 128), (Region("left", BoxShape(0, 0, 64, 128), "a red circle on brick"),))
# What the host knows as SD1.5 by its width and its text, with little else left of it.
SHALLOW_SD15 = original.Size((320, 320), (1, 0), vae=(), l=768, l_layers=0, resnets=1)


class Setting(NamedTuple):
    """with_regions -> latents [1,C,h,w], with the stock node at work, and at rest."""

    sample: Callable[[bool], Tensor]
    without: Callable[[bool], Tensor]


def prompts(clip) -> tuple:
    return tuple(stock.CLIPTextEncode().encode(clip, text)[0] for text in ("grass", ""))


def k_sampler(model, positive, negative, latent: dict, denoise=1.0, steps=4) -> Tensor:
    return stock.KSampler().sample(
        model, 5, steps, 3.0, "euler", "normal", positive, negative, latent, denoise=denoise
    )[0]["samples"]  # fmt: skip


def paint(model, clip, with_regions: bool, latent: dict | None = None, denoise=1.0, control=None) -> Tensor:
    positive, negative = prompts(clip)
    if control:
        positive, negative = control(positive, negative)
    if with_regions:
        model, positive, negative = PakatiApplyRegions.execute(model, clip, positive, negative, LEFT).result
    return k_sampler(model, positive, negative, latent or empty(), denoise)


def empty() -> dict:
    return stock.EmptyLatentImage().generate(128, 128)[0]


@pytest.fixture(scope="module")
def tiny():
    return load_tiny()


@pytest.fixture(scope="module", params=["LoRA", "LoRA on the text", "ControlNet", "image to image", "second pass"])
def setting(request, tiny, tmp_path_factory) -> Setting:
    make = {
        "LoRA": partial(with_lora, strengths=(1.0, 0.0)),
        "LoRA on the text": partial(with_lora, strengths=(0.0, 6.0)),
        "ControlNet": with_controlnet,
        "image to image": from_picture,
        "second pass": with_second_pass,
    }[request.param]
    return make(tiny, tmp_path_factory.mktemp("models"))


def with_lora(tiny, folder: Path, strengths: tuple[float, float]) -> Setting:
    write_lora(folder / "random.safetensors")
    folder_paths.add_model_folder_path("loras", str(folder), is_default=True)
    wired = stock.LoraLoader().load_lora(tiny[0], tiny[1], "random.safetensors", *strengths)
    return Setting(partial(paint, *wired), partial(paint, *tiny[:2]))


def write_lora(path: Path) -> None:
    """kohya's layout for the UNet; for a text encoder of its own the host has one generic layout of names."""
    layers = {}
    for part, file in (("unet", "diffusion_pytorch_model.safetensors"), ("text_encoder", "model.safetensors")):
        for name, weight in load_file(WEIGHTS / part / file).items():
            module = name.removesuffix(".weight")
            if part == "unet" and ".to_" in name and weight.ndim == 2:
                layers["lora_unet_" + module.replace(".", "_")] = weight.shape
            elif part == "text_encoder" and module.endswith("_proj"):
                module = f"text_model.{module.removeprefix('text_model.')}"
                layers[f"text_encoders.clip_pakati_tiny.transformer.{module}"] = weight.shape
    generator, tensors = torch.Generator().manual_seed(3), {}
    for name, (outputs, inputs) in layers.items():
        tensors[f"{name}.lora_down.weight"] = torch.randn(4, inputs, generator=generator) / inputs**0.5
        tensors[f"{name}.lora_up.weight"] = torch.randn(outputs, 4, generator=generator) / 8
        tensors[f"{name}.alpha"] = torch.tensor(4.0)
    save_file(tensors, path)


def with_controlnet(tiny, folder: Path) -> Setting:
    """The host builds ControlNets in SD1.5's width only, so this one stands beside a reduced SD1.5 UNet."""
    unet = original.unet("model.diffusion_model", SHALLOW_SD15, context=768, linear=False)
    original.save(unet, folder / "unet.safetensors")
    original.save(original.controlnet(SHALLOW_SD15, context=768), folder / "control.safetensors")
    folder_paths.add_model_folder_path("diffusion_models", str(folder), is_default=True)
    folder_paths.add_model_folder_path("controlnet", str(folder), is_default=True)
    model = stock.UNETLoader().load_unet("unet.safetensors", "default")[0]
    net = stock.ControlNetLoader().load_controlnet("control.safetensors")[0]
    hint = torch.rand(1, 128, 128, 3, generator=torch.Generator().manual_seed(4))

    def control(positive, negative):
        return stock.ControlNetApplyAdvanced().apply_controlnet(positive, negative, net, hint, 1.0, 0.0, 1.0)

    plain = partial(paint, model, WordlessClip())
    return Setting(partial(plain, control=control), plain)


class WordlessClip:
    """Some embedding of SD1.5's size for each text: its true encoder has half a gigabyte."""

    def tokenize(self, text: str) -> str:
        return text

    def encode_from_tokens(self, text: str, return_pooled=False, return_dict=False) -> dict:
        return {"cond": torch.randn(1, 77, 768, generator=torch.Generator().manual_seed(len(text)))}

    def encode_from_tokens_scheduled(self, text: str) -> list:
        return [[self.encode_from_tokens(text)["cond"], {}]]


def from_picture(tiny, folder: Path) -> Setting:
    picture = torch.zeros(1, 128, 128, 3)
    picture[:, 64:] = torch.tensor([0.9, 0.8, 0.1])
    latent = stock.VAEEncode().encode(tiny[2], picture)[0]
    plain = partial(paint, *tiny[:2])
    return Setting(partial(plain, latent=latent, denoise=0.5), plain)


def with_second_pass(tiny, folder: Path) -> Setting:
    """Only the second pass has regions, so that what it is given is the same with and without them."""
    plain = partial(paint, *tiny[:2])

    def repaint(first: Tensor, with_regions: bool) -> Tensor:
        large = stock.LatentUpscale().upscale({"samples": first}, "bilinear", 192, 192, "disabled")[0]
        return plain(with_regions, large, denoise=0.6)

    return Setting(partial(repaint, plain(False)), partial(repaint, torch.zeros(1, 8, 16, 16)))


@pytest.fixture(scope="module")
def seen(setting) -> SimpleNamespace:
    """Plain pictures first and last, regional ones between; `bare` and `alone` are those without the stock node."""
    bare, plain = setting.without(False), setting.sample(False)
    alone, regional = setting.without(True), setting.sample(True)
    after = setting.without(False), setting.sample(False)
    return SimpleNamespace(bare=bare, plain=plain, alone=alone, regional=regional, after=after)


def test_the_region_shows_in_the_picture(seen):
    change = (seen.regional - seen.plain).abs().mean((0, 1))
    inside, outside = change.tensor_split(2, dim=1)
    assert seen.regional.isfinite().all()
    assert inside.mean() > 0.02 * seen.plain.std(), "the region's own prompt acts"
    assert inside.mean() > 1.5 * outside.mean(), "and acts where the region is"


def test_the_stock_node_still_acts_beside_regions(seen):
    """Not much less than it does without them."""
    beside, by_itself = (seen.regional - seen.alone).abs().mean(), (seen.plain - seen.bare).abs().mean()
    assert by_itself > 0.02 * seen.plain.std()
    assert beside > 0.5 * by_itself


def test_the_plain_model_samples_the_same_bits_before_and_after(seen):
    assert torch.equal(seen.bare, seen.after[0])
    assert torch.equal(seen.plain, seen.after[1])
    assert not torch.equal(seen.plain, seen.regional)


def test_a_second_pass_keeps_the_region_where_it_was(tiny):
    """A quarter of another canvas, so that a wrong stretch would show."""
    model, clip, _ = tiny
    corner = RegionSet(Extent(128, 128), (Region("corner", BoxShape(64, 64, 64, 64), "a red circle on brick"),))
    positive, negative = prompts(clip)
    wired = PakatiApplyRegions.execute(model, clip, positive, negative, corner).result
    latent = {"samples": torch.zeros(1, 8, 24, 40)}
    change = (k_sampler(*wired, latent) - k_sampler(model, positive, negative, latent)).abs().mean((0, 1))
    quarters = [half.mean().item() for row in change.tensor_split(2) for half in row.tensor_split(2, dim=1)]
    assert quarters[3] > 1.5 * max(quarters[:3])
