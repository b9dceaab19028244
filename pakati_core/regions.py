"""Regions and their order: which prompt owns which share of every pixel and token.

A layout as a JSON file, written by hand or by RegionSet.save; every key but these may be left out:

    {"pakati": "regions", "version": 1, "width": 256, "height": 256, "prompt": "grass", "regions": [
        {"id": "sun", "box": [0, 0, 128, 128], "prompt": "a yellow sun"},
        {"id": "hill", "polygon": [[0, 0.7], [0.5, 0.4], [1, 0.7]], "units": "fraction", "prompt": "a hill"},
        {"id": "pond", "ellipse": [40, 180, 90, 50], "prompt": "a pond", "feather": 8},
        {"id": "tree", "mask": "tree.png", "prompt": "an oak"},
        {"id": "haze", "whole": true, "prompt": "morning haze", "end": 0.4}]}
"""

from __future__ import annotations

import difflib
import json
import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image, ImageColor
from torch import Tensor

from .errors import LayoutFileError, PakatiWarning, RegionError, ShapeError
from .files import save_text
from .geometry import Box, Extent
from .masks import area_pool, feather, grow, invert, keep_token
from .shapes import KINDS, MAX_SIDE, MaskFolder, MaskShape, Shape, frozen, is_number, shape_from_json

VERSION = 1
HEADER = ("pakati", "version", "width", "height", "prompt", "negative", "overlap", "regions")


class Overlap(StrEnum):
    over = "over"  # a later region lies over the earlier ones
    blend = "blend"  # regions that share a pixel share it evenly


@dataclass(frozen=True)
class Region:
    """A shape with a prompt, and what may differ inside it. Raises RegionError where a value cannot be used."""

    id: str
    shape: Shape
    prompt: str = ""
    name: str = ""  # what people read; the id when empty
    negative: str = ""
    weight: float = 1.0  # strength of the prompt; the coverage does not depend on it
    base: float = 0.0  # share of the base prompt inside the region
    feather: float = 0.0  # canvas pixels that the edge is soft to both sides
    grow: float = 0.0  # canvas pixels outwards, before the feather; negative is inwards
    invert: bool = False
    start: float = 0.0  # fraction of sampling
    end: float = 1.0
    guidance: float | None = None
    seed: int | None = None
    loras: tuple[tuple[str, float, float], ...] = ()  # name, strength on the model, strength on the text encoder
    controls: tuple[tuple[str, str, float, float, float], ...] = ()  # name, picture, strength, start, end
    model: str | None = None
    locked: bool = False

    def __post_init__(self):
        for field in fields(self):
            object.__setattr__(self, field.name, frozen(getattr(self, field.name)))
        _check_region(self)
        object.__setattr__(self, "name", self.name or self.id)
        object.__setattr__(self, "loras", tuple(_lora(self, row) for row in self.loras))
        object.__setattr__(self, "controls", tuple(_control(self, row) for row in self.controls))
        if not self.prompt.strip():
            message = f"region {self.id!r} has no prompt; say what it shows, or leave the region out"
            warnings.warn(message, PakatiWarning, stacklevel=3)

    def window(self, extent: Extent) -> Box:
        """Whole pixels on the canvas; outside them the region is 0."""
        if self.invert:
            return extent.box
        reach = math.ceil(max(self.grow, 0) + self.feather) + 1
        return self.shape.bounds(extent).pad(reach).rounded_out().intersect(extent.box)

    def draw(self, extent: Extent, window: Box) -> Tensor:
        """float32 [h,w] in [0,1]: the shape, grown, inverted, then feathered.  window: self.window(extent)."""
        return feather(self.draw_unfeathered(extent, window), self.feather)

    def draw_unfeathered(self, extent: Extent, window: Box) -> Tensor:
        """The same with its own hard edge. Raises RegionError where nothing is left to draw."""
        mask = grow(self.shape.draw(extent, window), self.grow)
        mask = invert(mask) if self.invert else mask
        if not mask.any():
            inverted = " and inverted" if self.invert else ""
            raise RegionError(f"region {self.id!r} is empty once grown by {self.grow:g} px{inverted}; change its shape")
        return mask

    def is_active(self, progress: float) -> bool:
        """progress: fraction of sampling done, 0 before the first step."""
        return self.start <= progress < self.end or progress == self.end == 1

    def to_dict(self, folder: Path | None = None) -> dict[str, Any]:
        """The JSON form without defaults; folder: see MaskShape.to_json."""
        data = {"id": self.id, **self.shape.to_json(folder)}
        for field in fields(self):
            value = getattr(self, field.name)
            default = self.id if field.name == "name" else field.default
            if field.name not in ("id", "shape") and value != default:
                data[field.name] = [list(row) for row in value] if isinstance(value, tuple) else value
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], folder: MaskFolder | None = None) -> Self:
        known = [field.name for field in fields(cls) if field.name != "shape"]
        _check_keys(data, [*known, *KINDS, "units"], f"region {data.get('id')!r}", RegionError)
        try:
            shape = shape_from_json(dict(data), folder)
        except ShapeError as exc:
            raise RegionError(f"region {data.get('id')!r}: {exc}") from exc
        return cls(shape=shape, **{"id": None, **{key: data[key] for key in known if key in data}})


