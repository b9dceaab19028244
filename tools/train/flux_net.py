"""Flux.1's network, small, in its own names: what the host's stock loader reads, here for training alone.

M. Black Forest Labs, https://github.com/black-forest-labs/flux: two streams, then one; 128 channels to an attention
head, rotary positions for 2x2 cells of the latent, none for words.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEAD = 128
AXES = (16, 56, 56)  # channels of a head that say which picture, which row, which column
PATCH = 2
BASE_WORDS = 16  # of the base prompt, its padding included; longer ones go on in a further row
ROOM = 8  # words of a region's prompt while it is trained, the start included
HIDDEN = -1e4
HOST_CHANNELS = 16  # of every Flux.1 latent, in the host


def rotations(rows: int, columns: int, words: int) -> Tensor:
    """[2, words + rows * columns, 128]: cosine and signed sine of each pair; words stay as they are."""
    grid = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    places = (torch.zeros(rows * columns), *(axis.flatten() for axis in grid))
    angles = [
        place[:, None] / 10_000 ** torch.linspace(0, (size - 2) / size, size // 2)[None]
        for place, size in zip(places, AXES, strict=True)
    ]
    angles = F.pad(torch.cat(angles, 1), (0, 0, words, 0))
    sign = torch.tensor([-1.0, 1.0]).repeat(HEAD // 2)
    angles = angles.repeat_interleave(2, dim=1)
    return torch.stack([angles.cos(), angles.sin() * sign])


def rotated(x: Tensor, turn: Tensor) -> Tensor:
    cosine, sine = turn.to(x.dtype)
    other = x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    return x * cosine + other * sine


def time_embedding(t: Tensor, size: int = 256) -> Tensor:
    """t: [B] in [0,1]."""
    rates = torch.exp(-math.log(10_000) * torch.arange(size // 2, device=t.device) / (size // 2))
    angles = 1000 * t[:, None] * rates[None]
    return torch.cat([angles.cos(), angles.sin()], -1)


class Embedder(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.in_layer, self.out_layer = nn.Linear(256, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.out_layer(F.silu(self.in_layer(x)))


class Modulation(nn.Module):
    """Shifts, scales and gates; at first nothing gets through a gate, so that every block starts as the identity."""

    def __init__(self, width: int, count: int):
        super().__init__()
        self.count, self.lin = count, nn.Linear(width, count * width)
        nn.init.zeros_(self.lin.weight)
        nn.init.zeros_(self.lin.bias)

    def forward(self, vector: Tensor) -> tuple[Tensor, ...]:
        return self.lin(F.silu(vector))[:, None].chunk(self.count, -1)


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(HEAD))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (HEAD,), self.scale.to(x.dtype), eps=1e-6)


class Norms(nn.Module):
    def __init__(self):
        super().__init__()
        self.query_norm, self.key_norm = Scale(), Scale()

    def forward(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B,T,3*width] -> three of [B,heads,T,128]."""
        q, k, v = qkv.unflatten(-1, (3, -1, HEAD)).permute(2, 0, 3, 1, 4)
        return self.query_norm(q), self.key_norm(k), v


class Attention(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.qkv, self.norm, self.proj = nn.Linear(width, 3 * width), Norms(), nn.Linear(width, width)


def attend(q: Tensor, k: Tensor, v: Tensor, turn: Tensor, bias: Tensor) -> Tensor:
    """Written out: with this few tokens the backward pass of torch's own costs three times as much on a CPU."""
    scores = (rotated(q, turn) * HEAD**-0.5) @ rotated(k, turn).mT + bias
    return (scores.softmax(-1, dtype=v.dtype) @ v).transpose(1, 2).flatten(2)


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift


def mlp(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))


