"""Edits of a canvas: what is not dirty comes back bit for bit, whatever the regions, the mode and the blend.

PAKATI_EXAMPLES=200 python -m pytest tests/core/test_edits.py -k random      runs the property over 200 random edits
"""

import os
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pakati_core.canvas import Blend, CropMode, PakatiCanvas
from pakati_core.canvas.passes import BASE, order_passes
from pakati_core.engines.diffusers import DiffusersEngine
from pakati_core.engines.models import Registry
from pakati_core.errors import CanvasError, ModelError, PakatiWarning, RegionError
from pakati_core.geometry import Extent
from pakati_core.shapes import BoxShape, EllipseShape, PolygonShape

EXAMPLES = int(os.environ.get("PAKATI_EXAMPLES", "8"))
LEFT, RIGHT = BoxShape(0, 0, 32, 64), BoxShape(32, 0, 32, 64)


@pytest.fixture(scope="module")
def tiny():
    return DiffusersEngine("pakati-tiny", device="cpu")


def pixels(image):
    return np.asarray(image, np.int16)


def two(tiny, **more):
    canvas = PakatiCanvas(64, 64, prompt="grass", engines={"pakati-tiny": tiny}, **more)
    for name, shape, prompt in (("left", LEFT, "sand"), ("right", RIGHT, "brick")):
        canvas.apply_to_region(canvas.create_region(shape, name), prompt=prompt)
    canvas.generate(seed=1, steps=1)
    return canvas


shapes = st.one_of(
    st.builds(BoxShape, st.integers(0, 50), st.integers(0, 50), st.integers(2, 60), st.integers(2, 60)),
    st.builds(EllipseShape, st.integers(0, 40), st.integers(0, 40), st.integers(8, 60), st.integers(8, 60)),
    st.builds(
        lambda x, y, s: PolygonShape(((x, y), (x + s, y + s / 3), (x + s / 4, y + s))),
        st.integers(0, 40), st.integers(0, 40), st.integers(6, 50),
    ),
)  # fmt: skip
region_settings = st.fixed_dictionaries(
    {"feather": st.sampled_from([0, 0, 2.5, 6]), "grow": st.sampled_from([0, 0, 3]), "locked": st.booleans()}
)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.sampled_from([(64, 64), (96, 64), (72, 104)]),
    st.lists(st.tuples(shapes, region_settings), min_size=1, max_size=4),
    st.sampled_from(["over", "blend"]),
    st.data(),
)
def test_a_random_edit_touches_nothing_outside_its_region(tiny, tmp_path_factory, size, regions, overlap, data):
    canvas = PakatiCanvas(*size, prompt="grass", engines={"pakati-tiny": tiny})
    canvas.regions = replace(canvas.regions, overlap=overlap)
    for i, (shape, more) in enumerate(regions):
        more = more | {"locked": more["locked"] and i > 0}
        canvas.apply_to_region(canvas.create_region(shape, f"r{i}"), "sand", **more)
    canvas.generate(seed=data.draw(st.integers(0, 99)), steps=1)
    before = canvas.image
    free = [region.id for region in canvas.regions.regions if not region.locked]
    target, share = data.draw(st.sampled_from(free)), dict(zip((f"r{i}" for i in range(9)), canvas.regions.coverage()))
    locked = [share[region.id] > 0 for region in canvas.regions.regions if region.locked]
    manner = {"mode": data.draw(st.sampled_from(CropMode)), "blend": data.draw(st.sampled_from(Blend))}
    manner |= {"strength": data.draw(st.sampled_from([0.5, 1.0])), "soft": data.draw(st.booleans())}
    canvas.edit(target, "brick", seed=data.draw(st.integers(0, 99)), steps=1, **manner)

    path = tmp_path_factory.mktemp("edit") / "canvas.pakati"
    canvas.save(path)
    again = PakatiCanvas.open(path)
    old, new = pixels(before), pixels(again.image)
    mine = (share[target] > 0).numpy()
    for mask in locked:
        mine &= ~mask.numpy()
    assert np.array_equal(new[~mine], old[~mine])
    assert [vars(state) for state in again.history] == [vars(state) for state in canvas.history]
    assert again.regions == canvas.regions and again.dirty == canvas.dirty
    assert again.undo().tobytes() == before.tobytes()
    assert again.redo().tobytes() == canvas.image.tobytes()


def test_only_what_is_dirty_is_painted(tiny):
    canvas = two(tiny)
    before = pixels(canvas.image)
    canvas.apply_to_region("right", "night")
    assert canvas.dirty == ("right",)
    after = pixels(canvas.generate(seed=2, steps=2))
    assert np.array_equal(after[:, :32], before[:, :32])
    assert not np.array_equal(after[:, 32:], before[:, 32:])
    assert canvas.dirty == ()


