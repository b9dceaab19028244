"""A refinement as pictures: the strip of its passes, the curve of its scores, the table of its questions."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from ..judge import PASSED, Verdict
from ..lettering import font
from .state import Pass, State

PAPER, INK, FAINT, RULE = (247, 245, 240), (30, 32, 38), (110, 112, 120), (214, 210, 200)
RIGHT, WRONG, UNKNOWN = (34, 146, 88), (206, 48, 56), (172, 172, 168)
CELL, GAP = 176, 12


def draw_strip(state: State, images: Sequence[Image.Image]) -> Image.Image:
    """Every pass in order with its score; the best one has a frame."""
    sheet = Image.new("RGB", (GAP + (CELL + GAP) * max(1, len(images)), CELL + 74), PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, (made, image) in enumerate(zip(state.passes, images, strict=True)):
        x = GAP + number * (CELL + GAP)
        small = image.convert("RGB")
        small.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
        small = small if max(small.size) == CELL else small.resize(_grown(small.size), Image.Resampling.LANCZOS)
        sheet.paste(small, (x, GAP))
        if number == state.best_index:
            pen.rectangle((x - 4, GAP - 4, x + small.width + 3, GAP + small.height + 3), outline=RIGHT, width=4)
        pen.text((x, CELL + 18), f"{number}  {score_of(made)}", INK, font(18))
        pen.text((x, CELL + 42), _told(made, number == state.best_index), FAINT, font(13))
    return sheet


def _grown(size: tuple[int, int]) -> tuple[int, int]:
    factor = CELL / max(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def score_of(made: Pass) -> str:
    return "no verdict" if made.score is None else f"{made.score:.2f}"


def _told(made: Pass, best: bool) -> str:
    where = f" {', '.join(made.attempt.regions)}" if made.attempt.regions else ""
    return (("best · " if best else "") + f"{made.attempt.route}{where}")[:26]


def draw_chart(state: State, width: int = 640, height: int = 260) -> Image.Image:
    """Geometric means as points, the best so far as a line, the target dashed."""
    sheet = Image.new("RGB", (width, height), PAPER)
    pen, left, top, right, bottom = ImageDraw.Draw(sheet), 44, 16, width - 16, height - 30
    for tenth in range(0, 11, 2):
        y = bottom - (bottom - top) * tenth / 10
        pen.line((left, y, right, y), RULE)
        pen.text((8, y - 8), f"{tenth / 10:.1f}", FAINT, font(13))
    y = bottom - (bottom - top) * state.config.target
    for x in range(left, right, 10):
        pen.line((x, y, x + 5, y), RIGHT, 2)
    step = (right - left - 24) / max(1, len(state.passes) - 1)
    best, line = None, []
    for number, made in enumerate(state.passes):
        x = left + 12 + number * step
        best = made.score if made.accepted else best
        pen.text((x - 4, bottom + 8), str(number), FAINT, font(13))
        if best is not None:
            line.append((x, bottom - (bottom - top) * best))
        if made.score is not None:
            y = bottom - (bottom - top) * made.score
            pen.ellipse((x - 5, y - 5, x + 5, y + 5), RIGHT if made.accepted else UNKNOWN)
    if len(line) > 1:
        pen.line(line, INK, 2)
    return sheet


def draw_table(state: State) -> Image.Image:
    """Questions by pass: right, wrong, or not known."""
    rows = {
        check.id: check for made in state.passes if isinstance(made.verdict, Verdict) for check in made.verdict.checks
    }
    sheet = Image.new("RGB", (470 + 34 * len(state.passes), 34 + 24 * max(1, len(rows))), PAPER)
    pen = ImageDraw.Draw(sheet)
    for number in range(len(state.passes)):
        pen.text((466 + 34 * number, 8), str(number), FAINT, font(13))
    for row, check in enumerate(rows.values()):
        y = 32 + 24 * row
        pen.text((12, y), check.question[:64], INK, font(13))
        for number, made in enumerate(state.passes):
            known = made.verdict.effective.get(check.id) if isinstance(made.verdict, Verdict) else None
            colour = UNKNOWN if known is None else RIGHT if known >= PASSED else WRONG
            pen.rectangle((460 + 34 * number, y, 480 + 34 * number, y + 16), colour)
    return sheet


def draw_report(state: State, images: Sequence[Image.Image]) -> Image.Image:
    parts = [draw_strip(state, images), draw_chart(state), draw_table(state)]
    sheet = Image.new("RGB", (max(part.width for part in parts), sum(part.height for part in parts)), PAPER)
    y = 0
    for part in parts:
        sheet.paste(part, (0, y))
        y += part.height
    return sheet
