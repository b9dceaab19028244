import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pakati_core.geometry import Box, Extent, Point, Polygon
from pakati_core.masks import (
    area_pool,
    box_mask,
    ellipse_mask,
    feather,
    grow,
    invert,
    polygon_mask,
    to_grid,
)

TINY = Extent(4, 3)
CANVAS = Extent(40, 30)

coordinates = st.floats(-20, 60, width=32)
sides = st.floats(0.0625, 50, width=32)
boxes = st.builds(Box, coordinates, coordinates, sides, sides)
extents = st.builds(Extent, st.integers(1, 37), st.integers(1, 37))


@st.composite
def soft_masks(draw):
    height, width = draw(st.integers(1, 23)), draw(st.integers(1, 23))
    values = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).random((height, width))
    cut = draw(st.floats(0, 1))
    return torch.from_numpy(np.where(values < cut, 0, np.where(values > (cut + 1) / 2, 1, values))).float()


@st.composite
def star_shapes(draw):
    """Simple polygons: corners at rising angles around a middle."""
    count = draw(st.integers(3, 9))
    radii = draw(st.lists(st.floats(0.5, 25), min_size=count, max_size=count))
    middle = draw(coordinates), draw(coordinates)
    turn = 2 * math.pi / count
    return Polygon(
        tuple(
            Point(middle[0] + r * math.cos(turn * i), middle[1] + r * math.sin(turn * i)) for i, r in enumerate(radii)
        )
    )


def sampled(inside, extent: Extent, n: int = 32) -> np.ndarray:
    """Area coverage by counting n x n points per pixel: slow, plain, and written without looking at masks.py."""
    steps = (np.arange(n) + 0.5) / n
    x = (np.arange(extent.width)[:, None] + steps).reshape(-1)
    y = (np.arange(extent.height)[:, None] + steps).reshape(-1)
    hits = inside(*np.meshgrid(x, y))
    return hits.reshape(extent.height, n, extent.width, n).mean((1, 3))


def in_polygon(points):
    def inside(x, y):
        hits = np.zeros_like(x, dtype=bool)
        for (ax, ay), (bx, by) in zip(points, [*points[1:], points[0]]):
            if ay != by:
                hits ^= ((ay > y) != (by > y)) & (x < (bx - ax) * (y - ay) / (by - ay) + ax)
        return hits

    return inside


def in_ellipse(box):
    def inside(x, y):
        dx = (x - box.x - box.width / 2) / (box.width / 2)
        dy = (y - box.y - box.height / 2) / (box.height / 2)
        return dx * dx + dy * dy < 1

    return inside


