"""A judge of plain measurements: flaws of exposure and focus, and whether a colour is there.

Works offline on any picture. What it cannot measure it does not guess: it then gives no verdict.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageColor

from .questions import GROUND, Question, QuestionSet
from .verdict import NoVerdict, Verdict, verdict_of

NAMED = {"golden": "goldenrod", "purple": "#802ab0"}  # what the prompt's word means where CSS means another
NEAR = 90.0  # distance in 8-bit RGB up to which a pixel still has a colour's name
SIDE = 512  # pictures are measured at most this large


class MetricsJudge:
    """artefact: sharp, well exposed, not empty. attribute with a colour: a share of the region has it."""

    name = "measurements"

    def __init__(self, least_share: float = 0.03):
        self.least_share = least_share  # of the region, from which a colour counts as there

    def judge(self, image: Image.Image, questions: QuestionSet) -> Verdict | NoVerdict:
        if strange := [question for question in questions if not _can_measure(question)]:
            return NoVerdict(f"measurements cannot answer {strange[0].text!r}; ask a vision model", self.name)
        small = image.convert("RGB")
        small.thumbnail((SIDE, SIDE))
        pixels = np.asarray(small, np.float32)
        return verdict_of(questions, [(q, *self._answer(q, pixels, questions)) for q in questions], self.name)

    def _answer(self, question: Question, pixels: np.ndarray, questions: QuestionSet) -> tuple[float, str]:
        if question.kind == "artefact":
            return flawless(pixels)
        inside = pixels.reshape(-1, 3)
        if questions.regions and question.region is not None:
            inside = pixels[_area(questions, question.region, pixels.shape[:2]) > 0.5]
        far = np.linalg.norm(inside - np.array(_rgb(question.value), np.float32), axis=1)
        share = float((far < NEAR).mean()) if len(inside) else 0.0
        return share / (share + self.least_share), f"{share:.1%} of it is {question.value}"


def _can_measure(question: Question) -> bool:
    if question.kind == "artefact":
        return True
    return question.kind == "attribute" and question.thing != GROUND and _rgb(question.value) is not None


def _rgb(name: str) -> tuple[int, ...] | None:
    try:
        return ImageColor.getrgb(NAMED.get(name, name))[:3]
    except ValueError:
        return None


def _area(questions: QuestionSet, region: str, shape: tuple[int, ...]) -> np.ndarray:
    assert questions.regions is not None
    rows = questions.regions.weights_on_grid(*shape)[1:]
    return next(row.numpy() for row, r in zip(rows, questions.regions.regions, strict=True) if r.id == region)


def flawless(pixels: np.ndarray) -> tuple[float, str]:
    """[H,W,3] in 0..255. The weakest of four measures, each 1 where a picture is sound and 0 where it is spoilt."""
    grey = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    low, high = np.percentile(grey, [2, 98])
    edges = np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()
    measures = {
        "contrast": (high - low) / 60,
        "focus": edges / 2,
        "not black": (255 - (grey < 4).mean() * 255) / 128,
        "not white": (255 - (grey > 251).mean() * 255) / 128,
    }
    name = min(measures, key=lambda key: measures[key])
    return float(np.clip(measures[name], 0, 1)), f"weakest: {name} {measures[name]:.2f}"
