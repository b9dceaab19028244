"""Regions on a model that other packs have patched, before or after: neither loses anything, nothing is left over."""

import copy

import comfy.samplers
import pytest
import torch
from comfy.ldm.modules.attention import optimized_attention
from comfy_api.torch_helpers import set_torch_compile_wrapper
from comfy_extras.nodes_differential_diffusion import DifferentialDiffusion

from pakati.nodes.regional_attention import apply_regions
from pakati.nodes.tiny_model import load_tiny
from pakati.pakati_core.errors import PakatiError
from pakati.pakati_core.geometry import Extent
from pakati.pakati_core.regions import Region, RegionSet
from pakati.pakati_core.shapes import BoxShape, WholeShape
from tests.nodes.sampling import denoise

LEFT, RIGHT = BoxShape(0, 0, 64, 128), BoxShape(64, 0, 64, 128)
PAIR = (Region("a", LEFT, "a red circle"), Region("b", RIGHT, "a blue star on snow"))
AT, WORDS, CHANNELS = 0.6, 32, 256


@pytest.fixture(scope="module")
def tiny():
    return load_tiny()


@pytest.fixture(scope="module")
def encode(tiny):
    return lambda text: tiny[1].encode_from_tokens_scheduled(tiny[1].tokenize(text))


@pytest.fixture(scope="module")
def look(tiny, encode):
    """(MODEL, regions or None, rows) -> what the model makes of noise; with regions both prompts have them."""

    def look(model, regions=None, rows=1, base="grass", after=lambda model: model):
        x = torch.randn(rows, 8, 16, 16, generator=torch.Generator().manual_seed(1))
        positive, negative = encode(base), encode("")
        if regions:
            model, positive, negative = apply_regions(model, tiny[1], positive, negative, layout(*regions))
        return denoise(after(model), positive, negative, x, AT)

    return look


def layout(*regions):
    return RegionSet(Extent(128, 128), regions)


def overridden(model):
    """Halves what every attention gives: any difference that regions make must be halved with it."""
    model = model.clone()

    def other(func, *args, **kwargs):
        return 0.5 * func(*args, **kwargs)

    model.model_options["transformer_options"]["optimized_attention_override"] = other
    return model


class Adapter:
    """As IPAdapter does it: replaces cross-attention by itself and by an attention to a picture's tokens."""

    def __init__(self, channels: int):
        generator = torch.Generator().manual_seed(5)
        self.picture = torch.randn(2, 1, 4, channels, generator=generator)
        self.calls = 0

    def __call__(self, q, k, v, options):
        self.calls += 1
        key, value = (part.expand(len(q), -1, -1) for part in self.picture.to(q))
        heads = options["n_heads"]
        return optimized_attention(q, k, v, heads) + 0.7 * optimized_attention(q, key, value, heads)


def cross_attentions(model):
    """(block, number, transformer) and channels of each."""
    network = model.get_model_object("diffusion_model")
    for name, module in network.named_modules():
        parts = name.split(".")
        if parts[-1] == "attn2":
            where = ("middle", 0) if parts[0] == "middle_block" else (parts[0].split("_")[0], int(parts[1]))
            yield (*where, int(parts[-2])), module.to_q.out_features


def adapted(model):
    model = model.clone()
    for (block, number, transformer), channels in cross_attentions(model):
        model.set_model_attn2_replace(Adapter(channels), block, number, transformer)
    return model


def appended(model):
    """Three more words for every attention, through an attn2 patch."""
    model, more = model.clone(), torch.randn(1, 3, CHANNELS, generator=torch.Generator().manual_seed(6))

    def patch(n, context, value, options):
        more_here = more.to(context)[..., : context.shape[-1]].expand(len(context), -1, -1)
        return n, torch.cat([context, more_here], 1), torch.cat([value, more_here], 1)

    model.set_model_attn2_patch(patch)
    return model


def scaled(model):
    model = model.clone()
    model.set_model_attn2_patch(lambda n, context, value, options: (n, context, 1.5 * value))
    return model


def noted(model):
    model = model.clone()
    model.set_model_attn2_output_patch(lambda n, options: 0.8 * n)
    return model


def guided(model):
    model = model.clone()
    model.set_model_sampler_post_cfg_function(lambda args: 0.9 * args["denoised"])
    return model


PACKS = {
    "attention override": overridden, "attn2 replaced, as IPAdapter": adapted, "attn2 with more words": appended,
    "attn2 scaled": scaled, "attn2 output": noted, "guidance": guided,
}  # fmt: skip


