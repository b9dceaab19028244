import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pakati_core.geometry import Box, Extent, Point, Polygon

CANVAS = Extent(100, 60).box
SQUARE = [(0, 0), (10, 0), (10, 10), (0, 10)]
BOW_TIE = [(0, 0), (10, 10), (10, 0), (0, 10)]
STAR = [(50 + 40 * math.cos(4 * math.pi * i / 5), 50 + 40 * math.sin(4 * math.pi * i / 5)) for i in range(5)]
# A square with a square hole; the bridge from (0, 0) to (2, 2) is walked in and out.
KEYHOLE = [(0, 0), (10, 0), (10, 10), (0, 10), (0, 0), (2, 2), (2, 8), (8, 8), (8, 2), (2, 2)]

boxes = st.builds(Box, *[st.integers(-200, 200)] * 2, *[st.integers(0, 300)] * 2)


def test_extent_reads_as_width_by_height():
    assert str(Extent(640, 480)) == "640x480"
    assert Extent(640, 480).box == Box(0, 0, 640, 480)


@pytest.mark.parametrize(
    "box, margin, expected",
    [
        (Box(10, 20, 30, 40), 5, Box(5, 15, 40, 50)),
        (Box(10, 20, 30, 40), -5, Box(15, 25, 20, 30)),
        (Box(0, 0, 4, 20), -5, Box(2, 5, 0, 10)),
    ],
    ids=["outwards", "inwards", "stops at the middle"],
)
def test_pad(box, margin, expected):
    assert box.pad(margin) == expected


@pytest.mark.parametrize(
    "box, expected",
    [
        (Box(10, 10, 20, 20), Box(10, 10, 20, 20)),
        (Box(-10, 10, 20, 20), Box(0, 10, 20, 20)),
        (Box(90, 55, 20, 20), Box(80, 40, 20, 20)),
        (Box(-5, -5, 200, 20), Box(0, 0, 100, 20)),
    ],
    ids=["inside", "left", "right bottom corner", "too wide"],
)
def test_clamp_pushes_and_cuts(box, expected):
    assert box.clamp(CANVAS) == expected


@pytest.mark.parametrize(
    "box, expected",
    [
        (Box(0, 0, 16, 32), Box(0, 0, 16, 32)),
        (Box(10, 10, 20, 1), Box(4, 3, 32, 16)),
        (Box(0.5, 0.5, 1, 1), Box(-7, -7, 16, 16)),
    ],
    ids=["already", "grows both ways", "fractions"],
)
def test_multiple_of(box, expected):
    assert box.multiple_of(16) == expected
    assert box.multiple_of(16).contains(box)


@pytest.mark.parametrize(
    "other, expected",
    [
        (Box(90, 50, 20, 20), Box(90, 50, 10, 10)),
        (Box(20, 20, 5, 5), Box(20, 20, 5, 5)),
        (Box(100, 0, 5, 5), Box(100, 0, 0, 5)),
        (Box(300, 300, 5, 5), Box(300, 300, 0, 0)),
    ],
    ids=["corner", "inside", "touching", "apart"],
)
def test_intersect(other, expected):
    shared = CANVAS.intersect(other)
    assert shared == expected
    assert shared.is_empty == (shared.area == 0) == (not CANVAS.meets(other))


def test_relative_to():
    origin = Box(10, 20, 50, 50)
    assert Box(30, 40, 5, 6).relative_to(origin) == Box(20, 20, 5, 6)
    assert Polygon.of([(10, 20), (30, 40)]).relative_to(origin).points == (Point(0, 0), Point(20, 20))


def test_scaled():
    assert Box(1, 2, 3, 4).scaled(10, 100) == Box(10, 200, 30, 400)
    assert Polygon.of([(1, 2), (3, 4)]).scaled(10, 100).points == (Point(10, 200), Point(30, 400))


def test_slices_are_rows_then_columns():
    assert Box(1, 2, 30, 40).slices == (slice(2, 42), slice(1, 31))


def test_rounded_out_gives_whole_pixels():
    box = Box(1.2, 2.0, 1.9, 1.0).rounded_out()
    assert box == Box(1, 2, 3, 1)
    assert all(isinstance(value, int) for value in box)


@given(boxes, boxes)
def test_an_intersection_lies_in_both_boxes(one, other):
    shared = one.intersect(other)
    assert shared.is_empty or (one.contains(shared) and other.contains(shared))
    assert shared.area <= min(one.area, other.area)


@given(boxes)
def test_a_clamped_box_lies_inside(box):
    assert CANVAS.contains(box.clamp(CANVAS))


@pytest.mark.parametrize(
    "points, area, bounds",
    [
        (SQUARE, 100, Box(0, 0, 10, 10)),
        (SQUARE[::-1], 100, Box(0, 0, 10, 10)),
        ([(0, 0), (4, 0), (0, 3)], 6, Box(0, 0, 4, 3)),
        (KEYHOLE, 64, Box(0, 0, 10, 10)),
        ([(0, 0), (5, 5), (10, 10)], 0, Box(0, 0, 10, 10)),
        ([(1e6, 1e6), (1e6 + 1, 1e6), (1e6, 1e6 + 1)], 0.5, Box(1e6, 1e6, 1, 1)),
    ],
    ids=["square", "other way round", "triangle", "keyhole", "line", "far away"],
)
def test_polygon_area_and_bounds(points, area, bounds):
    polygon = Polygon.of(points)
    assert polygon.area == pytest.approx(area, abs=1e-12)
    assert polygon.bounds == bounds


@pytest.mark.parametrize(
    "points, crossing",
    [
        (SQUARE, False),
        (BOW_TIE, True),
        (STAR, True),
        (KEYHOLE, False),
        ([(0, 0), (10, 0), (5, 5)], False),
        ([(0, 0), (10, 0), (10, 10), (5, 0), (0, 10)], False),
        ([(0, 0), (10, 0), (10, 10), (5, -0.001), (0, 10)], True),
    ],
    ids=["square", "bow tie", "star", "keyhole", "triangle", "corner touches an edge", "corner passes an edge"],
)
def test_self_crossing(points, crossing):
    assert Polygon.of(points).is_self_crossing is crossing


def test_repeated_corners_are_dropped():
    assert Polygon.of([(0, 0), (0, 0), (4, 0), (4, 4), (0, 0)]).points == (Point(0, 0), Point(4, 0), Point(4, 4))


@given(st.permutations(range(4)), st.integers(0, 3))
def test_of_all_orders_of_a_square_those_with_diagonals_cross(order, start):
    points = [SQUARE[i] for i in order]
    diagonals = sum((points[i][0] != points[i - 1][0]) and (points[i][1] != points[i - 1][1]) for i in range(4))
    assert Polygon.of(points[start:] + points[:start]).is_self_crossing == (diagonals > 0)