def test_nothing_dirty_keeps_the_picture_and_says_so(tiny):
    canvas = two(tiny)
    before = canvas.image
    with pytest.warns(PakatiWarning, match="nothing is dirty"):
        assert canvas.generate(seed=99).tobytes() == before.tobytes()
    canvas.mark_dirty()
    assert canvas.dirty == (BASE, "left", "right")
    assert canvas.generate(seed=99, steps=1).tobytes() != before.tobytes()


def test_a_locked_region_is_kept_even_when_all_is_painted_anew(tiny):
    canvas = two(tiny)
    before = pixels(canvas.image)
    canvas.lock("left")
    canvas.mark_dirty()
    assert canvas.dirty == (BASE, "right")
    after = pixels(canvas.generate(seed=5, steps=1))
    assert np.array_equal(after[:, :32], before[:, :32]) and not np.array_equal(after[:, 32:], before[:, 32:])
    with pytest.raises(CanvasError, match="'left' is locked; unlock it first"):
        canvas.edit("left", "sea")
    canvas.unlock("left")
    canvas.edit("left", "sea", steps=1)


@pytest.mark.parametrize("mode", CropMode)
def test_a_soft_edge_over_a_locked_region_does_not_open_it(tiny, mode):
    """Where the soft edge lies both regions own a share, and an edit of one would change pixels of the other."""
    canvas = two(tiny)
    canvas.regions = replace(
        canvas.regions, regions=(canvas.regions.regions[0], replace(canvas.regions.regions[1], feather=8))
    )
    shared, edited = (canvas.regions.coverage() > 0).numpy()
    assert (shared & edited).any(), "the layout must hold pixels of both"
    before = pixels(canvas.image)
    canvas.lock("left")
    after = pixels(canvas.edit("right", "sea", seed=5, steps=1, mode=mode, blend=Blend.feather))
    assert np.array_equal(after[shared], before[shared]) and not np.array_equal(after, before)


def test_the_base_is_a_region_like_the_others(tiny):
    canvas = PakatiCanvas(64, 64, prompt="grass", engines={"pakati-tiny": tiny})
    canvas.apply_to_region(canvas.create_region(LEFT, "left"), "sand")
    before = pixels(canvas.generate(steps=1))
    canvas.set_base("sea")
    assert canvas.dirty == (BASE,)
    after = pixels(canvas.generate(seed=3, steps=1))
    assert np.array_equal(after[:, :32], before[:, :32]) and not np.array_equal(after[:, 32:], before[:, 32:])


def test_a_new_region_hides_what_was_there_and_nothing_else(tiny):
    canvas = two(tiny)
    before = pixels(canvas.image)
    canvas.apply_to_region(canvas.create_region(BoxShape(24, 24, 16, 16), "spot"), "brick")
    after = pixels(canvas.generate(steps=1))
    changed = (after != before).any(-1)
    inside = np.zeros((64, 64), bool)
    inside[24:40, 24:40] = True
    assert changed.any() and not changed[~inside].any()


def test_a_region_that_others_hide_needs_no_painting(tiny):
    canvas = two(tiny)
    canvas.create_region(RIGHT, "over")
    canvas.apply_to_region("over", "brick")
    canvas.generate(steps=1)
    before = canvas.image
    assert canvas.edit("right", "night", steps=1).tobytes() == before.tobytes()
    assert canvas.step.strokes == ()


def test_far_regions_are_painted_in_crops_of_their_own(tiny):
    canvas = PakatiCanvas(256, 128, prompt="grass", engines={"pakati-tiny": tiny})
    for name, x in (("one", 0), ("other", 216)):
        canvas.apply_to_region(canvas.create_region(BoxShape(x, 40, 40, 40), name), "sand")
    canvas.generate(steps=1)
    canvas.mark_dirty("one", "other")
    canvas.generate(seed=1, steps=1)
    strokes = canvas.step.strokes
    assert [stroke.regions for stroke in strokes] == [("one",), ("other",)]
    assert [stroke.size for stroke in strokes] == [(64, 64), (64, 64)]


def test_detail_paints_more_pixels_than_native(tiny):
    canvas = two(tiny)
    sizes = {}
    for mode in CropMode:
        canvas.edit("left", seed=2, steps=1, mode=mode)
        sizes[mode] = canvas.step.strokes[0].size
    assert sizes == {CropMode.native: (64, 64), CropMode.detail: (128, 128)}


