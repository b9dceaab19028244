"""Edges for ControlNets: Canny's detector on the GPU or CPU, in torch alone.

The steps and the numbers are those of kornia.filters.canny, which ComfyUI's node Canny calls: both draw the same lines,
up to one pixel where both sides of a line are equally strong.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ShapeError
from ..layout import bchw_to_image, image_to_bchw

LOW, HIGH = 0.4, 0.8  # ComfyUI's defaults
_LUMA = (0.299, 0.587, 0.114)
EPS = 1e-6


def canny(image: Tensor, low: float = LOW, high: float = HIGH) -> Tensor:
    """White lines on black: [B,H,W,3] in [0,1] of both.

    low, high: gradient from which on a pixel next to a line, and one by itself, is an edge; low < high, in (0,1).
    """
    if not 0 < low < high < 1:
        raise ShapeError(f"the thresholds are {low} and {high} but 0 < low < high < 1 was wanted")
    pixels = image_to_bchw(image[..., :3]).float()
    weights = torch.tensor(_LUMA, device=pixels.device).view(1, 3, 1, 1)
    strength, (gx, gy) = _gradient(_blurred((pixels * weights).sum(1, keepdim=True)))
    lines = _joined(_thin(strength, torch.atan2(gy, gx)), low, high)
    return bchw_to_image(lines.repeat(1, 3, 1, 1))


def from_opencv(low: float, high: float) -> tuple[float, float]:
    """Thresholds as cv2.Canny counts them, 0 to 255, in ours."""
    return low / 255, high / 255


def _blurred(grey: Tensor) -> Tensor:
    """Gaussian of 5x5 pixels and sigma 1, the border mirrored."""
    x = torch.arange(5, device=grey.device, dtype=grey.dtype) - 2
    kernel = torch.exp(-x.pow(2) / 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(grey, (2, 2, 2, 2), mode="reflect")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, 5)), kernel.view(1, 1, 5, 1))


def _gradient(grey: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Sobel's, not normalised, the border repeated."""
    kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], device=grey.device)
    padded = F.pad(grey, (1, 1, 1, 1), mode="replicate")
    gx, gy = (F.conv2d(padded, part.view(1, 1, 3, 3)) for part in (kernel, kernel.T.contiguous()))
    return torch.sqrt(gx * gx + gy * gy + EPS), (gx, gy)


# From a pixel to its eight neighbours (row, column), by the angle of the gradient in eighths of a turn.
_AROUND = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))


def _thin(strength: Tensor, angle: Tensor) -> Tensor:
    """Only the ridges stay: pixels that are stronger than both neighbours across the line."""
    ahead = (angle * (4 / math.pi)).round().long() % 8
    flat = EPS**0.5  # what lies beyond the border has no gradient
    padded, (height, width) = F.pad(strength, (1, 1, 1, 1), value=flat), strength.shape[-2:]
    around = torch.stack([padded[..., 1 + r : 1 + r + height, 1 + c : 1 + c + width] for r, c in _AROUND])
    ridge = _beats(strength, around, ahead) & _beats(strength, around, (ahead + 4) % 8)
    return strength * (ridge & (strength > flat))


def _beats(strength: Tensor, around: Tensor, direction: Tensor) -> Tensor:
    """Of two equal pixels across a step the left or upper one stays, as in OpenCV."""
    other = around.gather(0, direction[None])[0]
    return (strength > other) | ((strength == other) & ((direction == 0) | (direction == 2)))


def _joined(strength: Tensor, low: float, high: float) -> Tensor:
    """Strong pixels, and weak ones that hang together with them."""
    edges, weak = (strength > high).float(), (strength > low).float()
    for _ in range(math.prod(strength.shape[-2:])):
        grown = torch.maximum(edges, F.max_pool2d(edges, 3, 1, 1) * weak)
        if torch.equal(grown, edges):
            break
        edges = grown
    return edges
