"""Which models regions reach, and how: one row for each family.

A new family is a row here, and a file beside this one where its positions or its padding need more than the row says.
"""

from __future__ import annotations

from ...pakati_core.errors import PakatiError
from .anima import adapt_words, number_words
from .architecture import Architecture, is_kind
from .hunyuan import refine_apart, refuse_quotes
from .lumina import share_captions

FAMILIES = (
    Architecture("UNet", "comfy.ldm.modules.diffusionmodules.openaimodel.UNetModel", joint=False, patch=""),
    Architecture("Chroma", "comfy.ldm.chroma.model.Chroma"),
    Architecture("Flux", "comfy.ldm.flux.model.Flux", counts_words=True, left_filled=512, image_shift=True),
    Architecture("Qwen-Image", "comfy.ldm.qwen_image.model.QwenImageTransformer2DModel", counts_words=True, masks=True),
    Architecture("Lumina2, Z-Image", "comfy.ldm.lumina.model.NextDiT", refines_words=True, prepare=share_captions),
    Architecture("SD3", "comfy.ldm.modules.diffusionmodules.mmdit.MMDiT", registers="register_length"),
    Architecture("AuraFlow", "comfy.ldm.aura.mmdit.MMDiT", registers="register_tokens"),
    Architecture("Krea 2", "comfy.ldm.krea2.model.SingleStreamDiT", refines_words=True, patch="patch"),
    Architecture(
        "HunyuanImage", "comfy.ldm.hunyuan_video.model.HunyuanVideo", image_last=True, prepare=refine_apart,
        number=refuse_quotes,
    ),
    Architecture(
        "Anima", "comfy.ldm.anima.model.Anima", joint=False, patch="patch_spatial", number=number_words,
        adapt=adapt_words,
    ),
    Architecture("Cosmos-Predict2", "comfy.ldm.cosmos.predict2.MiniTrainDIT", joint=False, patch="patch_spatial"),
    Architecture("Wan", "comfy.ldm.wan.model.WanModel", joint=False),
)  # fmt: skip


def architecture_of(network) -> Architecture:
    """The family of a model's `diffusion_model`.  Raises PakatiError for one that regions cannot reach."""
    for family in _families(network):
        return family
    known = ", ".join(family.name for family in FAMILIES)
    raise PakatiError(
        f"regions cannot reach {type(network).__name__} models: their attention takes no guidance from outside. Set "
        f"unreachable to 'blend' for ComfyUI's slower way, or take a model of another family ({known})"
    )


def is_reachable(network) -> bool:
    return bool(_families(network))


def _families(network) -> list[Architecture]:
    return [family for family in FAMILIES if is_kind(network, family.network)][:1]


__all__ = ["FAMILIES", "Architecture", "architecture_of", "is_reachable"]
