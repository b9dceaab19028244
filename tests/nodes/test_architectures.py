"""Regional attention on every family, on ComfyUI's own model classes with small random weights."""

import functools
import sys

import pytest
import torch

from pakati.nodes import regional_attention
from pakati.nodes.region_text import KEY
from pakati.nodes.regional_attention import reach_regions
from pakati.pakati_core.attention import RegionalText, joint
from pakati.pakati_core.geometry import Extent
from pakati.pakati_core.regions import Region, RegionSet
from pakati.pakati_core.shapes import BoxShape, WholeShape
from tests.nodes.architectures import ROWS
from tests.nodes.sampling import denoise

LEFT, RIGHT = BoxShape(0, 0, 0.5, 1, "fraction"), BoxShape(0.5, 0, 0.5, 1, "fraction")
NEAR, FAR = BoxShape(0, 0, 0.4, 0.7, "fraction"), BoxShape(0.3, 0.2, 0.5, 0.8, "fraction")
EVERY = pytest.mark.parametrize("name", ROWS)


@functools.cache
def made(name):
    """The family's row, a model and the same model reaching regions."""
    model = ROWS[name].make()
    return ROWS[name], model, reach_regions(model)


def layout(*regions, **more):
    return RegionSet(Extent(64, 64), regions, **more)


def pair(first, second, **more):
    return layout(Region("a", first, "a", **more), Region("b", second, "b"))


def regional(row, regions, base=1, lengths=(3, 9), words=5, seeds=(2, 3)):
    """A conditioning whose regions have texts of their own."""
    texts = zip(sorted(region.id for region in regions.regions), seeds, lengths, strict=False)
    prompts = {name: row.text(seed, length) for name, seed, length in texts}
    offsets = {name: _first_word(row, length) for (name, _), length in zip(prompts.items(), lengths, strict=False)}
    text = RegionalText(regions, prompts, offsets, row.extras(prompts))
    return row.conditioning(row.text(base, words), **{KEY: text})


def _first_word(row, length):
    return 512 - length if row.family == "Flux2" else 0


def look(row, model, positive, latents, negative=None, at=0.4):
    sigma = float(model.get_model_object("model_sampling").percent_to_sigma(at))
    return denoise(model, positive, negative or row.conditioning(row.text(7, 5)), latents, sigma)


@EVERY
def test_no_region_active_is_stock_bit_for_bit(name):
    row, stock, model = made(name)
    x = row.latents()
    plain = look(row, stock, row.conditioning(row.text(1)), x)
    late = regional(row, pair(LEFT, RIGHT, start=0.9), lengths=(3,))
    assert torch.equal(look(row, model, late, x), plain)
    assert not torch.equal(
        look(row, model, late, x, at=0.95), look(row, stock, row.conditioning(row.text(1)), x, at=0.95)
    )
    assert torch.equal(look(row, stock, row.conditioning(row.text(1)), x), plain)


@EVERY
def test_a_region_over_the_whole_canvas_is_its_plain_prompt(name):
    row, stock, model = made(name)
    whole = layout(Region("a", WholeShape(), "a"))
    text = row.text(2, 9)
    plain = look(row, stock, row.conditioning(text), row.latents())
    if row.family == "Flux2":  # the model fills its prompts up; so does the node, for a whole canvas
        text = torch.nn.functional.pad(text, (0, 0, 512 - 9, 0))
    positive = row.conditioning(row.text(1), **{KEY: RegionalText(whole, {"a": text}, {}, row.extras({"a": text}))})
    assert (look(row, model, positive, row.latents()) - plain).abs().max() < 1e-4


@EVERY
def test_the_order_of_disjoint_regions_changes_nothing(name):
    row, _, model = made(name)
    x, regions = row.latents(height=9, width=13), (Region("a", LEFT, "a"), Region("b", RIGHT, "b"))
    results = [look(row, model, regional(row, layout(*order)), x) for order in (regions, regions[::-1])]
    assert (results[0] - results[1]).abs().max() < 1e-5 * max(1.0, float(results[0].abs().max()))


@EVERY
@pytest.mark.parametrize("weight", [0.7, 1.0])
@pytest.mark.parametrize("dense_keys", [0, 10**6], ids=["grouped", "dense"])
def test_it_equals_a_dense_mask_in_double_precision(name, dense_keys, weight, monkeypatch):
    """Overlapping regions with soft edges and weights, words of unequal lengths, a latent of odd size."""
    row, _, model = made(name)
    regions = layout(Region("a", NEAR, "a", feather=6), Region("b", FAR, "b", feather=3, weight=weight))
    x, positive = row.latents(height=9, width=13), regional(row, regions)
    monkeypatch.setattr(joint, "DENSE_KEYS", dense_keys)
    monkeypatch.setattr(sys.modules["pakati.pakati_core.attention.attend"], "DENSE_KEYS", dense_keys)
    got = look(row, model, positive, x)
    monkeypatch.setattr(regional_attention, "attend_joint_rows", dense_sequence)
    monkeypatch.setattr(regional_attention, "attend_word_rows", dense_words)
    monkeypatch.setattr(regional_attention, "attend_rows", dense_keys_of_words)
    wanted = look(row, model, positive, x)
    assert (got - wanted).abs().max() < 1e-5 * max(1.0, float(wanted.abs().max()))
    assert not torch.allclose(wanted, look(row, model, row.conditioning(row.text(1)), x), atol=1e-3)


