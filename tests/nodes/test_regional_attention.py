"""Regional attention in the real host, on the embedded model: same as headless, and stock where nothing is regional."""

import json
import shutil
from pathlib import Path

import comfy.sample
import comfy.samplers
import pytest
import torch
from safetensors.torch import load_file

from pakati.nodes import tiny_model
from pakati.nodes.region_text import KEY
from pakati.nodes.regional_attention import apply_regions
from pakati.nodes.tiny_model import load_tiny
from pakati.pakati_core.errors import ModelError, PakatiError
from pakati.pakati_core.geometry import Extent
from pakati.pakati_core.regions import Region, RegionSet
from pakati.pakati_core.shapes import BoxShape, WholeShape
from tests.nodes.sampling import denoise

DATA = Path(__file__).parents[1] / "data"
LEFT, RIGHT = BoxShape(0, 0, 64, 128), BoxShape(64, 0, 64, 128)


@pytest.fixture(scope="module")
def tiny():
    return load_tiny()


@pytest.fixture(scope="module")
def encode(tiny):
    return lambda text: tiny[1].encode_from_tokens_scheduled(tiny[1].tokenize(text))


def noise(rows=1, height=16, width=16, seed=1):
    return torch.randn(rows, 8, height, width, generator=torch.Generator().manual_seed(seed))


def layout(*regions, **more):
    return RegionSet(Extent(128, 128), regions, **more)


@pytest.mark.parametrize("size", ["128x128", "72x104"])
@pytest.mark.parametrize("sigma", [1.0, 0.55, 0.1])
def test_the_denoiser_says_what_the_headless_engine_says(tiny, encode, size, sigma):
    golden, data = load_file(DATA / "denoiser.safetensors"), json.loads((DATA / "denoiser_layout.json").read_text())
    regions = RegionSet.from_dict(data).at_extent(Extent(*map(int, size.split("x"))))
    model, positive, negative = apply_regions(tiny[0], tiny[1], encode("grass"), encode("snow"), regions)
    got = denoise(model, positive, negative, golden[f"latents {size}"], sigma)
    assert (got - golden[f"denoised {size} {sigma}"]).abs().max() < 1e-3


def test_a_damaged_embedded_file_is_named(tmp_path, monkeypatch):
    shutil.copytree(tiny_model.WEIGHTS, tmp_path / "weights")
    (tmp_path / "weights" / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"none")
    monkeypatch.setattr(tiny_model, "WEIGHTS", tmp_path / "weights")
    with pytest.raises(ModelError, match="weights.*missing or damaged.*install Pakati again"):
        load_tiny()


def test_no_region_active_is_stock_bit_for_bit(tiny, encode):
    base, negative, x = encode("grass"), encode(""), noise()
    stock = denoise(tiny[0], base, negative, x, 0.6)
    late = layout(Region("late", LEFT, "brick", start=0.9))
    model, positive, negative = apply_regions(tiny[0], tiny[1], base, negative, late)
    assert torch.equal(denoise(model, positive, negative, x, 0.6), stock)
    assert not torch.equal(denoise(model, positive, negative, x, 0.05), denoise(tiny[0], base, negative, x, 0.05))
    assert torch.equal(denoise(tiny[0], base, negative, x, 0.6), stock)


def test_a_region_over_the_whole_canvas_is_its_plain_prompt(tiny, encode):
    x, whole = noise(), layout(Region("all", WholeShape(), "a red circle on sand"))
    model, positive, negative = apply_regions(tiny[0], tiny[1], encode("grass"), encode(""), whole)
    plain = denoise(tiny[0], encode("a red circle on sand"), encode(""), x, 0.6)
    assert (denoise(model, positive, negative, x, 0.6) - plain).abs().max() < 1e-4


def test_the_order_of_disjoint_regions_changes_nothing(tiny, encode):
    x, pair = noise(), (Region("a", LEFT, "a red circle"), Region("b", RIGHT, "a blue star on snow"))
    results = []
    for regions in (pair, pair[::-1]):
        model, positive, negative = apply_regions(tiny[0], tiny[1], encode("grass"), encode(""), layout(*regions))
        results.append(denoise(model, positive, negative, x, 0.6))
    assert (results[0] - results[1]).abs().max() < 1e-5


