"""What to do next: a pure function of what happened. The node loop, the command and the library all ask here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from ..judge import NoVerdict, Verdict
from .routing import next_way, seed_of, strength_of
from .state import Attempt, Pass, Route, State


class Outcome(StrEnum):
    go_on = "go on"
    satisfied = "satisfied"
    budget = "budget"
    plateau = "plateau"
    error = "error"


@dataclass(frozen=True)
class Decision:
    outcome: str
    reason: str
    attempt: Attempt | None = None  # None: stop

    @property
    def stops(self) -> bool:
        return self.attempt is None


def is_better(candidate: Verdict | NoVerdict, best: Verdict | NoVerdict | None, eps: float) -> bool:
    """By the geometric mean; of two that are equal in it (both have a plain no: 0), by the arithmetic one."""
    if isinstance(candidate, NoVerdict):
        return False
    if best is None or isinstance(best, NoVerdict):
        return True
    if candidate.geometric == best.geometric:
        return candidate.arithmetic > best.arithmetic + eps
    return candidate.geometric > best.geometric + eps


def advance(state: State, verdict: Verdict | NoVerdict, digest: str = "", prompt: str = "",
            wins: bool | None = None) -> State:  # fmt: skip
    """The state with the picture that state.attempt made.  wins: of a pairwise check; False keeps the best."""
    best = state.best.verdict if state.best else None
    accepted = is_better(verdict, best, state.config.eps) and (wins is not False or best is None)
    made = Pass(replace(state.attempt, index=len(state.passes)), verdict, digest, accepted, prompt)
    state = replace(state, passes=(*state.passes, made))
    return state.with_attempt(_next_attempt(state))


def step(state: State, verdict: Verdict | NoVerdict) -> Decision:
    return decide(advance(state, verdict))


def decide(state: State, seconds: float = 0.0) -> Decision:
    """seconds: spent so far; the only thing that is not in the state."""
    config, best = state.config, state.best
    if best is None:
        return Decision(Outcome.go_on, "the first picture", state.attempt)
    verdict = best.verdict
    if isinstance(verdict, Verdict) and verdict.geometric >= config.target and verdict.all_right:
        return Decision(Outcome.satisfied, f"picture {state.best_index} reaches {verdict.geometric:.2f}")
    if _errors(state) >= config.max_errors:
        last = state.passes[-1].verdict
        reason = last.reason if isinstance(last, NoVerdict) else ""
        return Decision(Outcome.error, f"no verdict {config.max_errors} times in a row: {reason}")
    if spent := _spent(state, seconds):
        return Decision(Outcome.budget, spent)
    if _idle(state) >= config.patience:
        return Decision(Outcome.plateau, f"no better picture in {config.patience} rounds")
    attempt = state.attempt
    where = f" of {', '.join(attempt.regions)}" if attempt.regions else ""
    begin = "from noise" if attempt.parent is None else f"from picture {attempt.parent}"
    return Decision(Outcome.go_on, f"{attempt.route}{where} {begin}", attempt)


def _errors(state: State) -> int:
    """Verdicts that failed to come, in a row, at the end."""
    count = 0
    for made in reversed(state.passes):
        if isinstance(made.verdict, Verdict):
            break
        count += 1
    return count


def _idle(state: State) -> int:
    """Judged rounds since the best one."""
    later = state.passes[state.best_index + 1 :]
    return sum(isinstance(made.verdict, Verdict) for made in later)


def _spent(state: State, seconds: float) -> str:
    config = state.config
    limits = (
        ("rounds", len(state.passes), config.max_rounds),
        ("judge's calls", state.calls, config.max_calls),
        ("tokens", state.tokens, config.max_tokens),
        ("seconds", seconds, config.max_seconds),
    )
    return next(
        (f"{limit:g} {what} are spent" for what, used, limit in limits if limit is not None and used >= limit), ""
    )


def _seed_for_words(state: State, fresh: int, checks: tuple[str, ...]) -> int:
    """The best picture's noise, so that the words alone make the difference; fresh noise where that was tried."""
    best = state.passes[state.best_index].attempt
    tried = {(made.attempt.seed, made.attempt.checks) for made in state.passes if made.attempt.route == Route.prompt}
    return fresh if best.parent is not None or (best.seed, checks) in tried else best.seed


def _next_attempt(state: State) -> Attempt:
    index = len(state.passes)
    best = state.passes[state.best_index]
    seed = seed_of(state.config.seed, index)
    if isinstance(best.verdict, NoVerdict):
        return Attempt(index, seed, Route.resample)
    route, regions, checks = next_way(state, best.verdict)
    if route == Route.prompt:
        return Attempt(index, _seed_for_words(state, seed, checks), route, checks=checks)
    if route == Route.resample:
        return Attempt(index, seed, route, checks=checks)
    strength, guidance = strength_of(state, regions)
    return Attempt(index, seed, route, regions, state.best_index, strength, guidance, checks)
