"""The records of a refinement: immutable, JSON in and out, without clock or path: equal runs are equal bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any, Self

from ..errors import RefineError
from ..judge import NoVerdict, Verdict, verdict_or_none

VERSION = 1
MOST_ROUNDS = 64


class Route(StrEnum):
    """How a picture is made from what came before."""

    first = "first"
    inpaint = "inpaint"  # repaint regions
    detail = "detail"  # repaint one region cut out and enlarged, then put back
    structure = "structure"  # keep depth, repaint
    style = "style"  # keep edges, repaint
    prompt = "prompt"  # say it more clearly, the same seed
    resample = "resample"  # from other noise


class RefinementStrategy(StrEnum):
    ADAPTIVE = "adaptive"  # the gravest fault decides
    PROMPT_FIRST = "prompt first"
    IMAGE_FIRST = "image first"
    HYBRID = "hybrid"  # in turn


@dataclass(frozen=True)
class Config:
    """max_rounds: pictures in all, the first included.  patience: rounds without a better picture until it stops.

    eps: how much better a picture must be to replace the best.  denoise: strength of a region's edits by how many have
    made it better since the last new beginning, the last one repeated.  routes: those that the painter can take.
    """

    max_rounds: int = 5
    target: float = 0.9
    patience: int = 2
    eps: float = 0.02
    seed: int = 0
    strategy: str = RefinementStrategy.ADAPTIVE
    max_calls: int | None = None
    max_tokens: int | None = None
    max_seconds: float | None = None
    max_errors: int = 2  # in a row
    denoise: tuple[float, ...] = (1.0, 0.9, 0.8, 0.7)
    routes: tuple[str, ...] = (Route.inpaint, Route.prompt, Route.resample)

    def __post_init__(self):
        for name in ("denoise", "routes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not 1 <= self.max_rounds <= MOST_ROUNDS or self.patience < 1 or not 0 <= self.target <= 1:
            raise RefineError(
                f"{self.max_rounds} rounds, patience {self.patience} and target {self.target} were given; give 1 to "
                f"{MOST_ROUNDS} rounds, patience of 1 or more, and a target between 0 and 1"
            )
        if self.strategy not in tuple(RefinementStrategy):
            raise RefineError(f"strategy is {self.strategy!r}; give one of {', '.join(RefinementStrategy)}")
        if any(later > earlier for earlier, later in zip(self.denoise, self.denoise[1:])) or not self.denoise:
            raise RefineError(f"denoise is {self.denoise}; give strengths that never rise")

    def identity(self) -> dict[str, Any]:
        """What makes pictures: limits and targets may change between two runs of one refinement."""
        return {name: getattr(self, name) for name in ("seed", "strategy", "eps", "denoise", "routes")}


@dataclass(frozen=True)
class Attempt:
    """What makes one picture."""

    index: int
    seed: int
    route: str = Route.first
    regions: tuple[str, ...] = ()  # to repaint; empty: found by itself
    parent: int | None = None  # index of the picture that it begins from; None: from noise
    strength: float = 1.0
    guidance: float = 1.0  # factor on the guidance scale
    checks: tuple[str, ...] = ()  # the failed questions that it answers

    def __post_init__(self):
        for name in ("regions", "checks"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def way(self) -> tuple[str, tuple[str, ...]]:
        return str(self.route), self.regions


@dataclass(frozen=True)
class Pass:
    """One picture, and what was said about it."""

    attempt: Attempt
    verdict: Verdict | NoVerdict
    digest: str = ""  # of the picture
    accepted: bool = False  # became the best so far
    prompt: str = ""  # as it was painted

    @property
    def score(self) -> float | None:
        return self.verdict.geometric if isinstance(self.verdict, Verdict) else None

    def to_dict(self) -> dict[str, Any]:
        numbers = {"score": self.score, "mean": None}
        if isinstance(self.verdict, Verdict):
            numbers["mean"] = self.verdict.arithmetic
        attempt = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self.attempt).items()}
        rest = {"digest": self.digest, "accepted": self.accepted, "prompt": self.prompt}
        return {"attempt": attempt, **numbers, "verdict": self.verdict.to_dict(), **rest}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        attempt, verdict = Attempt(**data["attempt"]), verdict_or_none(data["verdict"])
        return cls(attempt, verdict, data["digest"], data["accepted"], data["prompt"])


@dataclass(frozen=True)
class State:
    """A refinement so far. attempt: what the next picture is made by."""

    config: Config
    attempt: Attempt
    passes: tuple[Pass, ...] = ()
    questions: str = ""  # digest of the questions, which never change in a loop

    @classmethod
    def begin(cls, config: Config, questions: str = "") -> Self:
        return cls(config, Attempt(0, config.seed), (), questions)

    @property
    def best_index(self) -> int:
        """The last one accepted is the best; the first picture where none was judged."""
        return max((number for number, made in enumerate(self.passes) if made.accepted), default=0)

    @property
    def best(self) -> Pass | None:
        return self.passes[self.best_index] if self.passes else None

    @property
    def calls(self) -> int:
        return sum(made.verdict.calls for made in self.passes)

    @property
    def tokens(self) -> int:
        return sum(made.verdict.tokens for made in self.passes)

    def with_attempt(self, attempt: Attempt) -> Self:
        return replace(self, attempt=attempt)

    def to_dict(self) -> dict[str, Any]:
        config = {f.name: getattr(self.config, f.name) for f in fields(self.config)}
        config = {name: list(value) if isinstance(value, tuple) else value for name, value in config.items()}
        rest = {"best_index": self.best_index, "passes": [made.to_dict() for made in self.passes]}
        return {"pakati": "refinement", "version": VERSION, "config": config, "questions": self.questions, **rest}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        if not isinstance(data, dict) or data.get("pakati") != "refinement" or data.get("version") != VERSION:
            raise RefineError(f"this is not a refinement's history of version {VERSION}; give what Pakati wrote")
        try:
            config = Config(**data["config"])
            passes = tuple(Pass.from_dict(row) for row in data["passes"])
            return cls(config, Attempt(len(passes), config.seed), passes, data["questions"])
        except (KeyError, TypeError, ValueError) as exc:
            raise RefineError(f"this refinement's history is damaged ({exc}); begin again in another folder") from exc
