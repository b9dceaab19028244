"""The steps of a canvas: a tree, so that going back and on another way loses nothing."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
from PIL import Image

from ..errors import CanvasError
from ..geometry import Box
from ..masks import bounds_of
from ..regions import RegionSet


@dataclass(frozen=True)
class Stroke:
    """One call of a model within a step."""

    model: str
    regions: tuple[str, ...]
    seconds: float
    size: tuple[int, int]  # that the model painted
    box: tuple[int, int, int, int] | None = None  # of the canvas, x, y, width, height; None: all of it
    notes: tuple[str, ...] = ()
    seam: tuple[str, float, float] | None = None  # how it was joined, energy of plain feathering, energy now


@dataclass(frozen=True)
class State:
    """The canvas after one step: its picture as PNG bytes, its layout, and how it came about."""

    id: int
    parent: int | None
    title: str
    time: str  # UTC, ISO 8601
    png: bytes = field(repr=False)
    regions: RegionSet
    dirty: tuple[str, ...] = ()
    request: dict[str, Any] = field(default_factory=dict)  # seed, steps, guidance, strength, mode and blend as asked
    strokes: tuple[Stroke, ...] = ()

    @property
    def image(self) -> Image.Image:
        with Image.open(io.BytesIO(self.png)) as picture:
            return picture.convert("RGB")

    @property
    def seconds(self) -> float:
        return sum(stroke.seconds for stroke in self.strokes)

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(stroke.model for stroke in self.strokes))


@dataclass(frozen=True)
class Comparison:
    """What differs between two states. share: of all pixels; box: around them; regions: ids that hold some of them."""

    share: float
    box: Box
    regions: tuple[str, ...]
    picture: Image.Image = field(repr=False)  # the second one, where it is the same as the first in pale grey


class History:
    """States in a tree. `next` remembers which way redo goes where it forks: the one that was come from."""

    def __init__(self, states: dict[int, State] | None = None, current: int | None = None,
                 next: dict[int, int] | None = None):  # fmt: skip
        self.states, self._current, self.next = states or {}, current, next or {}

    @property
    def current(self) -> State | None:
        return None if self._current is None else self.states[self._current]

    def add(self, title: str, image: Image.Image | bytes, regions: RegionSet, dirty: tuple[str, ...] = (),
            request: dict[str, Any] | None = None, strokes: tuple[Stroke, ...] = ()) -> State:  # fmt: skip
        """A new step after the current one. What was undone before stays, as a branch."""
        png = image if isinstance(image, bytes) else png_bytes(image)
        time = datetime.now(UTC).isoformat(timespec="seconds")
        state = State(
            max(self.states, default=0) + 1, self._current, title, time, png, regions, dirty, request or {}, strokes
        )
        self.states[state.id] = state
        self._arrive(state.id)
        return state

    def leave(self) -> None:
        """Stand before the first step: the next one begins a line of its own."""
        self._current = None

    def undo(self) -> State:
        parent = self.current.parent if self.current else None
        if parent is None:
            raise CanvasError("there is nothing to undo: this is the first step; redo or go to another one")
        return self._arrive(parent)

    def redo(self) -> State:
        following = self.next.get(self._current or 0)
        if following is None:
            raise CanvasError("there is nothing to redo: this is the last step of its branch; see the history")
        return self._arrive(following)

    def go(self, id: int) -> State:
        self.state(id)
        return self._arrive(id)

    def state(self, id: int) -> State:
        if id not in self.states:
            raise CanvasError(
                f"there is no step {id}; the history has {', '.join(map(str, self.states)) or 'none yet'}"
            )
        return self.states[id]

    def path(self, id: int) -> list[State]:
        """From the first step to this one."""
        found = [self.state(id)]
        while (parent := found[-1].parent) is not None:
            found.append(self.states[parent])
        return found[::-1]

    def branches(self) -> list[list[State]]:
        """The path to each last step, oldest first."""
        parents = {state.parent for state in self.states.values()}
        return [self.path(id) for id in self.states if id not in parents]

    def compare(self, first: int, second: int) -> Comparison:
        one, two = self.state(first), self.state(second)
        return compare(one.image, two.image, two.regions)

    def __iter__(self) -> Iterator[State]:
        return iter(self.states.values())

    def __len__(self) -> int:
        return len(self.states)

    def _arrive(self, id: int) -> State:
        self._current = id
        for earlier, later in pairwise(self.path(id)):
            self.next[earlier.id] = later.id
        return self.states[id]


def compare(one: Image.Image, two: Image.Image, regions: RegionSet) -> Comparison:
    before, after = np.asarray(one.convert("RGB")), np.asarray(two.convert("RGB"))
    changed = (before != after).any(-1)
    held = [
        region.id for region, share in zip(regions.regions, regions.coverage()) if (changed & (share.numpy() > 0)).any()
    ]
    pale = after.mean(-1, keepdims=True).repeat(3, -1) * 0.4 + 150
    shown = np.where(changed[..., None], after, pale).astype(np.uint8)
    return Comparison(float(changed.mean()), bounds_of(changed), tuple(held), Image.fromarray(shown))


def png_bytes(image: Image.Image) -> bytes:
    """Lossless, and quick rather than small."""
    out = io.BytesIO()
    image.convert("RGB").save(out, "PNG", compress_level=2)
    return out.getvalue()
