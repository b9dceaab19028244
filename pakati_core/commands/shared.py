"""What several verbs need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def engine(model: str):
    from ..engines.diffusers import DiffusersEngine

    return DiffusersEngine(model)


def bar(title: str, unit: str = "step") -> Callable[[int, int], None]:
    """A tqdm bar for one picture after the other; each begins where the last one ended."""
    from tqdm import tqdm

    shown: Any = tqdm(desc=title, unit=unit, leave=False)

    def step(done: int, total: int, /) -> None:
        nonlocal shown
        if shown is None:
            shown = tqdm(desc=title, unit=unit, leave=False)
        shown.total = total
        shown.update(done - shown.n)
        if done == total:
            shown.close()
            shown = None

    return step
