"""Masks: drawn from shapes, softened, grown, and pooled to the token grid. Pure functions on tensors.

A mask is float32 [H,W] in [0,1]; the functions that change one take [...,H,W]. Later code asks `mask == 0` and
`mask == 1`, so nothing here turns an exact 0 or 1 into one that is nearly so.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from .geometry import Box, Extent, Polygon

DUST = 1e-7  # of a pixel: less than the float64 arithmetic below can tell from nothing, or from a full pixel
KEPT = 0.5  # of its peak is what a mask keeps in the best token, however small it is


def box_mask(box: Box, extent: Extent) -> Tensor:
    """Each pixel holds the exact share of its area that the box covers.  Returns [H,W]."""
    across = _overlap(box.x, box.right, extent.width)
    down = _overlap(box.y, box.bottom, extent.height)
    return _finished(np.outer(down, across))


def ellipse_mask(box: Box, extent: Extent) -> Tensor:
    """The ellipse that touches the four sides of the box; exact area per pixel, to 1e-7.  Returns [H,W]."""
    window = box.rounded_out().intersect(extent.box)
    if window.is_empty or box.is_empty:
        return torch.zeros(extent.height, extent.width)
    x = np.arange(window.x, window.right + 1, dtype=np.float64)
    y = np.arange(window.y, window.bottom + 1, dtype=np.float64)[:, None]
    to_unit_disc = (2 * (x - box.x) / box.width - 1, 2 * (y - box.y) / box.height - 1)
    corners = _disc_left_above(*to_unit_disc) * box.area / 4
    return _placed(np.diff(np.diff(corners, axis=0), axis=1), window, extent)


def polygon_mask(polygon: Polygon, extent: Extent) -> Tensor:
    """Each pixel holds the exact share of its area that the polygon covers.  Returns [H,W].

    Every edge is cut where it enters another pixel; each piece adds the signed area to its right, and a running
    sum along the row spreads it.  After: Raph Levien, font-rs (accumulation buffer).
    """
    window = polygon.bounds.rounded_out().intersect(extent.box)
    if window.is_empty:
        return torch.zeros(extent.height, extent.width)
    width, height = int(window.width), int(window.height)
    corners = np.asarray(polygon.points, dtype=np.float64) - (window.x, window.y)
    area = np.zeros((height, width + 2))  # the last two columns take what lies right of the window
    for start, end in zip(corners, np.roll(corners, -1, axis=0)):
        _add_edge(area, start, end)
    np.abs(np.cumsum(area, axis=1, out=area), out=area)
    return _placed(area[:, :width], window, extent)


def invert(mask: Tensor) -> Tensor:
    return 1 - mask


def feather(mask: Tensor, radius_px: float) -> Tensor:
    """Soften the edge to both sides; grow by the same radius first to soften outwards only.

    mask: [...,H,W] in [0,1].  radius_px: how far the softness reaches, three sigma of the Gaussian; 0 returns the
    mask itself.  Farther from the edge than that, 0 and 1 stay exact.  A shape narrower than the feather keeps its
    peak, so it never fades away.  Edges: the border is replicated.  Returns the same shape, dtype and device.
    """
    if radius_px <= 0:
        return mask

    def soften(values: np.ndarray) -> np.ndarray:
        reach, sigma = math.ceil(radius_px), max(radius_px / 3, 1e-3)
        soft = ndimage.gaussian_filter1d(values, sigma, axis=-1, radius=reach, mode="nearest")
        soft = ndimage.gaussian_filter1d(soft, sigma, axis=-2, radius=reach, mode="nearest")
        peak, faded = values.max((-2, -1), keepdims=True), soft.max((-2, -1), keepdims=True)
        if (faded < peak).any():
            soft = np.minimum(soft * (peak / np.maximum(faded, np.finfo(soft.dtype).tiny)), peak)
        return soft

    return _on_window(mask, soften, margin=math.ceil(radius_px))


def grow(mask: Tensor, radius_px: float) -> Tensor:
    """Move the edge outwards by a distance in pixels, or inwards when it is negative; corners become round.

    mask: [...,H,W] in [0,1]; soft values travel along.  Whole pixels are exact along rows and columns, fractions
    are blended linearly between the two whole radii.  Edges: beyond the border the mask goes on as at the border,
    so a mask that reaches it does not shrink from it.  Returns the same shape, dtype and device.
    """
    if radius_px == 0:
        return mask
    size, sign = abs(radius_px), math.copysign(1, radius_px)

    def move(values: np.ndarray) -> np.ndarray:
        whole, part = divmod(size, 1)
        near = _dilate(sign * values, int(whole))
        far = _dilate(sign * values, int(whole) + 1) if part else near
        return (sign * (near + part * (far - near))).astype(values.dtype)

    return _on_window(mask, move, margin=math.ceil(size))


def bounds_of(filled: np.ndarray) -> Box:
    """The smallest box around all that is not 0.  filled: [H,W]; where all is 0 the box is empty."""
    rows, columns = np.flatnonzero(filled.any(-1)), np.flatnonzero(filled.any(0))
    if not len(rows):
        return Box(0, 0, 0, 0)
    return Box.between(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def area_pool(weights: Tensor, height: int, width: int) -> Tensor:
    """Average over the area of each cell of a grid.  weights: [...,H,W].  Returns [...,height,width].

    Along each axis, where the grid is H / 2^k rounded up, cells are 2^k wide and the last one is cut short, as
    in the host's latents, UNets and patches. Any other grid, also a finer one, is stretched over the whole axis.
    """
    size = weights.shape[-2:]
    tall, wide = _cell(size[0], height), _cell(size[1], width)
    if isinstance(tall, int) and isinstance(wide, int):
        flat = weights.reshape(-1, 1, *size)
        pooled = F.avg_pool2d(flat, (tall, wide), ceil_mode=True)
        return pooled.reshape(*weights.shape[:-2], height, width)
    # In float64, so that an average of ones rounds to an exact one.
    down, across = _shares(size[0], height, tall), _shares(size[1], width, wide)
    layers = weights.cpu().reshape(-1, *size)
    pooled = torch.empty(len(layers), height, width, dtype=torch.float64)
    for cells, layer in zip(pooled, layers):
        cells.copy_(down @ layer.double() @ across.T)
    return pooled.reshape(*weights.shape[:-2], height, width).to(weights)


def to_grid(weights: Tensor, height: int, width: int) -> Tensor:
    """Area pooling to the token grid, where every mask that is not empty keeps a token.

    weights: [...,H,W] in [0,1] at the size of the picture.  Returns [...,height,width].  See area_pool and keep_token.
    """
    return keep_token(area_pool(weights, height, width), weights.amax((-2, -1)))


def keep_token(pooled: Tensor, peak: Tensor) -> Tensor:
    """Raise the best token of each mask to half of the mask's peak, where pooling thinned it below that.

    pooled: [...,h,w].  peak: [...], the highest value of each mask before pooling.
    """
    flat = pooled.flatten(-2)
    best = flat.max(-1, keepdim=True)
    raised = torch.maximum(best.values, KEPT * peak.unsqueeze(-1))
    return flat.scatter(-1, best.indices, raised).reshape(pooled.shape)


def _overlap(low: float, high: float, size: int) -> np.ndarray:
    """The share of each unit cell [i,i+1) that the interval covers."""
    edges = np.clip(np.arange(size + 1, dtype=np.float64), low, max(low, high))
    return np.diff(edges)


def _disc_left_above(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The area of the unit disc left of x and above y, for every pair: its cumulative distribution, times pi."""
    x, y = np.clip(x, -1, 1), np.clip(y, -1, 1)

    def left_of(t: np.ndarray) -> np.ndarray:  # the integral of sqrt(1 - t^2) from -1 to t
        return (t * np.sqrt(1 - t * t) + np.arcsin(t) + np.pi / 2) / 2

    c = np.sqrt(1 - y * y)  # between -c and c the line at y cuts the disc; outside, its edge is the limit
    outside = np.minimum(left_of(x), left_of(-c)) + np.maximum(left_of(x), left_of(c)) - left_of(c)
    return left_of(x) + np.sign(y) * outside + y * (np.clip(x, -c, c) + c)


