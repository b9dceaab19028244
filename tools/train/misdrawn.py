"""Objects that are drawn less exactly than the world draws them, and some that are none at all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from pakati_core.tiny.reader import MALFORMED, SIDE
from pakati_core.tiny.world import COLOURS, KINDS, Scene, Thing, draw, draw_thing

BY_HAND = 0.5  # share of the objects that are drawn less exactly than the world draws them


def waved(picture: Image.Image, rng: np.random.Generator, height: float, frequency: float) -> Image.Image:
    """A square picture with waves of that height (fraction of its side) through its rows and columns."""
    side = picture.width
    y, x = np.mgrid[0:side, 0:side] / side
    phases = rng.uniform(0, 6, 2)
    dx, dy = (height * np.sin(frequency * along + phase) for along, phase in ((y, phases[0]), (x, phases[1])))
    rows, columns = (((a + d).clip(0, 0.999) * side).astype(int) for a, d in ((y, dy), (x, dx)))
    return Image.fromarray(np.asarray(picture)[rows, columns])


def stretched(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Other proportions: some rows and columns of a square picture become wider than others, in the same order."""

    def order() -> np.ndarray:
        knots = np.concatenate([[0], np.cumsum(rng.uniform(0.7, 1.3, 5))])
        along = np.interp(np.arange(picture.width) / picture.width, knots / knots[-1], np.linspace(0, 1, 6))
        return (along * picture.width).astype(int)

    return Image.fromarray(np.asarray(picture)[np.ix_(order(), order())])


def by_hand(kind: str, colour: tuple[int, int, int], side: int, rng: np.random.Generator) -> Image.Image:
    """An object as a painter draws it: a little wavy, tilted, soft, of other proportions, and still what it is."""
    object_ = stretched(draw_thing(kind, colour, 2 * side), rng)
    object_ = waved(object_, rng, rng.uniform(0, 0.03), rng.uniform(3, 8)).convert("RGBa")
    object_ = object_.rotate(rng.uniform(-7, 7), Image.Resampling.BILINEAR)
    object_ = object_.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.06) * side))
    size = (max(4, round(side * rng.uniform(0.8, 1))), max(4, round(side * rng.uniform(0.8, 1))))
    return object_.resize(size, Image.Resampling.BOX).convert("RGBA")


def malformed_picture(rng: np.random.Generator, colour: tuple[int, int, int], side: int) -> Image.Image:
    """An object that is none: two halves that do not fit, a bitten shape, a blob, or a thing torn by waves."""
    kinds = [KINDS[i] for i in rng.choice(len(KINDS), 2, replace=False)]
    first, second = (draw_thing(kind, colour, side) for kind in kinds)
    way = rng.integers(4)
    if way == 1 and kinds[0] in ("circle", "moon"):
        way = 3  # a bitten circle is a moon
    if way == 0:
        cut = int(side * rng.uniform(0.4, 0.6))
        box = (cut, 0, side, side) if rng.random() < 0.5 else (0, cut, side, side)
        first.paste(second.crop(box), box)
    elif way == 1:
        pen, bite = ImageDraw.Draw(first), side * rng.uniform(0.28, 0.42)
        x, y = side / 2 + rng.uniform(-0.32, 0.32, 2) * side
        pen.ellipse((x - bite, y - bite, x + bite, y + bite), fill=(0, 0, 0, 0))
    elif way == 2:
        first, angles = Image.new("RGBA", (side, side)), np.sort(rng.uniform(0, 2 * np.pi, 7))
        radii = rng.uniform(0.2, 0.5, 7) * side
        points = [(side / 2 + r * np.cos(a), side / 2 + r * np.sin(a)) for a, r in zip(angles, radii, strict=True)]
        ImageDraw.Draw(first).polygon(points, fill=colour)
    else:
        first = waved(first, rng, rng.uniform(0.09, 0.15), rng.uniform(8, 14))
    return first


def draw_with_malformed(scene: Scene, rng: np.random.Generator, share: float) -> tuple[np.ndarray, list[str]]:
    """The picture, and the kind that the reader should name for each of the scene's things."""
    ways = [rng.random() for _ in scene.things]
    drawn = tuple(thing for thing, way in zip(scene.things, ways, strict=True) if way >= share + BY_HAND)
    picture = Image.fromarray(draw(replace(scene, things=drawn), SIDE))
    for thing, way in zip(scene.things, ways, strict=True):
        side, colour = max(8, round(2 * thing.radius * SIDE)), COLOURS[thing.colour]
        if way < share:
            _put(picture, malformed_picture(rng, colour, side), thing)
        elif way < share + BY_HAND:
            _put(picture, by_hand(thing.kind, colour, side, rng), thing)
    kinds = [MALFORMED if way < share else thing.kind for thing, way in zip(scene.things, ways, strict=True)]
    return np.asarray(picture), kinds


def _put(picture: Image.Image, object_: Image.Image, thing: Thing) -> None:
    corner = round(thing.x * SIDE - object_.width / 2), round(thing.y * SIDE - object_.height / 2)
    picture.paste(object_, corner, object_)
