"""The regions' encoded prompts, and the plan that they make on a token grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from ..masks import area_pool
from ..regions import Region, RegionSet
from .plan import AttentionPlan, make_plan


class Frame(NamedTuple):
    """The latent canvas; area: the part of it that is worked on (height, width, top, left), None: all."""

    height: int
    width: int
    area: tuple[int, int, int, int] | None = None


@dataclass(eq=False)
class RegionalText:
    """prompts: id of a region -> [1,tokens,channels]. A region without an entry leaves its area to the base prompt.

    offsets: id -> position of its first token in a prompt that is alone; 0 where there is none. extras: id -> what
    else its encoder says, for models that make their own text of both.
    """

    regions: RegionSet
    prompts: dict[str, Tensor]
    offsets: dict[str, int] = field(default_factory=dict)
    extras: dict[str, tuple[Tensor, ...]] = field(default_factory=dict)
    adapted: tuple[object, RegionalText] | None = None  # what it was made for, and what a model made of it
    _plans: dict = field(default_factory=dict)

    def active(self, is_active: Callable[[Region], bool]) -> tuple[str, ...]:
        """Ids of the regions that have text here and are in their time."""
        return tuple(region.id for region in self.regions.regions if region.id in self.prompts and is_active(region))

    def strengths(self, active: tuple[str, ...]) -> tuple[float, ...]:
        weights = {region.id: region.weight for region in self.regions.regions}
        return (1.0, *(weights[name] for name in active))

    def plan(self, active: tuple[str, ...], frame: Frame, grid: tuple[int, int], device: torch.device) -> AttentionPlan:
        """Made once for each set of active regions and each grid."""
        key = (active, frame, grid, device)
        if key not in self._plans:
            self._plans[key] = make_plan(self._weights(active, frame, grid)).to(device)
        return self._plans[key]

    def _weights(self, active: tuple[str, ...], frame: Frame, grid: tuple[int, int]) -> Tensor:
        """[1+active, *grid]. Regions out of their time give their area back to what lies under them."""
        kept = tuple(r for r in self.regions.regions if r.id in active or r.id not in self.prompts)
        layout = RegionSet(self.regions.extent, kept, overlap=self.regions.overlap)
        if frame.area is None:
            weights = layout.weights_on_grid(*grid)
        else:
            height, width, top, left = frame.area
            window = layout.weights_on_grid(frame.height, frame.width)[:, top : top + height, left : left + width]
            weights = area_pool(window.contiguous(), *grid)
        speaking = [1 + [region.id for region in kept].index(name) for name in active]
        silent = [row for row in range(len(weights)) if row not in speaking]
        return _with_base(weights[silent].sum(0, keepdim=True), weights[speaking], [kept[row - 1] for row in speaking])


def _with_base(base: Tensor, weights: Tensor, regions: list[Region]) -> Tensor:
    """The base prompt's weights and the regions', once each region has given its share to the base prompt."""
    if not any(region.base for region in regions):
        return torch.cat([base, weights])
    given = weights * torch.tensor([region.base for region in regions])[:, None, None]
    return torch.cat([base + given.sum(0, keepdim=True), weights - given])
