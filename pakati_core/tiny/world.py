"""The world that the embedded models know: materials, shapes and things, drawn with exact labels.

A `Scene` says what is where; `draw` turns it into pixels. All lengths are fractions of the canvas' shorter
side, so that a scene means the same picture at 128 and at 256 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 38, 38),
    "orange": (246, 134, 24),
    "yellow": (250, 222, 40),
    "green": (30, 150, 52),
    "cyan": (38, 204, 214),
    "blue": (36, 70, 214),
    "purple": (128, 42, 176),
    "pink": (248, 130, 190),
    "white": (250, 250, 250),
    "black": (18, 18, 18),
}
SHAPES = ("circle", "square", "triangle", "diamond", "star", "heart", "ring", "cross")
THINGS = ("sun", "moon", "tree", "house", "mountain", "boat")
KINDS = SHAPES + THINGS
NATURAL = {"sun": "yellow", "moon": "white", "tree": "green", "house": "red", "mountain": "purple", "boat": "orange"}
TEXTURES = ("sky", "sea", "grass", "sand", "snow", "night", "brick", "checks", "stripes")
MATERIALS = TEXTURES + tuple(f"plain {colour}" for colour in COLOURS)
SIZES = ("small", "large")

# Colours that vanish on a material: neither drawn nor asked for.
CLASHES = {
    "sky": {"white", "cyan", "blue"},
    "sea": {"blue", "cyan", "green"},
    "grass": {"green"},
    "sand": {"yellow", "orange"},
    "snow": {"white", "cyan"},
    "night": {"black", "blue", "purple"},
    "brick": {"red", "orange"},
    "checks": {"white", "black"},
    "stripes": {"white", "yellow", "orange"},
} | {f"plain {colour}": {colour} for colour in COLOURS}
CLASHES["plain red"] |= {"orange"}
CLASHES["plain orange"] |= {"red", "yellow"}
CLASHES["plain yellow"] |= {"orange", "white"}
CLASHES["plain white"] |= {"yellow"}
CLASHES["plain blue"] |= {"purple"}
CLASHES["plain purple"] |= {"blue"}
CLASHES["plain black"] |= {"purple"}


def is_held_out(kind: str, colour: str) -> bool:
    """One (shape, colour) pair in ten is never shown in training; every kind and every colour loses one or two."""
    return (KINDS.index(kind) * 3 + list(COLOURS).index(colour) * 7) % 10 == 4


PAIRS = tuple((kind, colour) for kind in KINDS for colour in COLOURS)
SEEN_PAIRS = tuple(pair for pair in PAIRS if not is_held_out(*pair))
HELD_OUT_PAIRS = tuple(pair for pair in PAIRS if is_held_out(*pair))


class Frame(NamedTuple):
    """An axis-aligned box as fractions of the canvas' width and height."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Thing:
    """One object: what, which colour, where its centre lies (fractions of width and height), its half size."""

    kind: str
    colour: str
    x: float
    y: float
    radius: float  # fraction of the canvas' shorter side
    frame: Frame | None = None  # the region that asked for it

    @property
    def size(self) -> str:
        return "small" if self.radius < 0.17 else "large"


@dataclass(frozen=True)
class Patch:
    """A region filled with a material of its own."""

    material: str
    frame: Frame
    round: bool = False


@dataclass(frozen=True)
class Scene:
    material: str
    things: tuple[Thing, ...] = ()
    patches: tuple[Patch, ...] = ()
    seed: int = 0  # of the texture's details

    def material_of(self, thing: Thing) -> str:
        return next((patch.material for patch in self.patches if patch.frame == thing.frame), self.material)

    def with_things(self, *things: Thing) -> Scene:
        return replace(self, things=things)


# --- materials ----------------------------------------------------------------------------------------------------


def _flat(rng: np.random.Generator, width: int, height: int, colour: tuple[float, float, float]) -> np.ndarray:
    tint = np.asarray(colour, np.float32) + rng.uniform(-6, 6, 3).astype(np.float32)
    return np.broadcast_to(tint, (height, width, 3)).copy()