@pytest.fixture(scope="module", params=PACKS, ids=str)
def pack(request):
    return PACKS[request.param]


def test_a_region_over_everything_is_its_plain_prompt_on_the_patched_model(tiny, look, pack):
    """The strictest thing to ask: word for word what the pack makes of that prompt alone."""
    plain = look(pack(tiny[0]), base="a red circle on sand")
    regional = look(pack(tiny[0]), [Region("all", WholeShape(), "a red circle on sand")])
    assert (regional - plain).abs().max() < 1e-4
    assert (plain - look(tiny[0], base="a red circle on sand")).abs().max() > 1e-2, "the pack does act"


def test_each_acts_beside_the_other(tiny, look, pack):
    patched, both = look(pack(tiny[0])), look(pack(tiny[0]), PAIR)
    regional, plain = look(tiny[0], PAIR), look(tiny[0])
    assert both.isfinite().all()
    assert (both - patched).abs().mean() > 0.3 * (regional - plain).abs().mean(), "the regions act"
    assert (both - regional).abs().mean() > 0.3 * (patched - plain).abs().mean(), "the pack acts"


def test_the_order_in_which_they_are_put_on_changes_nothing(tiny, look, pack):
    assert torch.equal(look(tiny[0], PAIR, after=pack), look(pack(tiny[0]), PAIR))


def test_a_batch_of_three_equals_each_alone(tiny, look, pack):
    together, alone = look(pack(tiny[0]), PAIR, rows=3), look(pack(tiny[0]), PAIR)
    assert (together[:1] - alone).abs().max() < 1e-4


def test_the_patched_model_samples_the_same_bits_afterwards(tiny, look, pack):
    model = pack(tiny[0])
    before, options = look(model), copy.copy(model.model_options["transformer_options"])
    look(model, PAIR)
    assert torch.equal(look(model), before)
    assert model.model_options["transformer_options"] == options


def test_a_patch_that_loses_the_regions_words_is_refused(tiny, look):
    model = tiny[0].clone()
    model.set_model_attn2_patch(lambda n, context, value, options: (n, context[:, ::2], value[:, 1::2]))
    with pytest.raises(PakatiError, match="another pack's patch of the cross-attention"):
        look(model, PAIR)


def test_differential_diffusion_keeps_what_its_mask_keeps(tiny, encode):
    model = DifferentialDiffusion.execute(tiny[0]).result[0]
    model, positive, negative = apply_regions(model, tiny[1], encode("grass"), encode(""), layout(*PAIR))
    latent, mask = torch.randn(1, 8, 16, 16, generator=torch.Generator().manual_seed(2)), torch.zeros(1, 1, 16, 16)
    mask[..., 4:] = torch.linspace(0.3, 1, 12)

    def sample(model, positive, negative):
        sampler = comfy.samplers.KSampler(model, 4, torch.device("cpu"), "euler", "simple", 1.0, model.model_options)
        noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(3))
        return sampler.sample(noise, positive, negative, 3.0, latent_image=latent, denoise_mask=mask, disable_pbar=True)

    got, plain = sample(model, positive, negative), sample(model, encode("grass"), encode(""))
    assert torch.allclose(got[..., :4], latent[..., :4], atol=1e-4)
    assert (got - plain)[..., 6:].abs().mean() > 0.02


@pytest.mark.parametrize("first", ["compiled first", "regions first"])
def test_a_compiled_model_gives_the_same(tiny, look, first):
    def compiled(model):
        model = model.clone(disable_dynamic=True)
        set_torch_compile_wrapper(model=model, backend="eager", options=None)
        return model

    expected = look(tiny[0], PAIR)
    got = look(tiny[0], PAIR, after=compiled) if first == "regions first" else look(compiled(tiny[0]), PAIR)
    assert (got - expected).abs().max() < 1e-4


def test_clones_have_their_own_regions(tiny, encode, look):
    """One model, two clones with regions each, sampled in turn."""
    first, second = look(tiny[0], PAIR[:1]), look(tiny[0], PAIR[1:])
    one = apply_regions(tiny[0], tiny[1], encode("grass"), encode(""), layout(PAIR[0]))
    two = apply_regions(one[0].clone(), tiny[1], encode("grass"), encode(""), layout(PAIR[1]))
    x = torch.randn(1, 8, 16, 16, generator=torch.Generator().manual_seed(1))
    for wired, expected in ((one, first), (two, second), (one, first)):
        assert torch.equal(denoise(*wired, x, AT), expected)
