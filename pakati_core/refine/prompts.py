"""Prompts that say more clearly what was not understood."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..judge import Question
from ..regions import RegionSet


def clarify(
    regions: RegionSet, questions: Iterable[Question], failed: Iterable[str], extra: Iterable[str] = ()
) -> RegionSet:
    """The layout with what failed said first, in the prompt that asked for it; extra words go to the base prompt."""
    wanted = set(failed)
    said: dict[str | None, list[str]] = {}
    for question in questions:
        words = _words(question)
        if question.id in wanted and words and words not in said.setdefault(question.region, []):
            said[question.region].append(words)
    painted = [replace(r, prompt=_first(said.get(r.id, []), r.prompt)) for r in regions.regions]
    base = _first(said.get(None, []), regions.prompt)
    return replace(regions, regions=tuple(painted), prompt=", ".join([base, *extra]).strip(", "))


def _words(question: Question) -> str:
    match question.kind:
        case "artefact" | "ambiguity":
            return ""
        case "text":
            return f'the text "{question.value}"'
        case "relation":
            return f"{question.thing} {question.value} {question.other}"
        case "count" | "attribute" if question.thing != "ground":
            return f"{question.value} {question.thing}"
        case "position":
            return f"{question.thing} at the {question.value}"
    return question.value or question.thing


def _first(words: list[str], prompt: str) -> str:
    return ", ".join([*words, prompt]).strip(", ")
