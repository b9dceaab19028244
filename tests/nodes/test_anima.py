"""Anima makes its text of two tokenizers' words with an adapter of its own; a region's prompt goes the same way."""

from functools import partial

import pytest
import torch

from pakati.nodes.regional_attention import apply_regions
from pakati.pakati_core.errors import PakatiError
from pakati.pakati_core.geometry import Extent
from pakati.pakati_core.regions import Region, RegionSet
from pakati.pakati_core.shapes import BoxShape, WholeShape
from tests.nodes.architectures import ROWS
from tests.nodes.sampling import denoise

ROW = ROWS["Anima"]
LEFT = BoxShape(0, 0, 0.5, 1, "fraction")


class Clip:
    """Random embeddings in the form of the host's own encoder of Anima, which has 0.6 billion numbers."""

    def tokenize(self, text: str) -> dict:
        words = [len(word) for word in text.split()]
        return {"qwen3_06b": [[(word, 1.0) for word in words]], "t5xxl": [[(word, 1.1) for word in (*words, 1)]]}

    def encode_from_tokens(self, tokens: dict, return_pooled=False, return_dict=True) -> dict:
        words = [word for word, _ in tokens["qwen3_06b"][0]]
        cond = torch.stack([torch.randn(48, generator=torch.Generator().manual_seed(word)) for word in words])[None]
        numbers, weights = (torch.tensor(each) for each in zip(*tokens["t5xxl"][0], strict=True))
        mask = torch.ones(1, len(words))
        return {"cond": cond, "attention_mask": mask, "t5xxl_ids": numbers, "t5xxl_weights": weights}

    def conditioning(self, text: str) -> list:
        found = self.encode_from_tokens(self.tokenize(text))
        return [[found.pop("cond"), found]]


@pytest.fixture(scope="module")
def model():
    return ROW.make()


def look(model, base: str, *regions: Region, rows=1):
    clip = Clip()
    positive, negative = clip.conditioning(base), clip.conditioning("blurry")
    if regions:
        wanted = RegionSet(Extent(64, 64), regions)
        model, positive, negative = apply_regions(model, clip, positive, negative, wanted)
    with torch.inference_mode():
        return denoise(model, positive, negative, ROW.latents(rows), 0.6)


def test_a_region_over_the_whole_canvas_is_its_plain_prompt(model):
    plain = look(model, "a red circle on sand")
    assert (look(model, "grass", Region("all", WholeShape(), "a red circle on sand")) - plain).abs().max() < 1e-4
    assert (look(model, "grass") - plain).abs().max() > 1e-2


def test_a_region_acts_where_it_is(model):
    change = (look(model, "grass", Region("a", LEFT, "a red circle on sand")) - look(model, "grass")).abs()
    assert change[..., :4].mean() > 1.5 * change[..., 4:].mean()


def test_a_regions_negative_is_adapted_too(model):
    region = Region("all", WholeShape(), "sand", negative="a very dark night")
    expected = look(model, "sand", Region("all", WholeShape(), "sand"))
    assert (look(model, "grass", region) - expected).abs().max() > 1e-3


def test_a_change_of_the_weights_is_a_change_of_the_regions_text(model):
    """As a LoRA on the adapter makes it: the text is not the one from before."""
    clip, region = Clip(), RegionSet(Extent(64, 64), (Region("all", WholeShape(), "a red circle on sand"),))
    plain = clip.conditioning("a red circle on sand")
    wired = apply_regions(model, clip, clip.conditioning("grass"), clip.conditioning("blurry"), region)
    look_at = partial(denoise, latents=ROW.latents(), sigma=0.6)
    with torch.inference_mode():
        first = look_at(wired[0], wired[1], wired[2])
        changed = wired[0].clone()
        delta = torch.randn(48, 48, generator=torch.Generator().manual_seed(4))
        changed.add_patches({"diffusion_model.llm_adapter.out_proj.weight": (delta,)})
        second, expected = look_at(changed, wired[1], wired[2]), look_at(changed, plain, wired[2])
        again = look_at(wired[0], wired[1], wired[2])
    assert (second - expected).abs().max() < 1e-4
    assert (second - first).abs().max() > 1e-3
    assert torch.equal(again, first)


def test_without_the_adapters_numbers_it_is_refused_by_name(model):
    class OneStream(Clip):
        def tokenize(self, text):
            return {"qwen3_06b": super().tokenize(text)["qwen3_06b"]}

        def encode_from_tokens(self, tokens, **options):
            return {"cond": torch.randn(1, 3, 48)}

    clip, region = OneStream(), RegionSet(Extent(64, 64), (Region("a", LEFT, "sand"),))
    with pytest.raises(PakatiError, match="t5xxl"):
        apply_regions(model, clip, Clip().conditioning("grass"), Clip().conditioning("blurry"), region)
