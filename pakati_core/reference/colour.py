"""CIELAB and CIEDE2000 in torch. sRGB with the white D65 (2 degrees), in the constants that scikit-image uses."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_WHITE = (0.95047, 1.0, 1.08883)


def srgb_to_lab(image: Tensor) -> Tensor:
    """[...,3] in [0,1] to L* in [0,100], a*, b*; dtype and device stay."""
    dtype, image = image.dtype, image.double()
    linear = torch.where(image > 0.04045, ((image.clamp(min=0) + 0.055) / 1.055) ** 2.4, image / 12.92)
    xyz = linear @ _matrix(image).T / torch.tensor(_WHITE, dtype=image.dtype, device=image.device)
    f = torch.where(xyz > 0.008856, xyz.clamp(min=1e-12) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = f.unbind(-1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1).to(dtype)


def lab_to_srgb(lab: Tensor) -> Tensor:
    """The inverse; colours that no screen has are clipped to [0,1]."""
    lightness, a, b = lab.unbind(-1)
    y = (lightness + 16) / 116
    f = torch.stack([y + a / 500, y, y - b / 200], -1)
    xyz = torch.where(f > 0.2068966, f**3, (f - 16 / 116) / 7.787)
    xyz = xyz * torch.tensor(_WHITE, dtype=lab.dtype, device=lab.device)
    linear = (xyz @ torch.linalg.inv(_matrix(lab)).T).clamp(0, 1)
    return torch.where(linear > 0.0031308, 1.055 * linear.clamp(min=1e-12) ** (1 / 2.4) - 0.055, linear * 12.92)


def _matrix(like: Tensor) -> Tensor:
    return torch.tensor(_TO_XYZ, dtype=like.dtype, device=like.device)


def ciede2000(one: Tensor, other: Tensor) -> Tensor:
    """The colour difference of two Lab tensors [...,3]; symmetric, 0 for equal colours.

    After: Sharma, Wu, Dalal, "The CIEDE2000 color-difference formula", Color Res. Appl. 30 (2005). Its letters.
    """
    # In float64: in float32 nearly neutral pairs are off by 0.006.
    L1, a1, b1 = one.double().unbind(-1)
    L2, a2, b2 = other.double().unbind(-1)
    mean = (torch.hypot(a1, b1) + torch.hypot(a2, b2)) / 2
    G = 0.5 * (1 - _seventh(mean)) + 1
    a1, a2 = a1 * G, a2 * G
    C1, C2 = torch.hypot(a1, b1), torch.hypot(a2, b2)
    h1, h2 = _hue(a1, b1), _hue(a2, b2)
    dh, h = _hue_difference(h1, h2, C1 * C2 == 0)
    C, L = (C1 + C2) / 2, (L1 + L2) / 2
    S_L = 1 + 0.015 * (L - 50) ** 2 / torch.sqrt(20 + (L - 50) ** 2)
    lightness, chroma = (L2 - L1) / S_L, (C2 - C1) / (1 + 0.045 * C)
    hue = 2 * torch.sqrt(C1 * C2) * torch.sin(dh / 2) / (1 + 0.015 * C * _hue_weight(h))
    turn = -torch.sin(math.radians(60) * torch.exp(-(((torch.rad2deg(h) - 275) / 25) ** 2))) * 2 * _seventh(C)
    squared = lightness**2 + chroma**2 + hue**2 + turn * chroma * hue
    return torch.sqrt(squared.clamp(min=0)).to(one.dtype)


def _seventh(C: Tensor) -> Tensor:
    seventh = C**7
    return torch.sqrt(seventh / (seventh + 25.0**7))


def _hue(a: Tensor, b: Tensor) -> Tensor:
    return torch.remainder(torch.atan2(b, a), 2 * math.pi)


def _hue_difference(h1: Tensor, h2: Tensor, grey: Tensor) -> tuple[Tensor, Tensor]:
    """The difference the short way round, and the mean hue; a grey has no hue of its own."""
    d, total = h2 - h1, h1 + h2
    dh = torch.where(d > math.pi, d - 2 * math.pi, torch.where(d < -math.pi, d + 2 * math.pi, d))
    wrapped = torch.where(total < 2 * math.pi, total + 2 * math.pi, total - 2 * math.pi)
    h = torch.where(d.abs() > math.pi, wrapped, total) / 2
    return torch.where(grey, torch.zeros_like(dh), dh), torch.where(grey, total, h)


def _hue_weight(h: Tensor) -> Tensor:
    """Sharma's T."""
    return (
        1
        - 0.17 * torch.cos(h - math.radians(30))
        + 0.24 * torch.cos(2 * h)
        + 0.32 * torch.cos(3 * h + math.radians(6))
        - 0.20 * torch.cos(4 * h - math.radians(63))
    )
