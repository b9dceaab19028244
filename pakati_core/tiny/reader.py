"""Reads pictures of the embedded world: which object of which colour stands where, and what lies under it.

A small detector in the manner of CenterNet (https://arxiv.org/abs/1904.07850): a heat map of object centres on a
16x16 grid, and at each centre the kind, the colour and the size; the material is read in every cell.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import ModelError
from .world import COLOURS, KINDS, MATERIALS

SIDE = 128  # every picture is read at this size
GRID = 16
MALFORMED = "malformed"
READ_KINDS = (*KINDS, MALFORMED)
_SPLIT = (1, 2, 1, len(READ_KINDS), len(COLOURS), len(MATERIALS))  # heat, offset, radius, kind, colour, material


class Finding(NamedTuple):
    """One object that was read. x, y: its centre; radius: half its size (fractions of the picture)."""

    kind: str
    colour: str
    x: float
    y: float
    radius: float
    material: str  # what lies under it
    confidence: float

    @property
    def name(self) -> str:
        return f"{self.colour} {self.kind}"


class Reading(NamedTuple):
    findings: list[Finding]  # most confident first
    materials: Tensor  # [16,16] indices into MATERIALS
    certainty: Tensor  # [16,16] in [0,1]

    def material(self, weights: Tensor | None = None) -> str:
        """The material that covers most of `weights` ([16,16]; None: the whole picture), objects left out."""
        votes = self.certainty if weights is None else self.certainty * weights
        for finding in self.findings:
            votes = votes * (1 - _disc(finding))
        return MATERIALS[int(torch.bincount(self.materials.flatten(), votes.flatten(), len(MATERIALS)).argmax())]


def _disc(finding: Finding) -> Tensor:
    centres = (torch.arange(GRID) + 0.5) / GRID
    far = (centres[None] - finding.x) ** 2 + (centres[:, None] - finding.y) ** 2
    return (far < (finding.radius + 0.03) ** 2).float()


class _Block(nn.Sequential):
    def __init__(self, inside: int, outside: int, stride: int = 1, dilation: int = 1):
        super().__init__(
            nn.Conv2d(inside, outside, 3, stride, dilation, dilation, bias=False),
            nn.BatchNorm2d(outside),
            nn.ReLU(inplace=True),
        )


class ReaderNet(nn.Module):
    """[B,3,128,128] in [0,1] -> [B,sum(_SPLIT),16,16]."""

    def __init__(self):
        super().__init__()
        self.fine = nn.Sequential(_Block(3, 16, 2), _Block(16, 32, 2), _Block(32, 32), _Block(32, 64, 2))
        self.middle = nn.Sequential(_Block(64, 64), _Block(64, 64))
        # dilated, or a cell would not see all of an object that fills most of the picture
        self.coarse = nn.Sequential(_Block(64, 96, 2), _Block(96, 96, dilation=2))
        self.merge = nn.Sequential(_Block(64 + 96, 64), _Block(64, 64))
        self.head = nn.Conv2d(64, sum(_SPLIT), 1)

    def forward(self, image: Tensor) -> Tensor:
        fine = self.fine(image * 2 - 1)
        middle = self.middle(fine) + fine
        coarse = F.interpolate(self.coarse(middle), scale_factor=2.0, mode="nearest")
        return self.head(self.merge(torch.cat([middle, coarse], 1)))


class Reader:
    """Loads the embedded reader once; `read` takes pictures of any size."""

    def __init__(self, path: Path | None = None):
        path = path or Path(__file__).parent / "weights" / "reader.safetensors"
        self.net = ReaderNet().eval()
        try:
            weights = load_file(path)
            self.net.load_state_dict(
                {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}
            )
        except Exception as exc:
            raise ModelError(f"the reader's weights at {path} are missing or damaged; install Pakati again") from exc

    @torch.no_grad()
    def read(self, image: Tensor, threshold: float = 0.35) -> list[Reading]:
        """image: [B,H,W,3] in [0,1]. One Reading for each picture."""
        small = F.interpolate(image.permute(0, 3, 1, 2).float(), (SIDE, SIDE), mode="area")
        return [_decode(row, threshold) for row in self.net(small)]

    @torch.no_grad()
    def odds(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """[B,3,128,128] in [0,1] -> the odds of each of READ_KINDS and of each colour, in every cell: [B,*,16,16]."""
        _, _, _, kind, colour, _ = self.net(pixels).split(_SPLIT, 1)
        return kind.softmax(1), colour.softmax(1)


def _decode(cells: Tensor, threshold: float) -> Reading:
    heat, offset, radius, kind, colour, material = cells.split(_SPLIT)
    heat = heat.sigmoid()
    peaks = (heat == F.max_pool2d(heat[None], 3, 1, 1)[0]) & (heat > threshold)
    certainty, materials = material.softmax(0).max(0)
    found = []
    for row, column in peaks[0].nonzero().tolist():
        dx, dy = offset[:, row, column].tolist()
        found.append(
            Finding(
                READ_KINDS[int(kind[:, row, column].argmax())],
                tuple(COLOURS)[int(colour[:, row, column].argmax())],
                (column + 0.5 + dx) / GRID,
                (row + 0.5 + dy) / GRID,
                float(radius[0, row, column].exp()),
                MATERIALS[int(materials[row, column])],
                float(heat[0, row, column]),
            )
        )
    return Reading(sorted(found, key=lambda f: -f.confidence), materials, certainty)
