"""sRGB and CIELAB (D65, 2 degrees), as arrays [...,3]."""

from __future__ import annotations

import numpy as np

# IEC 61966-2-1, from linear sRGB to XYZ over the white of D65.
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
) / np.array([[0.95047], [1.0], [1.08883]])
FROM_XYZ = np.linalg.inv(TO_XYZ)
KNEE = 6 / 29


def srgb_to_lab(pixels: np.ndarray) -> np.ndarray:
    """uint8 or floats 0..255 to L in 0..100, a and b."""
    values = np.asarray(pixels, np.float64) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    f = _compressed(linear @ TO_XYZ.T)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def lab_to_srgb(lab: np.ndarray) -> np.ndarray:
    """To floats 0..255; colours outside sRGB are clipped."""
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], -1)
    xyz = np.where(f > KNEE, f**3, 3 * KNEE**2 * (f - 4 / 29))
    linear = np.clip(xyz @ FROM_XYZ.T, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _compressed(t: np.ndarray) -> np.ndarray:
    return np.where(t > KNEE**3, np.cbrt(t), t / (3 * KNEE**2) + 4 / 29)
