"""What regions refuse on the HunyuanImage family, by name, rather than losing it in silence."""

from types import SimpleNamespace

import pytest
import torch

from pakati.nodes.region_text import KEY
from pakati.nodes.regional_attention import apply_regions, reach_regions
from pakati.pakati_core.attention import RegionalText
from pakati.pakati_core.errors import PakatiError
from pakati.pakati_core.geometry import Extent
from pakati.pakati_core.regions import Region, RegionSet
from pakati.pakati_core.shapes import BoxShape
from tests.nodes.architectures import HUNYUAN_IMAGE, ROWS, Built
from tests.nodes.sampling import denoise

LEFT = BoxShape(0, 0, 0.5, 1, "fraction")
WORDS = torch.randn(1, 3, 48, generator=torch.Generator().manual_seed(1))
# The host's tokenizer adds the second stream where a prompt has quotes; its encoder has seven billion numbers.
CLIP = SimpleNamespace(
    tokenize=lambda text: {"qwen25_7b": [[(1, 1.0)] * 3]} | ({"byt5": [[]]} if '"' in text else {}),
    encode_from_tokens=lambda tokens, **options: {"cond": WORDS, "attention_mask": torch.ones(1, 3)},
)


def region(prompt: str) -> RegionSet:
    return RegionSet(Extent(64, 64), (Region("a", LEFT, prompt),))


def test_quoted_words_belong_into_the_base_prompt():
    model, base = ROWS["HunyuanImage"].make(), [[WORDS, {}]]
    apply_regions(model, CLIP, base, base, region("a shop sign"))
    with pytest.raises(PakatiError, match="quotes"):
        apply_regions(model, CLIP, base, base, region('a shop sign that says "open"'))


def test_a_model_whose_words_stand_elsewhere_is_refused():
    other = Built("HunyuanVideo", HUNYUAN_IMAGE | {"use_cond_type_embedding": True}, channels=64)
    with pytest.raises(PakatiError, match=r"HunyuanVideo 1\.5"):
        reach_regions(other.make())


def test_a_latent_with_frames_is_refused():
    row = ROWS["Wan"]
    text = RegionalText(region("sand"), {"a": row.text(2)})
    positive = row.conditioning(row.text(1), **{KEY: text})
    with pytest.raises(PakatiError, match="3 frames"):
        denoise(reach_regions(row.make()), positive, positive, torch.zeros(1, 16, 3, 8, 8), 0.5)
