"""Reference pictures, each with what to take from it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from ..errors import ShapeError
from ..layout import pil_to_image
from ..regions import RegionSet
from .delta import ASPECTS, Delta, compare, fit_reference


@dataclass(frozen=True, eq=False)
class Reference:
    """A picture, what is meant by it, the aspect to take, and the region that it is for (None: the whole canvas)."""

    image: Image.Image
    description: str
    aspect: str = "general"
    region: str | None = None

    def __post_init__(self):
        aspect = {"color": "colour"}.get(self.aspect, self.aspect)
        if aspect not in ASPECTS:
            raise ShapeError(f"reference {self.description!r} is for {self.aspect!r}; give one of {', '.join(ASPECTS)}")
        object.__setattr__(self, "aspect", aspect)

    def delta(self, picture: Image.Image, regions: RegionSet | None = None) -> Delta:
        """The picture's region against the whole reference, which is fitted to the region's window."""
        image, mask = pil_to_image(picture)[0], None
        if self.region is not None:
            window, mask = _region(self.region, regions, picture)
            image, mask = image[window], mask[window]
        return compare(image, fit_reference(pil_to_image(self.image)[0], *image.shape[:2]), mask)


def _region(name: str, regions: RegionSet | None, picture: Image.Image) -> tuple[tuple[slice, slice], Tensor]:
    layout = regions.at_extent(regions.extent._replace(width=picture.width, height=picture.height)) if regions else None
    found = {region.id: region for region in layout.regions} if layout else {}
    if name not in found or layout is None:
        raise ShapeError(
            f"a reference is for the region {name!r} but the regions are {sorted(found)}; name one of them"
        )
    share = layout.coverage()[list(found).index(name)]
    rows, columns = (share > 0.5).any(1).nonzero(), (share > 0.5).any(0).nonzero()
    if not len(rows):
        raise ShapeError(f"other regions lie over all of the region {name!r}; move one of them")
    window = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    return window, share


def quality(deltas: list[tuple[Reference, Delta]]) -> float:
    """1 where every reference is met in its aspect, towards 0 the further off the picture is."""
    if not deltas:
        return 1.0
    return float(torch.tensor([1 / (1 + delta.distance(ref.aspect)) for ref, delta in deltas]).mean())
