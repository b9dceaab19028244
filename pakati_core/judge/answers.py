"""What a language model answers, read strictly: every question once, in the agreed words, or no verdict."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .questions import Question, QuestionSet
from .verdict import NoVerdict, Verdict, verdict_of

LONGEST = 200_000  # characters of an answer that are read
# Words instead of numbers: models place a number anywhere (arXiv 2604.25235), and "0.8/1" has no reading.
CERTAINTY = {"certain": 0.98, "likely": 0.85, "unsure": 0.6}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "answers": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "id": {"type": "string"},
                    "answer": {"type": "string", "enum": ["yes", "no"]},
                    "certainty": {"type": "string", "enum": list(CERTAINTY)},
                    "evidence": {"type": "string"},
                },
                "required": ["id", "answer", "certainty", "evidence"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["answers"],
    "additionalProperties": False,
}


class Unreadable(Exception):
    """Why an answer was not understood; said to the model when it is asked again."""


def instruction(questions: QuestionSet) -> str:
    """What a vision model is told beside the picture."""
    rows = [f"{q.id}: {q.text}{_place(q, questions)}" for q in questions]
    example = '{"answers": [{"id": "ID", "answer": "yes", "certainty": "likely", "evidence": "what you see"}]}'
    return (
        "Answer every question about the picture by what is visible in it, not by what was intended. "
        f"Reply with JSON only, one entry for each question, in this form:\n{example}\n"
        'answer is "yes" or "no"; certainty is "certain", "likely" or "unsure"; evidence is a few words.\n'
        + "\n".join(rows)
    )  # fmt: skip


def _place(question: Question, questions: QuestionSet) -> str:
    layout = questions.regions
    region = next((r for r in layout.regions if r.id == question.region), None) if layout else None
    if region is None or layout is None:
        return ""
    box, extent = region.window(layout.extent), layout.extent
    across, down = (100 / extent.width, 100 / extent.height)
    return (
        f" (that region spans {box.x * across:.0f}-{box.right * across:.0f} % of the width from the left and "
        f"{box.y * down:.0f}-{box.bottom * down:.0f} % of the height from the top)"
    )


def verdict_from_text(text: str, questions: QuestionSet, judge: str = "text") -> Verdict | NoVerdict:
    """For answers that came from anywhere: another node, a file, a person."""
    try:
        return _verdict(read_answers(text, questions), questions, judge)
    except Unreadable as exc:
        return NoVerdict(f"the answer was not understood: {exc}", judge)


def _verdict(answers: dict[str, tuple[float, str]], questions: QuestionSet, judge: str, **more: Any) -> Verdict:
    return verdict_of(questions, [(question, *answers[question.id]) for question in questions], judge, **more)


def read_answers(text: str, questions: QuestionSet) -> dict[str, tuple[float, str]]:
    """id -> p_yes and evidence. Raises Unreadable for anything but one complete set of answers."""
    if not isinstance(text, str) or not text.strip():
        raise Unreadable("it is empty")
    found, fault = [], "there is no JSON object in it"
    for value in _objects(text[:LONGEST]):
        try:
            found.append(_answers(value, {question.id for question in questions}))
        except Unreadable as exc:
            fault = str(exc)
    if not found:
        raise Unreadable(fault)
    if any(other != found[0] for other in found):
        raise Unreadable("it holds several answers that contradict each other")
    return found[0]


def read_choice(text: str) -> str:
    """first, second or equal. Raises Unreadable."""
    said = {str(value.get("better")) for value in _objects(text[:LONGEST]) if isinstance(value, dict)}
    if len(said) != 1 or not said <= {"first", "second", "equal"}:
        raise Unreadable('there is no {"better": "first"}, "second" or "equal" in it')
    return said.pop()


def _objects(text: str) -> Iterator[Any]:
    """Every outermost JSON object or array in a text, whatever stands around it."""
    decoder, at, tries = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=_once), 0, 0
    while tries < 500:
        starts = [i for i in (text.find(mark, at) for mark in '{["') if i >= 0]
        if not starts:
            return
        at, tries = min(starts), tries + 1
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at += 1
            continue
        if isinstance(value, str):
            yield from _quoted(value)
        else:
            yield value


def _quoted(text: str) -> Iterator[Any]:
    """JSON inside a JSON string, as some servers wrap it."""
    if text.lstrip().startswith("{"):
        try:
            yield json.loads(text, parse_constant=_refuse, object_pairs_hook=_once)
        except (ValueError, RecursionError):
            return


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key stands there twice")
    return dict(pairs)


def _answers(value: Any, wanted: set[str]) -> dict[str, tuple[float, str]]:
    rows = value.get("answers") if isinstance(value, dict) else value
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Unreadable('there is no list "answers" in it')
    answers = dict(_answer(row) for row in rows)
    if len(answers) != len(rows) or answers.keys() != wanted:
        lost = ", ".join(sorted(wanted ^ answers.keys())) or "an id that stands twice"
        raise Unreadable(f"not every question is answered exactly once: {lost}")
    return answers


def _answer(row: dict[str, Any]) -> tuple[str, tuple[float, str]]:
    name, answer, certainty = row.get("id"), row.get("answer"), row.get("certainty", "certain")
    if not isinstance(name, str) or answer not in ("yes", "no") or not isinstance(certainty, str):
        raise Unreadable(f"{json.dumps(row)[:120]} has not an id with yes or no")
    if certainty not in CERTAINTY:
        raise Unreadable(f"{name} is {certainty!r} but certain, likely or unsure was wanted")
    sure = CERTAINTY[certainty]
    return name, (sure if answer == "yes" else 1 - sure, str(row.get("evidence", ""))[:500])
