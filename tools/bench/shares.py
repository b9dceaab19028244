"""Hits and tries, with their intervals."""

from __future__ import annotations

from typing import NamedTuple


class Share(NamedTuple):
    """`hits` of `count`, with Wilson's 95 % interval."""

    hits: int
    count: int

    @property
    def interval(self) -> tuple[float, float]:
        n, p, z = max(1, self.count), self.hits / max(1, self.count), 1.96
        middle, spread = p + z * z / (2 * n), z * ((p * (1 - p) + z * z / (4 * n)) / n) ** 0.5
        return max(0.0, (middle - spread) / (1 + z * z / n)), min(1.0, (middle + spread) / (1 + z * z / n))

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.hits / max(1, self.count):6.1%} [{low:.1%}, {high:.1%}] of {self.count}"


class Score:
    """Named hits and tries."""

    def __init__(self):
        self.shares: dict[str, Share] = {}

    def add(self, name: str, hit: bool) -> None:
        old = self.shares.get(name, Share(0, 0))
        self.shares[name] = Share(old.hits + bool(hit), old.count + 1)