@dataclass(frozen=True)
class RegionSet:
    """Regions on a canvas in painting order, and the base prompt for what none of them covers."""

    extent: Extent
    regions: tuple[Region, ...] = ()
    prompt: str = ""
    negative: str = ""
    overlap: str = Overlap.over

    def __post_init__(self):
        _check_canvas(self)
        object.__setattr__(self, "extent", Extent(*self.extent))
        object.__setattr__(self, "regions", tuple(self.regions))
        _check_ids(self.regions)
        for region in self.regions:
            try:
                region.shape.check_on(self.extent)
            except ShapeError as exc:
                raise RegionError(f"region {region.id!r}: {exc}") from exc

    def masks(self) -> Tensor:
        """float32 [R,H,W] in [0,1]: each region by itself. Raises RegionError for one that its grow made empty."""
        # numpy, because its zeros cost nothing until they are written: most regions are small.
        masks = torch.from_numpy(np.zeros((len(self.regions), self.extent.height, self.extent.width), np.float32))
        for mask, region in zip(masks, self.regions):
            window = region.window(self.extent)
            mask[window.slices] = region.draw(self.extent, window)
        return masks

    def coverage(self) -> Tensor:
        """float32 [R,H,W]: each region's share of each pixel once overlaps are settled; the sum is at most 1.

        over: a region keeps what the later ones leave, a_r * prod(1 - a_later). blend: a_r / max(1, sum of a).
        """
        return self._shares()[0]

    def base_coverage(self) -> Tensor:
        """float32 [H,W]: what the regions leave to the base prompt; with coverage() it sums to 1."""
        return self._shares()[1]

    def weights_on_grid(self, height: int, width: int) -> Tensor:
        """float32 [1+R,height,width]: the shares on a token grid, the base prompt first; they sum to 1.

        Area pooling, see masks.area_pool. A region with any coverage keeps at least one token: where pooling thinned
        it below half of its peak, its best token is raised to that, and all who share this token give way evenly.
        """
        shares, base = self._shares()
        pooled = torch.cat([area_pool(layer, height, width) for layer in (base[None], shares)])
        kept = torch.cat([pooled[:1], keep_token(pooled[1:], shares.amax((-2, -1)))])
        return torch.where((kept != pooled).any(0), kept / kept.sum(0), pooled)

    def active(self, progress: float) -> RegionSet:
        """Only the regions whose time range holds this fraction of sampling."""
        return replace(self, regions=tuple(region for region in self.regions if region.is_active(progress)))

    def at_extent(self, extent: Extent) -> RegionSet:
        """The same layout on a canvas of another size; feather and grow follow the mean of both directions."""
        if extent == self.extent:
            return self
        across, down = extent[0] / self.extent.width, extent[1] / self.extent.height
        mean = math.sqrt(across * down)
        regions = [
            replace(
                region,
                shape=region.shape.scaled(across, down),
                feather=min(region.feather * mean, MAX_SIDE),
                grow=max(-MAX_SIDE, min(region.grow * mean, MAX_SIDE)),
            )
            for region in self.regions
        ]
        return replace(self, extent=Extent(*extent), regions=tuple(regions))

    def to_dict(self, folder: Path | None = None) -> dict[str, Any]:
        """The JSON form without defaults. folder: where it will lie; without one, masks are written into it."""
        data: dict[str, Any] = {"pakati": "regions", "version": VERSION, **self.extent._asdict()}
        for name, default in (("prompt", ""), ("negative", ""), ("overlap", Overlap.over)):
            if getattr(self, name) != default:
                data[name] = str(getattr(self, name))
        return data | {"regions": [region.to_dict(folder) for region in self.regions]}

    @classmethod
    def from_dict(cls, data: Any, folder: str | Path | None = None, confine: bool = True) -> Self:
        """folder: where mask files lie.  confine: refuse mask files outside it.

        Raises LayoutFileError for the layout as a whole, RegionError for one of its regions.
        """
        _check_header(data)
        masks = None if folder is None else MaskFolder(Path(folder), confine)
        regions = []
        for number, region in enumerate(data["regions"], start=1):
            if not isinstance(region, dict) or "id" not in region:
                raise RegionError(f'region number {number} is {region!r}; give an object with an "id"')
            regions.append(Region.from_dict(region, masks))
        rest = {name: data[name] for name in ("prompt", "negative", "overlap") if name in data}
        return cls(Extent(data["width"], data["height"]), tuple(regions), **rest)

    @classmethod
    def load(cls, path: str | Path, confine: bool = True) -> Self:
        """Mask files are looked for beside the layout file.

        confine: refuse mask files outside that folder. Turn it off only for layouts that you wrote yourself.
        """
        path = Path(path)
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except OSError as exc:
            raise LayoutFileError(f"{path} cannot be opened: {exc.strerror}; give the path of a layout file") from exc
        except (ValueError, RecursionError) as exc:
            raise LayoutFileError(f"{path} is not JSON ({exc}); mend it there") from exc
        return cls.from_dict(data, path.parent, confine)

    def save(self, path: str | Path) -> None:
        """Write the layout, one region per line, whole or not at all. Raises OutputError."""
        path = Path(path)
        data = self.to_dict(path.parent)
        lines = ",\n".join(f"  {json.dumps(region, ensure_ascii=False)}" for region in data.pop("regions"))
        head = json.dumps(data, ensure_ascii=False)[:-1]
        save_text(f'{head}, "regions": [\n{lines}\n]}}\n', path)

    def _shares(self) -> tuple[Tensor, Tensor]:
        """coverage() and base_coverage()."""
        shares, left = self.masks(), torch.ones(self.extent.height, self.extent.width)
        windows = [region.window(self.extent).slices for region in self.regions]
        if self.overlap == Overlap.blend:
            for share, window in zip(shares, windows):
                left[window] -= share[window]
            for share, window in zip(shares, windows):
                share[window] /= (1 - left[window]).clamp(min=1)
            return shares, left.clamp_(min=0)
        for share, window in zip(reversed(shares.unbind(0)), reversed(windows)):
            # What is left is subtracted, never computed anew, so that 0 and 1 stay exact.
            left[window] -= share[window].mul_(left[window])
        return shares, left


