"""From which similarity on two faces are the same person, measured on the user's own references."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from .embeddings import Embeddings, unit

FEWEST = 3  # references, below which leaving one out says nothing
WANTED_ACCEPTED = 0.8  # share of the references that must pass; below it the person and the others overlap
Z95 = 1.959963984540054


class Aggregate(StrEnum):
    """What several references say together about one face."""

    best = "best"  # the most similar one
    top2 = "top2"  # the mean of the two most similar ones, which one odd reference does not sway


@dataclass(frozen=True)
class Threshold:
    """value: the cosine from which on a face matches. calibrated: it was measured, and why not if it was not.

    false_accepts: share of strangers that pass, with the ends of its 95 % confidence interval; accepts: share of the
    references that pass when they are left out. None where nothing was measured.
    """

    value: float
    calibrated: bool
    reason: str
    false_accepts: float | None = None
    low: float | None = None
    high: float | None = None
    accepts: float | None = None


def similarities(vectors: np.ndarray, references: np.ndarray, how: Aggregate = Aggregate.top2) -> np.ndarray:
    """How much each of [N,D] is like the person of references [M,D]: [N] in [-1,1]; M is at least 1."""
    cosines = np.sort(unit(np.atleast_2d(vectors)) @ unit(references).T, axis=1)
    best = cosines[:, -2:] if how == Aggregate.top2 else cosines[:, -1:]
    return best.mean(1)


def left_out(references: np.ndarray, how: Aggregate = Aggregate.top2) -> np.ndarray:
    """How much each of the references [N,D] is like the others: [N]; N is at least 2."""
    everyone = np.arange(len(references))
    return np.array([similarities(references[i], references[everyone != i], how)[0] for i in everyone])


def calibrate(
    references: Embeddings, strangers: np.ndarray | None, vendor: float, target: float = 0.01,
    how: Aggregate = Aggregate.top2,
) -> Threshold:  # fmt: skip
    """The lowest threshold that lets at most a share `target` of the strangers [M,D] pass.

    vendor: the threshold of the embedder's makers, which holds where nothing can be measured.
    """
    if len(references) < FEWEST:
        few = f"uncalibrated: {len(references)} references, {FEWEST} are needed; the makers' threshold holds"
        return Threshold(vendor, False, few)
    if strangers is None or len(strangers) == 0:
        return Threshold(
            vendor, False, "uncalibrated: no faces of other people were given; the makers' threshold holds"
        )
    value, passing = _cut(similarities(strangers, references.vectors, how), target)
    low, high = wilson(passing, len(strangers))
    accepts = float((left_out(references.vectors, how) >= value).mean())
    measured = passing / len(strangers), low, high, accepts
    if accepts < WANTED_ACCEPTED:
        reason = f"uncalibrated: only {accepts:.0%} of the references stand out from other people; "
        return Threshold(vendor, False, reason + "the makers' threshold holds", *measured)
    reason = f"calibrated on {len(references)} references and {len(strangers)} other faces: at most {high:.2%} of "
    return Threshold(value, True, reason + "strangers pass (95 % confidence)", *measured)


def _cut(scores: np.ndarray, target: float) -> tuple[float, int]:
    """Just above the most similar stranger that must not pass, and how many pass."""
    ranked = np.sort(scores)[::-1]
    refused = ranked[min(len(ranked) - 1, math.floor(target * len(ranked)))]
    return float(np.nextafter(refused, np.inf)), int((scores > refused).sum())


def wilson(hits: int, trials: int, z: float = Z95) -> tuple[float, float]:
    """The ends of a share's confidence interval, 95 % by default.

    Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    share, room = hits / trials, z * z / trials
    middle = (share + room / 2) / (1 + room)
    half = z / (1 + room) * math.sqrt(share * (1 - share) / trials + room / (4 * trials))
    return max(0.0, middle - half), min(1.0, middle + half)
