"""From a measured difference to what is done about it: words for the prompt, a parameter, or a moved mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from .delta import Delta


class Rule(NamedTuple):
    """One row of the table. low, high: words where the picture has too little or too much."""

    name: str
    aspect: str
    measure: Callable[[Delta], float]
    deadband: float  # nothing is done below this
    low: str
    high: str
    parameter: str = ""  # which one goes with it
    step: float = 0.0  # added where the picture has too little, subtracted where too much


RULES = (
    Rule("warmth", "colour", lambda d: d.warmth, 3, "warmer colours", "cooler colours"),
    Rule("red", "colour", lambda d: d.red_green, 3, "more red", "more green"),
    Rule("chroma", "colour", lambda d: d.chroma, 5, "vivid colours", "muted colours", "guidance", 0.5),
    Rule("lightness", "lighting", lambda d: d.lightness, 4, "brighter", "darker"),
    Rule("contrast", "lighting", lambda d: d.contrast, 8, "strong contrast", "soft light", "guidance", 0.5),
    Rule("light from the side", "lighting", lambda d: d.light_x, 8, "lit from the right", "lit from the left"),
    Rule("light from above", "lighting", lambda d: d.light_y, 8, "lit from below", "lit from above"),
    Rule("fine detail", "texture", lambda d: d.texture, 0.5, "fine detailed texture", "smooth surface", "steps", 4),
    Rule("coarse detail", "texture", lambda d: sum(d.octaves[3:]) / 2, 0.7, "bold large shapes", "even surface"),
    Rule("across", "composition", lambda d: d.dx, 6, "further right", "further left", "move x", 1),
    Rule("down", "composition", lambda d: d.dy, 6, "further down", "further up", "move y", 1),
    Rule("size", "composition", lambda d: d.spread, 0.4, "larger", "smaller", "grow", 4),
    Rule("style", "style", lambda d: d.style, 0.35, "", "", "strength", 0.1),
)


class Action(NamedTuple):
    rule: str
    region: str | None
    value: float  # the difference that it answers
    phrase: str
    parameter: str
    change: float


@dataclass
class Memory:
    """What helped in this run. An action that made its measure no better is left alone; it rests until the run ends.

    Hysteresis: a difference that is being worked on is followed down to half of its deadband.
    """

    helped: dict[tuple[str, str | None], bool] = field(default_factory=dict)
    active: set[tuple[str, str | None]] = field(default_factory=set)

    def note(self, action: Action, after: Delta) -> bool:
        """Did it help? after: the delta of the next pass."""
        rule = next(rule for rule in RULES if rule.name == action.rule)
        better = abs(rule.measure(after)) < abs(action.value) - 1e-9
        self.helped[action.rule, action.region] = better
        return better


def suggest(delta: Delta, aspect: str, description: str, region: str | None, memory: Memory) -> list[Action]:
    """What to do about one reference, gravest first; aspect `general` takes every rule."""
    found = []
    for rule in RULES:
        key, value = (rule.name, region), rule.measure(delta)
        limit = rule.deadband / 2 if key in memory.active else rule.deadband
        wanted = aspect in ("general", rule.aspect) and memory.helped.get(key, True)
        (memory.active.add if wanted and abs(value) >= limit else memory.active.discard)(key)
        if key in memory.active:
            found.append((abs(value) / rule.deadband, _action(rule, region, value, description)))
    return [action for _, action in sorted(found, key=lambda row: (-row[0], row[1].rule))]


def _action(rule: Rule, region: str | None, value: float, description: str) -> Action:
    phrase = (rule.low if value < 0 else rule.high) or description
    amount = -value if rule.parameter.startswith("move") else rule.step if value < 0 else -rule.step
    return Action(rule.name, region, value, phrase, rule.parameter, amount if rule.parameter else 0.0)