class DoubleBlock(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.img_mod, self.txt_mod = Modulation(width, 6), Modulation(width, 6)
        self.img_attn, self.txt_attn = Attention(width), Attention(width)
        self.img_mlp, self.txt_mlp = mlp(width), mlp(width)

    def forward(self, image: Tensor, text: Tensor, vector: Tensor, turn: Tensor, bias: Tensor):
        streams = [(text, self.txt_mod(vector), self.txt_attn, self.txt_mlp)]
        streams += [(image, self.img_mod(vector), self.img_attn, self.img_mlp)]
        parts = [attn.norm(attn.qkv(modulated(x, mod[0], mod[1]))) for x, mod, attn, _ in streams]
        q, k, v = (torch.cat(pair, 2) for pair in zip(*parts, strict=True))
        out = attend(q, k, v, turn, bias).split([text.shape[1], image.shape[1]], 1)
        results = []
        for (x, mod, attn, feed), seen in zip(streams, out, strict=True):
            x = x + mod[2] * attn.proj(seen)
            results.append(x + mod[5] * feed(modulated(x, mod[3], mod[4])))
        return results[1], results[0]


class SingleBlock(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.width, self.modulation, self.norm = width, Modulation(width, 3), Norms()
        self.linear1, self.linear2 = nn.Linear(width, 7 * width), nn.Linear(5 * width, width)

    def forward(self, x: Tensor, vector: Tensor, turn: Tensor, bias: Tensor) -> Tensor:
        shift, scale, gate = self.modulation(vector)
        qkv, feed = self.linear1(modulated(x, shift, scale)).split([3 * self.width, 4 * self.width], -1)
        seen = attend(*self.norm(qkv), turn, bias)
        return x + gate * self.linear2(torch.cat([seen, F.gelu(feed, approximate="tanh")], -1))


class LastLayer(nn.Module):
    def __init__(self, width: int, channels: int):
        super().__init__()
        self.linear = nn.Linear(width, channels)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        for layer in (self.linear, self.adaLN_modulation[1]):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        shift, scale = self.adaLN_modulation(vector)[:, None].chunk(2, -1)
        return self.linear(modulated(x, shift, scale))


class FluxNet(nn.Module):
    """channels: of the latent; context: channels of the text encoder."""

    def __init__(self, channels: int, context: int, width: int = 256, double: int = 1, single: int = 4):
        super().__init__()
        self.img_in, self.txt_in = nn.Linear(channels * PATCH**2, width), nn.Linear(context, width)
        self.time_in = Embedder(width)
        self.double_blocks = nn.ModuleList(DoubleBlock(width) for _ in range(double))
        self.single_blocks = nn.ModuleList(SingleBlock(width) for _ in range(single))
        self.final_layer = LastLayer(width, channels * PATCH**2)

    def forward(self, x: Tensor, t: Tensor, text: Tensor, bias: Tensor) -> Tensor:
        """x: [B,C,h,w]; t: [B] in [0,1]; text: [B,L,context]; bias: [B,1,T,T], words first, additive."""
        rows, columns = x.shape[-2] // PATCH, x.shape[-1] // PATCH
        turn = rotations(rows, columns, text.shape[1]).to(x.device)
        cells = F.pixel_unshuffle(x, PATCH).flatten(2).mT
        image, text, vector = self.img_in(cells), self.txt_in(text), self.time_in(time_embedding(t))
        bias = bias.to(image.dtype)
        for block in self.double_blocks:
            image, text = block(image, text, vector, turn, bias)
        both = torch.cat([text, image], 1)
        for block in self.single_blocks:
            both = block(both, vector, turn, bias)
        out = self.final_layer(both[:, text.shape[1] :], vector)
        return F.pixel_shuffle(out.mT.unflatten(-1, (rows, columns)), PATCH)


def joint_bias(lengths: Tensor, weights: Tensor) -> Tensor:
    """[B,1,T,T], words first: words see their own prompt and its pixels, pixels see all pixels and their prompts."""
    size, regions = lengths.shape
    owner = torch.cat([torch.zeros(BASE_WORDS), 1 + torch.arange(regions).repeat_interleave(ROOM)]).long()
    spoken = torch.arange(ROOM)[None, None] < lengths[..., None]
    spoken = torch.cat([torch.ones(size, BASE_WORDS, dtype=torch.bool), spoken.flatten(1)], 1)
    pixels = F.avg_pool2d(weights, PATCH).flatten(2)
    log = torch.where(pixels > 1e-3, pixels.clamp_min(1e-3).log(), HIDDEN)[:, owner]
    words, total = len(owner), len(owner) + pixels.shape[-1]
    bias = torch.zeros(size, total, total)
    bias[:, :words, :words] = torch.where(owner[:, None] == owner[None], 0.0, HIDDEN)
    bias[:, :words, words:] = log
    bias[:, words:, :words] = log.mT
    bias[:, :, :words].masked_fill_(~spoken[:, None], HIDDEN)
    return bias[:, None]


def host_layout(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same network for latents of 16 channels, of which it neither reads nor moves the last ones."""
    own, spare = weights["img_in.weight"].shape[1], HOST_CHANNELS * PATCH**2
    return weights | {
        "img_in.weight": F.pad(weights["img_in.weight"], (0, spare - own)),
        "final_layer.linear.weight": F.pad(weights["final_layer.linear.weight"], (0, 0, 0, spare - own)),
        "final_layer.linear.bias": F.pad(weights["final_layer.linear.bias"], (0, spare - own)),
    }


def own_layout(weights: dict[str, Tensor], channels: int) -> dict[str, Tensor]:
    """What `host_layout` made, for latents of `channels` channels again."""
    kept = channels * PATCH**2
    return weights | {
        "img_in.weight": weights["img_in.weight"][:, :kept],
        "final_layer.linear.weight": weights["final_layer.linear.weight"][:kept],
        "final_layer.linear.bias": weights["final_layer.linear.bias"][:kept],
    }
