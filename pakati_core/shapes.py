"""What a region may look like: a polygon, box, ellipse, painted mask or the whole canvas.

A shape is a plain value. Its numbers are canvas pixels or fractions of the canvas; `check` and `check_on` raise
ShapeError where they cannot be drawn, and the region that holds the shape puts its name before the message.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .errors import ShapeError
from .geometry import Box, Extent, Polygon
from .layout import array_to_mask, pil_to_mask
from .masks import area_pool, bounds_of, box_mask, ellipse_mask, polygon_mask

MAX_SIDE = 16384  # pixels, as in ComfyUI
FARTHEST = 1_000_000  # pixels; beyond it the area arithmetic would lose its last digits
PNG_PREFIX = "data:image/png;base64,"


class Units(StrEnum):
    pixels = "pixels"
    fraction = "fraction"  # 0 is left or top, 1 is right or bottom


class MaskFolder(NamedTuple):
    """Where the mask files of a layout lie."""

    path: Path
    confine: bool = True  # refuse files outside

    def find(self, name: str) -> Path:
        absolute = PurePosixPath(name).is_absolute() or PureWindowsPath(name).is_absolute()
        try:
            file = (self.path / name).resolve()
        except (OSError, ValueError, RuntimeError) as exc:
            raise ShapeError(f"mask file {name!r} is no path; give the name of a picture file") from exc
        if self.confine and (absolute or not file.is_relative_to(self.path.resolve())):
            raise ShapeError(f"mask file {name!r} lies outside the folder of the layout; put it beside the layout")
        return file


@dataclass(frozen=True)
class Shape:
    """What all shapes share. `draw` paints, `scaled` follows a canvas to another size, `key` names it in JSON."""

    key: ClassVar[str]

    def draw(self, extent: Extent, window: Box) -> Tensor:
        """float32 [h,w] in [0,1]: the share of each pixel's area inside the shape, for a part of the canvas.

        window: whole pixels inside the canvas. Drawing parts is what keeps many small regions cheap.
        """
        raise NotImplementedError

    def mask(self, extent: Extent) -> Tensor:
        """The whole canvas, [H,W]."""
        return self.draw(extent, extent.box)

    def bounds(self, extent: Extent) -> Box:
        """A box in pixels that holds the shape; it may reach outside the canvas."""
        return extent.box

    def check(self) -> None:
        """Raises ShapeError unless the shape makes sense by itself."""

    def check_on(self, extent: Extent) -> None:
        """Raises ShapeError unless some of the shape lies on the canvas."""
        if not extent.box.contains(self.bounds(extent)) and not self.mask(extent).any():
            raise ShapeError(f"{self.key} has nothing inside the {extent} canvas; move it there")

    def scaled(self, across: float, down: float) -> Shape:
        return self

    def to_json(self, folder: Path | None = None) -> dict[str, Any]:
        raise NotImplementedError


@dataclass(frozen=True)
class WholeShape(Shape):
    key: ClassVar[str] = "whole"

    def draw(self, extent: Extent, window: Box) -> Tensor:
        return torch.ones(int(window.height), int(window.width))

    def to_json(self, folder: Path | None = None) -> dict[str, Any]:
        return {self.key: True}


@dataclass(frozen=True)
class PolygonShape(Shape):
    """Corners [(x, y), ...] in order, either way round; it must not cross itself."""

    key: ClassVar[str] = "polygon"
    points: Sequence[Sequence[float]]
    units: str = Units.pixels

    def __post_init__(self):
        object.__setattr__(self, "points", frozen(self.points))

    def polygon(self, extent: Extent) -> Polygon:
        return Polygon.of(self.points).scaled(*_pixels_per_unit(self.units, extent))

    def draw(self, extent: Extent, window: Box) -> Tensor:
        return polygon_mask(self.polygon(extent).relative_to(window), _size(window))

    def bounds(self, extent: Extent) -> Box:
        return self.polygon(extent).bounds

    def check(self) -> None:
        _check_units(self.units)
        if not isinstance(self.points, tuple):
            raise ShapeError(f"polygon is {self.points!r}; give it as [[x, y], [x, y], [x, y], ...]")
        for point in self.points:
            if not isinstance(point, tuple) or len(point) != 2:
                raise ShapeError(f"polygon has the point {point!r}; give every point as [x, y]")
            _check_coordinates("polygon", point, self.units)
        polygon = Polygon.of(self.points)
        if len(set(polygon.points)) < 3:
            raise ShapeError(f"polygon has {len(set(polygon.points))} different points; draw at least three")
        if polygon.is_self_crossing:
            raise ShapeError("polygon crosses itself; reorder its points or make it two regions")
        if polygon.area == 0:
            raise ShapeError("polygon has no area because its points lie on one line; move one off the line")

    def scaled(self, across: float, down: float) -> Shape:
        if self.units == Units.fraction:
            return self
        return replace(self, points=tuple((x * across, y * down) for x, y in self.points))

    def to_json(self, folder: Path | None = None) -> dict[str, Any]:
        return {self.key: [list(point) for point in self.points]} | _units_json(self.units)


@dataclass(frozen=True)
class BoxShape(Shape):
    key: ClassVar[str] = "box"
    x: float
    y: float
    width: float
    height: float
    units: str = Units.pixels

    def __post_init__(self):
        for name in ("x", "y", "width", "height"):
            object.__setattr__(self, name, frozen(getattr(self, name)))

    @property
    def box(self) -> Box:
        """In the shape's own units."""
        return Box(self.x, self.y, self.width, self.height)

    def draw(self, extent: Extent, window: Box) -> Tensor:
        return box_mask(self.bounds(extent).relative_to(window), _size(window))

    def bounds(self, extent: Extent) -> Box:
        return self.box.scaled(*_pixels_per_unit(self.units, extent))

    def check(self) -> None:
        _check_units(self.units)
        _check_coordinates(self.key, self.box, self.units)
        if self.box.is_empty:
            raise ShapeError(f"{self.key} is {self.width} wide and {self.height} high; both must be above 0")

    def scaled(self, across: float, down: float) -> Shape:
        if self.units == Units.fraction:
            return self
        x, y, width, height = self.box.scaled(across, down)
        return replace(self, x=x, y=y, width=width, height=height)

    def to_json(self, folder: Path | None = None) -> dict[str, Any]:
        return {self.key: list(self.box)} | _units_json(self.units)


