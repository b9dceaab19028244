"""Which model paints which regions, and in which order: the fewest calls in which nothing is painted too late."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

BASE = ""  # stands among the ids for what no region covers


class Pass(NamedTuple):
    """One call of one model."""

    model: str
    regions: tuple[str, ...]


def order_passes(ids: list[str], reach: dict[str, Tensor], model_of: Callable[[str], str]) -> list[Pass]:
    """ids: in painting order, BASE first if it is among them.  reach: bool [H,W] of each, what it lies on.

    Regions of one model share a pass unless one of another model comes between them: a region is painted after all
    that it overlaps and that come before it, so that it sees them when it is painted.
    """
    stage: dict[str, int] = {}
    stages: list[tuple[str, list[str]]] = []
    for i, id in enumerate(ids):
        under = [other for other in ids[:i] if bool((reach[id] & reach[other]).any())]
        earliest = max((stage[other] + (model_of(other) != model_of(id)) for other in under), default=0)
        at = next((n for n in range(earliest, len(stages)) if stages[n][0] == model_of(id)), len(stages))
        if at == len(stages):
            stages.append((model_of(id), []))
        stages[at][1].append(id)
        stage[id] = at
    return [Pass(model, tuple(regions)) for model, regions in stages]
