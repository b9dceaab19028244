"""The closed vocabulary of the embedded models. A word that it lacks is reported, never guessed."""

from __future__ import annotations

import re
from typing import NamedTuple

from .world import COLOURS, KINDS, SIZES, TEXTURES

MAX_LENGTH = 32  # tokens of one prompt, start and end included
START, END = "<start>", "<end>"
_GRAMMAR = (
    "a", "an", "the", "and", "with", "on", "of", "in", "at", "to", "over", "under", "is", "plain", "background",
    "nothing", "but", "only", "left", "right", "top", "bottom", "middle", "corner", "side", "front", "picture",
    "near", "below", "above",
)  # fmt: skip
VOCABULARY = (START, END, *COLOURS, *KINDS, *TEXTURES, *SIZES, *_GRAMMAR)
IDS = {word: number for number, word in enumerate(VOCABULARY)}
ALIASES = {
    "ocean": "sea", "water": "sea", "lake": "sea", "meadow": "grass", "lawn": "grass", "field": "grass",
    "beach": "sand", "desert": "sand", "bricks": "brick", "wall": "brick", "checkerboard": "checks",
    "checkered": "checks", "striped": "stripes", "ship": "boat", "sailboat": "boat", "crescent": "moon",
    "big": "large", "huge": "large", "little": "small", "tiny": "small", "centre": "middle", "center": "middle",
    "upper": "top", "lower": "bottom", "disc": "circle", "disk": "circle", "box": "square", "violet": "purple",
}  # fmt: skip


class Encoding(NamedTuple):
    ids: list[int]  # start, the known words, end: not padded, not cut
    unknown: list[str]  # words outside the vocabulary, in order


def known_by_name(text: str) -> list[str]:
    """The words of a text, each as the vocabulary calls it."""
    return [ALIASES.get(match[0], match[0]) for match in re.finditer("[a-z]+", text.lower())]


def encode(text: str) -> Encoding:
    words = known_by_name(text)
    known = [IDS[word] for word in words if word in IDS]
    return Encoding([IDS[START], *known, IDS[END]], [word for word in words if word not in IDS])


def encode_padded(text: str) -> list[list[int]]:
    """Rows of exactly MAX_LENGTH ids; a prompt that is too long continues in further rows, as ComfyUI does it."""
    inner, room = encode(text).ids[1:-1], MAX_LENGTH - 2
    rows = [inner[i : i + room] for i in range(0, len(inner), room)] or [[]]
    return [[IDS[START], *row, IDS[END], *[IDS[END]] * (room - len(row))] for row in rows]
