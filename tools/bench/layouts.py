"""Random layouts of regions with an object or a material each, and what the reader says of their pictures."""

from __future__ import annotations

import numpy as np

from pakati_core.geometry import Extent
from pakati_core.regions import Region, RegionSet
from pakati_core.shapes import BoxShape, Units
from pakati_core.tiny.captions import name
from pakati_core.tiny.check import Wanted, see
from pakati_core.tiny.reader import GRID, Reading
from pakati_core.tiny.world import PAIRS, Frame, Thing
from tools.bench.shares import Score
from tools.train.data import cells, random_material, random_pair


def random_layout(rng: np.random.Generator, count: int, side: int, materials_only: bool = False) -> RegionSet:
    """`count` cells that fill the canvas, each with another object (or material) as its prompt.

    In half of the layouts the cuts lie between latent cells, as those at halves and quarters do.
    """
    base, taken, regions = random_material(rng), set(), []
    for number, cell in enumerate(cells(rng, count)):
        material = random_material(rng)
        while material == base or any(material in region.prompt for region in regions):
            material = random_material(rng)
        prompt = material
        if not materials_only:
            own = rng.random() < 0.5
            thing = Thing(*random_pair(rng, material if own else base, taken, PAIRS), 0.5, 0.5, 0.2)
            prompt = f"{name(thing)} on {material}" if own else name(thing)
        regions.append(Region(f"r{number}", _box(cell), prompt))
    return RegionSet(Extent(side, side), tuple(regions), base)


def _box(cell: Frame) -> BoxShape:
    return BoxShape(cell.left, cell.top, cell.right - cell.left, cell.bottom - cell.top, units=Units.fraction)


def judge_layout(score: Score, label: str, reading: Reading, layout: RegionSet) -> None:
    wanted = [Wanted.of(region.prompt) for region in layout.regions]
    for share, own in zip(layout.weights_on_grid(GRID, GRID)[1:], wanted, strict=True):
        seen = see(reading, share, own)
        main = seen.main
        score.add(f"{label}: object right", main is not None and (main.kind, main.colour) == (own.kind, own.colour))
        score.add(f"{label}: colour right", main is not None and main.colour == own.colour)
        if own.material:
            score.add(f"{label}: its material right", seen.material == own.material)
        score.add(f"{label}: bleed", any(_bled(found, own, wanted) for found in seen.objects))


def _bled(found, own: Wanted, wanted: list[Wanted]) -> bool:
    """An object, or a colour, that another region asked for and this one did not."""
    others = [other for other in wanted if other is not own]
    pair = (found.kind, found.colour) != (own.kind, own.colour)
    colour = found.colour != own.colour and any(found.colour == other.colour for other in others)
    return pair and (colour or any((found.kind, found.colour) == (other.kind, other.colour) for other in others))