def test_a_large_canvas_is_edited_at_the_scale_at_which_it_was_painted(tiny):
    canvas = PakatiCanvas(1024, 1024, prompt="grass", engines={"pakati-tiny": tiny})
    canvas.apply_to_region(canvas.create_region(BoxShape(0, 0, 256, 256), "a"), "sand")
    canvas.generate(steps=1)
    before = pixels(canvas.image)
    canvas.edit("a", "brick", steps=1)
    assert [stroke.size for state in canvas.history for stroke in state.strokes] == [(256, 256), (72, 72)]
    assert np.array_equal(pixels(canvas.image)[256:], before[256:])


@pytest.mark.parametrize(
    "act, error, words",
    [
        (lambda c: c.edit("left", mode="huge"), CanvasError, "mode is 'huge'"),
        (lambda c: c.edit("left", strength=0), CanvasError, "strength is 0"),
        (lambda c: c.edit("nobody"), RegionError, "nobody"),
        (lambda c: c.mark_dirty("nobody"), RegionError, "nobody"),
        (lambda c: (c.create_region(LEFT, "new"), c.edit("new")), RegionError, "'new' has no prompt yet"),
        (lambda c: PakatiCanvas(64, 64).add_picture(c.image.resize((9, 9))), CanvasError, "9x9"),
    ],
    ids=["mode", "strength", "unknown", "dirty unknown", "no prompt", "another size"],
)
def test_mistakes_are_named_and_change_nothing(tiny, act, error, words):
    canvas = two(tiny)
    with pytest.raises(error, match=words):
        act(canvas)
    assert len(canvas.history) == 1


# --- several models -------------------------------------------------------------------------------------------------


def area(*box, size=8):
    import torch

    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


@pytest.mark.parametrize(
    "models, reach, expected",
    [
        ("AABB", [(0, 0, 2, 2)] * 0 + [(i, 0, i + 1, 1) for i in range(4)], [("A", "01"), ("B", "23")]),
        ("ABA", [(0, 0, 1, 1), (1, 0, 2, 1), (2, 0, 3, 1)], [("A", "02"), ("B", "1")]),
        ("ABA", [(0, 0, 4, 4), (2, 2, 6, 6), (5, 5, 8, 8)], [("A", "0"), ("B", "1"), ("A", "2")]),
        ("ABA", [(0, 0, 2, 2), (2, 2, 6, 6), (5, 5, 8, 8)], [("A", "0"), ("B", "1"), ("A", "2")]),
        ("BAB", [(0, 0, 2, 2), (1, 1, 3, 3), (5, 5, 8, 8)], [("B", "02"), ("A", "1")]),
    ],
    ids=["apart", "apart, mixed", "a chain", "half a chain", "one overlap"],
)
def test_models_paint_in_the_fewest_passes_that_keep_the_order(models, reach, expected):
    ids = [str(i) for i in range(len(models))]
    passes = order_passes(ids, {id: area(*box) for id, box in zip(ids, reach)}, lambda id: models[int(id)])
    assert [(model, "".join(regions)) for model, regions in passes] == expected


def test_each_region_is_painted_by_its_own_model(tiny, tmp_path):
    from tests.core.families import sd15_folder

    other = DiffusersEngine(sd15_folder(tmp_path), device="cpu")
    canvas = PakatiCanvas(64, 64, "grass", model="pakati-tiny", engines={"pakati-tiny": tiny, "sd": other})
    canvas.apply_to_region(canvas.create_region(LEFT, "left"), "sand")
    canvas.apply_to_region(canvas.create_region(RIGHT, "right"), "sea", model="sd")
    canvas.generate(steps=1)
    strokes = canvas.step.strokes
    assert [(stroke.model, stroke.regions) for stroke in strokes] == [
        ("pakati-tiny", (BASE, "left", "right")),
        ("sd15", ("right",)),
    ]
    alone = PakatiCanvas(64, 64, "grass", engines={"pakati-tiny": tiny})
    alone.apply_to_region(alone.create_region(LEFT, "left"), "sand")
    alone.apply_to_region(alone.create_region(RIGHT, "right"), "sea")
    alone.generate(steps=1)
    assert np.array_equal(pixels(canvas.image)[:, :32], pixels(alone.image)[:, :32])
    assert not np.array_equal(pixels(canvas.image)[:, 32:], pixels(alone.image)[:, 32:])
    canvas.edit("left", model="sd", steps=1)
    assert canvas.step.models == ("sd15",) and canvas.regions.regions[0].model == "sd"


