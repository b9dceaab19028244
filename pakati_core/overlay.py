"""Pictures that explain: a layout drawn over its picture, and a sheet that shows what became of each region."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw

from .geometry import Box, Extent
from .layout import image_to_pil, pil_to_image
from .lettering import Colour, fit, font, palette, wrap
from .masks import area_pool, bounds_of, grow
from .regions import Overlap, RegionSet

SHORTEST, MANY, LONGEST = 512, 1024, 2048  # sides of a drawn canvas in pixels, see drawn_extent
COARSE = 128  # cells along the longer side on which labels look for a place
TINT = 0.42  # how much of a region's colour lies over the picture
PAPER: Colour = (247, 245, 240)
RULE: Colour = (229, 226, 218)
INK: Colour = (30, 32, 38)
FAINT: Colour = (110, 112, 120)
BASE: Colour = (172, 172, 168)  # stands for what no region covers
RIGHT: Colour = (34, 146, 88)
WRONG: Colour = (206, 48, 56)


class Note(NamedTuple):
    """What is said about one region, or about the base prompt."""

    mark: str  # its number
    name: str
    prompt: str
    colour: Colour
    seen: np.ndarray  # [h,w] in [0,1]: where one sees it, in cells of _cell(extent) pixels


class Label(NamedTuple):
    note: Note
    lines: list[str]  # the first one large
    box: Box
    apart: bool  # it lies beside its region, not on it


class Entry(NamedTuple):
    """One region on a contact sheet."""

    name: str
    prompt: str
    crop: Image.Image
    read: str  # what a reader saw in the crop
    right: bool


def draw_overlay(regions: RegionSet, picture: Image.Image | None = None) -> Image.Image:
    """Every region tinted and outlined in a colour of its own, with its name and prompt.

    A small canvas is drawn larger, a huge one smaller, so that the labels can be read. Where labels would cover each
    other, regions get numbers and a legend below: then the result is higher than the canvas.
    """
    layout = regions.at_extent(drawn_extent(regions.extent, len(regions.regions)))
    size = max(13, round(math.sqrt(layout.extent.width * layout.extent.height) / 40))
    image, notes = _painted(layout, _ground(layout.extent, picture))
    drawn = image_to_pil(torch.from_numpy(image))
    labels = _placed([(note, _words(note, layout.extent, size)) for note in notes], layout.extent, size)
    if labels is not None:
        return _labelled(drawn, labels, size)
    marks = [(note, [note.mark]) for note in notes if note.colour != BASE]
    numbers = _placed(marks, layout.extent, size, crowded=True) or []
    return _stacked(_labelled(drawn, numbers, size), _legend(notes, drawn.width, max(13, round(0.7 * size))))


def drawn_extent(extent: Extent, regions: int) -> Extent:
    """At least SHORTEST on the shorter side, or MANY for more than a dozen regions, and at most LONGEST on the longer
    side, which wins for long strips.
    """
    scale = min(max(1, (SHORTEST if regions <= 12 else MANY) / min(extent)), LONGEST / max(extent))
    return Extent(max(1, round(extent.width * scale)), max(1, round(extent.height * scale)))


# --- the canvas ----------------------------------------------------------------------------------------------------


def _ground(extent: Extent, picture: Image.Image | None) -> np.ndarray:
    """[H,W,3] in [0,1]: the picture at this size, or squared paper."""
    if picture is not None:
        return pil_to_image(picture.convert("RGB").resize(extent, Image.Resampling.BICUBIC))[0].numpy()
    paper = Image.new("RGB", extent, PAPER)
    draw = ImageDraw.Draw(paper)
    square = min(extent) / 12
    for i in range(1, math.ceil(max(extent) / square)):
        draw.line([(i * square, 0), (i * square, extent.height)], RULE)
        draw.line([(0, i * square), (extent.width, i * square)], RULE)
    return pil_to_image(paper)[0].numpy()


def _painted(layout: RegionSet, ground: np.ndarray) -> tuple[np.ndarray, list[Note]]:
    """The tinted and outlined image [H,W,3], and what to say about each region and about the base."""
    colours = palette(len(layout.regions))
    tint, alphas = (_shared if layout.overlap == Overlap.blend else _layered)(layout, colours)
    image = ground * (1 - TINT * tint[..., 3:]) + TINT * tint[..., :3]
    _outline(layout, image, colours)
    return image, _notes(layout, colours, alphas)


Tint = tuple[np.ndarray, list[np.ndarray]]  # [H,W,4] red, green, blue, coverage, premultiplied; each region in cells


def _layered(layout: RegionSet, colours: Sequence[Colour]) -> Tint:
    """Each region hides the earlier ones.

    Region by region, so that many of them on a large canvas need no more memory than one.
    """
    tint, alphas = np.zeros((layout.extent.height, layout.extent.width, 4), np.float32), []
    for (window, alpha), colour in zip(_drawn(layout), colours):
        alphas.append(_coarse(alpha, window, layout.extent))
        tint[window.slices] *= 1 - alpha[..., None]
        tint[window.slices] += _unit(*colour, 255) * alpha[..., None]
    return tint, alphas


def _shared(layout: RegionSet, colours: Sequence[Colour]) -> Tint:
    """Regions that share a place take turns in slanting stripes, each as wide as its share: a mixed colour would look
    like one more region.
    """
    height, width = layout.extent.height, layout.extent.width
    total, alphas = np.zeros((height, width), np.float32), []
    for window, alpha in _drawn(layout):
        alphas.append(_coarse(alpha, window, layout.extent))
        total[window.slices] += alpha
    stripes = max(8, round(math.sqrt(width * height) / 24))  # pixels until the first one's turn comes again
    turn = (np.arange(width) + np.arange(height)[:, None] + 0.5) % stripes / stripes * total
    tint, taken = np.zeros((height, width, 4), np.float32), np.zeros((height, width), np.float32)
    for (window, alpha), colour in zip(_drawn(layout), colours):
        before = taken[window.slices]
        its_turn = (before <= turn[window.slices]) & (turn[window.slices] < before + alpha)
        tint[window.slices][its_turn] = _unit(*colour, 255)
        taken[window.slices] += alpha
    return tint * np.minimum(total, 1)[..., None], alphas


def _drawn(layout: RegionSet) -> Iterator[tuple[Box, np.ndarray]]:
    """Each region's window and what it covers there, one after the other."""
    for region in layout.regions:
        window = region.window(layout.extent)
        yield window, region.draw(layout.extent, window).numpy()


