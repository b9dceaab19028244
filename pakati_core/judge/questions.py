"""What a judge is asked. Made from the prompts once, before the loop, so that every pass is scored alike."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from ..errors import JudgeError, warn
from ..regions import RegionSet
from .phrases import Phrase, read_prompt

KINDS = ("object", "count", "attribute", "relation", "position", "text", "style", "artefact", "ambiguity")
GROUND = "ground"  # the thing of a question about what everything lies on


@dataclass(frozen=True)
class Question:
    """One question that yes or no answers; yes is what the prompt wants."""

    id: str
    text: str
    kind: str
    region: str | None = None  # the region's id; None: the whole picture, or what no region covers
    weight: float = 1.0
    needs: tuple[str, ...] = ()  # questions without whose yes this one is no: no red dog without a dog
    thing: str = ""  # what it is about
    value: str = ""  # the colour, number, place, relation, material, wording or style that is wanted
    other: str = ""  # the second thing of a relation
    nth: int = 1  # of several things of one name

    def __post_init__(self):
        if self.kind not in KINDS:
            raise JudgeError(f"question {self.id!r} is of the kind {self.kind!r}; give one of {', '.join(KINDS)}")
        if not self.id or not self.text:
            raise JudgeError(f"question {self.id!r} says {self.text!r}; give it an id and a text")
        object.__setattr__(self, "needs", tuple(self.needs))


@dataclass(frozen=True)
class QuestionSet:
    """The questions of one loop, and where their regions lie."""

    questions: tuple[Question, ...]
    prompt: str = ""
    regions: RegionSet | None = field(default=None, compare=False)

    def __post_init__(self):
        object.__setattr__(self, "questions", tuple(self.questions))
        ids = [question.id for question in self.questions]
        if len(ids) != len(set(ids)):
            raise JudgeError(f"two questions share an id among {ids}; give each its own")
        if lost := {name for question in self.questions for name in question.needs} - set(ids):
            raise JudgeError(f"questions need the unknown questions {sorted(lost)}; name questions of the same set")

    def __iter__(self) -> Iterator[Question]:
        return iter(self.questions)

    def __len__(self) -> int:
        return len(self.questions)

    @property
    def digest(self) -> str:
        """The same for the same questions in any order; scores compare only under one digest."""
        rows = sorted(json.dumps(asdict(question), sort_keys=True) for question in self.questions)
        return hashlib.blake2b("\n".join(rows).encode(), digest_size=16).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        data: dict[str, Any] = {"prompt": self.prompt, "questions": [_row(question) for question in self.questions]}
        return data | ({"regions": self.regions.to_dict()} if self.regions else {})

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        known = {f.name for f in fields(Question)}
        rows = data.get("questions")
        if not isinstance(rows, list) or any(not isinstance(row, dict) or set(row) - known for row in rows):
            raise JudgeError(f"these are not questions: {str(data)[:80]}; give a list of objects with {sorted(known)}")
        regions = RegionSet.from_dict(data["regions"]) if "regions" in data else None
        return cls(tuple(Question(**row) for row in rows), data.get("prompt", ""), regions)


def _row(question: Question) -> dict[str, Any]:
    row = {f.name: getattr(question, f.name) for f in fields(question) if getattr(question, f.name) != f.default}
    return row | ({"needs": list(question.needs)} if question.needs else {})


def questions_from_prompt(prompt: str, artefacts: bool = True) -> QuestionSet:
    """By rules: each thing, its number, colour, place and relations, the ground, the style, and quoted text."""
    asked = tuple(_about(prompt, None, "q"))
    return _checked(QuestionSet(asked + (_flawless(),) * artefacts, prompt))


def questions_from_regions(regions: RegionSet, artefacts: bool = True) -> QuestionSet:
    """The questions of the regions' prompts, and of the base prompt where it owns any of the canvas.

    A region that others hide is named in a warning.
    """
    asked = []
    for number, (region, share) in enumerate(zip(regions.regions, regions.coverage(), strict=True), start=1):
        if bool((share > 0).any()):
            asked += _about(region.prompt, region.id, f"r{number}.")
        else:
            warn(f"region {region.id!r} is hidden by those over it, so nothing is asked about it")
    if regions.prompt.strip() and bool((regions.base_coverage() >= 0.5).any()):
        asked += _about(regions.prompt, None, "q")
    spoken = ", ".join([*(region.prompt for region in regions.regions), regions.prompt]).strip(", ")
    return _checked(QuestionSet((*asked, *(_flawless(),) * artefacts), spoken, regions))


def _checked(questions: QuestionSet) -> QuestionSet:
    if not any(question.kind != "artefact" for question in questions):
        raise JudgeError("the prompt names nothing that could be asked about; say what the picture shows")
    return questions


def _flawless() -> Question:
    return Question("flawless", "Is everything whole and well formed, without visible flaws?", "artefact", weight=0.5)


def _about(prompt: str, region: str | None, prefix: str) -> Iterable[Question]:
    made: list[Question] = []
    names: dict[str, str] = {}  # thing -> id of the question whether it is there
    seen: dict[str, int] = {}

    def ask(text: str, kind: str, **more: Any) -> str:
        made.append(Question(f"{prefix}{len(made) + 1}", text, kind, region, **more))
        return made[-1].id

    phrases = read_prompt(prompt)
    for phrase in phrases:
        if phrase.thing:
            seen[phrase.thing] = nth = seen.get(phrase.thing, 0) + 1
            names.setdefault(phrase.thing, _ask_thing(ask, phrase, nth, where(region)))
        _ask_rest(ask, phrase, where(region))
    for phrase in phrases:
        _ask_relations(ask, phrase, names)
    return made


def where(region: str | None) -> str:
    return f" in the region {region!r}" if region else ""


def _ask_thing(ask: Any, phrase: Phrase, nth: int, place: str) -> str:
    thing, again = phrase.thing, "another " if nth > 1 else ""
    there = ask(f"Is there {again or 'a '}{thing}{place}?", "object", thing=thing, nth=nth)
    if phrase.count:
        text = f"Are there exactly {phrase.count} of {thing}{place}?"
        ask(text, "count", thing=thing, value=str(phrase.count), needs=(there,))
    for value in phrase.attributes:
        text = f"Is {'one ' if nth > 1 else 'the '}{thing}{place} {value}?"
        ask(text, "attribute", thing=thing, value=value, needs=(there,), nth=nth)
    if phrase.place:
        text = f"Is the {thing} at the {phrase.place} of the picture?"
        ask(text, "position", thing=thing, value=phrase.place, needs=(there,))
    return there


def _ask_rest(ask: Any, phrase: Phrase, place: str) -> None:
    if phrase.ground:
        ask(f"Is the ground{place} {phrase.ground}?", "attribute", thing=GROUND, value=phrase.ground)
    if phrase.style:
        ask(f"Is the picture's style {phrase.style}?", "style", value=phrase.style)
    for wording in phrase.texts:
        ask(f'Does the picture show the text "{wording}", spelled so?', "text", value=wording)


def _ask_relations(ask: Any, phrase: Phrase, names: dict[str, str]) -> None:
    if phrase.relation and phrase.other:
        needs = tuple(names[thing] for thing in (phrase.thing, phrase.other) if thing in names)
        text = f"Is the {phrase.thing} {phrase.relation} the {phrase.other}?"
        ask(text, "relation", thing=phrase.thing, value=phrase.relation, other=phrase.other, needs=needs)
