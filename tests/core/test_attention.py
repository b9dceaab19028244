"""Regional attention against an explicit softmax, for layouts that Hypothesis draws."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from pakati_core.attention import (
    Frame,
    Prompts,
    RegionalText,
    attend,
    attend_rows,
    join_prompts,
    joined_length,
    make_plan,
    make_rows,
    unet_levels,
    unmistakable_length,
)
from pakati_core.geometry import Extent
from pakati_core.regions import Region, RegionSet
from pakati_core.shapes import BoxShape, EllipseShape, WholeShape

LEFT, RIGHT = BoxShape(0, 0, 32, 64), BoxShape(32, 0, 32, 64)


def sdpa(q, k, v, mask):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def explicit(q, k, v, weights, lengths):
    """softmax(q k / sqrt(d) + log w) v in float64, written out."""
    per_key = weights.double().repeat_interleave(torch.tensor(lengths), 0).T
    scores = q.double() @ k.double().transpose(-1, -2) / q.shape[-1] ** 0.5
    shares = per_key * (scores - scores.amax(-1, keepdim=True)).exp()
    return shares / shares.sum(-1, keepdim=True) @ v.double()


def random_qkv(tokens, keys, rows=2, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(rows, 2, n, 8, generator=draw) for n in (tokens, keys, keys))


@st.composite
def layouts(draw):
    extent = Extent(draw(st.integers(1, 90)), draw(st.integers(1, 90)))
    regions = []
    for number in range(draw(st.integers(0, 5))):
        x, y = draw(st.floats(0, 0.8)), draw(st.floats(0, 0.8))
        width, height = draw(st.floats(0.02, 1)), draw(st.floats(0.02, 1))
        kind = draw(st.sampled_from([BoxShape, EllipseShape]))
        shape = kind(x, y, width, height, units="fraction")
        regions.append(Region(f"r{number}", shape, "p", feather=draw(st.sampled_from([0, 0, 3.5, 20]))))
    return RegionSet(extent, tuple(regions), overlap=draw(st.sampled_from(["over", "blend"])))


@given(layouts(), st.integers(1, 13), st.integers(1, 13), st.sampled_from([0, 1024]))
@settings(max_examples=120, deadline=None)
def test_any_layout_equals_the_explicit_softmax(layout, height, width, dense_keys):
    weights = layout.weights_on_grid(height, width)
    lengths = tuple(3 + i for i in range(len(weights)))
    q, k, v = random_qkv(height * width, sum(lengths) + 2)
    out = attend(sdpa, q, k, v, make_plan(weights), Prompts(lengths), dense_keys)
    total = sum(lengths)
    expected = explicit(q, k[..., :total, :], v[..., :total, :], weights.flatten(1), lengths)
    assert not out.isnan().any()
    assert (out - expected).abs().max() < 1e-5


def test_plan_sorts_tokens_by_who_sees_what():
    weights = torch.tensor([[1.0, 0, 0, 0.25], [0, 1, 0, 0.75], [0, 0, 1, 0]])
    plan = make_plan(weights)
    assert [(group.prompt, group.tokens.tolist()) for group in plan.groups] == [(0, [0]), (1, [1]), (2, [2])]
    assert plan.edge.tolist() == [3]
    assert plan.whole is None


def test_bias_is_the_log_of_the_weights_per_key():
    plan = make_plan(torch.tensor([[1.0, 0.25], [0.0, 0.75]]))
    bias = plan.bias((1, 2))
    expected = torch.tensor([[1.0, 0, 0], [0.25, 0.75, 0.75]]).log()
    assert torch.equal(bias, expected)


def test_one_region_over_the_whole_canvas_is_the_plain_call():
    layout = RegionSet(Extent(64, 64), (Region("all", WholeShape(), "p"),))
    q, k, v = random_qkv(64, 10)
    out = attend(sdpa, q, k, v, make_plan(layout.weights_on_grid(8, 8)), Prompts((4, 6)))
    assert torch.equal(out, sdpa(q, k[..., 4:, :], v[..., 4:, :], None))


def test_uncovered_tokens_see_the_base_prompt_alone():
    layout = RegionSet(Extent(64, 64), (Region("left", LEFT, "p"),))
    q, k, v = random_qkv(64, 10)
    out = attend(sdpa, q, k, v, make_plan(layout.weights_on_grid(8, 8)), Prompts((4, 6)), dense_keys=0)
    base = sdpa(q, k[..., :4, :], v[..., :4, :], None)
    right = torch.arange(64).view(8, 8)[:, 4:].flatten()
    assert (out - base)[..., right, :].abs().max() < 1e-6
    assert (out - base).abs().max() > 0.01


def test_the_order_of_disjoint_regions_changes_nothing():
    keys = {"base": 3, "left": 4, "right": 5}
    parts = {name: random_qkv(64, n, seed=n)[1:] for name, n in keys.items()}
    q = random_qkv(64, 1)[0]

    def run(order):
        shapes = {"left": LEFT, "right": RIGHT}
        layout = RegionSet(Extent(64, 64), tuple(Region(name, shapes[name], "p") for name in order))
        k, v = (torch.cat([parts[name][i] for name in ("base", *order)], -2) for i in (0, 1))
        prompts = Prompts(tuple(keys[name] for name in ("base", *order)))
        return attend(sdpa, q, k, v, make_plan(layout.weights_on_grid(8, 8)), prompts)

    assert (run(["left", "right"]) - run(["right", "left"])).abs().max() < 1e-5


@pytest.mark.parametrize("dense_keys", [0, 1024], ids=["grouped", "dense"])
def test_strength_scales_what_a_prompt_says(dense_keys):
    layout = RegionSet(Extent(64, 64), (Region("left", LEFT, "p"),))
    q, k, v = random_qkv(64, 10)
    plan = make_plan(layout.weights_on_grid(8, 8))
    plain = attend(sdpa, q, k, v, plan, Prompts((4, 6)), dense_keys)
    half = attend(sdpa, q, k, v, plan, Prompts((4, 6), (1.0, 0.5)), dense_keys)
    left = torch.arange(64).view(8, 8)[:, :4].flatten()
    assert torch.allclose(half[..., left, :], plain[..., left, :] / 2, atol=1e-6)


def regional_text(seed, **lengths):
    draw = torch.Generator().manual_seed(seed)
    shapes = {"left": LEFT, "right": RIGHT}
    layout = RegionSet(Extent(64, 64), tuple(Region(name, shapes[name], "p") for name in lengths))
    return RegionalText(layout, {name: torch.randn(1, n, 16, generator=draw) for name, n in lengths.items()})


@pytest.mark.parametrize("more", [0, 3])
def test_conditionings_together_equal_each_alone(more):
    """Other numbers of regions, other lengths, a row without regions, and either order."""
    context = torch.randn(3, 5, 16)
    texts = [regional_text(1, left=3, right=7), None, regional_text(2, right=2)]
    q = torch.randn(3, 64, 16)

    def run(order):
        rows = [
            make_rows(i, i + 1, 5, texts[n], tuple(texts[n].prompts) if texts[n] else (), Frame(8, 8))
            for i, n in enumerate(order)
        ]
        joined, rows = join_prompts(context[order], rows, joined_length(rows) + more)
        return attend_rows(sdpa, q[order], joined, joined, rows, (8, 8))

    together = run([0, 1, 2])
    assert (run([2, 0, 1]) - together[[2, 0, 1]]).abs().max() < 1e-6
    for n in range(3):
        assert (run([n])[0] - together[n]).abs().max() < 1e-6
    assert torch.equal(together[1:2], sdpa(q[1:2], context[1:2], context[1:2], None))


def test_a_batch_holds_the_words_of_regions_once():
    """Two pictures with 3 + 8 words of regions, and a negative without: 4 words more in each of three rows."""
    text, context = regional_text(1, left=3, right=8), torch.randn(3, 5, 16)
    rows = [make_rows(0, 2, 5, text, ("left", "right"), Frame(8, 8)), make_rows(2, 3, 5, None, (), None)]
    assert joined_length(rows) == 5 + 4
    joined, placed = join_prompts(context, rows, 9)
    assert joined.shape == (3, 9, 16) and torch.equal(joined[:, :5], context)
    held = joined[:, 5:].flatten(0, 1)
    for number, name in enumerate(("left", "right"), start=1):
        start, length = placed[0].prompts.span(number)
        assert torch.equal(held[start : start + length], text.prompts[name][0])
    assert not held[11:].any() and placed[1].prompts.starts == (0,)


def test_a_region_out_of_time_gives_its_area_back():
    shapes = (Region("under", WholeShape(), "p"), Region("over", LEFT, "p", end=0.5))
    text = RegionalText(RegionSet(Extent(64, 64), shapes), {"under": torch.ones(1, 1, 4), "over": torch.ones(1, 1, 4)})
    early = text.plan(text.active(lambda r: r.is_active(0.2)), Frame(8, 8), (8, 8), torch.device("cpu"))
    late = text.plan(text.active(lambda r: r.is_active(0.7)), Frame(8, 8), (8, 8), torch.device("cpu"))
    assert [(g.prompt, len(g.tokens)) for g in early.groups] == [(1, 32), (2, 32)]
    assert late.whole == 1


def test_a_region_without_text_here_leaves_its_area_to_the_base():
    shapes = (Region("left", LEFT, "p"), Region("right", RIGHT, "p"))
    text = RegionalText(RegionSet(Extent(64, 64), shapes), {"right": torch.ones(1, 1, 4)})
    plan = text.plan(("right",), Frame(8, 8), (8, 8), torch.device("cpu"))
    assert [(g.prompt, len(g.tokens)) for g in plan.groups] == [(0, 32), (1, 32)]


def test_an_area_of_the_canvas_takes_its_part_of_the_plan():
    text = regional_text(1, right=2)
    plan = text.plan(("right",), Frame(8, 8, (8, 4, 0, 4)), (8, 4), torch.device("cpu"))
    assert plan.whole == 1


@pytest.mark.parametrize(
    "size, expected",
    [((8, 8), [(8, 8), (4, 4), (2, 2), (1, 1)]), ((9, 13), [(9, 13), (5, 7), (3, 4), (2, 2), (1, 1)])],
    ids=["even", "odd"],
)
def test_levels_halve_by_rounding_up(size, expected):
    assert unet_levels(*size) == expected


def test_no_length_is_mistaken_for_a_level():
    assert unmistakable_length(64, 8, 8) == 65
    assert unmistakable_length(63, 8, 8) == 63
