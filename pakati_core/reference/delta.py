"""How a picture differs from a reference, signed: picture minus reference, aspect by aspect, inside a mask.

All of it is measured without learned weights. Pixels outside the mask have no influence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ShapeError
from .colour import ciede2000, srgb_to_lab
from .palette import palette, transport

ASPECTS = ("colour", "texture", "composition", "lighting", "style", "general")
OCTAVES = 5
EDGE = 2  # pixels at the mask's edge that are left out


@dataclass(frozen=True)
class Delta:
    """Signed values are picture minus reference; the others are distances, 0 for equal pictures."""

    lightness: float  # mean L*
    red_green: float  # mean a*: above 0 the picture is redder
    warmth: float  # mean b*: above 0 the picture is warmer (yellower)
    chroma: float  # of the mean colour
    difference: float  # CIEDE2000, median over the pixels
    difference_p95: float
    palette: float  # CIEDE2000 that the palette must travel
    contrast: float  # of L*, 95th minus 5th percentile
    light_x: float  # L* that the light rises from left to right, picture minus reference
    light_y: float  # and from top to bottom
    octaves: tuple[float, ...]  # log2 of the ratio of detail, finest octave first: above 0 the picture has more
    dx: float  # pixels that what stands out lies further right
    dy: float  # and further down
    spread: float  # log2 of the ratio of its extent
    style: float  # distance of filter statistics
    structure: float  # 1 - SSIM

    @property
    def texture(self) -> float:
        """Of the two finest octaves."""
        return sum(self.octaves[:2]) / 2

    def distance(self, aspect: str) -> float:
        """One number for an aspect, about 1 where the difference is plain to see."""
        match aspect:
            case "colour":
                return math.hypot(self.red_green, self.warmth) / 10 + self.palette / 20
            case "lighting":
                return (abs(self.lightness) + abs(self.contrast) / 2 + math.hypot(self.light_x, self.light_y) / 2) / 15
            case "texture":
                return sum(map(abs, self.octaves)) / len(self.octaves)
            case "composition":
                return (math.hypot(self.dx, self.dy) / 32 + abs(self.spread)) / 2 + self.structure / 2
            case "style":
                return self.style
        return sum(self.distance(name) for name in ASPECTS if name != "general") / (len(ASPECTS) - 1)

    def to_dict(self) -> dict[str, float | list[float]]:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def compare(image: Tensor, reference: Tensor, mask: Tensor | None = None) -> Delta:
    """image, reference: [H,W,3] in [0,1], of one size.  mask: [H,W], above 0.5 is compared; None: all of it."""
    if image.shape != reference.shape or (mask is not None and mask.shape != image.shape[:2]):
        sizes = f"{list(image.shape)}, {list(reference.shape)}{'' if mask is None else f', {list(mask.shape)}'}"
        raise ShapeError(f"picture, reference and mask are {sizes}; resize them to one size")
    inside = torch.ones(image.shape[:2], dtype=torch.bool) if mask is None else mask > 0.5
    inside = inside if mask is None else _shrunk(inside)
    if not inside.any():
        raise ShapeError("the mask leaves nothing to compare; paint at least a few pixels more")
    window = _window(inside)
    inside = inside[window]
    return _delta(*(_Measures(srgb_to_lab(picture[window]), inside) for picture in (image, reference)))


def fit_reference(reference: Tensor, height: int, width: int) -> Tensor:
    """[h,w,3] to [height,width,3], smoothed before it shrinks, so that texture compares like with like."""
    if reference.shape[:2] == (height, width):
        return reference
    pixels = reference.permute(2, 0, 1)[None]
    fitted = F.interpolate(pixels, (height, width), mode="bilinear", antialias=True, align_corners=False)
    return fitted[0].permute(1, 2, 0).clamp(0, 1)


def _shrunk(inside: Tensor) -> Tensor:
    # Padded with inside: the border of the picture is not an edge of the mask.
    outside = F.pad((~inside).float()[None, None], [EDGE] * 4)
    smaller = F.max_pool2d(outside, 2 * EDGE + 1, 1)[0, 0] == 0
    return smaller if smaller.any() else inside


def _window(inside: Tensor) -> tuple[slice, slice]:
    rows, columns = inside.any(1).nonzero()[:, 0], inside.any(0).nonzero()[:, 0]
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


class _Measures:
    """Of one picture, inside one mask."""

    def __init__(self, lab: Tensor, inside: Tensor):
        self.lab, self.inside = lab, inside
        self.pixels = lab[inside]
        self.mean = self.pixels.mean(0)
        light = lab[..., 0]
        # What lies outside becomes the mean of the inside, so that no filter sees it.
        self.light = torch.where(inside, light, self.mean[0])

    def contrast(self) -> float:
        low, high = quantiles(self.pixels[:, 0], (0.05, 0.95))
        return high - low

    def slope(self) -> tuple[float, float]:
        """How much L* rises over the whole width and height: a plane fitted to it."""
        height, width = self.inside.shape
        y, x = torch.meshgrid(torch.linspace(-0.5, 0.5, height), torch.linspace(-0.5, 0.5, width), indexing="ij")
        x, y = (part[self.inside].double() for part in (x, y))
        x, y, light = x - x.mean(), y - y.mean(), (self.pixels[:, 0] - self.mean[0]).double()
        xx, yy, xy = (x * x).sum(), (y * y).sum(), (x * y).sum()
        determinant = float(xx * yy - xy * xy)
        if determinant < 1e-9:
            return 0.0, 0.0
        xl, yl = (x * light).sum(), (y * light).sum()
        return float((xl * yy - yl * xy) / determinant), float((yl * xx - xl * xy) / determinant)

    def detail(self) -> list[float]:
        """Energy of each octave, finest first."""
        found, light, weight = [], self.light[None, None], self.inside[None, None].to(self.light)
        for _ in range(OCTAVES):
            smooth = _blurred(light)
            band = ((light - smooth).square() * weight).sum() / weight.sum()
            found.append(float(band))
            if min(light.shape[-2:]) < 4:
                found += [0.0] * (OCTAVES - len(found))
                break
            light, weight = (F.avg_pool2d(part, 2, ceil_mode=True) for part in (smooth, weight))
        return found

    def salience(self) -> tuple[float, float, float]:
        """Centre of what stands out from the mean colour, in pixels, and its spread."""
        away = (self.lab - self.mean).square().sum(-1).sqrt() * self.inside
        level = quantiles(away[self.inside], (0.75,))[0]
        weight = (away - level).clamp(min=0).double()
        total = float(weight.sum())
        if total < 1e-6:
            return 0.0, 0.0, 1.0
        x, y = torch.arange(weight.shape[1]).double(), torch.arange(weight.shape[0]).double()
        mx, my = float((weight.sum(0) * x).sum()) / total, float((weight.sum(1) * y).sum()) / total
        spread = float((weight.sum(0) * (x - mx) ** 2).sum() + (weight.sum(1) * (y - my) ** 2).sum()) / total
        return mx, my, max(1.0, spread) ** 0.5

    def style(self) -> Tensor:
        """Statistics of edges in eight directions at three scales, and how they occur together."""
        rows, light = [], self.light[None, None]
        weight = self.inside[None, None].to(light)
        for _ in range(3):
            answers = F.conv2d(F.pad(light, [1] * 4, mode="replicate"), _edges().to(light)).abs() * weight
            flat = answers[0].flatten(1)
            energy = flat.mean(1)
            gram = flat @ flat.T / flat.shape[1]
            rows += [energy.log1p(), gram[torch.triu(torch.ones_like(gram)) > 0].sqrt().log1p()]
            if min(light.shape[-2:]) < 8:
                break
            light, weight = (F.avg_pool2d(part, 2, ceil_mode=True) for part in (light, weight))
        return torch.cat(rows)


def _delta(picture: _Measures, reference: _Measures) -> Delta:
    dl, da, db = (picture.mean - reference.mean).tolist()
    field = ciede2000(picture.pixels, reference.pixels)
    p50, p95 = quantiles(field, (0.5, 0.95))
    (px, py), (rx, ry) = picture.slope(), reference.slope()
    (cx, cy, cs), (gx, gy, gs) = picture.salience(), reference.salience()
    pairs = zip(picture.detail(), reference.detail(), strict=True)
    octaves = tuple(math.log2((one + 1e-4) / (other + 1e-4)) for one, other in pairs)
    chroma = float(torch.hypot(*picture.mean[1:]) - torch.hypot(*reference.mean[1:]))
    return Delta(
        dl, da, db, chroma, p50, p95, transport(palette(picture.pixels), palette(reference.pixels)).distance,
        picture.contrast() - reference.contrast(), px - rx, py - ry, octaves, cx - gx, cy - gy, math.log2(cs / gs),
        float((picture.style() - reference.style()).abs().mean()),
        1 - masked_ssim(picture.light / 100, reference.light / 100, picture.inside),
    )  # fmt: skip


def quantiles(values: Tensor, fractions: tuple[float, ...]) -> list[float]:
    """Without interpolation, and without torch.quantile's limit of 16 million."""
    return [float(values.kthvalue(1 + round(f * (len(values) - 1))).values) for f in fractions]


