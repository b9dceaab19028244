import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pakati_core import overlay
from pakati_core.geometry import Extent
from pakati_core.lettering import PALETTE
from pakati_core.overlay import RIGHT, TINT, WRONG, draw_contact_sheet, draw_overlay, drawn_extent
from pakati_core.regions import Region, RegionSet
from pakati_core.shapes import BoxShape, EllipseShape, WholeShape

CANVAS = Extent(512, 512)
LEFT, RIGHT_HALF = BoxShape(0, 0, 0.5, 1, "fraction"), BoxShape(0.5, 0, 0.5, 1, "fraction")


def halves(extent=CANVAS, **common):
    return RegionSet(
        extent, (Region("left", LEFT, "a lion", **common), Region("right", RIGHT_HALF, "a lake", **common))
    )


def tinted(ground, colour):
    return tuple(round((1 - TINT) * g + TINT * c) for g, c in zip(ground, colour))


def close(pixel, expected):
    return all(abs(p - e) <= 1 for p, e in zip(pixel, expected))


@pytest.mark.parametrize(
    "extent, count, expected",
    [
        (Extent(128, 128), 2, (512, 512)),
        (Extent(256, 128), 2, (1024, 512)),
        (Extent(128, 128), 64, (1024, 1024)),
        (Extent(1600, 900), 2, (1600, 900)),
        (Extent(4096, 2048), 2, (2048, 1024)),
        (Extent(2048, 64), 2, (2048, 64)),
        (Extent(1, 16384), 2, (1, 2048)),
    ],
    ids=["small", "small and wide", "many regions", "as it is", "huge", "strip", "thread"],
)
def test_drawn_extent(extent, count, expected):
    assert drawn_extent(extent, count) == expected
    assert draw_overlay(RegionSet(extent, prompt="x")).width == drawn_extent(extent, 0).width


def test_each_region_has_its_colour_over_the_picture():
    ground = (40, 80, 120)
    drawn = draw_overlay(halves(), Image.new("RGB", (64, 64), ground))
    assert close(drawn.getpixel((100, 400)), tinted(ground, PALETTE[0]))
    assert close(drawn.getpixel((400, 400)), tinted(ground, PALETTE[1]))
    assert drawn.getpixel((0, 400)) == PALETTE[0], "outlined along the border"


def test_later_regions_lie_over_earlier_ones():
    regions = (Region("below", WholeShape(), "x"), Region("above", BoxShape(0, 256, 512, 256), "x"))
    drawn = draw_overlay(RegionSet(Extent(512, 512), regions), Image.new("RGB", (512, 512), "white"))
    assert close(drawn.getpixel((200, 400)), tinted((255, 255, 255), PALETTE[1]))


@pytest.mark.parametrize("count", [2, 3])
def test_blended_regions_share_a_place_in_stripes_of_equal_parts(count):
    """The place is its own region's colour or the other's, never a third one's; outside it nothing is shared."""
    regions = (Region("below", WholeShape(), "x"), *(Region(str(i), LEFT, "x") for i in range(1, count)))
    white = Image.new("RGB", CANVAS, "white")
    drawn = np.asarray(draw_overlay(RegionSet(CANVAS, regions, overlap="blend"), white))
    inside, outside = drawn[300:480, 20:240], drawn[300:480, 270:490]
    shares = [share_of(inside, tinted((255, 255, 255), colour)) for colour in PALETTE[:count]]
    assert sum(shares) == 1
    assert shares == pytest.approx([1 / count] * count, abs=0.06)
    assert share_of(outside, tinted((255, 255, 255), PALETTE[0])) == 1


def test_labels_know_what_blending_leaves_to_see():
    """Under a later region that covers it all, a blended region is still half there and keeps its label's place."""
    regions = (Region("below", LEFT, "x"), Region("above", WholeShape(), "x"))
    for overlap, expected in (("over", 1.0), ("blend", 0.5)):
        layout = RegionSet(CANVAS, regions, "grass", overlap=overlap)
        _, notes = overlay._painted(layout, np.ones((512, 512, 3), np.float32))
        assert [note.name for note in notes] == ["below", "above"], "nothing is left to the base"
        assert notes[1].seen[64, 32] == expected
        assert notes[1].seen[64, 96] == 1