def test_a_batch_equals_its_pictures_one_at_a_time(tiny, encode):
    regions = layout(Region("a", LEFT, "a red circle"), Region("b", RIGHT, "brick", negative="snow"))
    model, positive, negative = apply_regions(tiny[0], tiny[1], encode("grass"), encode(""), regions)
    x = noise(rows=3)
    together = denoise(model, positive, negative, x, 0.6)
    for i in range(3):
        assert (denoise(model, positive, negative, x[i : i + 1], 0.6)[0] - together[i]).abs().max() < 1e-4


def test_conditionings_in_one_batch_equal_each_alone(tiny, encode, monkeypatch):
    """Combined conditionings of other lengths and regions, beside a negative with its own."""
    x, long = noise(), "a red circle and a blue star and a green tree and a white moon and a black boat and a pink " * 2
    one = layout(Region("a", LEFT, long), Region("b", RIGHT, "brick", negative="snow"))
    two = layout(Region("c", BoxShape(0, 64, 128, 64), "sea"))
    model, first, negative = apply_regions(tiny[0], tiny[1], encode("grass"), encode(""), one)
    model, second, _ = apply_regions(model, tiny[1], encode("sand"), encode(""), two)
    assert len(first[0][1][KEY].prompts["a"][0]) == 2 * len(second[0][1][KEY].prompts["c"][0])
    together = denoise(model, first + second, negative, x, 0.6)
    monkeypatch.setattr("comfy.samplers.can_concat_cond", lambda one, other: one is other)
    alone = denoise(model, first + second, negative, x, 0.6)
    assert (together - alone).abs().max() < 1e-4


def test_negative_first_gives_the_same(tiny, encode, monkeypatch):
    regions = layout(Region("a", LEFT, "a red circle", negative="brick"))
    model, positive, negative = apply_regions(tiny[0], tiny[1], encode("grass"), encode(""), regions)
    expected, orders = denoise(model, positive, negative, noise(), 0.6), []
    real = comfy.samplers._calc_cond_batch

    def reversed_conds(model, conds, x_in, timestep, options):
        orders.append(len(conds))
        return real(model, conds[::-1], x_in, timestep, options)[::-1]

    monkeypatch.setattr("comfy.samplers._calc_cond_batch", reversed_conds)
    assert (denoise(model, positive, negative, noise(), 0.6) - expected).abs().max() < 1e-5
    assert orders == [2]


def test_uncovered_pixels_follow_the_base_prompt(tiny, encode):
    """With attention alone: each half is like its own prompt's picture, but for what convolutions carry over."""
    x, regions = noise(), layout(Region("a", LEFT, "a red circle on brick"))
    model, positive, negative = apply_regions(tiny[0], tiny[1], encode("grass"), encode(""), regions)
    got = denoise(model, positive, negative, x, 0.8)
    base, brick = (denoise(tiny[0], encode(text), encode(""), x, 0.8) for text in ("grass", "a red circle on brick"))
    near, far = slice(0, 8), slice(12, 16)
    assert 1.5 * (got - base)[..., far].abs().mean() < (got - brick)[..., far].abs().mean()
    assert 1.5 * (got - brick)[..., near].abs().mean() < (got - base)[..., near].abs().mean()
    model, positive, negative = apply_regions(tiny[0], tiny[1], encode("night"), encode(""), regions)
    moved = (denoise(model, positive, negative, x, 0.8) - got)[..., far]
    expected = (denoise(tiny[0], encode("night"), encode(""), x, 0.8) - base)[..., far]
    assert 1.5 * (moved - expected).abs().mean() < expected.abs().mean()


@pytest.mark.parametrize("height, width", [(9, 13), (1, 1), (16, 31), (5, 64)])
def test_odd_latents_give_no_nan(tiny, encode, height, width):
    small = Region("pixel", BoxShape(3, 3, 1, 1), "a red circle")
    regions = layout(Region("a", LEFT, "sand", feather=9), small, overlap="blend")
    model, positive, negative = apply_regions(tiny[0], tiny[1], encode("grass"), encode(""), regions)
    assert denoise(model, positive, negative, noise(1, height, width), 0.5).isfinite().all()