def _pen(pixels: np.ndarray) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return image, ImageDraw.Draw(image)


def _sky(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    top, bottom = np.array((96, 172, 240), np.float32), np.array((190, 224, 250), np.float32)
    blend = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    image, pen = _pen(np.broadcast_to(top * (1 - blend) + bottom * blend, (height, width, 3)))
    unit = min(width, height)
    for _ in range(rng.integers(2, 4)):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        for _ in range(3):
            rx, ry = rng.uniform(0.06, 0.11) * unit, rng.uniform(0.03, 0.045) * unit
            dx = rng.uniform(-0.08, 0.08) * unit
            pen.ellipse((x + dx - rx, y - ry, x + dx + rx, y + ry), fill=(240, 247, 253))
    return np.asarray(image, np.float32)


def _sea(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    unit = min(width, height)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / unit
    wave = np.sin((y + 0.012 * np.sin(x * 28 + rng.uniform(0, 6))) * 64 + rng.uniform(0, 6))
    crest = np.clip(wave * 2 - 0.6, 0, 1)[..., None]
    return np.array((12, 84, 140), np.float32) + crest * np.array((42, 66, 60), np.float32)


def _grass(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    image, pen = _pen(_flat(rng, width, height, (104, 190, 62)))
    unit = min(width, height)
    for x, y in rng.uniform(0, 1, (int(60 * width * height / unit**2), 2)) * (width, height):
        lean = rng.uniform(-0.015, 0.015) * unit
        pen.line((x, y, x + lean, y - 0.055 * unit), fill=(70, 152, 44), width=max(1, round(unit / 64)))
    return np.asarray(image, np.float32)


def _speckled(rng: np.random.Generator, width: int, height: int, base: tuple, dot: tuple, count: int) -> np.ndarray:
    image, pen = _pen(_flat(rng, width, height, base))
    unit = min(width, height)
    radius = unit / 72
    for x, y in rng.uniform(0, 1, (int(count * width * height / unit**2), 2)) * (width, height):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=dot)
    return np.asarray(image, np.float32)


def _sand(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    return _speckled(rng, width, height, (228, 204, 150), (204, 174, 118), 34)


def _snow(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    return _speckled(rng, width, height, (232, 240, 250), (192, 212, 238), 30)


def _night(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    return _speckled(rng, width, height, (20, 22, 58), (236, 232, 180), 18)


def _brick(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    image, pen = _pen(_flat(rng, width, height, (150, 72, 52)))
    unit = min(width, height)
    row, line = unit / 10, max(1, round(unit / 80))
    shift = rng.uniform(0, row)
    for i in range(int(height / row) + 2):
        y = i * row - shift
        pen.rectangle((0, y, width, y + line - 1), fill=(214, 200, 186))
        for j in range(int(width / (2 * row)) + 2):
            x = (2 * j - (i % 2)) * row + shift
            pen.rectangle((x, y, x + line - 1, y + row), fill=(214, 200, 186))
    return np.asarray(image, np.float32)


def _checks(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    step = min(width, height) / 8
    y, x = np.mgrid[0:height, 0:width]
    odd = ((x + rng.uniform(0, step)) // step + (y + rng.uniform(0, step)) // step) % 2
    return np.where(odd[..., None] > 0, np.array((176, 176, 176), np.float32), np.array((104, 104, 104), np.float32))


def _stripes(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width] / min(width, height)
    odd = ((x + y) * 7 + rng.uniform(0, 2)) % 2 < 1
    return np.where(odd[..., None], np.array((240, 226, 192), np.float32), np.array((146, 112, 84), np.float32))


_TEXTURE = {
    "sky": _sky, "sea": _sea, "grass": _grass, "sand": _sand, "snow": _snow,
    "night": _night, "brick": _brick, "checks": _checks, "stripes": _stripes,
}  # fmt: skip


def draw_material(material: str, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """[height, width, 3] float32 in 0..255."""
    if material in _TEXTURE:
        return _TEXTURE[material](rng, width, height)
    return _flat(rng, width, height, COLOURS[material.removeprefix("plain ")])


# --- shapes and things: each draws itself into the unit square [-1, 1] -----------------------------------------------


def _turn(points: list[tuple[float, float]], scale: float, centre: float) -> list[tuple[float, float]]:
    return [(centre + x * scale, centre + y * scale) for x, y in points]


def _star_points(tips: int, inner: float) -> list[tuple[float, float]]:
    angles = [np.pi * i / tips - np.pi / 2 for i in range(2 * tips)]
    return [
        ((1 if i % 2 == 0 else inner) * np.cos(a), (1 if i % 2 == 0 else inner) * np.sin(a))
        for i, a in enumerate(angles)
    ]


def _heart_points() -> list[tuple[float, float]]:
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    x = 16 * np.sin(t) ** 3 / 17
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 16
    return list(zip(x.tolist(), (y - 0.12).tolist(), strict=True))


_POLYGONS = {
    "square": [(-0.82, -0.82), (0.82, -0.82), (0.82, 0.82), (-0.82, 0.82)],
    "triangle": [(0, -0.92), (0.98, 0.8), (-0.98, 0.8)],
    "diamond": [(0, -1), (0.72, 0), (0, 1), (-0.72, 0)],
    "star": _star_points(5, 0.42),
    "heart": _heart_points(),
    "cross": [(-0.3, -0.95), (0.3, -0.95), (0.3, -0.3), (0.95, -0.3), (0.95, 0.3), (0.3, 0.3),
              (0.3, 0.95), (-0.3, 0.95), (-0.3, 0.3), (-0.95, 0.3), (-0.95, -0.3), (-0.3, -0.3)],
}  # fmt: skip
_TRUNK, _DOOR, _SAIL, _SNOWCAP = (112, 74, 44), (70, 50, 44), (224, 224, 224), (244, 246, 250)


def _shade(colour: tuple[int, int, int], factor: float) -> tuple[int, int, int]:
    red, green, blue = (round(c * factor) if factor <= 1 else round(c + (255 - c) * (factor - 1)) for c in colour)
    return red, green, blue


class _Brush:
    """Draws one object, in unit coordinates, on a transparent square of `side` pixels."""

    def __init__(self, side: int):
        self.image = Image.new("RGBA", (side, side))
        self.pen, self.scale, self.centre = ImageDraw.Draw(self.image), side * 0.49, side / 2

    def polygon(self, points: list[tuple[float, float]], fill: tuple[int, ...]) -> None:
        self.pen.polygon(_turn(points, self.scale, self.centre), fill=fill)

    def box(self, left: float, top: float, right: float, bottom: float, fill: tuple[int, ...]) -> None:
        self.pen.rectangle(
            sum(map(tuple, _turn([(left, top), (right, bottom)], self.scale, self.centre)), ()), fill=fill
        )

    def disc(self, x: float, y: float, radius: float, fill: tuple[int, ...]) -> None:
        corners = [(x - radius, y - radius), (x + radius, y + radius)]
        self.pen.ellipse(sum(map(tuple, _turn(corners, self.scale, self.centre)), ()), fill=fill)


_CLEAR = (0, 0, 0, 0)


def _circle(brush: _Brush, colour: tuple) -> None:
    brush.disc(0, 0, 0.95, colour)


def _ring(brush: _Brush, colour: tuple) -> None:
    brush.disc(0, 0, 0.98, colour)
    brush.disc(0, 0, 0.52, _CLEAR)


def _sun(brush: _Brush, colour: tuple) -> None:
    brush.polygon(_star_points(10, 0.56), colour)
    brush.disc(0, 0, 0.6, _shade(colour, 1.25) if colour != COLOURS["white"] else (222, 222, 222))


def _moon(brush: _Brush, colour: tuple) -> None:
    brush.disc(-0.05, 0, 0.95, colour)
    brush.disc(0.42, -0.1, 0.78, _CLEAR)


def _tree(brush: _Brush, colour: tuple) -> None:
    brush.box(-0.16, 0.3, 0.16, 0.98, _TRUNK)
    for x, y, radius in ((-0.42, 0.0, 0.42), (0.42, 0.0, 0.42), (0, -0.45, 0.5)):
        brush.disc(x, y, radius, colour)


def _house(brush: _Brush, colour: tuple) -> None:
    brush.box(-0.66, -0.1, 0.66, 0.92, colour)
    brush.polygon(
        [(0, -0.95), (0.95, -0.08), (-0.95, -0.08)], (96, 60, 48) if colour != COLOURS["black"] else (120, 80, 66)
    )
    brush.box(-0.2, 0.3, 0.2, 0.92, (236, 226, 196))


def _mountain(brush: _Brush, colour: tuple) -> None:
    brush.polygon([(-0.3, -0.8), (0.32, 0.8), (-1, 0.8)], colour)
    brush.polygon([(0.42, -0.42), (1, 0.8), (-0.3, 0.8)], _shade(colour, 0.72))
    cap = _SNOWCAP if colour != COLOURS["white"] else (150, 160, 180)
    brush.polygon([(-0.3, -0.8), (-0.125, -0.35), (-0.3, -0.22), (-0.5, -0.35)], cap)


def _boat(brush: _Brush, colour: tuple) -> None:
    brush.box(-0.07, -0.95, 0.05, 0.4, _TRUNK)
    brush.polygon([(0.1, -0.9), (0.82, 0.22), (0.1, 0.22)], _SAIL)
    brush.polygon([(-0.98, 0.34), (0.98, 0.34), (0.6, 0.9), (-0.6, 0.9)], colour)


_DRAWERS = {"circle": _circle, "ring": _ring, "sun": _sun, "moon": _moon, "tree": _tree,
            "house": _house, "mountain": _mountain, "boat": _boat}  # fmt: skip


def draw_thing(kind: str, colour: tuple[int, int, int], side: int) -> Image.Image:
    """RGBA picture of one object, `side` pixels wide, anti-aliased."""
    brush = _Brush(side * 4)
    if kind in _POLYGONS:
        brush.polygon(_POLYGONS[kind], colour)
    else:
        _DRAWERS[kind](brush, colour)
    # premultiplied, or the transparent black around the object would darken its edge
    return brush.image.convert("RGBa").resize((side, side), Image.Resampling.BOX).convert("RGBA")


# --- scenes ---------------------------------------------------------------------------------------------------------


def _patch_mask(patch: Patch, width: int, height: int) -> np.ndarray:
    frame, image = patch.frame, Image.new("L", (width * 2, height * 2))
    corners = [
        (frame.left * width * 2, frame.top * height * 2),
        (frame.right * width * 2 - 1, frame.bottom * height * 2 - 1),
    ]
    pen = ImageDraw.Draw(image)
    (pen.ellipse if patch.round else pen.rectangle)(corners, fill=255)
    return np.asarray(image.resize((width, height), Image.Resampling.BOX), np.float32)[..., None] / 255


def draw(scene: Scene, width: int, height: int | None = None) -> np.ndarray:
    """The scene as [height, width, 3] uint8. Same scene and size: same bytes."""
    height = height or width
    rng = np.random.default_rng(scene.seed)
    canvas = draw_material(scene.material, width, height, rng)
    for patch in scene.patches:
        mask = _patch_mask(patch, width, height)
        canvas = canvas * (1 - mask) + draw_material(patch.material, width, height, rng) * mask
    image = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    for thing in scene.things:
        side = max(4, round(2 * thing.radius * min(width, height)))
        red, green, blue = (int(np.clip(c + rng.uniform(-7, 7), 0, 255)) for c in COLOURS[thing.colour])
        base = COLOURS[thing.colour] if thing.colour in ("white", "black") else (red, green, blue)
        picture = draw_thing(thing.kind, base, side)
        image.paste(picture, (round(thing.x * width - side / 2), round(thing.y * height - side / 2)), picture)
    return np.asarray(image)