def test_what_no_region_covers_stays_as_it_is():
    picture = Image.fromarray(np.random.default_rng(3).integers(0, 256, (512, 512, 3), dtype=np.uint8))
    layout = RegionSet(Extent(512, 512), (Region("a", BoxShape(0, 0, 256, 256), "a long prompt for this region"),))
    drawn = draw_overlay(layout, picture)
    assert drawn.crop((260, 0, 512, 512)).tobytes() == picture.crop((260, 0, 512, 512)).tobytes()
    assert drawn.crop((0, 0, 256, 256)).tobytes() != picture.crop((0, 0, 256, 256)).tobytes()


def test_64_regions_get_a_legend():
    tiles = [Region(str(i), BoxShape(i % 8 * 16, i // 8 * 16, 16, 16), f"the tile {i} of a quilt") for i in range(64)]
    drawn = draw_overlay(RegionSet(Extent(128, 128), tuple(tiles), "a quilt"))
    assert drawn.width == 1024 and drawn.height > 1400
    assert draw_overlay(halves(Extent(128, 128))).size == (512, 512)


def test_regions_on_top_of_each_other_are_all_named():
    """Twelve labels find places in the picture; ten regions of one and the same pixel still do."""
    dots = tuple(Region(f"dot {i}", BoxShape(300, 300, 1, 1), "a dot") for i in range(10))
    drawn = draw_overlay(RegionSet(Extent(512, 512), dots))
    assert drawn.height > 512


extents = st.builds(Extent, st.integers(1, 90), st.integers(1, 90)).map(lambda e: Extent(e.width * 8, e.height * 8))
fractions = st.floats(0, 0.75)  # further out, a wide ellipse would have only its empty corner on the canvas


@st.composite
def some_regions(draw):
    shape = st.builds(EllipseShape, fractions, fractions, st.floats(0.01, 1), st.floats(0.01, 1), st.just("fraction"))
    names, prompts = st.text(max_size=40), st.text(max_size=90).map(lambda text: text + "x")
    return tuple(
        Region(f"r{i}", draw(shape), draw(prompts), draw(names), feather=draw(st.sampled_from([0, 9])))
        for i in range(draw(st.integers(0, 7)))
    )


@settings(max_examples=8, deadline=None)
@given(extents, some_regions(), st.sampled_from(["", "grass"]))
def test_labels_stay_inside_and_apart(extent, regions, prompt):
    layout = RegionSet(extent, regions, prompt)
    drawn = []
    keep = overlay._placed
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlay, "_placed", lambda *args, **kw: drawn.append((keep(*args, **kw), kw)) or drawn[-1][0])
        picture = draw_overlay(layout)
    canvas = drawn_extent(extent, len(regions))
    assert picture.width == canvas.width and picture.height >= canvas.height
    for labels, options in drawn:
        boxes = [label.box for label in labels or []]
        assert all(canvas.box.contains(box) for box in boxes)
        assert options or not any(a.meets(b) for i, a in enumerate(boxes) for b in boxes[:i])


def share_of(sheet, colour):
    return (np.asarray(sheet) == colour).all(-1).mean()


@pytest.mark.parametrize("verdicts", [[], [True], [False], [True, False, True]], ids=str)
def test_a_contact_sheet_has_a_card_and_a_mark_for_each(verdicts):
    picture = Image.new("RGB", (96, 64), (20, 40, 60))
    entries = [(f"r{i}", "a lion", picture.crop((0, 0, 30, 20)), "a cat", right) for i, right in enumerate(verdicts)]
    sheet, empty = (draw_contact_sheet(picture, picture, some) for some in (entries, []))
    rows = (len(verdicts) + 1) // 2
    assert sheet.size == (1536, empty.height + rows * (overlay.CARD.height + overlay.MARGIN))
    assert (share_of(sheet, RIGHT) > 0) == any(verdicts)
    assert (share_of(sheet, WRONG) > 0) == (not all(verdicts))
    assert share_of(sheet, (20, 40, 60)) > 0.1, "the picture itself is on it"


def test_a_long_answer_stays_on_its_card():
    picture = Image.new("RGB", (64, 64))
    short, long = (draw_contact_sheet(picture, picture, [("a", "x " * n, picture, "y " * n, False)]) for n in (1, 400))
    assert short.size == long.size
    first_card = (overlay.MARGIN, short.height - overlay.CARD.height - overlay.MARGIN)
    beside = (first_card[0] + overlay.CARD.width, first_card[1], short.width, short.height)
    assert share_of(long.crop(beside), overlay.PAPER) == 1
