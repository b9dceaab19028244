"""Cut the part of a canvas that an edit needs, and put it back without touching anything else."""

from __future__ import annotations

import math
from dataclasses import replace
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import ShapeError
from ..geometry import Box, Extent
from ..regions import Region, RegionSet
from ..shapes import MaskShape, WholeShape


class CropMode(StrEnum):
    native = "native"  # at its own size: the cheap one
    detail = "detail"  # scaled up to the size at which the model is best


class CropPlan(NamedTuple):
    """box: whole canvas pixels, which may reach over the edge of the canvas.  size: at which the model paints them."""

    extent: Extent
    box: Box
    size: Extent

    @property
    def inner(self) -> Box:
        """What of the box lies on the canvas."""
        return self.box.intersect(self.extent.box)

    @property
    def whole_box(self) -> tuple[int, int, int, int]:
        x, y, width, height = map(int, self.box)
        return x, y, width, height

    @property
    def share(self) -> float:
        """Pixels to paint over pixels of the canvas."""
        return self.size.width * self.size.height / (self.extent.width * self.extent.height)


def plan_crop(window: Box, extent: Extent, context_px: float, multiple_of: int, smallest: int, largest: int,
              scale: float = 1.0) -> CropPlan:  # fmt: skip
    """Whole model cells around the window and its context.

    window: what changes, in canvas pixels.  context_px: how much the model sees around it.  smallest, largest: sides in
    model pixels.  scale: model pixels to a canvas pixel; less where the crop would outgrow `largest`.
    The box keeps inside the canvas where it fits.  Raises ShapeError for an empty window.
    """
    if window.is_empty:
        raise ShapeError("there is nothing to repaint: the mask is black all over; paint some of it white")
    seen = window.pad(context_px).intersect(extent.box).rounded_out()
    scale = min(scale, largest // multiple_of * multiple_of / max(seen.width, seen.height))
    size = Extent(*(_side(length * scale, multiple_of, smallest) for length in (seen.width, seen.height)))
    width, height = (round(side / scale) for side in size)
    grown = Box(seen.x - (width - seen.width) // 2, seen.y - (height - seen.height) // 2, width, height)
    return CropPlan(extent, Box(*map(int, _inside(grown, extent))), size)


def detail_scale(window: Box, extent: Extent, context_px: float, best: int) -> float:
    """The scale at which the longer side of the window with its context has `best` pixels, never below 1."""
    seen = window.pad(context_px).intersect(extent.box)
    return max(1.0, best / max(seen.width, seen.height))


def cut_image(image: Image.Image, plan: CropPlan) -> Image.Image:
    """RGB of plan.size. Beyond the canvas, its border goes on."""
    _check_size(image.size, plan)
    pixels = _padded(np.asarray(image.convert("RGB")), plan)
    return _resized(Image.fromarray(pixels), plan.size)


def cut_mask(mask: Tensor, plan: CropPlan) -> Tensor:
    """float32 of plan.size as [h,w].  mask: [H,W] of the canvas in [0,1]."""
    _check_size(mask.shape[::-1], plan)
    values = Image.fromarray(np.ascontiguousarray(_padded(mask.float().cpu().numpy(), plan)))
    # Boxes, so that what is 0 (or 1) all around stays exactly that.
    filter = Image.Resampling.BOX if plan.size.width <= plan.box.width else Image.Resampling.BILINEAR
    resized = values if values.size == plan.size else values.resize(plan.size, filter)
    return torch.from_numpy(np.array(resized)).clamp(0, 1)


def cut_regions(regions: RegionSet, plan: CropPlan) -> RegionSet:
    """The layout as it lies in the crop: what does not reach into it is left out."""
    cut = (_cut_region(region, regions.extent, plan) for region in regions.regions)
    return replace(regions, extent=plan.size, regions=tuple(region for region in cut if region is not None))


def fitted(painted: Image.Image, plan: CropPlan) -> Image.Image:
    """A painted crop at the size of plan.inner, as it lies on the canvas."""
    if painted.size != plan.size:
        raise ShapeError(
            f"the painted crop is {Extent(*painted.size)} but {plan.size} was cut; paste it at the size of the crop"
        )
    whole = _resized(painted.convert("RGB"), Extent(int(plan.box.width), int(plan.box.height)))
    inner = plan.inner.relative_to(plan.box)
    return whole.crop((int(inner.x), int(inner.y), int(inner.right), int(inner.bottom)))


def paste(image: Image.Image, plan: CropPlan, painted: Image.Image, alpha: Tensor) -> Image.Image:
    """alpha: [h,w] of plan.inner. Where it is 0 every pixel stays as it was, where it is 1 it is the painted one."""
    _check_size(image.size, plan)
    pixels, window = np.array(image.convert("RGB")), plan.inner.slices
    pixels[window] = mix(pixels[window], np.asarray(painted), alpha.numpy())
    return Image.fromarray(pixels)


def mix(old: np.ndarray, new: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """uint8 [h,w,3] twice and float [h,w]. In float64, so that 0 and 1 give back the very bytes."""
    share = alpha[..., None].astype(np.float64)
    return (old + share * (new.astype(np.float64) - old)).round().clip(0, 255).astype(np.uint8)


def _side(length: float, multiple_of: int, smallest: int) -> int:
    # A hundredth of a pixel too much is rounding, not a reason for another cell.
    return max(math.ceil(length / multiple_of - 0.01), math.ceil(smallest / multiple_of)) * multiple_of


def _inside(box: Box, extent: Extent) -> Box:
    """Pushed onto the canvas along each axis where it fits; centred over it where it does not."""

    def place(start: float, length: float, limit: int) -> float:
        return -((length - limit) // 2) if length > limit else min(max(start, 0), limit - length)

    return Box(place(box.x, box.width, extent[0]), place(box.y, box.height, extent[1]), box.width, box.height)


def _padded(pixels: np.ndarray, plan: CropPlan) -> np.ndarray:
    """The box out of [H,W,...], with the border repeated where it reaches over the edge."""
    inner, box = plan.inner, plan.box
    over = [
        (int(inner.y - box.y), int(box.bottom - inner.bottom)),
        (int(inner.x - box.x), int(box.right - inner.right)),
    ]
    return np.pad(pixels[inner.slices], over + [(0, 0)] * (pixels.ndim - 2), mode="edge")


def _resized(image: Image.Image, size: Extent) -> Image.Image:
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def _cut_region(region: Region, extent: Extent, plan: CropPlan) -> Region | None:
    window = region.window(extent)
    if not window.meets(plan.inner):
        return None
    mask = torch.zeros(extent.height, extent.width)
    mask[window.slices] = region.draw(extent, window)
    mask = cut_mask(mask, plan)
    if not bool((mask * 255).round().any()):
        return None
    shape = WholeShape() if bool((mask == 1).all()) else MaskShape.from_array(mask)
    return replace(region, shape=shape, grow=0.0, feather=0.0, invert=False)


def _check_size(size, plan: CropPlan) -> None:
    if tuple(size) != tuple(plan.extent):
        raise ShapeError(f"the picture is {Extent(*size)} but the crop was planned on {plan.extent}; use the same one")
