"""The original layout of SD1.5 and SDXL checkpoints, name by name: full-size shapes, or small files of random numbers.

Written from the format itself, with no converter in between. torch and safetensors only: the host ring uses it too.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save_file

Shapes = Iterator[tuple[str, tuple[int, ...]]]
WORDS, PLACES = 49408, 77
REPEATED = 1_000_003  # a prime: no two rows of a matrix are alike


class Size(NamedTuple):
    """channels and depths: one entry a level; g: the second text encoder's width, 0 in SD1.5."""

    channels: tuple[int, ...]
    depths: tuple[int, ...]
    vae: tuple[int, ...]
    l: int
    l_layers: int
    g: int = 0
    g_layers: int = 0
    resnets: int = 2
    inputs: int = 4


SD15 = Size((320, 640, 1280, 1280), (1, 1, 1, 0), (128, 256, 512, 512), l=768, l_layers=12)
SDXL = Size((320, 640, 1280), (0, 2, 10), (128, 256, 512, 512), l=768, l_layers=12, g=1280, g_layers=32)
SMALL_SD15 = Size((32, 64), (1, 0), (32, 32, 32, 32), l=64, l_layers=2, resnets=1)
SMALL_SDXL = Size((64, 128), (0, 2), (32, 32, 32, 32), l=64, l_layers=2, g=128, g_layers=2, resnets=1)


def write(path: Path, size: Size, extra: tuple[str, ...] = (), without: str | None = None) -> Path:
    """extra: names of further one-number tensors.  without: leave out all names that begin so."""
    further = ((name, (1,)) for name in extra)
    return save((row for row in (*checkpoint(size), *further) if not (without and row[0].startswith(without))), path)


