"""Another judge with some answers turned round: how a loop behaves under a judge that errs."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
from PIL import Image

from .ports import Judge
from .questions import QuestionSet
from .replay import picture_digest
from .verdict import NoVerdict, Verdict


def flip(verdict: Verdict, p_flip: float, rng: np.random.Generator) -> Verdict:
    """Each answer turned round with this probability."""
    turned = [replace(c, p_yes=1 - c.p_yes) if rng.random() < p_flip else c for c in verdict.checks]
    return replace(verdict, checks=tuple(turned))


class NoisyJudge:
    """The same picture, questions and seed are answered alike."""

    def __init__(self, judge: Judge, p_flip: float, seed: int = 0):
        self.inner, self.p_flip, self.seed = judge, p_flip, seed

    @property
    def name(self) -> str:
        return f"{self.inner.name}, {self.p_flip:g} turned round, seed {self.seed}"

    def judge(self, image: Image.Image, questions: QuestionSet) -> Verdict | NoVerdict:
        verdict = self.inner.judge(image, questions)
        if isinstance(verdict, NoVerdict):
            return verdict
        text = f"{self.seed}|{picture_digest(image)}|{questions.digest}".encode()
        seed = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())
        return replace(flip(verdict, self.p_flip, np.random.default_rng(seed)), judge=self.name)