@pytest.mark.parametrize(
    "box, expected",
    [
        (Box(1, 1, 2, 1), [[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]),
        (Box(0.5, 0, 1, 1), [[0.5, 0.5, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]),
        (Box(1.25, 1.25, 0.5, 0.5), [[0, 0, 0, 0], [0, 0.25, 0, 0], [0, 0, 0, 0]]),
        (Box(-5, -5, 50, 50), [[1, 1, 1, 1]] * 3),
        (Box(3.5, 2.5, 9, 9), [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0.25]]),
        (Box(7, 7, 2, 2), [[0, 0, 0, 0]] * 3),
        (Box(0, 1.5, 4, 0.125), [[0] * 4, [0.125] * 4, [0] * 4]),
    ],
    ids=["whole pixels", "between two", "inside one", "all", "cut at the corner", "outside", "thin line"],
)
def test_box_mask(box, expected):
    assert box_mask(box, TINY).tolist() == expected


@pytest.mark.parametrize(
    "points, expected",
    [
        ([(1, 1), (3, 1), (3, 2), (1, 2)], [[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]),
        ([(0, 0), (2, 0), (0, 2)], [[1, 0.5, 0, 0], [0.5, 0, 0, 0], [0, 0, 0, 0]]),
        ([(0, 0), (0, 2), (2, 0)], [[1, 0.5, 0, 0], [0.5, 0, 0, 0], [0, 0, 0, 0]]),
        ([(0, 0), (4, 0), (0, 1)], [[0.875, 0.625, 0.375, 0.125], [0] * 4, [0] * 4]),
        ([(1, 0), (2, 0), (2, 1), (1, 1)], [[0, 1, 0, 0], [0] * 4, [0] * 4]),
        ([(1.25, 1.25), (1.75, 1.25), (1.75, 1.75), (1.25, 1.75)], [[0] * 4, [0, 0.25, 0, 0], [0] * 4]),
        ([(-9, -9), (50, -9), (50, 50), (-9, 50)], [[1] * 4] * 3),
        ([(-4, 0), (4, 0), (4, 1), (-4, 1)], [[1] * 4, [0] * 4, [0] * 4]),
        ([(9, 9), (12, 9), (9, 12)], [[0] * 4] * 3),
    ],
    ids=["box", "triangle", "other way round", "slope", "one pixel", "inside one", "all", "cut left", "outside"],
)
def test_polygon_mask(points, expected):
    mask = polygon_mask(Polygon.of(points), TINY)
    assert mask.dtype == torch.float32
    assert torch.allclose(mask, torch.tensor(expected, dtype=torch.float32), atol=1e-7)


def test_a_keyhole_leaves_its_hole_empty():
    outline = [(0, 0), (3, 0), (3, 3), (0, 3), (0, 0), (1, 1), (1, 2), (2, 2), (2, 1), (1, 1)]
    assert polygon_mask(Polygon.of(outline), Extent(3, 3)).tolist() == [[1, 1, 1], [1, 0, 1], [1, 1, 1]]


def test_one_pixel_of_an_ellipse():
    # A circle of diameter 1 covers pi/4 of its pixel; one of diameter 2 covers pi/4 of each of four.
    assert ellipse_mask(Box(1, 1, 1, 1), TINY)[1, 1].item() == pytest.approx(math.pi / 4, abs=1e-7)
    assert torch.allclose(ellipse_mask(Box(1, 0, 2, 2), TINY)[:2, 1:3], torch.tensor(math.pi / 4))


@pytest.mark.parametrize("size", [0.001, 0.3, 1, 17.3, 300, 4000])
def test_the_area_of_an_ellipse_is_pi_a_b(size):
    extent = Extent(int(size) + 3, int(size / 2) + 3)
    mask = ellipse_mask(Box(1.1, 1.2, size, size / 2), extent).double()
    assert mask.sum().item() == pytest.approx(math.pi * size * size / 8, rel=1e-5)
    assert mask[0].sum() == 0
    assert mask.max() <= 1


@settings(max_examples=25, deadline=None)
@given(star_shapes())
def test_a_polygon_matches_counted_points(polygon):
    mask = polygon_mask(polygon, CANVAS).numpy()
    assert np.abs(mask - sampled(in_polygon(polygon.points), CANVAS)).max() < 0.06


@settings(deadline=None)
@given(star_shapes() | boxes)
def test_no_pixel_is_nearly_empty_or_nearly_full(shape):
    mask = polygon_mask(shape, CANVAS) if isinstance(shape, Polygon) else ellipse_mask(shape, CANVAS)
    assert not ((mask > 0) & (mask < 1e-7)).any()
    assert not ((mask < 1) & (mask > 1 - 1e-7)).any()


@settings(max_examples=25, deadline=None)
@given(boxes)
def test_an_ellipse_matches_counted_points(box):
    mask = ellipse_mask(box, CANVAS).numpy()
    assert np.abs(mask - sampled(in_ellipse(box), CANVAS)).max() < 0.06


@settings(deadline=None)
@given(star_shapes())
def test_a_polygon_inside_keeps_its_area(polygon):
    away = Point(60, 60)
    moved = Polygon(tuple(Point(x + away.x, y + away.y) for x, y in polygon.points))
    assert polygon_mask(moved, Extent(160, 160)).double().sum().item() == pytest.approx(
        polygon.area, rel=1e-5, abs=1e-5
    )


@settings(deadline=None)
@given(boxes)
def test_a_box_drawn_as_a_polygon_is_the_same(box):
    corners = [(box.x, box.y), (box.right, box.y), (box.right, box.bottom), (box.x, box.bottom)]
    assert torch.allclose(polygon_mask(Polygon.of(corners), CANVAS), box_mask(box, CANVAS), atol=1e-5)


def test_feather_spreads_a_step_to_both_sides():
    step = torch.zeros(1, 20)
    step[:, 10:] = 1
    soft = feather(step, 6)[0]
    assert (soft.diff() >= 0).all()
    assert soft[:4].tolist() == [0] * 4 and soft[16:].tolist() == [1] * 4
    assert torch.allclose(soft + soft.flip(0), torch.ones(20), atol=1e-6)
    # The step of a Gaussian of sigma 2, half a pixel from the edge: the normal distribution at 1/4 sigma.
    assert soft[10].item() == pytest.approx(0.5 * (1 + math.erf(0.25 / math.sqrt(2))), abs=0.002)


def test_feather_keeps_a_mask_at_the_border():
    mask = box_mask(Box(0, 0, 20, 40), Extent(40, 40))
    soft = feather(mask, 6)
    assert soft[:, :14].eq(1).all()
    assert torch.equal(soft[0], soft[20])


def test_feather_never_fades_a_small_shape_away():
    soft = feather(box_mask(Box(20, 20, 1, 1), Extent(41, 41)), 15)
    assert soft[20, 20] == pytest.approx(1)
    assert 0 < soft[20, 28] < soft[20, 24] < 1


@settings(max_examples=50, deadline=None)
@given(soft_masks(), st.floats(0, 40))
def test_feather_stays_in_range(mask, radius):
    soft = feather(mask, radius)
    assert soft.shape == mask.shape and soft.dtype == mask.dtype
    assert ((soft >= 0) & (soft <= mask.max())).all()
    assert (soft.sum() > 0) == (mask.sum() > 0)


@pytest.mark.parametrize("change", [feather, grow], ids=["feather", "grow"])
def test_radius_0_is_the_mask_itself(change):
    mask = torch.rand(5, 7)
    assert change(mask, 0) is mask


@pytest.mark.parametrize("value", [0.0, 1.0, 0.3])
@pytest.mark.parametrize("change", [lambda m: feather(m, 9.5), lambda m: grow(m, 3.3), lambda m: grow(m, -40)])
def test_an_even_mask_stays_as_it_is(change, value):
    mask = torch.full((2, 13, 9), value)
    assert torch.equal(change(mask), mask)


@pytest.mark.parametrize(
    "radius, expected",
    [
        (1, [[0, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]),
        (2, [[0, 0, 1, 0, 0], [0, 1, 1, 1, 0], [1, 1, 1, 1, 1], [0, 1, 1, 1, 0], [0, 0, 1, 0, 0]]),
        (0.5, [[0, 0, 0, 0, 0], [0, 0, 0.5, 0, 0], [0, 0.5, 1, 0.5, 0], [0, 0, 0.5, 0, 0], [0, 0, 0, 0, 0]]),
        (-1, [[0] * 5] * 5),
    ],
    ids=["one", "two", "half", "inwards"],
)
def test_grow_one_pixel(radius, expected):
    mask = torch.zeros(5, 5)
    mask[2, 2] = 1
    assert grow(mask, radius).tolist() == expected


@pytest.mark.parametrize("radius", [-2.5, -1, 0.25, 3, 7.75])
def test_grow_moves_every_side_of_a_box(radius):
    box, extent = Box(15, 14, 12, 14), Extent(48, 48)
    moved, expected = grow(box_mask(box, extent), radius), box_mask(box.pad(radius), extent)
    assert torch.allclose(moved[21], expected[21], atol=1e-6)
    assert torch.allclose(moved[:, 21], expected[:, 21], atol=1e-6)


def test_grow_makes_round_corners():
    grown = grow(box_mask(Box(30, 30, 1, 1), Extent(61, 61)), 20)
    assert grown.sum().item() == pytest.approx(math.pi * 20**2, rel=0.01)


def test_grow_inwards_does_not_shrink_from_the_border():
    mask = box_mask(Box(0, 0, 10, 30), Extent(30, 30))
    assert torch.equal(grow(mask, -4), box_mask(Box(0, 0, 6, 30), Extent(30, 30)))


@settings(max_examples=50, deadline=None)
@given(soft_masks(), st.floats(0, 30))
def test_grow_inwards_is_grow_outwards_of_the_inverse(mask, radius):
    assert torch.allclose(grow(mask, -radius), invert(grow(invert(mask), radius)), atol=1e-6)
    assert (grow(mask, radius) >= mask).all()


@pytest.mark.parametrize(
    "weights, size, expected",
    [
        ([[1, 1, 0, 0], [1, 0, 0, 0]], (1, 2), [[0.75, 0]]),
        ([[1, 1, 1, 0, 1]], (1, 3), [[1, 0.5, 1]]),
        ([[1, 0, 0]], (1, 2), [[0.5, 0]]),
        ([[1, 0, 0, 0, 0]], (1, 4), [[0.8, 0, 0, 0]]),
        ([[1, 0]], (2, 4), [[1, 1, 0, 0], [1, 1, 0, 0]]),
        ([[1, 0, 0.5]], (1, 1), [[0.5]]),
    ],
    ids=["divides", "rounded up, last cell cut short", "three to two", "stretched", "finer", "one cell"],
)
def test_area_pool(weights, size, expected):
    pooled = area_pool(torch.tensor(weights, dtype=torch.float32), *size)
    assert torch.allclose(pooled, torch.tensor(expected, dtype=torch.float32))


@pytest.mark.parametrize("latent, tokens", [((9, 13), (5, 7)), ((5, 7), (3, 4)), ((17, 23), (9, 12))])
def test_a_grid_follows_the_hosts_ceil_sizes(latent, tokens):
    """One latent pixel at (y, x) belongs to token (y // 2, x // 2), also in the last row and column."""
    for y, x in [(0, 0), (latent[0] - 1, latent[1] - 1), (latent[0] // 2, latent[1] // 2)]:
        mask = torch.zeros(latent)
        mask[y, x] = 1
        assert area_pool(mask, *tokens).nonzero().tolist() == [[y // 2, x // 2]]


@settings(max_examples=60, deadline=None)
@given(soft_masks(), st.integers(1, 30), st.integers(1, 30))
def test_a_grid_of_any_size(mask, height, width):
    grid = to_grid(mask, height, width)
    assert grid.shape == (height, width)
    assert ((grid >= 0) & (grid <= 1)).all()
    assert grid.max() >= mask.max() / 2
    assert torch.equal(to_grid(torch.ones_like(mask), height, width), torch.ones(height, width))
    assert torch.equal(to_grid(torch.zeros_like(mask), height, width), torch.zeros(height, width))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 69), st.integers(1, 70))
def test_cells_wholly_inside_or_outside_stay_exact(size, cells, low, length):
    mask = torch.zeros(1, size)
    mask[:, low : low + length] = 1
    grid = area_pool(mask, 1, cells)[0]
    assert not ((grid > 0) & (grid < 1e-4)).any()
    assert not ((grid > 1 - 1e-4) & (grid < 1)).any()


def test_one_pixel_keeps_its_token():
    masks = torch.zeros(2, 64, 64)
    masks[0, 40, 9] = 1
    grid = to_grid(masks, 4, 4)
    assert grid[0].nonzero().tolist() == [[2, 0]]
    assert grid[0, 2, 0] == 0.5
    assert grid[1].sum() == 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_the_type_of_the_mask_is_kept(dtype):
    mask = torch.zeros(9, 9, dtype=dtype)
    mask[3:6, 3:6] = 1
    assert {feather(mask, 2).dtype, grow(mask, 1).dtype, to_grid(mask, 4, 4).dtype} == {dtype}
