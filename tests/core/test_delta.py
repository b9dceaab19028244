"""Differences from a reference. Numbers in names: the criteria of the research notes.

tests/data/colour_oracle.safetensors holds what scikit-image 0.26 says: deltaE_ciede2000(rgb2lab(a), rgb2lab(b)) of
4,000 sRGB pairs (random, nearly neutral, hues around 0), and structural_similarity(gaussian_weights, sigma 1.5, no
sample covariance) over whole windows of a pair of grey pictures.
"""

import itertools
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from pakati_core.errors import ShapeError
from pakati_core.geometry import Extent
from pakati_core.reference import (
    Memory,
    Palette,
    Reference,
    ciede2000,
    compare,
    fit_reference,
    lab_to_srgb,
    quality,
    srgb_to_lab,
    suggest,
    transport,
)
from pakati_core.reference.delta import ssim_map
from pakati_core.regions import Region, RegionSet
from pakati_core.shapes import BoxShape
from pakati_core.tiny.world import Scene, Thing, draw

ORACLE = load_file(Path(__file__).parents[1] / "data" / "colour_oracle.safetensors")
# Sharma, Wu, Dalal 2005, table 1: L1 a1 b1 L2 a2 b2 dE00.
SHARMA = """
50 2.6772 -79.7751 50 0 -82.7485 2.0425
50 3.1571 -77.2803 50 0 -82.7485 2.8615
50 2.8361 -74.0200 50 0 -82.7485 3.4412
50 -1.3802 -84.2814 50 0 -82.7485 1.0000
50 -1.1848 -84.8006 50 0 -82.7485 1.0000
50 -0.9009 -85.5211 50 0 -82.7485 1.0000
50 0 0 50 -1 2 2.3669
50 -1 2 50 0 0 2.3669
50 2.4900 -0.0010 50 -2.4900 0.0009 7.1792
50 2.4900 -0.0010 50 -2.4900 0.0010 7.1792
50 2.4900 -0.0010 50 -2.4900 0.0011 7.2195
50 2.4900 -0.0010 50 -2.4900 0.0012 7.2195
50 -0.0010 2.4900 50 0.0009 -2.4900 4.8045
50 -0.0010 2.4900 50 0.0010 -2.4900 4.8045
50 -0.0010 2.4900 50 0.0011 -2.4900 4.7461
50 2.5 0 50 0 -2.5 4.3065
50 2.5 0 73 25 -18 27.1492
50 2.5 0 61 -5 29 22.8977
50 2.5 0 56 -27 -3 31.9030
50 2.5 0 58 24 15 19.4535
50 2.5 0 50 3.1736 0.5854 1.0000
50 2.5 0 50 3.2972 0 1.0000
50 2.5 0 50 1.8634 0.5757 1.0000
50 2.5 0 50 3.2592 0.3350 1.0000
60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.2630
61.2901 3.7196 -5.3901 61.4292 2.2480 -4.9620 1.8731
35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
22.7233 20.0904 -46.6940 23.0331 14.9730 -42.5619 2.0373
36.4612 47.8580 18.3852 36.2715 50.5065 21.2231 1.4146
90.8027 -2.0831 1.4410 91.1528 -1.6435 0.0447 1.4441
90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377
2.0776 0.0795 -1.1350 0.9033 -0.0636 -0.5514 0.9082
"""


def picture(seed=0, side=96) -> torch.Tensor:
    scene = Scene("sand", (Thing("circle", "red", 0.35, 0.4, 0.18), Thing("star", "blue", 0.7, 0.65, 0.15)), seed=seed)
    return torch.from_numpy(draw(scene, side).copy()).float() / 255


def tinted(lightness: float, a: float = 0, b: float = 0, side=32) -> torch.Tensor:
    """A soft grey ramp, shifted in Lab; well inside what a screen can show."""
    lab = torch.zeros(side, side, 3, dtype=torch.float64)
    lab[..., 0] = lightness + torch.linspace(-5, 5, side, dtype=torch.float64)
    return lab_to_srgb(lab + torch.tensor((0, a, b), dtype=torch.float64))


# --- colour -----------------------------------------------------------------------------------------------------------


def test_criterion_20_ciede2000_equals_the_published_table():
    rows = torch.tensor([[float(v) for v in line.split()] for line in SHARMA.split("\n") if line], dtype=torch.float64)
    assert len(rows) == 34
    got = ciede2000(rows[:, :3], rows[:, 3:6])
    assert (got - rows[:, 6]).abs().max() <= 1e-4
    assert (ciede2000(rows[:, 3:6], rows[:, :3]) - got).abs().max() <= 1e-12


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-3), (torch.float64, 1e-9)], ids=["float32", "float64"])
def test_criterion_20_ciede2000_from_srgb_equals_scikit_image(dtype, tolerance):
    lab = srgb_to_lab(ORACLE["rgb"].to(dtype) / 255)
    assert (ciede2000(lab[:, 0], lab[:, 1]).double() - ORACLE["difference"]).abs().max() <= tolerance