def test_another_packs_override_still_sees_every_unmasked_call(tiny, encode):
    calls = []

    def other(func, *args, **kwargs):
        calls.append(args[1].shape[1])
        return func(*args, **kwargs)

    model = tiny[0].clone()
    model.model_options["transformer_options"]["optimized_attention_override"] = other
    regions = layout(Region("all", WholeShape(), "sand"))
    model, positive, negative = apply_regions(model, tiny[1], encode("grass"), encode(""), regions)
    denoise(model, positive, negative, noise(), 0.5)
    assert 32 in calls, "cross-attention reached it with one prompt's keys"
    assert 64 in calls, "self-attention reached it"


def test_a_model_that_regions_cannot_reach_is_refused_by_name(tiny, encode):
    class JointAttention(torch.nn.Module):
        pass

    model = tiny[0].clone()
    model.add_object_patch("diffusion_model", JointAttention())
    regions = layout(Region("a", LEFT, "a red circle"))
    with pytest.raises(PakatiError, match="JointAttention"):
        apply_regions(model, tiny[1], encode("grass"), encode(""), regions)


def test_applying_twice_joins_the_prompts_once(tiny, encode):
    regions = layout(Region("a", LEFT, "a red circle"))
    once, positive, negative = apply_regions(tiny[0], tiny[1], encode("grass"), encode(""), regions)
    twice, *_ = apply_regions(once, tiny[1], encode("grass"), encode(""), regions)
    x = noise()
    assert torch.equal(denoise(once, positive, negative, x, 0.5), denoise(twice, positive, negative, x, 0.5))


def test_a_regions_own_guidance_holds_in_it_alone(tiny, encode):
    x, at = noise(), 0.6
    plain = layout(Region("a", LEFT, "a red circle"), Region("b", RIGHT, "brick"))
    strong = layout(Region("a", LEFT, "a red circle", guidance=7.0), Region("b", RIGHT, "brick"))
    for cfg in (3.0, 1.0):
        model, positive, negative = apply_regions(tiny[0], tiny[1], encode("grass"), encode("snow"), plain)
        expected = [denoise(model, positive, negative, x, at, cfg=scale) for scale in (7.0, cfg)]
        model, positive, negative = apply_regions(tiny[0], tiny[1], encode("grass"), encode("snow"), strong)
        got = denoise(model, positive, negative, x, at, cfg=cfg)
        assert (got[..., :8] - expected[0][..., :8]).abs().max() < 1e-4
        assert (got[..., 8:] - expected[1][..., 8:]).abs().max() < 1e-4


def test_a_regions_own_seed_changes_its_noise_and_no_other(tiny, encode):
    def noise_of(regions, seed=5):
        seen = []
        model, positive, negative = apply_regions(tiny[0], tiny[1], encode("grass"), encode(""), regions)
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(positive, negative)
        sampler = comfy.samplers.KSAMPLER(lambda model, x, *_, **__: seen.append(x.clone()) or x)
        drawn = comfy.sample.prepare_noise(torch.zeros(2, 8, 16, 16), seed)
        guider.sample(drawn, torch.zeros_like(drawn), sampler, torch.tensor([1.0, 0.0]), seed=seed)
        return seen[0]

    plain = noise_of(layout(Region("a", LEFT, "sand"), Region("b", RIGHT, "brick")))
    own = noise_of(layout(Region("a", LEFT, "sand", seed=11), Region("b", RIGHT, "brick")))
    eleven = noise_of(layout(Region("a", LEFT, "sand"), Region("b", RIGHT, "brick")), seed=11)
    assert torch.equal(own[..., 8:], plain[..., 8:])
    assert torch.equal(own[..., :8], eleven[..., :8])


def test_the_base_prompts_share_goes_from_the_region_to_the_base(tiny, encode):
    x, results = noise(), []
    for share in (0.0, 0.5, 1.0):
        regions = layout(Region("a", WholeShape(), "a red circle on sand", base=share))
        model, positive, negative = apply_regions(tiny[0], tiny[1], encode("grass"), encode(""), regions)
        results.append(denoise(model, positive, negative, x, 0.6))
    for got, text in zip(results[::2], ("a red circle on sand", "grass"), strict=True):
        assert (got - denoise(tiny[0], encode(text), encode(""), x, 0.6)).abs().max() < 1e-4
    assert (results[1] - results[0]).abs().mean() > 1e-3 < (results[1] - results[2]).abs().mean()