def _outline(layout: RegionSet, image: np.ndarray, colours: Sequence[Colour]) -> None:
    """Draw the hard edge of every region into the image, along the border of the canvas too."""
    width = max(2, round(math.sqrt(layout.extent.width * layout.extent.height) / 340))
    for region, colour in zip(layout.regions, colours):
        window = region.window(layout.extent)
        hard = F.pad(region.draw_unfeathered(layout.extent, window), [width] * 4)
        edge = (hard - grow(hard, -width)).numpy()[width:-width, width:-width, None]
        image[window.slices] += edge * (_unit(*colour) - image[window.slices])


def _unit(*levels: int) -> np.ndarray:
    return np.array(levels, np.float32) / 255


def _notes(layout: RegionSet, colours: Sequence[Colour], alphas: Sequence[np.ndarray]) -> list[Note]:
    """In painting order, the base last. A region that later ones hide is seen where it would be."""
    shares, left = _seen(layout, alphas)
    notes = []
    for i, region in enumerate(layout.regions):
        seen = shares[i] if shares[i].max() > alphas[i].max() / 20 else alphas[i]
        notes.append(Note(str(i + 1), region.name, region.prompt, colours[i], seen))
    base = [Note("", "elsewhere", layout.prompt, BASE, left)] if layout.prompt.strip() and left.any() else []
    return notes + base


