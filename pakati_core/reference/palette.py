"""Palettes: the few colours that a picture is made of, and what it takes to turn one palette into another."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .colour import ciede2000

SAMPLES = 4096  # pixels that a palette is made from


class Palette(NamedTuple):
    colours: Tensor  # [K,3] Lab
    weights: Tensor  # [K], sums to 1; largest first


class Transport(NamedTuple):
    """distance: mean CIEDE2000 over the cheapest way; flow: [K,L] how much of which colour becomes which."""

    distance: float
    flow: Tensor


def palette(lab: Tensor, count: int = 5) -> Palette:
    """k-means in Lab over [N,3] pixels; the same pixels give the same palette."""
    pixels = lab[torch.linspace(0, len(lab) - 1, min(SAMPLES, len(lab))).long()].double()
    centres = _spread(pixels, count)
    for _ in range(12):
        owner = torch.cdist(pixels, centres).argmin(1)
        sums = torch.zeros_like(centres).index_add_(0, owner, pixels)
        sizes = torch.bincount(owner, minlength=len(centres)).double()
        centres = torch.where(sizes[:, None] > 0, sums / sizes.clamp(min=1)[:, None], centres)
    sizes = torch.bincount(torch.cdist(pixels, centres).argmin(1), minlength=len(centres)).double()
    order = sizes.argsort(descending=True, stable=True)
    kept = order[sizes[order] > 0]
    return Palette(centres[kept], sizes[kept] / sizes.sum())


def _spread(pixels: Tensor, count: int) -> Tensor:
    """Beginnings far from each other: the one nearest to the mean, then always the farthest."""
    first = (pixels - pixels.mean(0)).square().sum(1).argmin()
    chosen, far = [first], (pixels - pixels[first]).square().sum(1)
    while len(chosen) < count and far.max() > 0:
        chosen.append(far.argmax())
        far = torch.minimum(far, (pixels - pixels[chosen[-1]]).square().sum(1))
    return pixels[torch.stack(chosen)]


def transport(one: Palette, other: Palette) -> Transport:
    """The exact optimum, by linear programming."""
    from scipy.optimize import linprog  # takes a while to load

    cost = ciede2000(one.colours[:, None].double(), other.colours[None].double()).numpy()
    rows, columns = cost.shape
    out = np.kron(np.eye(rows), np.ones(columns))
    into = np.kron(np.ones(rows), np.eye(columns))
    amounts = np.concatenate([one.weights.double().numpy(), other.weights.double().numpy()])
    # the last equation follows from the others, and rounding must not make them contradict each other
    found = linprog(cost.ravel(), A_eq=np.concatenate([out, into])[:-1], b_eq=amounts[:-1], method="highs")
    return Transport(max(0.0, float(found.fun)), torch.from_numpy(found.x.reshape(rows, columns)))