def regions_from_colour_map(
    picture: Image.Image, prompts: Mapping[str, str], tolerance: int = 16
) -> tuple[Region, ...]:
    """One region per colour of a painted picture, in the order of the mapping; its id is the colour as written.

    prompts: "#ff0000" or a CSS name -> prompt.  tolerance: how far each channel, 0..255, may be off; of two colours
    within reach the nearer one takes the pixel.  Raises RegionError for a colour that no pixel has.
    """
    if not prompts:
        return ()
    pixels = np.asarray(picture.convert("RGB"), dtype=np.int32)
    away = np.stack([pixels - _rgb(colour) for colour in prompts])
    nearest = (away**2).sum(-1).argmin(0)
    masks = [(nearest == i) & (np.abs(off).max(-1) <= tolerance) for i, off in enumerate(away)]
    for colour, mask in zip(prompts, masks):
        if not mask.any():
            raise RegionError(f"region {colour!r}: no pixel has this colour; take it from the picture itself")
    return tuple(Region(colour, MaskShape.from_array(mask), prompts[colour]) for colour, mask in zip(prompts, masks))


def _rgb(colour: str) -> tuple[int, ...]:
    try:
        return ImageColor.getrgb(colour)[:3]
    except (ValueError, AttributeError) as exc:
        raise RegionError(f'region {colour!r}: not a colour; write it as "#ff0000"') from exc


RANGES = {  # field: what it is, lowest, highest
    "weight": ("number", 0, math.inf),
    "base": ("fraction", 0, 1),
    "feather": ("number of pixels", 0, MAX_SIDE),
    "grow": ("number of pixels", -MAX_SIDE, MAX_SIDE),
    "start": ("fraction of sampling", 0, 1),
    "end": ("fraction of sampling", 0, 1),
    "guidance": ("number", 0, math.inf),
    "seed": ("whole number", 0, 2**64 - 1),
}


