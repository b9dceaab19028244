"""Where an edit meets the rest of the picture: the cut and the blend that show least, found by solving for them.

The energy of a seam is the sum, over all neighbouring pixels, of how far the step between them is from the step that
the old picture has there, or the new one, whichever is nearer: a join that follows one of the two costs nothing. The
least cut is a minimum cut of exactly these costs (Kwatra et al. 2003, Graphcut Textures).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from scipy import ndimage, sparse
from scipy.optimize import lsq_linear
from scipy.sparse.csgraph import breadth_first_order, maximum_flow
from scipy.sparse.linalg import cg
from torch import Tensor

from ..colour import lab_to_srgb, srgb_to_lab
from .crop import mix

GAIN = (0.9, 1.1)  # how far the colour match may stretch each channel of Lab
SHIFT = 6.0  # and move it
FEATHERS = (0.0, 1.0, 2.0, 4.0, 8.0)  # pixels to either side of a cut that are tried
RIM = 2.0  # levels that a pixel costs which could be new and stays old: else every cut would shrink to the shortest
COST_UNIT = 64  # costs to a level of difference: the flow counts in whole numbers


class Blend(StrEnum):
    best = "best"  # whatever shows least: a cut or a feather, with or without a colour match
    feather = "feather"  # a plain ramp over the whole band
    poisson = "poisson"  # the new picture's steps on the old picture's rim; colours inside may move


@dataclass(frozen=True)
class Seam:
    """How an edit was joined. alpha: [h,w], 0 keeps the old pixel; painted: what the rest is taken from."""

    alpha: Tensor
    painted: np.ndarray
    before: float  # energy of plain feathering
    after: float
    how: str


def solve_seam(old: np.ndarray, new: np.ndarray, support: np.ndarray, band_px: float, blend: str = Blend.best) -> Seam:
    """old, new: uint8 [h,w,3].  support: bool [h,w], all that may change; everything else keeps an alpha of 0.

    band_px: how far inside the support the join may lie. Where the support ends at the border of the arrays there is
    nothing to join.  Never worse than plain feathering in its energy, unless Poisson is asked for.
    """
    depth = _depth(support)
    if support.all():
        return Seam(torch.ones(support.shape), new, 0.0, 0.0, "no seam")
    width = min(band_px, 0.5 * depth.max(initial=0.0))
    plain = np.clip(depth / (width + 1), 0, 1) * support
    before = seam_energy(old, new, plain, new)
    if blend == Blend.feather:
        return _seam(plain, new, before, before, f"feather {width:.0f} px")
    if blend == Blend.poisson:
        painted = poisson(old, new, support)
        energy = seam_energy(old, new, support.astype(float), painted)
        return _seam(support.astype(float), painted, before, energy, "poisson")
    return _least(old, new, support, depth, width, plain, before)


def _least(old, new, support, depth, width, plain, before) -> Seam:
    best = _seam(plain, new, before, before, f"feather {width:.0f} px")
    matched = match_colours(old, new, support)
    for painted, note in ((new, ""), (matched, ", colours matched")):
        if painted is None:
            continue
        cut = least_cut(old, painted, support, depth > width)
        for feather in (f for f in FEATHERS if f <= max(width, 1)):
            alpha = _softened(cut, feather, support, depth > width)
            energy = seam_energy(old, new, alpha, painted)
            if energy < best.after:
                best = _seam(alpha, painted, before, energy, f"cut, feather {feather:.0f} px{note}")
        energy = seam_energy(old, new, plain, painted)
        if energy < best.after:
            best = _seam(plain, painted, before, energy, f"feather {width:.0f} px{note}")
    return best


def seam_energy(old: np.ndarray, new: np.ndarray, alpha: np.ndarray, painted: np.ndarray) -> float:
    """See the head of this file.  painted: what alpha mixes into the old picture; new: what its steps should be."""
    # Where both neighbours are all old, or all new, the step is that of their source: nothing to count.
    state = np.where(alpha <= 0, 0, np.where((alpha >= 1) & (painted is new), 1, 2))
    total = 0.0
    for first, second in NEIGHBOURS:
        counts = (state[first] != state[second]) | (state[first] == 2)
        here, there = ([part[side][counts] for part in (old, new, painted, alpha)] for side in (first, second))
        step = mix(there[0], there[2], there[3]).astype(np.float32) - mix(here[0], here[2], here[3])
        away = [np.linalg.norm(step - (there[i].astype(np.float32) - here[i]), axis=-1) for i in (0, 1)]
        total += float(np.minimum(*away).sum())
    return total


def least_cut(old: np.ndarray, new: np.ndarray, support: np.ndarray, core: np.ndarray) -> np.ndarray:
    """bool [h,w]: the pixels to take from the new picture, all of the core and none outside the support."""
    apart = np.linalg.norm(new.astype(np.float32) - old, axis=-1)
    zone = support & ~core
    count = int(zone.sum())
    outside, inside = count, count + 1
    node = np.where(core, inside, outside)
    node[zone] = np.arange(count)
    rims = np.arange(count), np.full(count, inside), np.full(count, round(RIM * COST_UNIT), np.int32)
    graph = _graph(node, apart, count + 2, rims)
    left = graph - maximum_flow(graph, outside, inside).flow
    left.data[left.data < 0] = 0
    left.eliminate_zeros()
    kept = breadth_first_order(left, outside, return_predecessors=False)
    taken = np.ones(count + 2, bool)
    taken[kept] = False
    return taken[node]


def match_colours(old: np.ndarray, new: np.ndarray, support: np.ndarray) -> np.ndarray | None:
    """The new picture, its Lab channels inside the support stretched and moved within GAIN and SHIFT.

    Learnt outside the support, where both pictures should be the same: a bounded least-squares fit for each channel,
    in which the identity counts as much as an eighth of the pixels. None where there are too few to learn from.
    """
    if (~support).sum() < 64:
        return None
    wanted, given, lab = srgb_to_lab(old[~support]), srgb_to_lab(new[~support]), srgb_to_lab(new[support])
    for channel in range(3):
        gain, shift = _fitted(given[:, channel], wanted[:, channel])
        lab[..., channel] = gain * lab[..., channel] + shift
    out = new.copy()
    out[support] = lab_to_srgb(lab).round().clip(0, 255).astype(np.uint8)
    return out


def poisson(old: np.ndarray, new: np.ndarray, support: np.ndarray) -> np.ndarray:
    """The new picture inside the support, its colours moved smoothly until they meet the old picture's rim.

    The correction is harmonic inside and old - new on the rim (Perez et al. 2003); at the border of the arrays it is
    free. After: the steps between pixels are the new picture's up to that smooth correction.
    """
    node = np.full(support.shape, -1)
    node[support] = np.arange(support.sum())
    laplace, rim = _laplace(node, old.astype(np.float64) - new)
    out = new.copy()
    moved = [cg(laplace, rim[:, channel], rtol=1e-4, maxiter=2000)[0] for channel in range(3)]
    out[support] = (new[support] + np.stack(moved, -1)).round().clip(0, 255).astype(np.uint8)
    return out


def _depth(support: np.ndarray) -> np.ndarray:
    """How far each pixel lies inside; the border of the arrays is no edge."""
    return np.asarray(ndimage.distance_transform_edt(support), np.float64)


def _softened(cut: np.ndarray, feather: float, support: np.ndarray, core: np.ndarray) -> np.ndarray:
    """A ramp to both sides of the cut, kept inside the support and out of the core."""
    if feather == 0:
        return cut.astype(np.float64)
    inwards, outwards = ndimage.distance_transform_edt(cut), ndimage.distance_transform_edt(~cut)
    signed = np.where(cut, np.asarray(inwards) - 0.5, 0.5 - np.asarray(outwards))
    ramp = np.clip(0.5 + signed / (2 * feather), 0, 1)
    return np.where(core, 1.0, np.where(support, ramp, 0.0))


def _graph(node: np.ndarray, apart: np.ndarray, count: int, more: tuple[np.ndarray, ...]) -> Any:
    """Neighbours joined both ways by what a cut between them costs.  more: further starts, ends and costs."""
    starts, ends, costs = ([part] for part in more)
    for first, second in NEIGHBOURS:
        a, b = node[first].ravel(), node[second].ravel()
        # One more, so that of equal cuts the shortest is taken.
        cost = (np.minimum(apart[first], apart[second]).ravel() * COST_UNIT + 1).astype(np.int32)
        joined = a != b
        starts += [a[joined], b[joined]]
        ends += [b[joined], a[joined]]
        costs += [cost[joined]] * 2
    entries = np.concatenate(costs), (np.concatenate(starts), np.concatenate(ends))
    return sparse.coo_matrix(entries, shape=(count, count)).tocsr().astype(np.int32)


def _fitted(given: np.ndarray, wanted: np.ndarray) -> tuple[float, float]:
    weight = np.sqrt(len(given) / 8)
    anchor = np.array([[weight * max(1.0, float(given.std())), 0], [0, weight]])
    rows = np.concatenate([np.stack([given - given.mean(), np.ones_like(given)], 1), anchor])
    target = np.concatenate([wanted - given.mean(), [anchor[0, 0], 0]])
    low, high = (GAIN[0], -SHIFT), (GAIN[1], SHIFT)
    gain, shift = lsq_linear(rows, target, (low, high)).x
    return float(gain), float(shift + given.mean() * (1 - gain))


def _laplace(node: np.ndarray, apart: np.ndarray) -> tuple[Any, np.ndarray]:
    count = int(node.max()) + 1
    degree, rim, starts, ends = np.zeros(count), np.zeros((count, 3)), [], []
    for one, other in [*NEIGHBOURS, *((b, a) for a, b in NEIGHBOURS)]:
        a, b, value = node[one].ravel(), node[other].ravel(), apart[other].reshape(-1, 3)
        inner, edge = (a >= 0) & (b >= 0), (a >= 0) & (b < 0)
        np.add.at(degree, a[a >= 0], 1)
        np.add.at(rim, a[edge], value[edge])
        starts.append(a[inner])
        ends.append(b[inner])
    rows, columns = np.concatenate(starts), np.concatenate(ends)
    joined = sparse.coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(count, count))
    return (sparse.diags(degree) - joined).tocsr(), rim


def _seam(alpha: np.ndarray, painted: np.ndarray, before: float, after: float, how: str) -> Seam:
    return Seam(torch.from_numpy(alpha.astype(np.float32)), painted, before, after, how)


_ALL, _BUT_FIRST, _BUT_LAST = slice(None), slice(1, None), slice(None, -1)
NEIGHBOURS = (((_ALL, _BUT_LAST), (_ALL, _BUT_FIRST)), ((_BUT_LAST, _ALL), (_BUT_FIRST, _ALL)))
