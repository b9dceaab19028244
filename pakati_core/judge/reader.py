"""The embedded judge: the tiny reader answers what it can see. Works offline; knows only the embedded world."""

from __future__ import annotations

from PIL import Image
from torch import Tensor, ones

from ..layout import pil_to_image
from ..tiny.reader import GRID, MALFORMED, Finding, Reader, Reading
from ..tiny.words import ALIASES
from ..tiny.world import COLOURS, KINDS, MATERIALS
from .questions import GROUND, Question, QuestionSet
from .verdict import NoVerdict, Verdict, verdict_of

NO = 0.02  # p_yes of a clear no: the reader, too, can be wrong
RELATIONS = {
    "left of": lambda a, b: a.x < b.x - 0.02,
    "right of": lambda a, b: a.x > b.x + 0.02,
    "above": lambda a, b: a.y < b.y - 0.02,
    "below": lambda a, b: a.y > b.y + 0.02,
    "near": lambda a, b: (a.x - b.x) ** 2 + (a.y - b.y) ** 2 < (a.radius + b.radius + 0.15) ** 2,
}
PLACES = {
    "left": lambda f: f.x < 0.45, "right": lambda f: f.x > 0.55, "top": lambda f: f.y < 0.45,
    "bottom": lambda f: f.y > 0.55, "middle": lambda f: 0.3 < f.x < 0.7 and 0.3 < f.y < 0.7,
}  # fmt: skip


class ReaderJudge:
    """A yes counts 0.9 to 1 by how sure the reader is, a no 0.02."""

    def __init__(self, reader: Reader | None = None):
        self._reader = reader

    name = "pakati-tiny reader"

    def judge(self, image: Image.Image, questions: QuestionSet) -> Verdict | NoVerdict:
        if strange := [question for question in questions if not _can_answer(question)]:
            asked = "; ".join(question.text for question in strange[:3])
            return NoVerdict(f"the embedded reader knows only its own small world, not: {asked}", self.name)
        self._reader = self._reader or Reader()
        scene = _Scene(self._reader.read(pil_to_image(image))[0], questions)
        answers = [(question, *scene.answer(question)) for question in questions]
        return verdict_of(questions, answers, self.name)


def _can_answer(question: Question) -> bool:
    match question.kind:
        case "object" | "count":
            return known(question.thing) in KINDS
        case "attribute" if question.thing == GROUND:
            return question.value in MATERIALS
        case "attribute":
            return known(question.thing) in KINDS and question.value in COLOURS
        case "position":
            return known(question.thing) in KINDS and set(question.value.split()) <= set(PLACES)
        case "relation":
            return {known(question.thing), known(question.other)} <= set(KINDS) and question.value in RELATIONS
    return question.kind == "artefact"


def known(thing: str) -> str:
    return ALIASES.get(thing, thing)


class _Scene:
    """What was read, by region."""

    def __init__(self, reading: Reading, questions: QuestionSet):
        self.reading, regions = reading, questions.regions
        names = [None, *(region.id for region in regions.regions)] if regions else [None]
        shares = regions.weights_on_grid(GRID, GRID) if regions else ones(1, GRID, GRID)
        self.shares: dict[str | None, Tensor] = dict(zip(names, shares, strict=True))

    def found(self, region: str | None, kind: str | None = None) -> list[Finding]:
        share = self.shares[region if region in self.shares else None]
        inside = [f for f in self.reading.findings if share[_cell(f.y), _cell(f.x)] >= 0.5]
        return [f for f in inside if kind in (None, f.kind)]

    def answer(self, question: Question) -> tuple[float, str]:
        kind = known(question.thing)
        things = self.found(question.region, kind)
        seen = ", ".join(f.name for f in self.found(question.region)) or "nothing"
        match question.kind:
            case "object":
                return _yes(things[question.nth - 1 :]), f"seen: {seen}"
            case "count":
                return _yes(things) if len(things) == int(question.value) else NO, f"seen: {len(things)}"
            case "attribute" if question.thing == GROUND:
                material = self.reading.material(self.shares[question.region])
                return 0.99 if material == question.value else NO, f"seen: {material}"
            case "attribute":
                return _yes([f for f in things if f.colour == question.value]), f"seen: {seen}"
            case "position":
                words = question.value.split()
                return _yes([f for f in things if all(PLACES[word](f) for word in words)]), _at(things)
            case "relation":
                return self._related(question, things)
        broken = [f for f in self.reading.findings if f.kind == MALFORMED]
        return 0.95 if not broken else 0.1, f"malformed: {len(broken)}"

    def _related(self, question: Question, things: list[Finding]) -> tuple[float, str]:
        others = self.found(question.region, known(question.other))
        holds = RELATIONS[question.value]
        pairs = [a for a in things for b in others if a != b and holds(a, b)]
        return _yes(pairs), f"{_at(things)}; {_at(others)}"


def _yes(found: list[Finding]) -> float:
    return 0.9 + 0.1 * min(1.0, max(f.confidence for f in found)) if found else NO


def _at(found: list[Finding]) -> str:
    return ", ".join(f"{f.name} at {f.x:.2f}, {f.y:.2f}" for f in found) or "nothing"


def _cell(fraction: float) -> int:
    return min(GRID - 1, max(0, int(fraction * GRID)))