def test_criterion_20_zero_only_for_equal_colours_and_blind_to_order():
    lab = srgb_to_lab(picture().double()).flatten(0, 1)
    other = lab.roll(7, 0)
    assert (ciede2000(lab, lab) == 0).all()
    assert ((ciede2000(lab, other) == 0) == (lab == other).all(1)).all()
    order = torch.randperm(len(lab), generator=torch.Generator().manual_seed(1))
    assert ciede2000(lab[order], other[order]).mean() == pytest.approx(float(ciede2000(lab, other).mean()), abs=1e-9)


def test_lab_and_back_is_the_same_picture():
    image = picture().double()
    assert (lab_to_srgb(srgb_to_lab(image)) - image).abs().max() < 1e-5


def test_criterion_21_ssim_equals_scikit_image():
    one, other = ORACLE["grey"].double()
    assert (ssim_map(one, other) - ORACLE["ssim"]).abs().max() <= 1e-6


def test_criterion_21_a_picture_differs_in_nothing_from_itself():
    delta = compare(picture().double(), picture().double())
    values = [v for value in delta.to_dict().values() for v in (value if isinstance(value, list) else [value])]
    assert max(map(abs, values)) <= 1e-9
    assert all(delta.distance(aspect) <= 1e-9 for aspect in ("colour", "style", "general"))


# --- signs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [2.0, 6.0, -8.0])
def test_criterion_22_more_b_is_reported_as_that_much_more(x):
    delta = compare(tinted(60, 0, x), tinted(60))
    assert delta.warmth == pytest.approx(x, rel=0.02)
    assert delta.lightness == pytest.approx(0, abs=0.05)


def test_criterion_22_darkening_is_monotone():
    found = [compare(picture() * k, picture()).lightness for k in (1.0, 0.9, 0.75, 0.5, 0.2, 0.0)]
    assert found == sorted(found, reverse=True) and len(set(found)) == len(found)


def test_criterion_22_blur_takes_the_octaves_above_its_cutoff():
    noise = torch.rand(128, 128, 1, generator=torch.Generator().manual_seed(2)).expand(-1, -1, 3)
    for passes, octaves in ((1, 1), (4, 2), (16, 3)):
        soft = noise.permute(2, 0, 1)[None]
        for _ in range(passes):
            soft = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(soft, [1] * 4, mode="replicate"), 3, 1)
        delta = compare(soft[0].permute(1, 2, 0), noise)
        assert all(octave < -0.5 for octave in delta.octaves[:octaves]), delta.octaves


@pytest.mark.parametrize("dx, dy", [(7, 0), (-5, 9), (12, -4)])
def test_criterion_22_a_move_is_reported_within_a_pixel(dx, dy):
    ground = torch.full((96, 96, 3), 0.6)
    here, there = ground.clone(), ground.clone()
    here[30:50, 30:50] = there[30 + dy : 50 + dy, 30 + dx : 50 + dx] = torch.tensor([0.9, 0.1, 0.1])
    delta = compare(there, here)
    assert (delta.dx, delta.dy) == (pytest.approx(dx, abs=1), pytest.approx(dy, abs=1))


def test_criterion_22_what_lies_outside_changes_nothing():
    mask = torch.zeros(96, 96)
    mask[20:70, 10:60] = 1
    other, changed = picture(3), picture()
    changed = torch.where(mask[..., None] > 0, changed, torch.rand(96, 96, 3))
    assert compare(picture(), other, mask) == compare(changed, other, mask)


def test_criterion_22_mirrored_pictures_differ_alike_with_mirrored_dx():
    one, other = picture().double(), picture(5).double().roll(6, 1) * 0.8
    here, mirrored = compare(one, other).to_dict(), compare(one.flip(1), other.flip(1)).to_dict()
    for name in ("dx", "light_x"):
        assert mirrored.pop(name) == pytest.approx(-here.pop(name), abs=0.02)  # type: ignore[operator]
    for name in here:
        assert mirrored[name] == pytest.approx(here[name], abs=0.05), name