class Plain(DiffusersEngine):
    """The embedded model as if it could do less. asked: the requests that it was given."""

    def __init__(self, name, **lacks):
        super().__init__("pakati-tiny", "cpu")
        self.name, self.lacks, self.asked = name, lacks, []

    def capabilities(self):
        return replace(super().capabilities(), model=self.name, **self.lacks)

    def generate(self, request, progress=None):
        self.asked.append(request)
        return replace(super().generate(request, progress), model=self.name)

    def edit(self, request, image, mask, progress=None):
        self.asked.append(request)
        return replace(super().edit(request, image, mask, progress), model=self.name)


def test_a_model_without_regional_prompts_paints_region_by_region():
    """Each as an edit with its own prompt, in the order in which they lie over each other."""
    plain = Plain("plain", regional=False)
    canvas = PakatiCanvas(64, 64, "grass", "snow", model="plain", engines={"plain": plain})
    canvas.apply_to_region(canvas.create_region(LEFT, "left"), "sand", seed=11, guidance=2.0)
    canvas.apply_to_region(canvas.create_region(BoxShape(16, 16, 32, 32), "over"), "sea", negative="brick")
    canvas.generate(seed=1, steps=1)
    told = [(r.regions.prompt, r.regions.negative, r.seed, r.guidance, len(r.regions.regions)) for r in plain.asked]
    assert told == [("grass", "snow", 1, None, 0), ("sand", "snow", 11, 2.0, 0), ("sea", "brick", 1, None, 0)]
    assert [stroke.regions for stroke in canvas.step.strokes] == [(BASE,), ("left",), ("over",)]
    before = pixels(canvas.image)
    canvas.edit("over", "night", steps=1)
    assert plain.asked[-1].regions.prompt == "night"
    mask = np.zeros((64, 64), bool)
    mask[16:48, 16:48] = True
    assert np.array_equal(pixels(canvas.image)[~mask], before[~mask])


def test_another_model_edits_where_the_main_one_cannot_and_the_choice_is_open(tiny):
    canvas = PakatiCanvas(
        64, 64, "grass", model="still", engines={"still": Plain("still", inpaint=False), "tiny": tiny}
    )
    canvas.apply_to_region(canvas.create_region(LEFT, "left"), "sand")
    canvas.generate(steps=1)
    with pytest.warns(PakatiWarning, match="still cannot edit a part of a picture; tiny paints instead"):
        canvas.edit("left", "sea", steps=1)
    assert [state.models for state in canvas.history] == [("still",), ("pakati-tiny",)]
    canvas.apply_to_region("left", "sea", model="still")
    with pytest.raises(ModelError, match="still cannot edit a part of a picture; give this region another model"):
        canvas.edit("left", steps=1)


def test_what_cannot_be_painted_is_refused_before_anything_is():
    nothing = Plain("nothing", regional=False, inpaint=False)
    canvas = PakatiCanvas(64, 64, "grass", model="nothing", engines={"nothing": nothing})
    canvas.apply_to_region(canvas.create_region(LEFT, "left"), "sand")
    with pytest.raises(ModelError, match="nothing cannot edit"):
        canvas.generate(steps=1)
    small = PakatiCanvas(32, 64, "grass", model="nothing", engines={"nothing": nothing})
    with pytest.raises(ModelError, match="from 64 to 4096 pixels, not 32x64"):
        small.generate(steps=1)
    assert nothing.asked == []


def test_a_model_that_cannot_do_what_is_asked_is_refused_with_the_reason():
    registry = Registry({"plain": Plain("plain", regional=False, inpaint=False)})
    with pytest.raises(ModelError, match="plain gives no region a prompt of its own"):
        registry.engine("plain", ["regional"])
    with pytest.raises(ModelError, match="plain cannot edit"):
        registry.engine("plain", ["inpaint"])
    with pytest.raises(ModelError, match="plain follows no control pictures"):
        registry.engine("plain", ["control"])
    with pytest.raises(ModelError, match="from 64 to 4096 pixels, not 16x16"):
        registry.engine("plain", size=Extent(16, 16))
    assert registry.engine("plain", size=Extent(64, 64)) is registry.engines["plain"]


def test_a_model_that_is_not_installed_is_replaced_by_the_canvas_own(tiny):
    canvas = PakatiCanvas(64, 64, "grass", engines={"pakati-tiny": tiny})
    canvas.apply_to_region(canvas.create_region(LEFT, "left"), "sand", model="dalle-3")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        canvas.generate(steps=1)
    assert any("'dalle-3' was retired on 2026-05-12" in str(warning.message) for warning in said)
    assert canvas.step.models == ("pakati-tiny",)