def _add_edge(area: np.ndarray, start: np.ndarray, end: np.ndarray) -> None:
    """Add what one edge contributes to the accumulation buffer [H,W+2]."""
    (x0, y0), (dx, dy) = start, end - start
    if dy == 0:
        return
    height, width = area.shape[0], area.shape[1] - 2
    cuts = [np.array([0.0, 1.0]), (_lines_between(y0, y0 + dy, height) - y0) / dy]
    if dx != 0:
        cuts.append((_lines_between(x0, x0 + dx, width) - x0) / dx)
    t = np.sort(np.concatenate(cuts))
    middle = (t[1:] + t[:-1]) / 2
    x, y, rise = x0 + dx * middle, y0 + dy * middle, dy * np.diff(t)
    inside = (y > 0) & (y < height) & (x < width)
    x, y, rise = np.maximum(x[inside], 0), y[inside].astype(int), rise[inside]
    column = x.astype(int)
    right_part = rise * (x - column)
    np.add.at(area, (y, column), rise - right_part)
    np.add.at(area, (y, column + 1), right_part)


def _lines_between(a: float, b: float, limit: int) -> np.ndarray:
    """The pixel borders 0..limit strictly between two coordinates."""
    low, high = max(math.floor(min(a, b)) + 1, 0), min(math.ceil(max(a, b)) - 1, limit)
    return np.arange(low, high + 1, dtype=np.float64)