def test_light_from_one_side_has_its_sign():
    ramp = torch.linspace(0.3, 0.7, 64)[None, :, None].expand(64, 64, 3)
    delta = compare(ramp, torch.full((64, 64, 3), 0.5))
    assert delta.light_x > 30 and abs(delta.light_y) < 1e-6
    assert compare(ramp.flip(1), torch.full((64, 64, 3), 0.5)).light_x < -30


# --- palettes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(1, 7))
def test_criterion_23_transport_equals_brute_force(count):
    rng = torch.Generator().manual_seed(count)
    one, other = (torch.rand(count, 3, generator=rng).double() * 60 + 20 for _ in range(2))
    even = torch.full((count,), 1 / count, dtype=torch.float64)
    cost = ciede2000(one[:, None], other[None])
    best = min(sum(float(cost[i, j]) for i, j in enumerate(p)) / count for p in itertools.permutations(range(count)))
    assert transport(Palette(one, even), Palette(other, even)).distance == pytest.approx(best, abs=1e-9)


def test_criterion_24_the_suggested_shift_brings_the_colours_nearer():
    rng, nearer = np.random.default_rng(24), 0
    for _ in range(200):
        one, other = (
            torch.from_numpy(rng.uniform(0.15, 0.85, 3) + rng.uniform(-0.12, 0.12, (12, 12, 3))).float()
            for _ in range(2)
        )
        delta = compare(one, other)
        shift = torch.tensor([delta.lightness, delta.red_green, delta.warmth])
        after = (srgb_to_lab(lab_to_srgb(srgb_to_lab(one) - shift)) - srgb_to_lab(other)).mean((0, 1))
        nearer += bool(after.norm() < shift.norm())
    assert nearer >= 190


# --- references and what is done --------------------------------------------------------------------------------------


def test_a_reference_is_compared_with_its_region():
    blue, red = Image.new("RGB", (40, 40), (40, 60, 200)), Image.new("RGB", (40, 40), (200, 60, 40))
    both = Image.new("RGB", (80, 40))
    both.paste(blue, (0, 0))
    both.paste(red, (40, 0))
    layout = RegionSet(
        Extent(160, 80), (Region("left", BoxShape(0, 0, 80, 80), "a"), Region("right", BoxShape(80, 0, 80, 80), "b"))
    )
    near = Reference(blue, "blue", "color", "left").delta(both, layout)
    far = Reference(blue, "blue", "colour", "right").delta(both, layout)
    assert near.difference < 1 and far.warmth > 30
    assert quality([(Reference(blue, "", "colour"), near)]) > 0.9 > quality([(Reference(blue, "", "colour"), far)])
    with pytest.raises(ShapeError, match="name one of them"):
        Reference(blue, "blue", region="middle").delta(both, layout)


def cold(by: float = 9):
    """A rose that lacks this much yellow."""
    return compare(tinted(60, 20, -by), tinted(60, 20))


def test_each_difference_has_its_words_and_a_deadband():
    assert [action.phrase for action in suggest(cold(), "colour", "", None, Memory())] == ["warmer colours"]
    assert suggest(cold(2), "colour", "", None, Memory()) == []
    assert suggest(cold(), "texture", "", None, Memory()) == []
    dark = suggest(compare(tinted(40), tinted(60)), "general", "", "sky", Memory())
    assert dark[0].phrase == "brighter" and dark[0].region == "sky"


def test_what_did_not_help_is_not_tried_again():
    memory = Memory()
    (action,) = suggest(cold(), "colour", "", None, memory)
    assert memory.note(action, cold(4))
    (again,) = suggest(cold(2), "colour", "", None, memory)  # followed down to half of the deadband
    assert not memory.note(again, cold())
    assert suggest(cold(), "colour", "", None, memory) == []


def test_pictures_of_two_sizes_are_refused():
    with pytest.raises(ShapeError, match="resize"):
        compare(picture(), picture(side=64))
    assert fit_reference(picture(side=64), 96, 96).shape == (96, 96, 3)


def test_a_large_pair_in_four_regions_takes_at_most_two_cores_for_a_second_and_a_half():
    one, other = (torch.rand(1024, 1024, 3, generator=torch.Generator().manual_seed(i)) for i in (1, 2))
    masks = torch.zeros(4, 1024, 1024)
    for i, mask in enumerate(masks):
        mask[512 * (i // 2) : 512 * (i // 2 + 1), 512 * (i % 2) : 512 * (i % 2 + 1)] = 1
    # One thread's processor time: on a busy machine threads that wait for each other count, too. Measured 1.5 s.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    compare(one[:64, :64], other[:64, :64])
    begun = time.process_time()
    for mask in masks:
        compare(one, other, mask)
    torch.set_num_threads(threads)
    assert time.process_time() - begun <= 2 * 1.5
