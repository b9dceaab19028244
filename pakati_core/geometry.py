"""Values on the canvas: x to the right, y down, pixel (i, j) fills the unit square from (i, j) to (i+1, j+1)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple

import numpy as np


class Extent(NamedTuple):
    width: int
    height: int

    @property
    def box(self) -> Box:
        return Box(0, 0, self.width, self.height)

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


class Point(NamedTuple):
    x: float
    y: float


class Box(NamedTuple):
    """Left, top, width and height. A box without area is empty; verbs never return a negative width or height."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @property
    def area(self) -> float:
        return self.width * self.height

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of a box of whole pixels: tensor[..., *box.slices]."""
        return slice(int(self.y), int(self.bottom)), slice(int(self.x), int(self.right))

    @property
    def is_empty(self) -> bool:
        return self.width <= 0 or self.height <= 0

    @classmethod
    def between(cls, left: float, top: float, right: float, bottom: float) -> Box:
        return cls(left, top, max(right - left, 0), max(bottom - top, 0))

    def contains(self, other: Box) -> bool:
        return self.x <= other.x and self.y <= other.y and self.right >= other.right and self.bottom >= other.bottom

    def meets(self, other: Box) -> bool:
        return not self.intersect(other).is_empty

    def intersect(self, other: Box) -> Box:
        return Box.between(
            max(self.x, other.x),
            max(self.y, other.y),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        )

    def pad(self, margin: float) -> Box:
        """Move every side outwards; a negative margin moves them inwards and stops at the middle."""
        dx, dy = max(margin, -self.width / 2), max(margin, -self.height / 2)
        return Box(self.x - dx, self.y - dy, self.width + 2 * dx, self.height + 2 * dy)

    def clamp(self, within: Box) -> Box:
        """Push the box inside another one: it keeps its size where it fits and is cut where it does not."""
        width, height = min(self.width, within.width), min(self.height, within.height)
        x = min(max(self.x, within.x), within.right - width)
        y = min(max(self.y, within.y), within.bottom - height)
        return Box(x, y, width, height)

    def multiple_of(self, step: int) -> Box:
        """Whole pixels around the box whose width and height divide by step, spread evenly to both sides."""
        box = self.rounded_out()
        width, height = math.ceil(box.width / step) * step, math.ceil(box.height / step) * step
        return Box(box.x - (width - box.width) // 2, box.y - (height - box.height) // 2, width, height)

    def relative_to(self, origin: Box) -> Box:
        """The same box seen from the left top corner of another one."""
        return Box(self.x - origin.x, self.y - origin.y, self.width, self.height)

    def rounded_out(self) -> Box:
        """The smallest box of whole pixels that holds this one; all four numbers are int."""
        left, top = math.floor(self.x), math.floor(self.y)
        return Box(left, top, math.ceil(self.right) - left, math.ceil(self.bottom) - top)

    def scaled(self, across: float, down: float) -> Box:
        return Box(self.x * across, self.y * down, self.width * across, self.height * down)


class Polygon(NamedTuple):
    """Corners in order, either way round; the last one joins the first."""

    points: tuple[Point, ...]

    @classmethod
    def of(cls, points: Iterable[Iterable[float]]) -> Polygon:
        """From the plain form [(x, y), ...]. Corners that repeat their neighbour are dropped."""
        corners = [corner for corner, _ in groupby(Point(*point) for point in points)]
        if len(corners) > 1 and corners[0] == corners[-1]:
            corners.pop()
        return cls(tuple(corners))

    @property
    def area(self) -> float:
        x, y = np.asarray(self.points, dtype=np.float64).reshape(-1, 2).T
        x, y = x - x[:1], y - y[:1]  # near the origin the products lose no digits
        return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2

    @property
    def bounds(self) -> Box:
        x, y = zip(*self.points)
        return Box.between(min(x), min(y), max(x), max(y))

    @property
    def is_self_crossing(self) -> bool:
        """Do two edges cross at a point inside both?

        Corners and edges that only touch do not cross, so an outline may reach a hole over a bridge walked twice.
        """
        start = np.asarray(self.points, dtype=np.float64).reshape(-1, 2)
        end = np.roll(start, -1, axis=0)
        return any(np.any(_sides_differ(start[i], end[i], start[i + 1 :], end[i + 1 :])) for i in range(len(start) - 1))

    def relative_to(self, origin: Box) -> Polygon:
        """The same polygon seen from the left top corner of a box."""
        return Polygon(tuple(Point(x - origin.x, y - origin.y) for x, y in self.points))

    def scaled(self, across: float, down: float) -> Polygon:
        return Polygon(tuple(Point(x * across, y * down) for x, y in self.points))


def _sides_differ(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Does the segment a-b properly cross each of the segments c-d?  a, b: [2].  c, d: [N,2].  Returns bool [N]."""

    def side(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        (ux, uy), (vx, vy) = (q - p).T, (r - p).T
        return np.sign(ux * vy - uy * vx)

    return (side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)
