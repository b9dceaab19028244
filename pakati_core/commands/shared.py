"""What several verbs need."""

from __future__ import annotations

from collections.abc import Callable


def engine(model: str):
    from ..engines.diffusers import DiffusersEngine

    return DiffusersEngine(model)


def bar(title: str, unit: str = "step") -> Callable[[int, int], None]:
    from tqdm import tqdm

    shown = tqdm(desc=title, unit=unit, leave=False)

    def step(done: int, total: int, /) -> None:
        shown.total = total
        shown.update(done - shown.n)
        if done == total:
            shown.close()

    return step