@dataclass(frozen=True)
class EllipseShape(BoxShape):
    """Given by the box whose four sides it touches."""

    key: ClassVar[str] = "ellipse"

    def draw(self, extent: Extent, window: Box) -> Tensor:
        return ellipse_mask(self.bounds(extent).relative_to(window), _size(window))


@dataclass(frozen=True)
class MaskShape(Shape):
    """A painted mask, kept in 256 levels. In pixels it must have the canvas's size; as a fraction it is stretched.

    path: the file that it came from, as the layout writes it. Two masks are equal when their levels are.
    """

    key: ClassVar[str] = "mask"
    width: int
    height: int
    levels: bytes = field(repr=False)  # rows from the top, 255 is 1
    units: str = Units.pixels
    path: str | None = field(default=None, compare=False)

    @classmethod
    def from_array(cls, array: Any, units: str = Units.pixels, path: str | None = None) -> Self:
        """array: what layout.array_to_mask takes; it raises ShapeError for the rest."""
        levels = (array_to_mask(array) * 255).round().byte().numpy()
        return cls(levels.shape[1], levels.shape[0], levels.tobytes(), units, path)

    @classmethod
    def from_png(cls, file: Path | io.BytesIO, called: str, units: str = Units.pixels, path: str | None = None) -> Self:
        """Any picture that PIL opens; see layout.pil_to_mask for what counts as painted. Raises ShapeError."""
        try:
            with Image.open(file) as picture:
                if max(picture.size) > MAX_SIDE:
                    raise ShapeError(f"{called} is {Extent(*picture.size)}; a side may have {MAX_SIDE} pixels")
                return cls.from_array(pil_to_mask(picture), units, path)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as exc:
            # Not the text of exc: it would show the server's folders to whoever sent the layout.
            why = getattr(exc, "strerror", None) or "not a picture, or damaged"
            raise ShapeError(f"{called} cannot be read ({why}); save it there as PNG") from exc

    @classmethod
    def from_json(cls, text: Any, units: str, folder: MaskFolder | None) -> Self:
        if not isinstance(text, str):
            raise ShapeError(f"mask is {text!r}; give the name of a picture file")
        if text.startswith(PNG_PREFIX):
            return cls.from_png(io.BytesIO(_decoded(text)), "the mask inside the layout", units)
        if folder is None:
            raise ShapeError(f"mask file {text!r} has no folder to lie in; load the layout from a file")
        return cls.from_png(folder.find(text), f"mask file {text!r}", units, text)

    def _array(self) -> np.ndarray:
        return np.frombuffer(self.levels, dtype=np.uint8).reshape(self.height, self.width)

    def draw(self, extent: Extent, window: Box) -> Tensor:
        if (self.width, self.height) == extent:
            return array_to_mask(self._array()[window.slices])
        return area_pool(array_to_mask(self._array()), extent.height, extent.width)[window.slices]

    def bounds(self, extent: Extent) -> Box:
        painted = bounds_of(self._array())
        if (self.width, self.height) == extent:
            return painted
        # One pixel more: where a grid is halved and rounded up, its last cell is cut short instead of all stretched.
        return painted.scaled(extent.width / self.width, extent.height / self.height).pad(1).intersect(extent.box)

    def check(self) -> None:
        _check_units(self.units)
        if not any(self.levels):
            raise ShapeError("mask is black all over; paint the region white")

    def check_on(self, extent: Extent) -> None:
        own = Extent(self.width, self.height)
        if self.units == Units.pixels and own != extent:
            raise ShapeError(f'mask is {own} but the canvas is {extent}; resize it or give it "units": "fraction"')

    def scaled(self, across: float, down: float) -> Shape:
        return replace(self, units=Units.fraction)  # stretched anew each time it is drawn, so nothing wears off

    def to_json(self, folder: Path | None = None) -> dict[str, Any]:
        """The name of its file if that lies in the folder and still holds the same mask, else the mask itself."""
        name = self.path if self.path and self._is_in(folder) else self._inline()
        return {self.key: name} | _units_json(self.units)

    def _is_in(self, folder: Path | None) -> bool:
        try:
            return folder is not None and self == self.from_json(self.path, self.units, MaskFolder(folder))
        except ShapeError:
            return False

    def _inline(self) -> str:
        png = io.BytesIO()
        Image.frombytes("L", (self.width, self.height), self.levels).save(png, "PNG")
        return PNG_PREFIX + base64.b64encode(png.getvalue()).decode("ascii")


