"""Which models regions reach, and how: one row for each family.

A new family is a row here, and a file beside this one where its positions or its padding need more than the row says.
"""

from __future__ import annotations

from ...pakati_core.errors import PakatiError
from .anima import adapt_words, number_words
from .architecture import Architecture, is_kind
from .hidream import join_runs, read_llama
from .hunyuan import refine_apart, refuse_quotes
from .lumina import share_captions
from .unet import reads_words

MODELS = "comfy.ldm."
FLUX_LAYERS = {"words": r"(^|\.)txt_", "both": r"^single_blocks\."}
FAMILIES = (
    Architecture(
        "UNet", f"{MODELS}modules.diffusionmodules.openaimodel.UNetModel", joint=False, patch="",
        words=r"\battn2\.to_[kv]$", reads_words=reads_words,
    ),
    Architecture("Chroma", f"{MODELS}chroma.model.Chroma", vectors="^distilled_guidance_layer", **FLUX_LAYERS),
    Architecture(
        "Flux", f"{MODELS}flux.model.Flux", counts_words=True, left_filled=512, image_shift=True, **FLUX_LAYERS
    ),
    Architecture(
        "Qwen-Image", f"{MODELS}qwen_image.model.QwenImageTransformer2DModel", counts_words=True, masks=True,
        words=r"(^|\.)txt_|\.add_[qkv]_proj$|\.to_add_out$",
    ),
    Architecture(
        "Lumina2, Z-Image", f"{MODELS}lumina.model.NextDiT", refines_words=True, prepare=share_captions,
        words="^(cap_embedder|context_refiner)", both=r"^(layers\.|final_layer)",
    ),
    Architecture(
        "SD3", f"{MODELS}modules.diffusionmodules.mmdit.MMDiT", registers="register_length",
        words=r"^context_embedder|\.context_block\.",
    ),
    Architecture(
        "AuraFlow", f"{MODELS}aura.mmdit.MMDiT", registers="register_tokens",
        words=r"^cond_seq_linear|^double_layers\.\d+\.(attn\.w1|mlpC)", both=r"^single_layers\.",
    ),
    Architecture(
        "Krea 2", f"{MODELS}krea2.model.SingleStreamDiT", refines_words=True, patch="patch",
        words="^txt", both=r"^(blocks|last)\.",
    ),
    Architecture(
        "HunyuanImage", f"{MODELS}hunyuan_video.model.HunyuanVideo", image_last=True, prepare=refine_apart,
        number=refuse_quotes, words=r"(^|\.)txt_", both=r"^single_blocks\.",
    ),
    Architecture(
        "HiDream-I1", f"{MODELS}hidream.model.HiDreamImageTransformer2DModel", number=read_llama, join=join_runs
    ),
    Architecture(
        "Anima", f"{MODELS}anima.model.Anima", joint=False, patch="patch_spatial", number=number_words,
        adapt=adapt_words, words=r"\.cross_attn\.[kv]_proj$",
    ),
    Architecture(
        "Cosmos-Predict2", f"{MODELS}cosmos.predict2.MiniTrainDIT", joint=False, patch="patch_spatial",
        words=r"\.cross_attn\.[kv]_proj$",
    ),
    Architecture(
        "Wan", f"{MODELS}wan.model.WanModel", joint=False, words=r"^text_embedding|\.cross_attn\.[kv]$"
    ),
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
