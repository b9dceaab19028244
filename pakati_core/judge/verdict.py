"""What a judge answered, and the numbers that follow from it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Self

from ..errors import JudgeError
from .questions import Question, QuestionSet

PASSED = 0.5  # p_yes from which an answer is a yes
# The documents' three classes of issues, and the two sides that their decision weighs against each other.
CLASSES = {
    "object": "object", "count": "object", "attribute": "object", "artefact": "object",
    "relation": "structural", "position": "structural",
    "text": "semantic", "style": "semantic", "ambiguity": "semantic",
}  # fmt: skip
PROMPT_ISSUES = {"ambiguity"}


@dataclass(frozen=True)
class Check:
    """One question and how sure the judge is of its yes, in [0,1]."""

    id: str
    question: str
    kind: str
    region: str | None
    p_yes: float
    weight: float = 1.0
    evidence: str = ""
    needs: tuple[str, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "needs", tuple(self.needs))
        number = isinstance(self.p_yes, int | float) and not isinstance(self.p_yes, bool)
        if not number or not 0 <= self.p_yes <= 1 or not 0 < self.weight < math.inf:
            raise JudgeError(
                f"question {self.id!r} was answered {self.p_yes!r} at the weight {self.weight!r}; an answer is a "
                "number between 0 and 1, a weight a number above 0"
            )

    @classmethod
    def of(cls, question: Question, p_yes: float, evidence: str = "") -> Self:
        q = question
        return cls(q.id, q.text, q.kind, q.region, p_yes, q.weight, evidence, q.needs)


@dataclass(frozen=True)
class Verdict:
    """All answers about one picture. checks: kept in the order of their ids, so that order changes nothing."""

    checks: tuple[Check, ...]
    judge: str = ""
    questions: str = ""  # the digest of the QuestionSet
    calls: int = 0  # what it cost
    tokens: int = 0
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self):
        if not self.checks:
            raise JudgeError("a verdict without answers was made; give at least one")
        object.__setattr__(self, "checks", tuple(sorted(self.checks, key=lambda check: check.id)))
        object.__setattr__(self, "notes", tuple(self.notes))

    @cached_property
    def effective(self) -> dict[str, float]:
        """p_yes by id, 0 where a question that it needs failed (DSG, arXiv 2310.18235)."""
        known = {check.id: check for check in self.checks}
        settled: dict[str, float] = {}

        def settle(name: str, above: frozenset[str]) -> float:
            if name not in settled:
                check = known[name]
                parents = [p for p in check.needs if p in known and p not in above]
                failed = any(settle(parent, above | {name}) < PASSED for parent in parents)
                settled[name] = 0.0 if failed else float(check.p_yes)
            return settled[name]

        for name in known:
            settle(name, frozenset())
        return settled

    @cached_property
    def arithmetic(self) -> float:
        """Weighted mean: progress, shown to people."""
        total = math.fsum(check.weight for check in self.checks)
        return min(1.0, math.fsum(check.weight * self.effective[check.id] for check in self.checks) / total)

    @cached_property
    def geometric(self) -> float:
        """Weighted geometric mean: one clear no is enough to spoil it. It decides."""
        values = [(check.weight, self.effective[check.id]) for check in self.checks]
        if any(p == 0 for _, p in values):
            return 0.0
        return min(1.0, math.exp(math.fsum(w * math.log(p) for w, p in values) / math.fsum(w for w, _ in values)))

    @property
    def satisfaction_score(self) -> float:
        return self.geometric

    @property
    def failed(self) -> tuple[Check, ...]:
        """Gravest first; of equals, by id."""
        wrong = [check for check in self.checks if self.effective[check.id] < PASSED]
        return tuple(sorted(wrong, key=lambda check: (-self.severity(check), check.id)))

    @property
    def all_right(self) -> bool:
        return not any(check.weight >= 1 for check in self.failed)

    def severity(self, check: Check) -> float:
        return check.weight * (1 - self.effective[check.id])

    def issues(self) -> dict[str, list[dict[str, Any]]]:
        """The documents' issue dictionary: object, semantic and structural, each gravest first."""
        found: dict[str, list[dict[str, Any]]] = {"object": [], "semantic": [], "structural": []}
        for check in self.failed:
            row = {"id": check.id, "kind": check.kind, "question": check.question, "region": check.region}
            found[CLASSES[check.kind]].append({**row, "severity": self.severity(check), "evidence": check.evidence})
        return found

    def to_dict(self) -> dict[str, Any]:
        data = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "checks"}
        rows = [{f.name: getattr(check, f.name) for f in fields(check)} for check in self.checks]
        rows = [{**row, "needs": list(row["needs"])} for row in rows]
        return {**data, "notes": list(self.notes), "checks": rows}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        try:
            return cls(**{**data, "checks": tuple(Check(**row) for row in data["checks"])})
        except (KeyError, TypeError, ValueError) as exc:
            raise JudgeError(f"this is not a verdict ({exc}); give what Verdict.to_dict wrote") from exc


@dataclass(frozen=True)
class NoVerdict:
    """A judge that could not answer. There is no score in it, so nothing can take it for one."""

    reason: str
    judge: str = ""
    calls: int = 0
    tokens: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {"no_verdict": self.reason, "judge": self.judge, "calls": self.calls, "tokens": self.tokens}


def verdict_or_none(data: Mapping[str, Any]) -> Verdict | NoVerdict:
    """What to_dict of either wrote."""
    if "no_verdict" in data:
        return NoVerdict(str(data["no_verdict"]), data.get("judge", ""), data.get("calls", 0), data.get("tokens", 0))
    return Verdict.from_dict(data)


def verdict_of(questions: QuestionSet, answers: Iterable[tuple[Question, float, str]], judge: str, **more) -> Verdict:
    checks = tuple(Check.of(question, p, evidence) for question, p, evidence in answers)
    return Verdict(checks, judge, questions.digest, **more)
