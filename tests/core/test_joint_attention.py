"""Joint attention with regional text, against its definition in double precision."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from pakati_core.attention import (
    Frame,
    Prompts,
    RegionalText,
    Sequence,
    attend_joint,
    attend_words,
    join_shared,
    make_plan,
    make_rows,
)
from pakati_core.geometry import Extent
from pakati_core.regions import Region, RegionSet
from pakati_core.shapes import BoxShape

EVERY_WAY = pytest.mark.parametrize("dense_keys", [0, 10**6], ids=["grouped", "dense"])


def sdpa(q, k, v, mask):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def random_qkv(tokens, seed=0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(2, 2, tokens, 8, generator=generator, dtype=torch.float64) for _ in range(3))
    return q, k, v


def shares(first, edge, last):
    """[2,width]: tokens of the base prompt alone, tokens shared by `edge`, tokens of the region alone."""
    region = torch.tensor([0.0] * first + list(edge) + [1.0] * last)
    return torch.stack([1 - region, region])


@EVERY_WAY
@given(
    st.lists(st.floats(0.01, 0.99), max_size=3),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(0, 2),
    st.integers(0, 3),
)
@settings(max_examples=25, deadline=None)
def test_soft_edges_are_the_merge_of_the_prompts_by_log_sum_exp(dense_keys, edge, first, last, registers, after):
    """A shared token's answer: exp(lse) of image, of each prompt times its share, merged and normalised."""
    weights = shares(first, edge, last)
    pixels = weights.shape[1]
    if not pixels:
        return
    sequence = Sequence(registers, 7, registers + 7, pixels, registers + 7 + pixels + after)
    q, k, v = random_qkv(sequence.total)
    prompts = Prompts((4, 3))
    got = attend_joint(sdpa, q, k, v, make_plan(weights), prompts, sequence, dense_keys)
    assert got.isfinite().all()
    scores = (q @ k.mT * 8**-0.5).exp()
    words = [slice(registers, registers + 4), slice(registers + 4, registers + 7)]
    for pixel in range(pixels):
        row = scores[..., sequence.image + pixel, :].clone()
        for span, share in zip(words, make_plan(weights).weights[:, pixel].double(), strict=True):
            row[..., span] *= share
        wanted = (row[..., None, :] @ v)[..., 0, :] / row.sum(-1, keepdim=True)
        assert (got[..., sequence.image + pixel, :] - wanted).abs().max() < 1e-6


@EVERY_WAY
def test_no_prompts_words_see_anothers_words_or_pixels(dense_keys):
    sequence, prompts = Sequence(0, 7, 7, 6, 13), Prompts((4, 3))
    plan = make_plan(shares(3, (), 3))
    q, k, v = random_qkv(13)
    before = attend_joint(sdpa, q, k, v, plan, prompts, sequence, dense_keys)
    k[..., 4:7, :], v[..., 4:7, :] = 0, 100  # the region's words
    k[..., 10:13, :], v[..., 10:13, :] = 0, 100  # and its pixels
    after = attend_joint(sdpa, q, k, v, plan, prompts, sequence, dense_keys)
    assert torch.equal(before[..., :4, :], after[..., :4, :])
    assert (before[..., 7:10, :] - after[..., 7:10, :]).abs().min() > 0, "image tokens see all image tokens"


@EVERY_WAY
def test_a_prompts_strength_scales_what_pixels_hear_and_not_what_its_words_say_to_each_other(dense_keys):
    sequence, plan = Sequence(0, 7, 7, 6, 13), make_plan(shares(3, (0.4,), 2))
    q, k, v = random_qkv(13)
    plain = attend_joint(sdpa, q, k, v, plan, Prompts((4, 3)), sequence, dense_keys)
    mute = attend_joint(sdpa, q, k, v, plan, Prompts((4, 3), (1.0, 0.0)), sequence, dense_keys)
    assert torch.allclose(plain[..., :7, :], mute[..., :7, :])
    silent = v.clone()
    silent[..., 4:7, :] = 0
    wanted = attend_joint(sdpa, q, k, silent, plan, Prompts((4, 3)), sequence, dense_keys)
    assert torch.allclose(mute[..., 7:, :], wanted[..., 7:, :])


def test_grouped_calls_take_no_mask_but_for_the_edge():
    """Fast attention kernels refuse masks: only the few tokens on a soft edge may need one."""
    calls, sequence = [], Sequence(0, 7, 7, 40, 47)

    def count(q, k, v, mask):
        calls.append((q.shape[-2], mask is not None))
        return sdpa(q, k, v, mask)

    attend_joint(count, *random_qkv(47), make_plan(shares(19, (0.5, 0.5), 19)), Prompts((4, 3)), sequence, 0)
    assert sum(rows for rows, masked in calls if not masked) == 38
    assert all(rows <= 7 for rows, masked in calls if masked)