def _placed(coverage: np.ndarray, window: Box, extent: Extent) -> Tensor:
    mask = torch.zeros(extent.height, extent.width)
    mask[window.slices] = _finished(coverage)
    return mask


def _finished(coverage: np.ndarray) -> Tensor:
    mask = coverage.astype(np.float32)
    mask[mask < DUST] = 0
    mask[mask > 1 - DUST] = 1
    return torch.from_numpy(mask)


def _on_window(mask: Tensor, change: Callable[[np.ndarray], np.ndarray], margin: int) -> Tensor:
    """Apply a change that reaches no farther than the margin to the part of the mask that is not 0."""
    values = mask.detach().float().cpu().numpy()
    height, width = values.shape[-2:]
    held = bounds_of(values.reshape(-1, height, width).max(0))
    if held.is_empty:
        return mask
    window = held.pad(margin + 1).intersect(Extent(width, height).box)
    out = mask.clone()
    patch = change(values[..., *window.slices])
    out[..., *window.slices] = torch.from_numpy(patch).to(mask)
    return out


def _dilate(values: np.ndarray, radius: int) -> np.ndarray:
    """The greatest value within a disc: one running maximum per row of the disc."""
    height = values.shape[-2]
    out = values.copy()
    for dy in range(min(radius, height - 1) + 1):
        reach = math.isqrt(radius * radius - dy * dy)
        widest = ndimage.maximum_filter1d(values, 2 * reach + 1, axis=-1, mode="nearest")
        upper, lower = out[..., : height - dy, :], out[..., dy:, :]
        np.maximum(upper, widest[..., dy:, :], out=upper)
        np.maximum(lower, widest[..., : height - dy, :], out=lower)
    return out


def _cell(size: int, cells: int) -> int | float:
    """The width of one grid cell in pixels; an int where the host's rule of halving and rounding up explains it."""
    for step in (1 << k for k in range(size.bit_length() + 1)):
        if -(-size // step) == cells:
            return min(step, size)
    return size / cells


def _shares(size: int, cells: int, side: int | float) -> Tensor:
    """[cells,size]: how much each pixel counts in each cell; every row sums to 1."""
    edges = torch.arange(cells + 1, dtype=torch.float64) * side
    low, high = edges[:-1, None], edges[1:, None].clamp(max=size)
    pixel = torch.arange(size, dtype=torch.float64)
    shares = (torch.minimum(high, pixel + 1) - torch.maximum(low, pixel)).clamp(min=0)
    return shares / shares.sum(1, keepdim=True)
