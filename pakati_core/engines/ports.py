"""What the rest of Pakati sees of an engine: a request goes in, a picture comes out."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol, Self

from PIL import Image
from torch import Tensor

from ..errors import LayoutFileError
from ..regions import RegionSet


@dataclass(frozen=True)
class Request:
    """Everything that a generation needs; to_dict and from_dict round-trip through JSON."""

    regions: RegionSet
    seed: int = 0
    steps: int | None = None  # None: the model's own default
    guidance: float | None = None  # classifier-free guidance scale; None: the model's own default
    strength: float = 1.0  # of an edit, in (0,1]: 1 starts from pure noise
    soft: bool = False  # of an edit: a grey pixel of the mask joins late, 0.3 for the last 30 % of the steps

    def to_dict(self, folder: Path | None = None) -> dict[str, Any]:
        data = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return {**data, "regions": self.regions.to_dict(folder)}

    @classmethod
    def from_dict(cls, data: dict[str, Any], folder: Path | None = None) -> Self:
        known = {f.name for f in fields(cls)}
        if "regions" not in data or set(data) - known:
            raise LayoutFileError(f"a request has {sorted(data)}; give {sorted(known)} with at least regions")
        return cls(**{**data, "regions": RegionSet.from_dict(data["regions"], folder)})


@dataclass(frozen=True)
class Picture:
    """A result and what made it."""

    image: Image.Image
    request: Request
    model: str
    seconds: float
    notes: tuple[str, ...] = field(default=())  # what the engine could not do as asked
    unblended: Image.Image | None = None  # of an edit: as the model left it, before all outside the mask was put back


@dataclass(frozen=True)
class Capabilities:
    """multiple_of: both sides must divide by it; sides outside [smallest, largest] are refused."""

    model: str
    multiple_of: int
    smallest: int
    largest: int
    best: int  # side at which the model is at its best
    device: str
    megabytes: float  # memory that the loaded weights take
    good: int = 64  # smallest side at which it still paints well
    regional: bool = True  # gives each region its own prompt in one pass
    inpaint: bool = True  # can edit
    control: bool = False  # follows control pictures


class Progress(Protocol):
    def __call__(self, done: int, total: int, /) -> None:
        """After each step; an exception raised here cancels the run."""
        ...


class Engine(Protocol):
    def generate(self, request: Request, progress: Progress | None = None) -> Picture:
        """A picture of request.regions.extent."""
        ...

    def edit(self, request: Request, image: Image.Image, mask: Tensor, progress: Progress | None = None) -> Picture:
        """Repaint where mask ([H,W] in [0,1]) is above 0; every pixel where it is 0 comes back as it was.

        Noise goes only inside; outside, each step is held on the picture's own way from noise to what it is.
        """
        ...

    def capabilities(self) -> Capabilities: ...

    def unload(self) -> None:
        """Give the memory back; the next call loads again."""
        ...
