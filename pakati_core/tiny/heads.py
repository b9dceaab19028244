"""Cartoon heads with identity: what a face finder and a face embedder can be trained and measured on.

A `Look` is who it is, a `Pose` is how that person stands in one picture. The same look and pose are the same pixels.
Lengths are in half heads: the head is about 2 wide, its middle is (0, 0), y points down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from .world import COLOURS, draw_material

Colour = tuple[int, int, int]
Points = list[tuple[float, float]]

SKINS: dict[str, Colour] = {
    "pale": (252, 226, 206), "fair": (240, 200, 170), "tan": (214, 162, 116), "brown": (158, 104, 68),
    "dark": (98, 62, 44),
}  # fmt: skip
HAIR_COLOURS: dict[str, Colour] = {
    "black": (28, 24, 26), "brown": (104, 62, 34), "blond": (240, 206, 96), "red": (196, 72, 30),
    "grey": (170, 172, 176), "blue": (52, 92, 206),
}  # fmt: skip
EYE_COLOURS: dict[str, Colour] = {"brown": (92, 54, 26), "green": (30, 140, 62), "blue": (40, 104, 214)}
HAIRS = ("short", "long", "curly", "spiky", "bald")
FACES = ("round", "long", "square")
ACCESSORIES = ("nothing", "glasses", "hat", "moustache", "freckles", "earrings")
_HALVES = {"round": (0.92, 0.96), "long": (0.78, 1.08), "square": (0.9, 0.98)}  # half width and height of the face
_EYE, _EYE_Y, _NOSE_Y, _MOUTH, _MOUTH_Y = 0.36, -0.12, 0.2, 0.3, 0.52


@dataclass(frozen=True)
class Look:
    """Who it is."""

    hair: str
    hair_colour: str
    skin: str
    eyes: str
    face: str
    accessory: str

    @property
    def name(self) -> str:
        """In words: `fair round face, short brown hair, green eyes, glasses`."""
        hair = "bald" if self.hair == "bald" else f"{self.hair} {self.hair_colour} hair"
        rest = [] if self.accessory == "nothing" else [self.accessory]
        return ", ".join([f"{self.skin} {self.face} face", hair, f"{self.eyes} eyes", *rest])


def _looks() -> tuple[Look, ...]:
    rows = product(HAIRS, HAIR_COLOURS, SKINS, EYE_COLOURS, FACES, ACCESSORIES)
    # The colour of hair that is not there tells nobody apart.
    return tuple(Look(*row) for row in rows if row[0] != "bald" or row[1] == "black")


LOOKS = _looks()


def is_held_out(look: Look) -> bool:
    """One identity in ten is never shown in training; each single feature is."""
    places = (
        HAIRS.index(look.hair), list(HAIR_COLOURS).index(look.hair_colour), list(SKINS).index(look.skin),
        list(EYE_COLOURS).index(look.eyes), FACES.index(look.face), ACCESSORIES.index(look.accessory),
    )  # fmt: skip
    return sum(weight * place for weight, place in zip((3, 7, 1, 11, 13, 9), places)) % 10 == 4


@dataclass(frozen=True)
class Pose:
    """x, y: middle of the head, and size: half a head, all as fractions of the picture's shorter side."""

    x: float = 0.5
    y: float = 0.5
    size: float = 0.3
    degrees: float = 0.0  # clockwise
    smile: float = 0.5  # -1 sad, 1 glad
    look_aside: float = 0.0  # -1 to the picture's left, 1 to its right
    light: float = 1.0  # multiplies all colours

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Pose:
        size = rng.uniform(0.2, 0.38)
        x, y = rng.uniform(size + 0.08, 0.92 - size, 2)
        return cls(x, y, size, rng.uniform(-15, 15), rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(0.8, 1.1))


class Head(NamedTuple):
    """Where a head lies. points: [5,2] pixels: eyes, nose, corners of the mouth, from the picture's left to its right,
    as indices (the middle of the first pixel is 0), which is how face templates count.
    """

    box: tuple[float, float, float, float]  # x, y, width, height in pixels
    points: np.ndarray


