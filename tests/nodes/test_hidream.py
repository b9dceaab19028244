"""HiDream-I1 reads T5 and every layer of Llama; a region's prompt brings both, at their true lengths."""

import comfy.lora
import pytest
import torch

from pakati.nodes.architectures import hidream
from pakati.nodes.regional_attention import apply_regions
from pakati.nodes.regional_lora import with_loras
from pakati.pakati_core.errors import PakatiError
from pakati.pakati_core.geometry import Extent
from pakati.pakati_core.regions import Region, RegionSet
from pakati.pakati_core.shapes import BoxShape, WholeShape
from tests.nodes.architectures import ROWS
from tests.nodes.loras import layers_of, random_lora
from tests.nodes.sampling import denoise

ROW = ROWS["HiDream-I1"]
LEFT = BoxShape(0, 0, 0.5, 1, "fraction")
LENGTH = 6  # both tokenizers fill up to this many


class Clip:
    """Random embeddings in the form of the host's own encoders of HiDream, which have thirteen billion numbers."""

    class tokenizer:
        class t5xxl:
            pad_token = 0

    def tokenize(self, text: str) -> dict:
        words = [100 + len(word) for word in text.split()]
        filled = {"t5xxl": 0, "llama": hidream.PADDING}
        return {
            name: [[(word, 1.0) for word in (*words, *[pad] * (LENGTH - len(words)))]] for name, pad in filled.items()
        }

    def encode_from_tokens(self, tokens: dict, return_pooled=False, return_dict=True) -> dict:
        states = torch.stack([_words(tokens["llama"], 32, layer) for layer in range(3)], dim=1)
        return {"cond": _words(tokens["t5xxl"], 48, 9), hidream.STATES: states}

    def conditioning(self, text: str) -> list:
        found = self.encode_from_tokens(self.tokenize(text))
        return [[found.pop("cond"), {"pooled_output": torch.zeros(1, 24), **found}]]


def _words(tokens: list, channels: int, layer: int) -> torch.Tensor:
    seeds = [torch.Generator().manual_seed(word * 10 + layer) for word, _ in tokens[0]]
    return torch.stack([torch.randn(channels, generator=seed) for seed in seeds])[None]


@pytest.fixture(scope="module")
def model():
    return ROW.make()


def look(model, base: str, *regions: Region, clip=None, **options):
    clip = clip or Clip()
    positive, negative = clip.conditioning(base), clip.conditioning("blurry")
    positive[0][1].update(options)
    if regions:
        wanted = RegionSet(Extent(64, 64), regions)
        model, positive, negative = apply_regions(model, clip, positive, negative, wanted)
    with torch.inference_mode():
        return denoise(model, positive, negative, ROW.latents(), 0.6)


def test_a_region_over_the_whole_canvas_is_its_plain_prompt_padding_included(model):
    plain = look(model, "a red circle")
    assert (look(model, "grass", Region("all", WholeShape(), "a red circle")) - plain).abs().max() < 1e-4
    assert (look(model, "grass") - plain).abs().max() > 1e-2


def test_a_region_acts_where_it_is(model):
    change = (look(model, "grass", Region("a", LEFT, "a red circle")) - look(model, "grass")).abs()
    assert change[..., :4].mean() > 1.5 * change[..., 4:].mean()


def test_a_regions_padding_is_left_out_of_both_runs():
    text, clip = "a red circle", Clip()
    (words,) = hidream.read_llama(clip, text, {}, keep_padding=False)
    (filled,) = hidream.read_llama(clip, text, {}, keep_padding=True)
    assert (words.shape, filled.shape) == ((1, 3, 96), (1, LENGTH, 96))
    assert torch.equal(filled[:, :3], words)
    states = clip.encode_from_tokens(clip.tokenize(text))[hidream.STATES]
    assert torch.equal(words[0, 1].unflatten(0, (3, 32)), states[0, :, 1])


def test_both_runs_count(model):
    """Llama's layers differ and T5's words are the same."""

    class Deaf(Clip):
        def encode_from_tokens(self, tokens, **options):
            found = super().encode_from_tokens(tokens)
            return found | {"cond": found["cond"].zero_()}

    red, blue = (look(model, "grass", Region("a", LEFT, text), clip=Deaf()) for text in ("a red circle", "a tree"))
    assert (red - blue).abs().max() > 1e-2


def test_a_clip_without_llama_is_refused(model):
    class OneStream(Clip):
        def encode_from_tokens(self, tokens, **options):
            return {"cond": torch.zeros(1, LENGTH, 48)}

    base, wanted = Clip().conditioning("grass"), RegionSet(Extent(64, 64), (Region("a", LEFT, "sand"),))
    with pytest.raises(PakatiError, match="type hidream"):
        apply_regions(model, OneStream(), base, base, wanted)


def test_a_base_prompt_of_another_encoder_is_refused(model):
    with pytest.raises(PakatiError, match="nothing from Llama"):
        look(model, "grass", Region("a", LEFT, "sand"), **{hidream.STATES: None})


def test_what_regions_do_not_reach_is_refused_by_name(model):
    with pytest.raises(PakatiError, match="HiDream-E1"):
        look(model, "grass", Region("a", LEFT, "sand"), concat_latent_image=torch.zeros(1, 16, 8, 8))
    lora = random_lora(layers_of(model.model.diffusion_model))
    patches = comfy.lora.load_lora(lora, comfy.lora.model_lora_keys_unet(model.model, {}), log_missing=False)
    with pytest.raises(PakatiError, match="load the LoRA before Apply Regions"):
        with_loras(model, {"style": patches})