def _blurred(light: Tensor) -> Tensor:
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=light.dtype) / 16
    padded = F.pad(light, [2] * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, 5)), kernel.view(1, 1, 5, 1))


def _edges() -> Tensor:
    """[4,1,3,3]: differences across, down and along both diagonals."""
    across = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    rising = torch.tensor([[0.0, 1, 2], [-1, 0, 1], [-2, -1, 0]]) / 8
    return torch.stack([across, across.T, rising, rising.flip(1)])[:, None]


def ssim_map(one: Tensor, other: Tensor) -> Tensor:
    """[H,W] in [0,1] to [H-10,W-10]: Wang et al. 2004, a Gaussian window of 11 with sigma 1.5, only whole windows."""
    kernel = torch.exp(-((torch.arange(11, dtype=one.dtype) - 5) ** 2) / (2 * 1.5**2))
    kernel = kernel / kernel.sum()

    def smooth(value: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(value[None, None], kernel.view(1, 1, 1, 11)), kernel.view(1, 1, 11, 1))[0, 0]

    mean_1, mean_2 = smooth(one), smooth(other)
    var_1, var_2 = smooth(one * one) - mean_1**2, smooth(other * other) - mean_2**2
    both, c1, c2 = smooth(one * other) - mean_1 * mean_2, 0.01**2, 0.03**2
    top = (2 * mean_1 * mean_2 + c1) * (2 * both + c2)
    return top / ((mean_1**2 + mean_2**2 + c1) * (var_1 + var_2 + c2))


def masked_ssim(one: Tensor, other: Tensor, inside: Tensor) -> float:
    """Mean over the windows whose middle is inside; 1 where the picture is smaller than a window and equal."""
    if min(one.shape) < 11:
        return float(1 - (one - other).abs().mean())
    middle = inside[5:-5, 5:-5]
    values = ssim_map(one, other)
    return float(values[middle].mean()) if middle.any() else float(values.mean())