def draw_head(look: Look, pose: Pose, side: int, material: str = "plain white", seed: int = 0) -> Image.Image:
    """One head on a material of the embedded world, RGB, side x side."""
    ground = draw_material(material, side, side, np.random.default_rng(seed))
    image = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))
    return add_head(image, look, pose)


def add_head(image: Image.Image, look: Look, pose: Pose) -> Image.Image:
    """A copy with one more head, anti-aliased."""
    brush = _Brush(image.size, pose)
    _draw(brush, look, pose)
    layer = brush.image.convert("RGBa").resize(image.size, Image.Resampling.BOX).convert("RGBA")
    result = image.convert("RGB")
    result.paste(layer, (0, 0), layer)
    return result


def place_of(pose: Pose, width: int, height: int | None = None) -> Head:
    """Where the head that `add_head` draws with this pose lies."""
    frame = _Frame.of(pose, (width, height or width))
    marks = [(-_EYE, _EYE_Y), (_EYE, _EYE_Y), (0, _NOSE_Y), (-_MOUTH, _MOUTH_Y), (_MOUTH, _MOUTH_Y)]
    points = np.array([frame.to_pixels(x, y) for x, y in marks]) - 0.5
    (x, y), half = frame.to_pixels(0, 0), 1.15 * frame.scale
    return Head((x - half, y - half, 2 * half, 2 * half), points)


class _Frame(NamedTuple):
    """Half heads to pixels."""

    x: float
    y: float
    scale: float
    cos: float
    sin: float

    @classmethod
    def of(cls, pose: Pose, size: tuple[int, int]) -> _Frame:
        unit, turn = min(size), math.radians(pose.degrees)
        return cls(pose.x * size[0], pose.y * size[1], pose.size * unit, math.cos(turn), math.sin(turn))

    def to_pixels(self, x: float, y: float) -> tuple[float, float]:
        turned = x * self.cos - y * self.sin, x * self.sin + y * self.cos
        return self.x + self.scale * turned[0], self.y + self.scale * turned[1]


class _Brush:
    """Draws turned shapes, four times as large as they will be seen."""

    def __init__(self, size: tuple[int, int], pose: Pose):
        large = size[0] * 4, size[1] * 4
        self.image, self.light = Image.new("RGBA", large), pose.light
        self.pen, self.frame = ImageDraw.Draw(self.image), _Frame.of(pose, large)

    def polygon(self, points: Points, colour: Colour) -> None:
        lit = tuple(min(255, round(level * self.light)) for level in colour)
        self.pen.polygon([self.frame.to_pixels(x, y) for x, y in points], fill=lit)

    def oval(self, x: float, y: float, width: float, height: float, colour: Colour, power: float = 2.0) -> None:
        """width, height: half axes; power: 2 an ellipse, more a rounded box."""
        self.polygon(_oval(x, y, width, height, power), colour)

    def stroke(self, points: Points, width: float, colour: Colour) -> None:
        for (x, y), (u, v) in zip(points, points[1:]):
            length = math.hypot(u - x, v - y) or 1.0
            dx, dy = -(v - y) / length * width / 2, (u - x) / length * width / 2
            self.polygon([(x + dx, y + dy), (u + dx, v + dy), (u - dx, v - dy), (x - dx, y - dy)], colour)
        for x, y in points:
            self.oval(x, y, width / 2, width / 2, colour)


def _oval(x: float, y: float, width: float, height: float, power: float = 2.0) -> Points:
    turn = [2 * math.pi * i / 64 for i in range(64)]

    def bulge(value: float) -> float:
        return math.copysign(abs(value) ** (2 / power), value)

    return [(x + width * bulge(math.cos(t)), y + height * bulge(math.sin(t))) for t in turn]


def _draw(brush: _Brush, look: Look, pose: Pose) -> None:
    half = _HALVES[look.face]
    if look.hair == "long":
        brush.oval(0, 0.2, half[0] + 0.2, 1.25, HAIR_COLOURS[look.hair_colour], 3)
    for sign in (-1, 1):
        brush.oval(sign * half[0], 0, 0.14, 0.2, _shaded(SKINS[look.skin], 0.9))
    brush.oval(0, 0, *half, SKINS[look.skin], 3.4 if look.face == "square" else 2)
    _draw_hair(brush, look, half)
    _draw_eyes(brush, look, pose)
    brush.stroke([(0, 0.02), (0.09, _NOSE_Y), (-0.02, _NOSE_Y + 0.03)], 0.06, _shaded(SKINS[look.skin], 0.7))
    _draw_mouth(brush, pose)
    _ACCESSORY[look.accessory](brush, half, look)