def _check_region(region: Region) -> None:
    if not isinstance(region.id, str) or not region.id:
        raise RegionError(f"region {region.id!r}: its id is not text; give it a short name of its own")
    for name, kind in (("prompt", str), ("name", str), ("negative", str), ("model", str | None)):
        _check_type(region, name, kind, "text")
    for name, kind in (("invert", bool), ("locked", bool)):
        _check_type(region, name, kind, "true or false")
    for name, kind in (("loras", tuple), ("controls", tuple)):
        _check_type(region, name, kind, "a list")
    _check_type(region, "shape", Shape, "one of the shapes")
    _check_type(region, "seed", int | None, "a whole number")
    for name, limits in RANGES.items():
        if getattr(region, name) is not None or name not in ("guidance", "seed"):
            _check_range(region, name, *limits)
    if region.start >= region.end:
        raise RegionError(f"region {region.id!r}: start {region.start} is not before end {region.end}; swap them")
    try:
        region.shape.check()
    except ShapeError as exc:
        raise RegionError(f"region {region.id!r}: {exc}") from exc


def _check_type(region: Region, name: str, kind: Any, wanted: str) -> None:
    value = getattr(region, name)
    if not isinstance(value, kind):
        raise RegionError(f"region {region.id!r}: {name} is {value!r}; give {wanted}")


def _check_range(region: Region, name: str, noun: str, low: float, high: float) -> None:
    value = getattr(region, name)
    if not is_number(value) or not low <= value <= high:
        wanted = f"of {low} or more" if high == math.inf else f"between {low} and {high}"
        raise RegionError(f"region {region.id!r}: {name} is {value!r}; give a {noun} {wanted}")


def _lora(region: Region, row: Any) -> tuple[str, float, float]:
    """Accepts "name", (name, strength) and (name, model, clip)."""
    row = (row,) if isinstance(row, str) else row
    if not isinstance(row, tuple) or not 1 <= len(row) <= 3 or not isinstance(row[0], str) or not _numbers(row[1:]):
        raise RegionError(f"region {region.id!r}: LoRA {row!r} was not understood; give [name, strength]")
    name, *strengths = row
    model = strengths[0] if strengths else 1.0
    return name, model, strengths[1] if len(strengths) > 1 else model


def _control(region: Region, row: Any) -> tuple[str, str, float, float, float]:
    """Accepts (name, picture), and strength, start and end after them."""
    texts = isinstance(row, tuple) and 2 <= len(row) <= 5 and all(isinstance(text, str) for text in row[:2])
    if not texts or not _numbers(row[2:]):
        raise RegionError(f"region {region.id!r}: control {row!r} was not understood; give [name, picture, strength]")
    name, picture, *numbers = row
    strength, start, end = (*numbers, *(1.0, 0.0, 1.0)[len(numbers) :])
    return name, picture, strength, start, end


def _numbers(values: Iterable[Any]) -> bool:
    return all(is_number(value) for value in values)


def _check_canvas(regions: RegionSet) -> None:
    for side, size in zip(("width", "height"), regions.extent):
        if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= MAX_SIDE:
            raise LayoutFileError(f"the canvas {side} is {size!r}; give whole pixels between 1 and {MAX_SIDE}")
    for name in ("prompt", "negative"):
        if not isinstance(getattr(regions, name), str):
            raise LayoutFileError(f"the base {name} is {getattr(regions, name)!r}; give text")
    if regions.overlap not in tuple(Overlap):
        raise LayoutFileError(f"overlap is {regions.overlap!r}; give {' or '.join(Overlap)}")


def _check_ids(regions: Iterable[Region]) -> None:
    seen = set()
    for region in regions:
        if region.id in seen:
            raise RegionError(f"region {region.id!r} is there twice; give each region an id of its own")
        seen.add(region.id)


def _check_header(data: Any) -> None:
    if not isinstance(data, dict) or data.get("pakati") != "regions":
        raise LayoutFileError('this is not a region layout; one is a JSON object with "pakati": "regions"')
    version = data.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise LayoutFileError(f'the layout has the version {version!r}; write "version": {VERSION}')
    if version > VERSION:
        raise LayoutFileError(f"the layout has version {version} but this Pakati reads {VERSION}; update Pakati")
    _check_keys(data, HEADER, "the layout", LayoutFileError)
    for key in ("width", "height", "regions"):
        if key not in data:
            raise LayoutFileError(f"the layout has no {key}; add it")
    if not isinstance(data["regions"], list):
        raise LayoutFileError(f"regions is {data['regions']!r}; give a list")


def _check_keys(data: Mapping[str, Any], known: Iterable[str], owner: str, error: type[Exception]) -> None:
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(str(key), list(known), 1)
            raise error(f"{owner} has the unknown key {key!r}; {f'did you mean {near[0]!r}?' if near else 'remove it'}")