def _seen(layout: RegionSet, alphas: Sequence[np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
    """What one sees of each region, and of the base, in cells: RegionSet.coverage() in small."""
    left = _coarse(np.float32(1), layout.extent.box, layout.extent)
    if layout.overlap == Overlap.blend:
        total = sum(alphas, np.zeros_like(left))
        return [alpha / np.maximum(total, 1) for alpha in alphas], np.maximum(left - total, 0)
    shares = []
    for alpha in reversed(alphas):
        shares.append(alpha * left)
        left = left - shares[-1]
    return shares[::-1], left


def _cell(extent: Extent) -> int:
    return 1 << max(0, math.ceil(math.log2(max(extent) / COARSE)))


def _coarse(alpha: np.ndarray | np.float32, window: Box, extent: Extent) -> np.ndarray:
    mask, cell = np.zeros((extent.height, extent.width), np.float32), _cell(extent)
    mask[window.slices] = alpha
    grid = math.ceil(extent.height / cell), math.ceil(extent.width / cell)
    return area_pool(torch.from_numpy(mask), *grid).numpy()


# --- labels --------------------------------------------------------------------------------------------------------


def _words(note: Note, extent: Extent, size: int) -> list[str]:
    """Name and prompt, cut to the width of the region where that leaves enough to read."""
    held = bounds_of(note.seen > note.seen.max() / 2).width * _cell(extent)
    width = min(max(0.9 * held, 8 * size), 0.45 * extent.width) - size
    prompt = [] if note.prompt.strip() in ("", note.name) else wrap(note.prompt, font(0.85 * size), width, 2)
    return [fit(note.name, font(size), width), *prompt]


def _placed(
    texts: Sequence[tuple[Note, list[str]]], extent: Extent, size: int, crowded: bool = False
) -> list[Label] | None:
    """A place for each text that leaves the others free, or None. crowded: let them overlap rather than give up."""
    labels: list[Label] = []
    for note, lines in texts:
        places = [(_merit(note, box, extent), box) for box in _places(note, _label_extent(lines, size), extent, size)]
        places.sort(reverse=True)
        free = (place for place in places if not any(place[1].pad(2).meets(label.box) for label in labels))
        best = next(free, places[0] if crowded and places else None)
        if best is None:
            return None
        (inside, _), box = best
        labels.append(Label(note, lines, box, inside < 0.5))
    return labels


def _places(note: Note, label: Extent, extent: Extent, size: int) -> list[Box]:
    """Over the box that holds what one sees of the region, and around it; all inside the canvas."""
    cell, gap = _cell(extent), size / 2
    held = bounds_of(note.seen > note.seen.max() / 2).scaled(cell, cell)
    inner = held.pad(-gap)
    lefts = [inner.x + (inner.width - label.width) * i / 6 for i in range(7)]
    tops = [inner.y + (inner.height - label.height) * i / 10 for i in range(11)]
    corners = [(x, y) for x in lefts for y in (*tops, held.y - label.height - gap, held.bottom + gap)]
    corners += [(x, y) for x in (held.x - label.width - gap, held.right + gap) for y in tops]
    canvas = extent.box.pad(-gap / 2)
    if label.width > canvas.width or label.height > canvas.height:
        return []
    return [Box(x, y, *label).clamp(canvas) for x, y in corners]


def _merit(note: Note, box: Box, extent: Extent) -> tuple[float, float]:
    """How much of the label lies on its region, in tenths; of two alike the one nearer to the left top corner."""
    cell = _cell(extent)
    part = note.seen[box.scaled(1 / cell, 1 / cell).rounded_out().slices]
    return math.floor(10 * float((part > note.seen.max() / 2).mean())) / 10, -box.y - box.x / 2


def _label_extent(lines: Sequence[str], size: int) -> Extent:
    widths = [font(size if i == 0 else 0.85 * size).getlength(line) for i, line in enumerate(lines)]
    return Extent(math.ceil(max(widths) + 1.2 * size), math.ceil(size * (1.6 + 1.05 * (len(lines) - 1))))


def _labelled(drawn: Image.Image, labels: Sequence[Label], size: int) -> Image.Image:
    layer = Image.new("RGBA", drawn.size)
    draw = ImageDraw.Draw(layer)
    for label in labels:
        if label.apart:
            _lead(draw, label, Extent(*drawn.size), size)
    for label in labels:
        if label.lines == [label.note.mark]:
            _chip(draw, label.note, label.box, size)
        else:
            _write(draw, label, size)
    return Image.alpha_composite(drawn.convert("RGBA"), layer).convert("RGB")


def _write(draw: ImageDraw.ImageDraw, label: Label, size: int) -> None:
    x, y, width, height = label.box
    draw.rounded_rectangle([x, y, x + width, y + height], size / 4, (*INK, 216))
    bar = (True, False, False, True)  # rounded where the plate is
    draw.rounded_rectangle([x, y, x + size / 3, y + height], size / 4, (*label.note.colour, 255), corners=bar)
    for i, line in enumerate(label.lines):
        face, colour = (font(size), (255, 255, 255, 255)) if i == 0 else (font(0.85 * size), (208, 210, 216, 255))
        draw.text((x + 0.75 * size, y + size * (0.8 + 1.05 * i)), line, colour, face, anchor="lm")


def _chip(draw: ImageDraw.ImageDraw, note: Note, box: Box, size: int) -> None:
    """A number on the colour of its region."""
    draw.rounded_rectangle([box.x, box.y, box.right, box.bottom], size / 3, (*note.colour, 255), (255, 255, 255, 255))
    middle = (box.x + box.width / 2, box.y + box.height / 2)
    draw.text(middle, note.mark, _readable_on(note.colour), font(size), anchor="mm")


def _lead(draw: ImageDraw.ImageDraw, label: Label, extent: Extent, size: int) -> None:
    """From a label to the region that it lies beside, which gets a ring when it is hardly larger than a dot."""
    cell, colour = _cell(extent), (*label.note.colour, 255)
    held = bounds_of(label.note.seen > label.note.seen.max() / 2).scaled(cell, cell)
    x, y = held.x + held.width / 2, held.y + held.height / 2
    near = (min(max(x, label.box.x), label.box.right), min(max(y, label.box.y), label.box.bottom))
    draw.line([near, (x, y)], colour, max(1, size // 8))
    if max(held.width, held.height) < size:
        draw.ellipse([x - size / 2, y - size / 2, x + size / 2, y + size / 2], None, colour, max(2, size // 6))


def _readable_on(colour: Colour) -> Colour:
    red, green, blue = colour
    return INK if 0.3 * red + 0.59 * green + 0.11 * blue > 150 else (255, 255, 255)


def _legend(notes: Sequence[Note], width: int, size: int) -> Image.Image:
    """Every number with name and prompt, down the columns."""
    columns = max(1, min(4, width // (18 * size), math.ceil(len(notes) / 4)))
    rows, line, margin = math.ceil(len(notes) / columns), 1.75 * size, size
    column = (width - margin) / columns
    legend = Image.new("RGB", (width, math.ceil(rows * line + 2 * margin)), PAPER)
    draw = ImageDraw.Draw(legend)
    for i, note in enumerate(notes):
        x, y = margin + i // rows * column, margin + i % rows * line + line / 2
        _chip(draw, note, Box(x, y - 0.7 * size, 2.1 * size, 1.4 * size), size)
        left, room = x + 2.6 * size, column - 2.6 * size - margin
        name = fit(note.name, font(size), room / 2 if note.prompt else room)
        draw.text((left, y), name, INK, font(size), anchor="lm")
        used = font(size).getlength(name) + 0.7 * size
        draw.text((left + used, y), fit(note.prompt, font(size), room - used), FAINT, font(size), anchor="lm")
    return legend


def _stacked(upper: Image.Image, lower: Image.Image) -> Image.Image:
    both = Image.new("RGB", (upper.width, upper.height + lower.height))
    both.paste(upper, (0, 0))
    both.paste(lower, (0, upper.height))
    return both


# --- the contact sheet ---------------------------------------------------------------------------------------------

SHEET, MARGIN, LETTER = 1536, 32, 21  # pixels
HALF = (SHEET - 3 * MARGIN) // 2
CARD = Extent(HALF, 184)


def draw_contact_sheet(
    picture: Image.Image, overlay: Image.Image, entries: Sequence[tuple[str, str, Image.Image, str, bool]]
) -> Image.Image:
    """The picture beside its overlay, and below them a card per region: its crop and prompt, what a reader saw in
    it, and a green tick or a red cross. entries: see Entry.  Returns RGB, 1536 pixels wide.
    """
    pictures = [_within(each, Extent(HALF, HALF)) for each in (picture, overlay)]
    cards = [_card(Entry(*entry)) for entry in entries]
    title = 2 * MARGIN + max(each.height for each in pictures)
    first = title + 2 * LETTER + MARGIN
    sheet = Image.new("RGB", (SHEET, first + math.ceil(len(cards) / 2) * (CARD.height + MARGIN)), PAPER)
    for i, each in enumerate(pictures):
        sheet.paste(each, (MARGIN + i * (HALF + MARGIN) + (HALF - each.width) // 2, MARGIN))
    for i, card in enumerate(cards):
        sheet.paste(card, (MARGIN + i % 2 * (HALF + MARGIN), first + i // 2 * (CARD.height + MARGIN)))
    count = f"{sum(bool(entry[-1]) for entry in entries)} of {len(entries)} regions read right"
    ImageDraw.Draw(sheet).text((MARGIN, title + LETTER), count, INK, font(1.4 * LETTER), anchor="lm")
    return sheet


def _card(entry: Entry) -> Image.Image:
    card = Image.new("RGB", CARD, (255, 255, 255))
    draw = ImageDraw.Draw(card)
    draw.rectangle([0, 0, CARD.height - 1, CARD.height - 1], RULE)
    crop, icon = _within(entry.crop, Extent(CARD.height, CARD.height)), _verdict(entry.right)
    card.paste(crop, ((CARD.height - crop.width) // 2, (CARD.height - crop.height) // 2))
    card.paste(icon, (CARD.width - icon.width - LETTER, LETTER), icon)
    room = CARD.width - CARD.height - 4.5 * LETTER
    name = fit(entry.name, font(1.15 * LETTER), room)
    draw.text((CARD.height + LETTER, 1.5 * LETTER), name, INK, font(1.15 * LETTER), anchor="lm")
    _paragraph(draw, 3.2 * LETTER, "asked", entry.prompt, INK)
    _paragraph(draw, 6.1 * LETTER, "read", entry.read, RIGHT if entry.right else WRONG)
    draw.rectangle([0, 0, CARD.width - 1, CARD.height - 1], None, RULE)
    return card


def _paragraph(draw: ImageDraw.ImageDraw, y: float, heading: str, text: str, colour: Colour) -> None:
    left = CARD.height + LETTER
    draw.text((left, y), heading, FAINT, font(0.8 * LETTER), anchor="lm")
    for i, line in enumerate(wrap(text, font(LETTER), CARD.width - left - 4.5 * LETTER, 2)):
        draw.text((left + 3 * LETTER, y + 1.25 * LETTER * i), line, colour, font(LETTER), anchor="lm")


def _verdict(right: bool) -> Image.Image:
    """A tick or a cross in a disc; drawn, because the font has neither, and four times too large to be smooth."""
    size, r = round(1.8 * LETTER), round(1.8 * LETTER) * 2
    icon = Image.new("RGBA", (2 * r, 2 * r))
    draw = ImageDraw.Draw(icon)
    draw.ellipse([0, 0, 2 * r, 2 * r], (*(RIGHT if right else WRONG), 255))
    tick = [[(0.55, 1.02), (0.88, 1.36), (1.46, 0.66)]]
    cross = [[(0.65, 0.65), (1.35, 1.35)], [(0.65, 1.35), (1.35, 0.65)]]
    for stroke in tick if right else cross:
        draw.line([(r * x, r * y) for x, y in stroke], (255, 255, 255, 255), r // 5, joint="curve")
    return icon.resize((size, size), Image.Resampling.LANCZOS)


def _within(picture: Image.Image, extent: Extent) -> Image.Image:
    """As large as fits, in its own proportions; enlarged without a blur."""
    scale = min(extent.width / picture.width, extent.height / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC)
