"""Candidates side by side, each with what was found of the character in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw

from ..geometry import Box
from ..lettering import fit, font
from ..overlay import FAINT, INK, PAPER, RIGHT, WRONG

TILE, MARGIN, LINE, FRAME = 256, 16, 22, 5  # pixels


class Candidate(NamedTuple):
    """kept: None where nothing was asked. box: the face, in pixels of the picture."""

    image: Image.Image
    title: str
    text: str
    kept: bool | None = None
    box: Box | None = None


def draw_sheet(candidates: Sequence[Candidate], title: str = "") -> Image.Image:
    """RGB: a green frame around those that are kept, a red one around the others."""
    columns = max(1, min(5, math.ceil(math.sqrt(len(candidates)))))
    rows = math.ceil(len(candidates) / columns)
    width, height = TILE + MARGIN, TILE + 2 * LINE + MARGIN
    top = MARGIN + (2 * LINE if title else 0)
    sheet = Image.new("RGB", (columns * width + MARGIN, rows * height + top), PAPER)
    pen = ImageDraw.Draw(sheet)
    if title:
        heading = fit(title, font(LINE), sheet.width - 2 * MARGIN)
        pen.text((MARGIN, MARGIN + LINE / 2), heading, INK, font(LINE), anchor="lm")
    for i, candidate in enumerate(candidates):
        _draw_tile(sheet, pen, candidate, MARGIN + i % columns * width, top + i // columns * height)
    return sheet


def _draw_tile(sheet: Image.Image, pen: ImageDraw.ImageDraw, candidate: Candidate, x: int, y: int) -> None:
    scale = TILE / max(candidate.image.size)
    size = [max(1, round(side * scale)) for side in candidate.image.size]
    left, top = x + (TILE - size[0]) // 2, y + (TILE - size[1]) // 2
    sheet.paste(candidate.image.convert("RGB").resize(size, Image.Resampling.LANCZOS), (left, top))
    colour = {None: FAINT, True: RIGHT, False: WRONG}[candidate.kept]
    pen.rectangle((x - FRAME, y - FRAME, x + TILE + FRAME - 1, y + TILE + FRAME - 1), outline=colour, width=FRAME)
    if candidate.box:
        face = candidate.box.scaled(scale, scale)
        pen.rectangle((left + face.x, top + face.y, left + face.right, top + face.bottom), outline=colour, width=2)
    for line, (text, shade) in enumerate(((candidate.title, INK), (candidate.text, colour))):
        words = fit(text, font(0.75 * LINE), TILE)
        pen.text((x, y + TILE + FRAME + (line + 0.5) * LINE), words, shade, font(0.75 * LINE), anchor="lm")
