"""Text and colours for the pictures that explain a layout, in PIL's built-in font."""

from __future__ import annotations

import colorsys
import unicodedata

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Colour = tuple[int, int, int]

PALETTE: list[Colour] = [  # neighbours differ in hue and in lightness
    (229, 87, 47), (38, 132, 196), (243, 178, 41), (118, 80, 168), (46, 168, 116), (214, 49, 104),
    (42, 190, 206), (150, 108, 72), (150, 196, 58), (92, 108, 226), (238, 130, 170), (96, 128, 144),
]  # fmt: skip
SPELLED = str.maketrans({"–": "-", "—": "-", "×": "x", "ß": "ss", "ø": "o", "Ø": "O", "æ": "ae", "œ": "oe", "ł": "l"})
DRAWN = "…·“”‘’"  # what the font has beside ASCII


def font(size: float) -> Font:
    """size: pixels from the top of a capital's accent to the bottom of a descender, about."""
    return ImageFont.load_default(size=size)


def palette(count: int) -> list[Colour]:
    """Colours that can be told apart; beyond the drawn ones hues turn by the golden angle."""
    turned = [colorsys.hls_to_rgb(0.618034 * i % 1, (0.42, 0.58)[i % 2], 0.6) for i in range(count)]
    more = [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in turned[len(PALETTE) :]]
    return PALETTE[:count] + more


def printable(text: str) -> str:
    """One line in the letters that the built-in font has: accents go, other scripts become "?"."""
    plain = unicodedata.normalize("NFKD", " ".join(text.split()).translate(SPELLED).replace("…", "\0"))
    letters = (letter for letter in plain.replace("\0", "…") if not unicodedata.combining(letter))
    return "".join(letter if " " <= letter <= "~" or letter in DRAWN else "?" for letter in letters)


def fit(text: str, face: Font, width: float) -> str:
    """The text, cut short with "…" so that it is not wider than this; "" where not even that fits."""
    text = printable(text)
    if face.getlength(text) <= width:
        return text
    low, high = 0, len(text)
    while low < high:  # the longest start that fits
        middle = (low + high + 1) // 2
        low, high = (middle, high) if face.getlength(text[:middle].rstrip() + "…") <= width else (low, middle - 1)
    short = text[:low].rstrip() + "…"
    return short if face.getlength(short) <= width else ""


def wrap(text: str, face: Font, width: float, lines: int) -> list[str]:
    """At most so many lines of words; the last one ends with "…" where more would follow."""
    words, out = printable(text).split(), []
    while words and len(out) < lines - 1:
        taken = 1
        while taken < len(words) and face.getlength(" ".join(words[: taken + 1])) <= width:
            taken += 1
        out.append(fit(" ".join(words[:taken]), face, width))
        words = words[taken:]
    return [*out, fit(" ".join(words), face, width)] if words else out
