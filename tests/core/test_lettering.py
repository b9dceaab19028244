import pytest
from hypothesis import given
from hypothesis import strategies as st

from pakati_core.lettering import PALETTE, fit, font, palette, printable, wrap

FACE = font(20)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a lion", "a lion"),
        ("  two\n lines ", "two lines"),
        ("Müller’s café", "Muller’s cafe"),
        ("Straße – 3×4…", "Strasse - 3x4…"),
        ("太阳 sun", "?? sun"),
        ("", ""),
    ],
    ids=["plain", "white space", "accents", "signs", "another script", "nothing"],
)
def test_printable(text, expected):
    assert printable(text) == expected


@given(st.text(), st.floats(0, 300))
def test_fit_is_never_too_wide(text, width):
    short = fit(text, FACE, width)
    assert FACE.getlength(short) <= width
    assert short == printable(text) or short == "" or short.endswith("…")


def test_fit_takes_as_much_as_it_can():
    text = "a serene lake with mountains"
    width = FACE.getlength("a serene lake…")
    assert fit(text, FACE, width) == "a serene lake…"
    assert fit(text, FACE, FACE.getlength(text)) == text
    assert fit(text, FACE, 1) == ""


def test_wrap_breaks_between_words_and_cuts_the_last_line():
    width = FACE.getlength("a serene lake ")
    assert wrap("a serene lake with mountains", FACE, width, 3) == ["a serene lake", "with", "mountains"]
    assert wrap("a serene lake with mountains", FACE, width, 2) == ["a serene lake", "with mount…"]
    assert wrap("lake", FACE, width, 2) == ["lake"]
    assert wrap("", FACE, width, 2) == []


@given(st.text(), st.integers(1, 4), st.floats(20, 300))
def test_wrap_stays_in_its_room(text, lines, width):
    wrapped = wrap(text, FACE, width, lines)
    assert len(wrapped) <= lines
    assert all(FACE.getlength(line) <= width for line in wrapped)


@pytest.mark.parametrize("count", [0, 5, 12, 64])
def test_no_two_colours_are_alike(count):
    colours = palette(count)
    assert len(set(colours)) == count
    assert colours[:12] == PALETTE[:count]
    assert all(0 <= level <= 255 for colour in colours for level in colour)
