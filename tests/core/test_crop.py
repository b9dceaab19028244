"""What an edit cuts out of a canvas, and that pasting it back touches nothing else."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pakati_core.canvas.crop import cut_image, cut_mask, cut_regions, detail_scale, fitted, paste, plan_crop
from pakati_core.errors import ShapeError
from pakati_core.geometry import Box, Extent
from pakati_core.regions import Region, RegionSet
from pakati_core.shapes import BoxShape

CANVAS = Extent(256, 128)


@pytest.mark.parametrize(
    "window, scale, box, size",
    [
        (Box(100, 40, 32, 32), 1.0, Box(84, 24, 64, 64), (64, 64)),
        (Box(0, 0, 32, 32), 1.0, Box(0, 0, 64, 64), (64, 64)),
        (Box(250, 120, 6, 8), 1.0, Box(192, 64, 64, 64), (64, 64)),
        (Box(100, 40, 32, 32), 2.0, Box(84, 24, 64, 64), (128, 128)),
        (Box(0, 0, 256, 128), 0.25, Box(0, -64, 256, 256), (64, 64)),
        (Box(10, 10, 100, 20), 1.0, Box(0, 0, 128, 64), (128, 64)),
    ],
    ids=["middle", "corner", "other corner", "detail", "shrunk, over the edge", "wide"],
)
def test_the_crop_is_the_window_with_context_in_whole_cells(window, scale, box, size):
    plan = plan_crop(window, CANVAS, 16, multiple_of=8, smallest=64, largest=4096, scale=scale)
    assert (plan.box, plan.size) == (box, size)


windows = st.builds(
    lambda x, y, w, h: Box(x, y, w, h).intersect(CANVAS.box),
    st.integers(0, 255), st.integers(0, 127), st.integers(1, 256), st.integers(1, 128),
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(windows, st.integers(0, 60), st.sampled_from([8, 16, 64]), st.sampled_from([0.25, 0.5, 1.0, 1.7, 4.0]))
def test_every_crop_holds_its_window_and_divides(window, context, multiple, scale):
    plan = plan_crop(window, CANVAS, context, multiple, smallest=64, largest=512, scale=scale)
    assert plan.box.contains(window)
    assert plan.size.width % multiple == plan.size.height % multiple == 0
    assert min(plan.size) >= 64 and max(plan.size) <= 512
    for start, length, limit in ((plan.box.x, plan.box.width, 256), (plan.box.y, plan.box.height, 128)):
        assert 0 <= start <= limit - length if length <= limit else start <= 0 and start + length >= limit


@settings(max_examples=40, deadline=None)
@given(windows, st.sampled_from([0.25, 1.0, 3.0]), st.integers(0, 2**32 - 1))
def test_pasting_changes_nothing_where_alpha_is_0(window, scale, seed):
    rng = np.random.default_rng(seed)
    picture = Image.fromarray(rng.integers(0, 256, (128, 256, 3), np.uint8))
    plan = plan_crop(window, CANVAS, 8, 8, smallest=64, largest=512, scale=scale)
    painted = Image.fromarray(rng.integers(0, 256, (*plan.size[::-1], 3), np.uint8))
    alpha = torch.zeros(128, 256)
    alpha[window.slices] = 1.0
    result = np.asarray(paste(picture, plan, fitted(painted, plan), alpha[plan.inner.slices]))
    before, inside = np.asarray(picture), alpha.bool().numpy()
    assert np.array_equal(result[~inside], before[~inside])
    new = np.asarray(fitted(painted, plan))
    assert np.array_equal(result[plan.inner.slices][inside[plan.inner.slices]], new[inside[plan.inner.slices]])


@settings(max_examples=40, deadline=None)
@given(windows, st.integers(0, 2**32 - 1))
def test_a_native_crop_pasted_back_is_the_picture(window, seed):
    picture = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (128, 256, 3), np.uint8))
    plan = plan_crop(window, CANVAS, 8, 64, smallest=256, largest=512)
    back = paste(picture, plan, fitted(cut_image(picture, plan), plan), torch.ones(*map(int, plan.inner[:1:-1])))
    assert back.tobytes() == picture.tobytes()


def test_regions_lie_in_the_crop_as_on_the_canvas():
    regions = RegionSet(
        CANVAS,
        (
            Region("all", BoxShape(0, 0, 256, 128), "grass"),
            Region("soft", BoxShape(100, 40, 32, 32), "sand", feather=6, seed=4),
            Region("far", BoxShape(0, 0, 8, 8), "sea"),
        ),
        "night",
    )
    plan = plan_crop(Box(100, 40, 32, 32), CANVAS, 16, 8, smallest=64, largest=512)
    cut = cut_regions(regions, plan)
    assert [region.id for region in cut.regions] == ["all", "soft"]
    assert cut.extent == (64, 64) and cut.prompt == "night" and cut.regions[1].seed == 4
    expected = regions.masks()[1][plan.inner.slices]
    assert (cut.masks()[1] - expected).abs().max() <= 0.5 / 255 + 1e-6


def test_a_mask_keeps_its_zeros_when_it_is_shrunk():
    mask = torch.zeros(128, 256)
    mask[40:72, 100:132] = 1
    plan = plan_crop(CANVAS.box, CANVAS, 0, 8, smallest=64, largest=512, scale=0.5)
    small = cut_mask(mask, plan)
    assert small.shape == plan.size[::-1]
    assert small[20:36, 50:66].min() == 1 and small.sum() == 16 * 16


def test_detail_scales_up_and_never_down():
    assert detail_scale(Box(0, 0, 32, 16), CANVAS, 16, best=128) == 128 / 48
    assert detail_scale(CANVAS.box, CANVAS, 16, best=128) == 1


@pytest.mark.parametrize(
    "act, words",
    [
        (lambda plan: plan_crop(Box(0, 0, 0, 0), CANVAS, 8, 8, 64, 512), "black all over"),
        (lambda plan: cut_image(Image.new("RGB", (9, 9)), plan), "9x9"),
        (lambda plan: fitted(Image.new("RGB", (9, 9)), plan), "9x9 but 64x64"),
    ],
    ids=["empty", "another canvas", "another size"],
)
def test_mistakes_are_named(act, words):
    with pytest.raises(ShapeError, match=words):
        act(plan_crop(Box(0, 0, 9, 9), CANVAS, 8, 8, 64, 512))