def _draw_hair(brush: _Brush, look: Look, half: tuple[float, float]) -> None:
    colour, (width, height) = HAIR_COLOURS[look.hair_colour], half
    if look.hair == "bald":
        return
    if look.hair == "curly":
        for i in range(9):
            turn = math.pi * (1 + i / 8)
            brush.oval(width * math.cos(turn), 0.1 + height * math.sin(turn), 0.3, 0.3, colour)
        return
    cap = [(x, y) for x, y in _oval(0, 0, width + 0.06, height + 0.08) if y < -0.3]
    brush.polygon(sorted(cap), colour)
    if look.hair == "spiky":
        for i in range(5):
            x = width * (i - 2) / 2.4
            brush.polygon([(x - 0.2, -0.7 * height), (x + 0.2, -0.7 * height), (x * 1.2, -1.3 * height)], colour)


def _draw_eyes(brush: _Brush, look: Look, pose: Pose) -> None:
    for sign in (-1, 1):
        brush.oval(sign * _EYE, _EYE_Y, 0.17, 0.14, COLOURS["white"])
        brush.oval(sign * _EYE + 0.06 * pose.look_aside, _EYE_Y, 0.1, 0.11, EYE_COLOURS[look.eyes])
        brush.oval(sign * _EYE + 0.06 * pose.look_aside, _EYE_Y, 0.045, 0.05, (10, 10, 12))
        brow = [(sign * (_EYE - 0.18), _EYE_Y - 0.25), (sign * (_EYE + 0.18), _EYE_Y - 0.22)]
        brush.stroke(brow, 0.06, _shaded(HAIR_COLOURS[look.hair_colour], 0.8))


def _draw_mouth(brush: _Brush, pose: Pose) -> None:
    across = [i / 8 - 1 for i in range(17)]
    brush.stroke([(_MOUTH * x, _MOUTH_Y + 0.16 * pose.smile * (1 - x * x)) for x in across], 0.08, (150, 40, 48))


def _nothing(brush: _Brush, half: tuple[float, float], look: Look) -> None:
    pass


def _glasses(brush: _Brush, half: tuple[float, float], look: Look) -> None:
    for sign in (-1, 1):
        ring = _oval(sign * _EYE, _EYE_Y, 0.27, 0.24)
        brush.stroke([*ring, ring[0]], 0.06, (24, 24, 30))
    brush.stroke([(-0.1, _EYE_Y), (0.1, _EYE_Y)], 0.06, (24, 24, 30))


def _hat(brush: _Brush, half: tuple[float, float], look: Look) -> None:
    brush.oval(0, -0.62, half[0] + 0.35, 0.12, (126, 30, 92))
    brush.oval(0, -0.92, 0.66, 0.4, (126, 30, 92), 4)


def _moustache(brush: _Brush, half: tuple[float, float], look: Look) -> None:
    for sign in (-1, 1):
        brush.oval(sign * 0.17, 0.36, 0.2, 0.08, _shaded(HAIR_COLOURS[look.hair_colour], 0.9))


def _freckles(brush: _Brush, half: tuple[float, float], look: Look) -> None:
    for sign in (-1, 1):
        for x, y in ((0.4, 0.18), (0.52, 0.26), (0.6, 0.15), (0.44, 0.32)):
            brush.oval(sign * x * half[0] / 0.9, y, 0.035, 0.035, _shaded(SKINS[look.skin], 0.65))


def _earrings(brush: _Brush, half: tuple[float, float], look: Look) -> None:
    for sign in (-1, 1):
        brush.oval(sign * (half[0] + 0.04), 0.3, 0.09, 0.13, (252, 200, 30))


_ACCESSORY = {"nothing": _nothing, "glasses": _glasses, "hat": _hat, "moustache": _moustache,
              "freckles": _freckles, "earrings": _earrings}  # fmt: skip


def _shaded(colour: Colour, factor: float) -> Colour:
    red, green, blue = (round(level * factor) for level in colour)
    return red, green, blue