KINDS = ("polygon", "box", "ellipse", "mask", "whole")


def shape_from_json(data: dict[str, Any], folder: MaskFolder | None = None) -> Shape:
    """From the keys of a region: one of KINDS, and "units" if they are not pixels. Raises ShapeError."""
    given = [kind for kind in KINDS if kind in data]
    if len(given) != 1:
        raise ShapeError(f"it has {' and '.join(given) or 'no shape'}; give exactly one of {', '.join(KINDS)}")
    kind, value, units = given[0], data[given[0]], data.get("units", Units.pixels)
    if kind == "mask":
        return MaskShape.from_json(value, units, folder)
    if kind == "polygon":
        return PolygonShape(value, units)
    if kind == "whole":
        if value is not True or "units" in data:
            raise ShapeError(f'whole is {value!r}; write "whole": true and no units')
        return WholeShape()
    if not isinstance(value, list) or len(value) != 4:
        raise ShapeError(f"{kind} is {value!r}; give it as [x, y, width, height]")
    return (BoxShape if kind == "box" else EllipseShape)(*value, units=units)


def frozen(value: Any) -> Any:
    """Lists and arrays as tuples, numpy scalars as Python's, all the way down; anything else as it is."""
    if isinstance(value, np.ndarray | np.generic | Tensor):
        value = value.tolist()
    return tuple(frozen(item) for item in value) if isinstance(value, list | tuple) else value


def is_number(value: Any) -> bool:
    """An int or float that is neither NaN nor infinite; True and False are no numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e300


def _check_units(units: Any) -> None:
    if units not in tuple(Units):
        raise ShapeError(f"units are {units!r}; give {' or '.join(Units)}")


def _check_coordinates(key: str, values: Sequence[Any], units: str) -> None:
    farthest = FARTHEST if units == Units.pixels else FARTHEST / MAX_SIDE
    for value in values:
        if not is_number(value):
            raise ShapeError(f"{key} has the coordinate {value!r}; give finite numbers")
        if abs(value) > farthest:
            raise ShapeError(f"{key} has the coordinate {value!r}, far off the canvas; stay within {farthest:g}")


def _size(window: Box) -> Extent:
    return Extent(int(window.width), int(window.height))


def _pixels_per_unit(units: str, extent: Extent) -> tuple[float, float]:
    return extent if units == Units.fraction else (1, 1)


def _units_json(units: str) -> dict[str, str]:
    return {} if units == Units.pixels else {"units": str(units)}


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text[len(PNG_PREFIX) :], validate=True)
    except binascii.Error as exc:
        raise ShapeError(f"the mask inside the layout is not base64 ({exc}); save the layout again") from exc
