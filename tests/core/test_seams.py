"""Seams that are solved for: against exhaustive search, known colours, and promises that hold for any picture."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pakati_core.canvas.crop import mix
from pakati_core.canvas.seams import (
    COST_UNIT,
    NEIGHBOURS,
    RIM,
    Blend,
    least_cut,
    match_colours,
    poisson,
    solve_seam,
)
from pakati_core.colour import lab_to_srgb, srgb_to_lab


def smooth(rng, height, width):
    noise = rng.uniform(0, 255, (height, width, 3))
    return ndimage.gaussian_filter(noise, (2, 2, 0)).round().astype(np.uint8)


def supports(rng, height, width):
    """A box, an ellipse or blots, off or at the border."""
    y, x = np.mgrid[:height, :width]
    kind = rng.integers(3)
    if kind == 0:
        left, top = rng.integers(0, width - 4), rng.integers(0, height - 4)
        return (x >= left) & (x < left + rng.integers(4, width)) & (y >= top) & (y < top + rng.integers(4, height))
    if kind == 1:
        return ((x - width / 2) / (width / 3)) ** 2 + ((y - height / 2) / (height / 2.5)) ** 2 < 1
    return ndimage.gaussian_filter(rng.standard_normal((height, width)), 3) > 0


pictures = st.integers(0, 2**32 - 1)


@settings(max_examples=40, deadline=None)
@given(pictures, st.sampled_from(Blend), st.sampled_from([0.0, 1.0, 3.0, 8.0]))
def test_nothing_outside_the_support_changes_and_its_core_is_new(seed, blend, band):
    rng = np.random.default_rng(seed)
    old, new, support = smooth(rng, 40, 48), smooth(rng, 40, 48), supports(rng, 40, 48)
    seam = solve_seam(old, new, support, band, blend)
    alpha, result = seam.alpha.numpy(), mix(old, seam.painted, seam.alpha.numpy())
    assert np.array_equal(result[~support], old[~support])
    depth = ndimage.distance_transform_edt(support) if not support.all() else np.full(support.shape, np.inf)
    core = (depth > band + 1) & support
    assert (alpha[core] == 1).all()
    if blend == Blend.best:
        assert seam.after <= seam.before


@settings(max_examples=20, deadline=None)
@given(pictures)
def test_the_reported_energy_is_that_of_the_pixels(seed):
    """Counted over all pairs of neighbours, without the short cut for pairs that cannot differ."""
    rng = np.random.default_rng(seed)
    old, new, support = smooth(rng, 24, 30), smooth(rng, 24, 30), supports(rng, 24, 30)
    seam = solve_seam(old, new, support, 4.0)
    result, total = mix(old, seam.painted, seam.alpha.numpy()).astype(float), 0.0
    for first, second in NEIGHBOURS:
        step = result[second] - result[first]
        away = [np.linalg.norm(step - (source[second].astype(float) - source[first]), axis=-1) for source in (old, new)]
        total += np.minimum(*away).sum()
    assert seam.after == pytest.approx(total, rel=1e-5, abs=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_the_cut_is_the_least_of_all_cuts(seed):
    """Against every one of the 2^10 ways to divide a small band."""
    rng = np.random.default_rng(seed)
    old, new = rng.integers(0, 256, (2, 5, 5, 3), np.uint8)
    support, core = np.zeros((5, 5), bool), np.zeros((5, 5), bool)
    support[1:4, 0:4], core[2, 1:3] = True, True
    zone = support & ~core

    def cost(taken):
        apart = np.linalg.norm(new.astype(np.float32) - old, axis=-1)
        cut = sum(
            ((np.minimum(apart[a], apart[b]) * COST_UNIT + 1).astype(int) * (taken[a] != taken[b])).sum()
            for a, b in NEIGHBOURS
        )
        return cut + round(RIM * COST_UNIT) * (zone & ~taken).sum()

    def divided(choice):
        taken = core.copy()
        taken[zone] = choice
        return taken

    best = min(cost(divided(choice)) for choice in itertools.product([False, True], repeat=int(zone.sum())))
    found = least_cut(old, new, support, core)
    assert found[core].all() and not found[~support].any()
    assert cost(found) == best


def test_two_equal_pictures_have_no_seam():
    old = smooth(np.random.default_rng(1), 40, 40)
    support = np.zeros((40, 40), bool)
    support[10:30, 10:30] = True
    for blend in Blend:
        seam = solve_seam(old, old.copy(), support, 4, blend)
        assert seam.before == seam.after == 0
        assert np.array_equal(mix(old, seam.painted, seam.alpha.numpy()), old)


def test_a_support_over_everything_has_no_seam():
    rng = np.random.default_rng(1)
    old, new = smooth(rng, 16, 16), smooth(rng, 16, 16)
    seam = solve_seam(old, new, np.ones((16, 16), bool), 4)
    assert np.array_equal(mix(old, seam.painted, seam.alpha.numpy()), new)


def test_a_cut_beside_a_line_that_both_have_is_free():
    """Both pictures show the same dark line inside the band: the cut follows it, and plain feathering cannot."""
    old, new = np.full((40, 40, 3), 200, np.uint8), np.full((40, 40, 3), 90, np.uint8)
    old[:, 14:16] = new[:, 14:16] = 20
    support = np.zeros((40, 40), bool)
    support[:, 12:] = True
    seam = solve_seam(old, new, support, 8)
    assert seam.after == 0 < seam.before
    assert np.array_equal(mix(old, seam.painted, seam.alpha.numpy())[:, 16:], new[:, 16:])


def test_the_colour_match_learns_outside_and_acts_inside():
    rng = np.random.default_rng(3)
    old, support = smooth(rng, 40, 40), np.zeros((40, 40), bool)
    support[10:30, 10:30] = True
    drifted = srgb_to_lab(old) * [0.96, 1, 1] + [3.0, 2.0, -2.0]
    new = lab_to_srgb(drifted).round().clip(0, 255).astype(np.uint8)
    matched = match_colours(old, new, support)
    assert matched is not None
    assert np.array_equal(matched[~support], new[~support])
    before, after = (np.abs(srgb_to_lab(p) - srgb_to_lab(old))[support].mean() for p in (new, matched))
    assert after < 0.2 * before


def test_the_colour_match_keeps_within_its_bounds():
    rng = np.random.default_rng(4)
    old, support = np.full((40, 40, 3), 250, np.uint8), np.zeros((40, 40), bool)
    new = np.clip(smooth(rng, 40, 40).astype(int) // 4 + 40, 0, 255).astype(np.uint8)
    support[10:30, 10:30] = True
    matched = match_colours(old, new, support)
    assert matched is not None
    assert 2 < (srgb_to_lab(matched) - srgb_to_lab(new))[support].mean(0)[0] < 6 + 0.1 * 100


def test_poisson_takes_the_new_steps_from_the_old_rim():
    rng = np.random.default_rng(5)
    old, support = smooth(rng, 40, 40) // 2 + 60, np.zeros((40, 40), bool)
    support[8:30, 0:30] = True
    assert np.abs(poisson(old, old + 25, support).astype(int)[support] - old[support]).max() <= 1


@pytest.mark.parametrize(
    "rgb, lab",
    [
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((255, 0, 0), (53.2408, 80.0925, 67.2032)),
        ((0, 255, 0), (87.7347, -86.1827, 83.1793)),
        ((0, 0, 255), (32.2970, 79.1875, -107.8602)),
        ((119, 119, 119), (50.0344, 0, 0)),
    ],
    ids=["white", "black", "red", "green", "blue", "grey"],
)
def test_lab_of_known_colours(rgb, lab):
    """Lindbloom's values for sRGB and D65."""
    assert srgb_to_lab(np.array(rgb)) == pytest.approx(lab, abs=0.02)


def test_every_colour_comes_back_from_lab():
    grid = np.stack(np.meshgrid(*[np.arange(0, 256, 5)] * 3), -1)
    assert np.abs(lab_to_srgb(srgb_to_lab(grid)) - grid).max() < 0.01
