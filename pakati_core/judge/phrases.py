"""Reads a prompt by rules: which things it names, and what it says of each. No model, no network."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from ..tiny.words import ALIASES, known_by_name
from ..tiny.world import COLOURS, TEXTURES

_COUNTED = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBERS = {word: i for i, word in enumerate(_COUNTED, start=1)}
COLOUR_WORDS = {*COLOURS, "brown", "grey", "gray", "golden", "silver", "turquoise", "violet", "beige", "magenta"}
SIZE_WORDS = {"small", "large", "big", "tiny", "huge", "little"}
ARTICLES = {"a", "an", "the", "some", "its", "his", "her", "their", "very"}
STYLE_WORDS = re.compile(
    r"\b(style|painting|photo(graph|realistic|graphic)?|photography|watercolou?r|sketch|drawing|render(ing|ed)?|"
    r"anime|cartoon|illustration|impressionist|cinematic|pixel art|lighting)\b"
)
_SIDES = r"(?:top|bottom|upper|lower|middle|centre|center|left|right|foreground|background)"
_PLACE = re.compile(rf"\b(?:at|in|on|to) the ({_SIDES}(?: {_SIDES})?)(?: corner| side| half)?\b(?! of\b)")
_RELATION = re.compile(
    r"\b(?:(?:to|on) the )?(left of|right of|above|below|under|on top of|next to|beside|behind|in front of|inside|"
    r"near|over|holding|on|in)\b"
)
_CLAUSES = re.compile(r"[,;.\n]|\band\b|\bwith\b")
_PLACE_NAMES = {"upper": "top", "lower": "bottom", "centre": "middle", "center": "middle"}
_RELATION_NAMES = {"under": "below", "over": "above", "beside": "near", "next to": "near"}


@dataclass(frozen=True)
class Phrase:
    """What one clause of a prompt says."""

    thing: str = ""
    count: int | None = None
    attributes: tuple[str, ...] = ()
    place: str = ""
    relation: str = ""
    other: str = ""
    ground: str = ""
    style: str = ""
    texts: tuple[str, ...] = ()


def read_prompt(prompt: str) -> list[Phrase]:
    """The clauses in order; things behind a relation come as phrases of their own."""
    texts = tuple(re.findall(r'["“]([^"”]+)["”]', prompt))
    plain = re.sub(r'["“][^"”]+["”]', " ", prompt).lower()
    plain = re.sub(r"\b(that (says|reads)|saying|reading)\b", " ", plain)
    found = [phrase for clause in _CLAUSES.split(plain) for phrase in _clause(clause.strip())]
    return [*found, *([Phrase(texts=texts)] if texts else [])]


def _clause(text: str) -> list[Phrase]:
    if STYLE_WORDS.search(text):
        return [Phrase(style=text)]
    match = _PLACE.search(text)
    place = " ".join(_PLACE_NAMES.get(word, word) for word in match[1].split()) if match else ""
    text = _PLACE.sub(" ", text) if match else text
    if ground := _ground(text):
        return [Phrase(ground=ground)]
    relation = _RELATION.search(text)
    if not relation:
        return _some(replace(_named(text), place=place))
    first, second = _named(text[: relation.start()]), text[relation.end() :]
    if ground := _ground(second):
        return _some(replace(first, place=place, ground=ground))
    behind, name = _named(second), _RELATION_NAMES.get(relation[1], relation[1])
    if not first.thing or not behind.thing:
        return _some(replace(first if first.thing else behind, place=place))
    return [replace(first, place=place, relation=name, other=behind.thing), behind]


def _some(phrase: Phrase) -> list[Phrase]:
    return [phrase] if phrase.thing or phrase.ground else []


def _ground(text: str) -> str:
    """`sand`, `plain blue`, `a sea background`; empty where the text names a thing."""
    words = [word for word in re.findall(r"[a-z'-]+", text) if word not in ARTICLES | {"nothing", "but", "only"}]
    if len(words) > 1 and words[-1] == "background":
        return " ".join(known_by_name(" ".join(words[:-1])))
    if len(words) == 2 and words[0] == "plain" and words[1] in COLOUR_WORDS:
        return " ".join(words)
    known = ALIASES.get(words[0], words[0]) if len(words) == 1 else ""
    return known if known in TEXTURES else ""


def _named(text: str) -> Phrase:
    words = [word for word in re.findall(r"[a-z0-9'-]+", text) if word not in ARTICLES]
    count = next((NUMBERS.get(word) or int(word) for word in words if word in NUMBERS or word.isdigit()), None)
    words = [word for word in words if word not in NUMBERS and not word.isdigit()]
    colours = tuple(word for word in words if word in COLOUR_WORDS)
    names = [word for word in words if word not in COLOUR_WORDS and word not in SIZE_WORDS]
    name = " ".join(names)
    return Phrase(_singular(name) if count and count > 1 else name, count or None, colours)


def _singular(name: str) -> str:
    if name.endswith(("sses", "xes", "ches", "shes")):
        return name[:-2]
    return name[:-1] if name.endswith("s") and not name.endswith("ss") else name
