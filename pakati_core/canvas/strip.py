"""The steps of a canvas side by side, as people look at them."""

from __future__ import annotations

from PIL import Image, ImageDraw

from ..lettering import fit, font
from .history import History, State

CELL, MARGIN, LETTER = 224, 12, 15  # pixels
ACROSS = 6
PAPER, INK, PALE, HERE = (250, 250, 248), (34, 34, 34), (120, 120, 120), (38, 132, 196)


def draw_strip(history: History, last: int | None = None) -> Image.Image:
    """One cell for each step, in the order in which they were made: its picture, number, title, models and seconds.

    The step that the canvas stands at has a blue frame.  last: only so many of the latest steps.  Returns RGB.
    """
    states = list(history)[-last:] if last else list(history)
    across, height = min(ACROSS, max(1, len(states))), CELL + 4 * LETTER + MARGIN
    rows = -(-max(1, len(states)) // ACROSS)
    sheet = Image.new("RGB", (MARGIN + across * (CELL + MARGIN), MARGIN + rows * height), PAPER)
    for i, state in enumerate(states):
        left, top = MARGIN + i % ACROSS * (CELL + MARGIN), MARGIN + i // ACROSS * height
        _cell(sheet, state, left, top, history.current is state)
    return sheet


def describe(history: History) -> list[str]:
    """One line for each step: number, parent, time, what was done, by which model, in how many seconds."""
    marks = {True: "*", False: " "}
    return [
        f"{marks[state is history.current]} {state.id:3} <- {state.parent or '-':<3} {state.time}  {_about(state)}"
        for state in history
    ]


def _about(state: State) -> str:
    made = f"  ({', '.join(state.models)}, {state.seconds:.1f} s)" if state.strokes else ""
    seed = f"  seed {state.request['seed']}" if "seed" in state.request else ""
    return f"{state.title}{seed}{made}"


def _cell(sheet: Image.Image, state: State, left: int, top: int, is_here: bool) -> None:
    picture, draw = state.image, ImageDraw.Draw(sheet)
    picture.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
    x, y = left + (CELL - picture.width) // 2, top + (CELL - picture.height) // 2
    sheet.paste(picture, (x, y))
    if is_here:
        draw.rectangle([x - 4, y - 4, x + picture.width + 3, y + picture.height + 3], None, HERE, 4)
    origin = "" if state.parent in (None, state.id - 1) else f" from {state.parent}"
    made = f"{', '.join(state.models)}, {state.seconds:.1f} s" if state.strokes else state.time
    for line, (text, ink) in enumerate([(f"{state.id}{origin}: {state.title}", INK), (made, PALE)]):
        draw.text((left, top + CELL + (line + 0.4) * 1.5 * LETTER), fit(text, font(LETTER), CELL), ink, font(LETTER))