@pytest.mark.parametrize("registers", [0, 2])
def test_the_image_is_not_copied_and_what_the_model_gave_stays_as_it_was(registers):
    """On a GPU a copy of the image's keys for each region costs as much as what regions add to the arithmetic."""
    places, sequence = [], Sequence(registers, 9, registers + 9, 60, registers + 69)
    q, k, v = random_qkv(registers + 69)
    before = [part.clone() for part in (q, k, v)]

    def look(q, k, v, mask):
        if k.shape[-2] >= 60:
            places.extend(part.untyped_storage().data_ptr() for part in (k, v))
        return sdpa(q, k, v, mask)

    plan, prompts = make_plan(torch.eye(3).repeat_interleave(20, 1)), Prompts((4, 3, 2))
    got = attend_joint(look, q, k, v, plan, prompts, sequence, 0)
    assert places[:6] == [part.untyped_storage().data_ptr() for part in (k, v)] * 3
    assert all(torch.equal(part, as_given) for part, as_given in zip((q, k, v), before, strict=True))
    once, other = k[:, :1].expand_as(k), v[:, :1].expand_as(v)  # one memory for all heads is not written over
    shared = attend_joint(sdpa, q, once, other, plan, prompts, sequence, 0)
    assert torch.equal(shared, attend_joint(sdpa, q, once.clone(), other.clone(), plan, prompts, sequence, 0))
    assert not torch.equal(got, sdpa(q, k, v, None))


def test_gradients_of_queries_alone_flow_too():
    plan, sequence = make_plan(torch.eye(3).repeat_interleave(20, 1)), Sequence(0, 9, 9, 60, 69)
    q, k, v = random_qkv(69)

    def gradient(attention):
        asked = q.clone().requires_grad_()
        out = attend_joint(attention, asked, k, v, plan, Prompts((4, 3, 2)), sequence, 0)
        return torch.autograd.grad(out.square().sum(), asked)[0]

    assert torch.allclose(gradient(sdpa), gradient(lambda q, k, v, mask: sdpa(q, k.clone(), v.clone(), mask)))


@EVERY_WAY
def test_gradients_flow_through_every_region(dense_keys):
    plan, sequence = make_plan(shares(9, (0.5, 0.5), 9)), Sequence(0, 7, 7, 20, 27)
    bias = torch.full((27, 27), -torch.inf, dtype=torch.float64)
    bias[:4, :4] = bias[4:7, 4:7] = bias[7:, 7:] = 0
    logs = shares(9, (0.5, 0.5), 9).double().log().repeat_interleave(torch.tensor([4, 3]), 0)
    bias[7:, :7], bias[:7, 7:] = logs.T, logs

    def gradients(attend):
        q, k, v = (x.requires_grad_() for x in random_qkv(27))
        return torch.autograd.grad(attend(q, k, v).square().sum(), (q, k, v))

    got = gradients(lambda q, k, v: attend_joint(sdpa, q, k, v, plan, Prompts((4, 3)), sequence, dense_keys))
    wanted = gradients(lambda q, k, v: sdpa(q, k, v, bias))
    assert all(torch.allclose(one, other) for one, other in zip(got, wanted, strict=True))


def test_words_nobody_sees_come_back_as_zeros():
    sequence, plan = Sequence(0, 9, 9, 6, 15), make_plan(shares(3, (), 3))
    got = attend_joint(sdpa, *random_qkv(15), plan, Prompts((4, 3), starts=(0, 6)), sequence, 0)
    assert not got[..., 4:6, :].any() and got[..., 6:9, :].any()


def test_refined_words_see_their_own_prompt_alone():
    q, k, v = random_qkv(7)
    together = attend_words(sdpa, q, k, v, Prompts((4, 3)))
    assert torch.allclose(together[..., 4:, :], sdpa(q[..., 4:, :], k[..., 4:, :], v[..., 4:, :], None))


def test_a_shared_text_holds_each_prompt_once_filled_up_as_alone():
    regions = RegionSet(Extent(8, 8), (Region("a", BoxShape(0, 0, 4, 8), "a"), Region("b", BoxShape(4, 0, 4, 8), "b")))
    text = RegionalText(regions, {"a": torch.ones(1, 3, 2), "b": torch.full((1, 5, 2), 2.0)}, {"b": 7})
    rows = [
        make_rows(0, 1, 2, text, ("a", "b"), Frame(8, 8)),
        make_rows(1, 2, 2, text, ("b",), Frame(8, 8)),
        make_rows(2, 3, 2, None, (), None),
    ]
    joined = join_shared(torch.full((3, 2, 2), 9.0), rows, multiple=4)
    assert joined.words == 4 + 4 + 8
    assert joined.context[:, :, 0].tolist() == [[9, 9, 0, 0, 1, 1, 1, 0, 2, 2, 2, 2, 2, 0, 0, 0]] * 3
    assert joined.pads.int().tolist() == [0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 1, 1]
    assert joined.positions[8:].tolist() == list(range(7, 15))
    assert joined.before_image.tolist() == [*range(12, 16), *range(12, 16), *range(8, 16)]
    assert [row.prompts.starts for row in joined.rows] == [(0, 4, 8), (0, 8), (0,)]
    assert [row.prompts.lengths for row in joined.rows] == [(4, 4, 8), (4, 8), (4,)]
    assert join_shared(torch.zeros(3, 2, 2), rows, multiple=4, avoid=16).words == 20
