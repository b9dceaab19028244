"""What other packs get wrong, one test for each; see the issue trackers named in the research notes."""

import comfy.samplers
import pytest
import torch

from pakati.nodes import regional_attention
from pakati.nodes.architectures import FAMILIES, architecture_of
from pakati.nodes.latent_blending import blend_regions
from pakati.nodes.regional_attention import apply_regions
from pakati.nodes.tiny_model import load_tiny
from pakati.pakati_core.errors import PakatiError
from pakati.pakati_core.geometry import Extent
from pakati.pakati_core.regions import Region, RegionSet
from pakati.pakati_core.shapes import BoxShape, MaskShape
from tests.nodes.architectures import ROWS
from tests.nodes.sampling import denoise
from tests.nodes.test_architectures import (
    FAR,
    LEFT,
    NEAR,
    RIGHT,
    dense_keys_of_words,
    dense_sequence,
    layout,
    look,
    made,
    pair,
    regional,
)

BOTH = pytest.mark.parametrize("name", ["SDXL", "Flux dev"])  # cross-attention and joint attention
CORNER = BoxShape(0.93, 0.9, 0.07, 0.1, "fraction")


@BOTH
def test_uncovered_pixels_neither_raise_nor_turn_to_nothing(name):
    row, stock, model = made(name)
    base = row.conditioning(row.text(1))
    quarter = regional(row, layout(Region("a", BoxShape(0, 0, 0.3, 0.3, "fraction"), "a")), lengths=(3,))
    got, plain = (look(row, m, cond, row.latents()) for m, cond in ((model, quarter), (stock, base)))
    assert got.isfinite().all()
    change = (got - plain).abs()
    assert change[..., :2, :2].mean() > change[..., 4:, 4:].mean() > 0


@BOTH
def test_a_region_in_the_last_row_of_an_odd_latent_is_not_rounded_away(name):
    row, stock, model = made(name)
    x = row.latents(height=9, width=13)
    got = look(row, model, regional(row, layout(Region("a", CORNER, "a")), lengths=(3,)), x)
    plain = look(row, stock, row.conditioning(row.text(1)), x)
    assert (got - plain).abs()[..., 8, 12].max() > 1e-4


@BOTH
def test_the_order_of_positive_and_negative_rows_does_not_matter(name, monkeypatch):
    row, _, model = made(name)
    positive, real = regional(row, pair(LEFT, FAR)), comfy.samplers._calc_cond_batch
    expected = look(row, model, positive, row.latents())

    def turned(model, conds, x_in, timestep, options):
        return real(model, conds[::-1], x_in, timestep, options)[::-1]

    monkeypatch.setattr("comfy.samplers._calc_cond_batch", turned)
    assert (look(row, model, positive, row.latents()) - expected).abs().max() < 1e-5


@BOTH
def test_prompts_of_512_and_530_words_are_not_repeated_to_their_least_common_multiple(name):
    row, _, model = made(name)
    watched, lengths = model.clone(), []

    def watch(func, q, k, v, *args, **kwargs):
        lengths.append(k.shape[-2])
        return func(q, k, v, *args, **kwargs)

    watched.model_options["transformer_options"]["optimized_attention_override"] = watch
    positive = regional(row, pair(LEFT, RIGHT), lengths=(512, 530), words=77)
    assert look(row, watched, positive, row.latents()).isfinite().all()
    assert 530 <= max(lengths) <= 77 + 512 + 530 + 64


@BOTH
def test_a_grey_mask_is_half_and_not_all_or_nothing(name, monkeypatch):
    row, _, model = made(name)
    results = {}
    for grey in (0.0, 0.5, 1.0):
        mask = torch.full((64, 64), grey)
        mask[0, 0] = 1.0  # a region is never empty
        regions = layout(Region("a", MaskShape.from_array(mask), "a"))
        results[grey] = look(row, model, regional(row, regions, lengths=(3,)), row.latents())
        if grey == 0.5:
            with monkeypatch.context() as patch:
                patch.setattr(regional_attention, "attend_joint_rows", dense_sequence)
                patch.setattr(regional_attention, "attend_rows", dense_keys_of_words)
                wanted = look(row, model, regional(row, regions, lengths=(3,)), row.latents())
            assert (results[grey] - wanted).abs().max() < 1e-5 * max(1, wanted.abs().max())
    assert (results[0.5] - results[1.0]).abs().mean() > 1e-4 < (results[0.5] - results[0.0]).abs().mean()


@BOTH
def test_the_model_samples_as_before_once_the_regions_are_gone(name):
    row, stock, model = made(name)
    base = row.conditioning(row.text(1))
    before = look(row, stock, base, row.latents())
    look(row, model, regional(row, pair(NEAR, FAR)), row.latents())
    assert torch.equal(look(row, stock, base, row.latents()), before)
    assert torch.equal(look(row, model, base, row.latents()), before), "nor does the patched model change anything"


@pytest.mark.parametrize(
    "path",
    [
        "comfy.ldm.ernie.model.ErnieImageModel",
        "comfy.ldm.pixart.pixartms.PixArtMS",
        "comfy.ldm.hydit.models.HunYuanDiT",
    ],
)
def test_a_model_out_of_reach_is_refused_by_name_and_never_silently_left_alone(path):
    module, name = path.rsplit(".", 1)
    network = getattr(__import__(module, fromlist=[name]), name)
    with pytest.raises(PakatiError, match=f"{name}.*blend"):
        architecture_of(network.__new__(network))


def test_every_familys_class_is_where_its_row_says():
    for family in FAMILIES:
        module, name = family.network.rsplit(".", 1)
        assert getattr(__import__(module, fromlist=[name]), name)
    assert {architecture_of(made(name)[1].model.diffusion_model).name for name in ROWS} == {f.name for f in FAMILIES}


def test_blending_mixes_the_predictions_of_the_prompts_by_their_shares():
    model, clip, _ = load_tiny()
    left = Region("a", BoxShape(0, 0, 64, 128), "sand", negative="sea")
    right = Region("b", BoxShape(64, 0, 64, 128), "brick")
    regions = RegionSet(Extent(128, 128), (left, right))
    x = torch.randn(1, 8, 16, 16, generator=torch.Generator().manual_seed(1))

    def encode(text):
        return clip.encode_from_tokens_scheduled(clip.tokenize(text))

    blended = blend_regions(model, clip, encode("grass"), encode("snow"), regions)
    got = denoise(*blended, x, 0.6)
    left = denoise(model, encode("sand"), encode("sea"), x, 0.6)
    right = denoise(model, encode("brick"), encode("snow"), x, 0.6)
    assert (got[..., :8] - left[..., :8]).abs().max() < 1e-4
    assert (got[..., 8:] - right[..., 8:]).abs().max() < 1e-4
    with pytest.raises(PakatiError, match="no CLIP"):
        apply_regions(model, None, [], [], regions, True)
