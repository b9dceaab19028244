"""Judges: does a picture show what was asked for? Questions, the answers to them, and who answers."""

from typing import TYPE_CHECKING, Any

from .answers import instruction, verdict_from_text
from .metrics import MetricsJudge
from .noisy import NoisyJudge, flip
from .ports import Judge
from .questions import KINDS, Question, QuestionSet, questions_from_prompt, questions_from_regions
from .reader import ReaderJudge
from .replay import ReplayJudge, picture_digest
from .verdict import PASSED, Check, NoVerdict, Verdict, verdict_or_none

if TYPE_CHECKING:
    from .remote import Budget, RemoteJudge

__all__ = [
    "KINDS", "PASSED", "Budget", "Check", "Judge", "MetricsJudge", "NoVerdict", "NoisyJudge", "Question", "QuestionSet",
    "ReaderJudge", "RemoteJudge", "ReplayJudge", "Verdict", "flip", "instruction", "judge_called", "picture_digest",
    "questions_from_prompt", "questions_from_regions", "verdict_from_text", "verdict_or_none",
]  # fmt: skip


def judge_called(name: str, address: str = "", **settings: Any) -> Judge:
    """reader, measurements, or WIRE:MODEL such as `gemini:gemini-2.5-flash`.  address: of a service elsewhere."""
    if name in ("reader", "measurements"):
        return ReaderJudge() if name == "reader" else MetricsJudge()
    from .remote import RemoteJudge

    wire, _, model = name.partition(":")
    return RemoteJudge(wire, model, address, **settings)


def __getattr__(name: str):
    """Loaded when asked for: aiohttp takes its time, and most pictures are judged on this machine."""
    if name not in ("Budget", "RemoteJudge"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import remote

    return getattr(remote, name)
