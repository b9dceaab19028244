"""The networks that find the embedded world's heads and tell them apart. Trained by tools/train/heads.py."""

from __future__ import annotations

from pathlib import Path

import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import ModelError
from .cast import FOLDER

HEADS = FOLDER / "heads.safetensors"
SIDE, CELL = 128, 8  # pictures are searched at this size of the shorter side; pixels of a cell of the finder's heat


def _block(inside: int, outside: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True)
    )


class HeadFinder(nn.Module):
    """[B,3,H,W] in [0,1] -> [B,1+10,H/8,W/8]: heat of the nose (logits), and the marks from the cell's middle, in
    cells. In the manner of CenterNet (https://arxiv.org/abs/1904.07850).
    """

    def __init__(self):
        super().__init__()
        widths = ((3, 16, 2), (16, 32, 2), (32, 64, 2), (64, 64, 1), (64, 64, 1))
        self.body = nn.Sequential(*(_block(*width) for width in widths))
        self.head = nn.Conv2d(64, 11, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.body(image * 2 - 1))


class HeadEmbedder(nn.Module):
    """[B,3,112,112] faces as ArcFace's template wants them, (RGB - 127.5) / 127.5 -> [B,64] of length 1."""

    def __init__(self):
        super().__init__()
        widths = (3, 24, 48, 96, 128)
        blocks = [_block(a, b, 2) for a, b in zip(widths, widths[1:])]
        self.body = nn.Sequential(*blocks, _block(128, 128, 1), nn.Flatten())
        self.head = nn.Linear(128 * 49, 64)

    def forward(self, face: Tensor) -> Tensor:
        return F.normalize(self.head(self.body(face)))


def load_head_nets(path: Path = HEADS) -> tuple[HeadFinder, HeadEmbedder]:
    """Raises ModelError."""
    nets = nn.ModuleDict({"finder": HeadFinder(), "embedder": HeadEmbedder()})
    try:
        nets.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as exc:
        raise ModelError(f"the finder of heads at {path} is damaged or missing; install Pakati again") from exc
    nets.float().eval().requires_grad_(False)
    return nets["finder"], nets["embedder"]  # type: ignore[return-value]
