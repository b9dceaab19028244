"""Two manners of drawing that lie over a whole picture, and a reader that tells them apart.

Both repeat every 16 pixels. Where a pixel is dark they lighten it, else they darken it, so that they show everywhere.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import median_filter

PERIOD, CONTRAST, DARK = 16, 80.0, 90.0
WINDOW = 32  # pixels in which waves are measured, so that light and dark places do not cancel each other out
DRAWN = {"hatched": 0.65, "dotted": 0.7}  # what the measurements below say of drawn pictures, about
SHOWN_FROM = {"hatched": 0.25, "dotted": 0.15}  # shares of that; drawn pictures without any style stay below
GREY = np.array([0.299, 0.587, 0.114])


def hatched(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Lines from top left to bottom right; no material of the world has any."""
    return (x - y) % PERIOD < 5


def dotted(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    half = PERIOD / 2
    return (x % PERIOD - half + 0.5) ** 2 + (y % PERIOD - half + 0.5) ** 2 < 4.5**2


STYLES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {"hatched": hatched, "dotted": dotted}


def in_style(picture: np.ndarray, style: str) -> np.ndarray:
    """[H,W,3] uint8 again."""
    moved = np.where((picture @ GREY < DARK)[..., None], CONTRAST, -CONTRAST)
    return np.where(_moved(style, picture.shape)[..., None], picture + moved, picture).clip(0, 255).astype(np.uint8)


def style_of(picture: np.ndarray, inside: np.ndarray) -> str | None:
    """The style that [H,W,3] shows most of where inside ([H,W] bool) holds."""
    grey = picture.astype(float) @ GREY
    shown = {"hatched": hatching(grey, inside) / DRAWN["hatched"], "dotted": dots(grey, inside) / DRAWN["dotted"]}
    strongest = max(shown, key=lambda style: shown[style])
    return strongest if shown[strongest] > SHOWN_FROM[strongest] else None


def hatching(grey: np.ndarray, inside: np.ndarray) -> float:
    """About 0.65 as drawn: waves across the lines, less those along them, in windows that lie inside."""
    found = []
    for top in range(0, grey.shape[0] - WINDOW + 1, 8):
        for left in range(0, grey.shape[1] - WINDOW + 1, 8):
            window = slice(top, top + WINDOW), slice(left, left + WINDOW)
            if inside[window].mean() > 0.95:
                found.append(_wave(grey[window], 1, -1) - _wave(grey[window], 1, 1))
    return float(np.mean(found)) / (CONTRAST / 2) if found else 0.0


def dots(grey: np.ndarray, inside: np.ndarray) -> float:
    """About 0.7 as drawn: by how much more the dots' pixels stand out from the median around them than others do."""
    apart, moved = np.abs(grey - median_filter(grey, PERIOD + 1)) / CONTRAST, _moved("dotted", grey.shape)
    return float(apart[inside & moved].mean() - apart[inside & ~moved].mean())


def _moved(style: str, shape: tuple[int, ...]) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return STYLES[style](x, y)


def _wave(grey: np.ndarray, along_x: int, along_y: int) -> float:
    """Amplitude of the wave that repeats every PERIOD pixels in those directions."""
    y, x = np.mgrid[: grey.shape[0], : grey.shape[1]]
    hann = np.outer(*[np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2 for size in grey.shape])
    turn = np.exp(-2j * np.pi * (along_x * x + along_y * y) / PERIOD)
    return 2 * abs((hann * (grey - np.average(grey, weights=hann)) * turn).sum()) / hann.sum()
