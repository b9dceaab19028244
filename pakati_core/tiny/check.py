"""Does a picture of the embedded world show what its prompts asked for? Answered by the reader, region by region."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from ..layout import pil_to_image
from ..regions import RegionSet
from .reader import GRID, Finding, Reader, Reading
from .words import known_by_name
from .world import COLOURS, KINDS, NATURAL, TEXTURES


@dataclass(frozen=True)
class Wanted:
    """What a prompt of the closed vocabulary asks for; None where it leaves that open."""

    kind: str | None = None
    colour: str | None = None
    material: str | None = None

    @classmethod
    def of(cls, prompt: str) -> Wanted:
        """The first object, its colour, and the material: `a red circle on plain blue`."""
        words = known_by_name(prompt)
        kind = next((word for word in words if word in KINDS), None)
        before = words[: words.index(kind)] if kind else []
        colour = next((word for word in reversed(before) if word in COLOURS), NATURAL.get(kind or ""))
        return cls(kind, colour if kind else None, _material(words))


def _material(words: list[str]) -> str | None:
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == "plain" and following in COLOURS:
            return f"plain {following}"
    return next((word for word in words if word in TEXTURES), None)


@dataclass(frozen=True)
class Seen:
    """What the reader saw in one region. right: all that the prompt asked for is there."""

    text: str
    right: bool
    objects: tuple[Finding, ...]
    material: str

    @property
    def main(self) -> Finding | None:
        return self.objects[0] if self.objects else None


def see(reading: Reading, weights: Tensor, wanted: Wanted) -> Seen:
    """weights: [16,16] share of each cell that belongs to the region. Objects count where their centre lies."""
    inside = [f for f in reading.findings if weights[_cell(f.y), _cell(f.x)] >= 0.5]
    inside.sort(key=lambda finding: -finding.confidence * finding.radius)
    material = reading.material(weights)
    main = inside[0] if inside else None
    object_right = wanted.kind is None or (
        main is not None and (main.kind, main.colour) == (wanted.kind, wanted.colour)
    )
    material_right = wanted.material in (None, material)
    what = " and ".join(finding.name for finding in inside) or "nothing"
    return Seen(f"{what} on {material}", object_right and material_right, tuple(inside), material)


def _cell(fraction: float) -> int:
    return min(GRID - 1, max(0, int(fraction * GRID)))


def see_regions(image: Image.Image, regions: RegionSet, reader: Reader | None = None) -> dict[str, Seen]:
    """Every region of a layout by its id."""
    reading = (reader or Reader()).read(pil_to_image(image))[0]
    weights = regions.weights_on_grid(GRID, GRID)[1:] if regions.regions else torch.zeros(0, GRID, GRID)
    return {
        region.id: see(reading, share, Wanted.of(region.prompt))
        for region, share in zip(regions.regions, weights, strict=True)
    }
