"""Judges: does a picture show what was asked for? Questions, the answers to them, and who answers."""

from .answers import instruction, verdict_from_text
from .metrics import MetricsJudge
from .noisy import NoisyJudge, flip
from .ports import Judge
from .questions import KINDS, Question, QuestionSet, questions_from_prompt, questions_from_regions
from .reader import ReaderJudge
from .replay import ReplayJudge, picture_digest
from .verdict import PASSED, Check, NoVerdict, Verdict, verdict_or_none

__all__ = [
    "KINDS", "PASSED", "Check", "Judge", "MetricsJudge", "NoVerdict", "NoisyJudge", "Question", "QuestionSet",
    "ReaderJudge", "ReplayJudge", "Verdict", "flip", "instruction", "picture_digest", "questions_from_prompt",
    "questions_from_regions", "verdict_from_text", "verdict_or_none",
]  # fmt: skip