@EVERY
def test_a_batch_and_its_conditionings_equal_each_alone(name, monkeypatch):
    """Three pictures, two conditionings with regions of unequal lengths, a negative with its own, in either order."""
    row, _, model = made(name)
    x = row.latents(rows=3, height=9, width=13)
    positive = regional(row, pair(LEFT, FAR)) + regional(row, layout(Region("c", NEAR, "c", feather=4)), lengths=(7,))
    negative = regional(row, layout(Region("a", RIGHT, "a")), base=7, lengths=(4,), seeds=(8,))
    together = look(row, model, positive, x, negative)
    turned = look(row, model, positive[::-1], x, negative)
    with monkeypatch.context() as patch:
        patch.setattr("comfy.samplers.can_concat_cond", lambda one, other: one is other)
        alone = torch.cat([look(row, model, positive, x[i : i + 1], negative) for i in range(3)])
    assert (together - alone).abs().max() < 1e-4
    assert (turned - together).abs().max() < 1e-4


def dense_sequence(attention, q, k, v, rows, sequence, grid):
    """All tokens under one mask, straight from the definition."""
    outs = []
    for row in rows:
        bias = torch.full((sequence.total, sequence.total), -torch.inf, dtype=torch.float64)
        pixels = torch.arange(sequence.image, sequence.image + sequence.pixels)
        others = torch.tensor(
            [t for t in range(sequence.total) if not sequence.text <= t < sequence.text + sequence.words]
        )
        bias[others[:, None], others] = 0.0
        weights = row.text.plan(row.active, row.frame, grid, q.device).weights.double() if row.text else None
        whole = [] if weights is None else [n for n, shares in enumerate(weights) if (shares == 1).all()]
        speaker = whole[0] if whole else 0
        factors = torch.ones(sequence.total, dtype=torch.float64)
        for number in range(len(row.prompts.lengths)):
            start, length = row.prompts.span(number)
            words = torch.arange(start, start + length) + sequence.text
            share = torch.ones(sequence.pixels, dtype=torch.float64) if weights is None else weights[number]
            bias[words[:, None], words] = 0.0
            bias[words[:, None], others] = 0.0
            bias[others[:, None], words] = 0.0 if number == speaker else -torch.inf
            bias[pixels[:, None], words] = share.log()[:, None].expand(-1, length)
            bias[words[:, None], pixels] = share.log().expand(length, -1)
            if row.prompts.strengths:
                factors[words] = row.prompts.strengths[number]
        is_word = (torch.arange(sequence.total) >= sequence.text) & (
            torch.arange(sequence.total) < sequence.text + sequence.words
        )
        outs.append(_attention(attention, q, k, v, row, bias, torch.where(is_word[:, None], 1.0, factors[None])))
    return torch.cat(outs)


def dense_words(attention, q, k, v, rows):
    outs = []
    for row in rows:
        bias = torch.full((k.shape[-2], k.shape[-2]), -torch.inf, dtype=torch.float64)
        for number in range(len(row.prompts.lengths)):
            start, length = row.prompts.span(number)
            bias[start : start + length, start : start + length] = 0.0
        outs.append(_attention(attention, q, k, v, row, bias))
    return torch.cat(outs)


def dense_keys_of_words(attention, q, k, v, rows, grid, common=0):
    outs, base = [], rows[0].prompts.lengths[0]
    for row in rows:
        weights = row.text.plan(row.active, row.frame, grid, q.device).weights.double() if row.text else None
        owner = torch.tensor([n for n, length in enumerate(row.prompts.lengths) for _ in range(length)])
        log = torch.zeros(q.shape[-2], len(owner), dtype=torch.float64) if weights is None else weights.log()[owner].T
        strengths = torch.tensor(row.prompts.strengths or [1.0] * len(row.prompts.lengths), dtype=torch.float64)
        bias = torch.nn.functional.pad(log, (0, common))
        factors = torch.nn.functional.pad(strengths[owner], (0, common), value=1.0)
        for picture in range(row.start, row.stop):
            own = [own_words(part, row, picture, base, common) for part in (k, v)]
            alone = row._replace(start=0, stop=1)
            outs.append(_attention(attention, q[picture : picture + 1], *own, alone, bias, factors[None]))
    return torch.cat(outs)


def own_words(x, row, picture, base, common):
    """The words of one picture's prompts, one by one: those of regions lie in the parts of all rows in turn."""
    room = x.shape[-2] - base - common
    taken = [x[picture, ..., :base, :]]
    for number in range(1, len(row.prompts.lengths)):
        start, length = row.prompts.span(number)
        places = [divmod(word, room) for word in range(start, start + length)]
        taken += [x[holder, ..., base + place, :][..., None, :] for holder, place in places]
    return torch.cat([*taken, x[picture, ..., x.shape[-2] - common :, :]], -2)[None]


def _attention(attention, q, k, v, row, bias, factors=None):
    """softmax(q k + bias) (factors v) in double precision; factors: [queries or 1, keys]. As the host shapes it."""
    like = attention(q[row.start : row.stop], k[row.start : row.stop], v[row.start : row.stop], None)
    q, k, v = (part[row.start : row.stop].double() for part in (q, k, v))
    if q.ndim == 3:  # heads are folded into the channels
        heads = (
            attention.__closure__
            and [c.cell_contents for c in attention.__closure__ if type(c.cell_contents) is int][0]
        )
        q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))
    scores = (q @ k.mT * q.shape[-1] ** -0.5 + bias).softmax(-1).nan_to_num()
    out = (scores if factors is None else scores * factors) @ v
    return out.transpose(1, 2).flatten(2).to(like.dtype) if like.ndim == 3 else out.to(like.dtype)
