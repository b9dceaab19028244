"""What can be said about a scene of the embedded world, in the wordings that the models were trained on."""

from __future__ import annotations

import numpy as np

from .words import MAX_LENGTH
from .world import NATURAL, Scene, Thing

_ROWS, _COLUMNS = ("top", "middle", "bottom"), ("left", "middle", "right")


def article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def position(thing: Thing) -> str:
    row, column = _ROWS[min(2, int(thing.y * 3))], _COLUMNS[min(2, int(thing.x * 3))]
    if row == column == "middle":
        return "in the middle"
    if row == "middle":
        return f"on the {column}"
    return f"at the {row}" if column == "middle" else f"at the {row} {column}"


def name(thing: Thing, size: bool = False, colour: bool = True) -> str:
    """`a small red circle`."""
    words = [thing.size] * size + [thing.colour] * colour + [thing.kind]
    return " ".join([article(words[0]), *words])


def describe(thing: Thing, rng: np.random.Generator, detail: float) -> str:
    colour = NATURAL.get(thing.kind) != thing.colour or rng.random() < 0.7
    text = name(thing, size=rng.random() < detail, colour=colour)
    if rng.random() < 0.15:
        text = text.split(" ", 1)[1]
    return f"{text} {position(thing)}" if rng.random() < detail else text


def setting(material: str, rng: np.random.Generator) -> str:
    """A material as a prompt of its own."""
    wordings = (material, material, f"{material} background", f"only {material}", f"nothing but {material}")
    return wordings[rng.integers(len(wordings))]


def region_prompt(thing: Thing | None, material: str | None, rng: np.random.Generator) -> str:
    if thing is None:
        return setting(material or "", rng)
    text = describe(thing, rng, detail=0.12).split(" at the ")[0].split(" in the ")[0].split(" on the ")[0]
    return f"{text} on {material}" if material else text


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """The whole scene in one prompt that fits the model's length."""
    if not scene.things:
        return setting(scene.material, rng)
    things = [scene.things[i] for i in rng.permutation(len(scene.things))]
    for detail in (0.35 if len(things) < 4 else 0.0, 0.0):
        parts = [describe(thing, rng, detail) for thing in things]
        joined = [", ".join(parts), " and ".join(parts)][rng.integers(2)]
        wordings = (f"{joined} on {scene.material}", f"{joined}, {scene.material}",
                    f"{scene.material} with {joined}", f"{joined}, {scene.material} background")  # fmt: skip
        text = wordings[rng.choice(4, p=[0.55, 0.15, 0.15, 0.15])]
        if len(text.split()) <= MAX_LENGTH - 2:
            return text
    return text