def save(shapes: Iterable[tuple[str, tuple[int, ...]]], path: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    save_file({name: _numbers(name, shape, generator) for name, shape in shapes}, path)
    return path


def save_large(shapes: Iterable[tuple[str, tuple[int, ...]]], path: Path) -> Path:
    """In float16, and fast for hundreds of megabytes: the same numbers come again and again, each time further on."""
    numbers, at, tensors = torch.randn(REPEATED, generator=torch.Generator().manual_seed(0)), 0, {}
    for name, shape in shapes:
        if len(shape) < 2:
            tensors[name] = torch.zeros(shape) if name.endswith("bias") else torch.ones(shape)
        else:
            count = torch.Size(shape).numel()
            start, at = at % REPEATED, at + count
            scaled = (numbers.roll(-start) / max(1, torch.Size(shape[1:]).numel()) ** 0.5).half()
            tensors[name] = scaled.repeat(-(-count // REPEATED))[:count].view(shape)
    save_file({name: tensor.half().contiguous() for name, tensor in tensors.items()}, path)
    return path


def _numbers(name: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Norms start at one, biases at zero, and all else keeps the size of what passes through it."""
    if len(shape) < 2:
        return torch.zeros(shape) if name.endswith("bias") else torch.ones(shape)
    return torch.randn(shape, generator=generator) / max(1, torch.Size(shape[1:]).numel()) ** 0.5


def checkpoint(size: Size) -> Shapes:
    linear = bool(size.g)
    yield from unet("model.diffusion_model", size, context=size.l + size.g, linear=linear)
    yield from _vae("first_stage_model", size.vae)
    if not size.g:
        yield from clip_l("cond_stage_model.transformer.text_model", size)
    else:
        yield from clip_l("conditioner.embedders.0.transformer.text_model", size)
        yield from clip_g("conditioner.embedders.1.model", size)


def unet(at: str, size: Size, context: int, linear: bool) -> Shapes:
    emb, last = 4 * size.channels[0], len(size.channels) - 1
    skips = yield from encoder(at, size, context, linear)
    width, number = size.channels[-1], 0
    for level in reversed(range(last + 1)):
        for i in range(size.resnets + 1):
            block = f"{at}.output_blocks.{number}"
            yield from _resnet(f"{block}.0", width + skips.pop(), size.channels[level], emb)
            width, number = size.channels[level], number + 1
            if size.depths[level]:
                yield from _transformer(f"{block}.1", width, context, size.depths[level], linear)
            if level and i == size.resnets:
                yield from _conv(f"{block}.{2 if size.depths[level] else 1}.conv", width, width)
    yield from _norm(f"{at}.out.0", width)
    yield from _conv(f"{at}.out.2", width, 4)


def controlnet(size: Size, context: int) -> Shapes:
    """The way down again, what reads the hint, and one convolution for each skip."""
    skips = yield from encoder("control_model", size, context, linear=False)
    for i, width in enumerate(skips):
        yield from _conv(f"control_model.zero_convs.{i}.0", width, width, 1)
    yield from _conv("control_model.middle_block_out.0", skips[-1], skips[-1], 1)
    hint = (3, 16, 16, 32, 32, 96, 96, 256, size.channels[0])
    for i, (inputs, outputs) in enumerate(zip(hint, hint[1:])):
        yield from _conv(f"control_model.input_hint_block.{2 * i}", inputs, outputs)


def encoder(at: str, size: Size, context: int, linear: bool):
    """Everything but the way up, as a ControlNet has it too; returns the widths that the way up is handed."""
    emb, width = 4 * size.channels[0], size.channels[0]
    yield from _linear(f"{at}.time_embed.0", width, emb)
    yield from _linear(f"{at}.time_embed.2", emb, emb)
    if size.g:
        yield from _linear(f"{at}.label_emb.0.0", size.g + 6 * 256, emb)
        yield from _linear(f"{at}.label_emb.0.2", emb, emb)
    yield from _conv(f"{at}.input_blocks.0.0", size.inputs, width)
    skips, number = [width], 1
    for level, (wide, depth) in enumerate(zip(size.channels, size.depths)):
        for _ in range(size.resnets):
            yield from _resnet(f"{at}.input_blocks.{number}.0", width, wide, emb)
            if depth:
                yield from _transformer(f"{at}.input_blocks.{number}.1", wide, context, depth, linear)
            width, number = wide, number + 1
            skips.append(width)
        if level + 1 < len(size.channels):
            yield from _conv(f"{at}.input_blocks.{number}.0.op", width, width)
            number += 1
            skips.append(width)
    yield from _resnet(f"{at}.middle_block.0", width, width, emb)
    yield from _transformer(f"{at}.middle_block.1", width, context, size.depths[-1] or 1, linear)
    yield from _resnet(f"{at}.middle_block.2", width, width, emb)
    return skips


def _linear(at: str, inputs: int, outputs: int, bias: bool = True) -> Shapes:
    yield f"{at}.weight", (outputs, inputs)
    if bias:
        yield f"{at}.bias", (outputs,)


def _conv(at: str, inputs: int, outputs: int, kernel: int = 3) -> Shapes:
    yield f"{at}.weight", (outputs, inputs, kernel, kernel)
    yield f"{at}.bias", (outputs,)


def _norm(at: str, width: int) -> Shapes:
    yield f"{at}.weight", (width,)
    yield f"{at}.bias", (width,)


def _resnet(at: str, inputs: int, outputs: int, emb: int) -> Shapes:
    yield from _norm(f"{at}.in_layers.0", inputs)
    yield from _conv(f"{at}.in_layers.2", inputs, outputs)
    yield from _linear(f"{at}.emb_layers.1", emb, outputs)
    yield from _norm(f"{at}.out_layers.0", outputs)
    yield from _conv(f"{at}.out_layers.3", outputs, outputs)
    if inputs != outputs:
        yield from _conv(f"{at}.skip_connection", inputs, outputs, 1)


def _transformer(at: str, width: int, context: int, depth: int, linear: bool) -> Shapes:
    project = _linear if linear else lambda at, inputs, outputs: _conv(at, inputs, outputs, 1)
    yield from _norm(f"{at}.norm", width)
    yield from project(f"{at}.proj_in", width, width)
    for i in range(depth):
        block = f"{at}.transformer_blocks.{i}"
        for name, keys in (("attn1", width), ("attn2", context)):
            yield from _linear(f"{block}.{name}.to_q", width, width, bias=False)
            yield from _linear(f"{block}.{name}.to_k", keys, width, bias=False)
            yield from _linear(f"{block}.{name}.to_v", keys, width, bias=False)
            yield from _linear(f"{block}.{name}.to_out.0", width, width)
        yield from _linear(f"{block}.ff.net.0.proj", width, 8 * width)
        yield from _linear(f"{block}.ff.net.2", 4 * width, width)
        for name in ("norm1", "norm2", "norm3"):
            yield from _norm(f"{block}.{name}", width)
    yield from project(f"{at}.proj_out", width, width)


def _vae(at: str, channels: tuple[int, ...], latents: int = 4) -> Shapes:
    yield from vae_half(f"{at}.encoder", channels, 3, 2 * latents, "down", 2)
    yield from vae_half(f"{at}.decoder", channels, latents, 3, "up", 3)
    yield from _conv(f"{at}.quant_conv", 2 * latents, 2 * latents, 1)
    yield from _conv(f"{at}.post_quant_conv", latents, latents, 1)


def vae_half(at: str, channels: tuple[int, ...], inputs: int, outputs: int, way: str, resnets: int) -> Shapes:
    levels = list(enumerate(channels))
    if way == "up":
        levels.reverse()
    width = levels[0][1]
    yield from _conv(f"{at}.conv_in", inputs, width)
    if way == "up":
        yield from _vae_middle(f"{at}.mid", width)
    for level, wide in levels:
        for i in range(resnets):
            yield from _vae_resnet(f"{at}.{way}.{level}.block.{i}", width, wide)
            width = wide
        if level != levels[-1][0]:
            yield from _conv(f"{at}.{way}.{level}.{way}sample.conv", width, width)
    if way == "down":
        yield from _vae_middle(f"{at}.mid", width)
    yield from _norm(f"{at}.norm_out", width)
    yield from _conv(f"{at}.conv_out", width, outputs)


def _vae_middle(at: str, width: int) -> Shapes:
    yield from _vae_resnet(f"{at}.block_1", width, width)
    yield from _norm(f"{at}.attn_1.norm", width)
    for name in ("q", "k", "v", "proj_out"):
        yield from _conv(f"{at}.attn_1.{name}", width, width, 1)
    yield from _vae_resnet(f"{at}.block_2", width, width)


def _vae_resnet(at: str, inputs: int, outputs: int) -> Shapes:
    yield from _norm(f"{at}.norm1", inputs)
    yield from _conv(f"{at}.conv1", inputs, outputs)
    yield from _norm(f"{at}.norm2", outputs)
    yield from _conv(f"{at}.conv2", outputs, outputs)
    if inputs != outputs:
        yield from _conv(f"{at}.nin_shortcut", inputs, outputs, 1)


def clip_l(at: str, size: Size, inner: int | None = None) -> Shapes:
    inner = inner or 4 * size.l
    yield f"{at}.embeddings.token_embedding.weight", (WORDS, size.l)
    yield f"{at}.embeddings.position_embedding.weight", (PLACES, size.l)
    for i in range(size.l_layers):
        layer = f"{at}.encoder.layers.{i}"
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from _linear(f"{layer}.self_attn.{name}", size.l, size.l)
        yield from _norm(f"{layer}.layer_norm1", size.l)
        yield from _norm(f"{layer}.layer_norm2", size.l)
        yield from _linear(f"{layer}.mlp.fc1", size.l, inner)
        yield from _linear(f"{layer}.mlp.fc2", inner, size.l)
    yield from _norm(f"{at}.final_layer_norm", size.l)


def clip_g(at: str, size: Size, inner: int | None = None) -> Shapes:
    inner = inner or 4 * size.g
    yield f"{at}.token_embedding.weight", (WORDS, size.g)
    yield f"{at}.positional_embedding", (PLACES, size.g)
    yield f"{at}.text_projection", (size.g, size.g)
    yield f"{at}.logit_scale", ()
    for i in range(size.g_layers):
        layer = f"{at}.transformer.resblocks.{i}"
        yield f"{layer}.attn.in_proj_weight", (3 * size.g, size.g)
        yield f"{layer}.attn.in_proj_bias", (3 * size.g,)
        yield from _linear(f"{layer}.attn.out_proj", size.g, size.g)
        yield from _norm(f"{layer}.ln_1", size.g)
        yield from _norm(f"{layer}.ln_2", size.g)
        yield from _linear(f"{layer}.mlp.c_fc", size.g, inner)
        yield from _linear(f"{layer}.mlp.c_proj", inner, size.g)
    yield from _norm(f"{at}.ln_final", size.g)
