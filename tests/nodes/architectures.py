"""Small random models of every family that regions reach, in ComfyUI's own classes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from unittest.mock import patch

import comfy.latent_formats
import comfy.ldm.anima.model as anima
import comfy.model_base
import comfy.model_patcher
import comfy.ops
import comfy.supported_models
import torch

FLUX = {
    "image_model": "flux", "in_channels": 16, "out_channels": 16, "patch_size": 2, "vec_in_dim": 24,
    "context_in_dim": 48, "hidden_size": 64, "mlp_ratio": 2.0, "num_heads": 2, "depth": 2, "depth_single_blocks": 2,
    "axes_dim": [8, 12, 12], "theta": 10000, "qkv_bias": True, "guidance_embed": True, "txt_ids_dims": [],
}  # fmt: skip
FLUX2 = FLUX | {
    "image_model": "flux2", "patch_size": 1, "in_channels": 128, "out_channels": 128, "vec_in_dim": None,
    "axes_dim": [8, 8, 8, 8], "theta": 2000, "txt_ids_dims": [3], "global_modulation": True, "mlp_silu_act": True,
    "ops_bias": False, "qkv_bias": False, "default_ref_method": "index", "ref_index_scale": 10.0,
}  # fmt: skip
CHROMA = {key: FLUX[key] for key in FLUX if key not in ("guidance_embed", "in_channels", "out_channels")} | {
    "image_model": "chroma", "in_channels": 64, "out_channels": 64, "in_dim": 64, "out_dim": 64, "hidden_dim": 64,
    "n_layers": 1,
}  # fmt: skip
QWEN = {
    "image_model": "qwen_image", "in_channels": 64, "num_layers": 2, "attention_head_dim": 32, "num_attention_heads": 2,
    "joint_attention_dim": 48, "axes_dims_rope": (8, 12, 12),
}  # fmt: skip
LUMINA = {
    "image_model": "lumina2", "in_channels": 16, "dim": 64, "n_layers": 2, "n_refiner_layers": 1, "n_heads": 2,
    "n_kv_heads": 1, "qk_norm": True, "cap_feat_dim": 48, "axes_dims": [8, 12, 12], "axes_lens": [300, 512, 512],
    "multiple_of": 32, "ffn_dim_multiplier": 1.0,
}  # fmt: skip
Z_IMAGE = LUMINA | {
    "dim": 256, "n_heads": 8, "n_kv_heads": 8, "z_image_modulation": True, "time_scale": 1000.0, "rope_theta": 256.0,
    "pad_tokens_multiple": 32,
}  # fmt: skip
SD3 = {
    "in_channels": 16, "out_channels": 16, "patch_size": 2, "depth": 2, "input_size": None, "num_patches": 256,
    "pos_embed_max_size": 16, "pos_embed_scaling_factor": None, "adm_in_channels": 24, "qk_norm": "rms",
    "context_embedder_config": {"target": "torch.nn.Linear", "params": {"in_features": 48, "out_features": 128}},
}  # fmt: skip
UNET = {
    "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 32, "num_res_blocks": [1, 1],
    "channel_mult": [1, 2], "num_heads": 2, "num_head_channels": -1, "use_spatial_transformer": True,
    "transformer_depth": [1, 1], "transformer_depth_output": [1, 1, 1, 1], "transformer_depth_middle": 1,
    "context_dim": 48, "use_linear_in_transformer": False, "legacy": False, "use_temporal_attention": False,
}  # fmt: skip
UNET64 = {"model_channels": 64, "use_linear_in_transformer": True, "num_heads": -1, "num_head_channels": 64}
AURA = {
    "in_channels": 4, "dim": 64, "n_layers": 3, "n_double_layers": 1, "n_heads": 2, "global_conddim": 64,
    "cond_seq_dim": 48, "max_seq": 256,
}  # fmt: skip
KREA2 = {
    "image_model": "krea2", "features": 128, "tdim": 32, "txtdim": 24, "heads": 4, "kvheads": 2, "multiplier": 2,
    "layers": 2, "channels": 16, "txtlayers": 2, "txtheads": 2, "txtkvheads": 2,
}  # fmt: skip
COSMOS = {
    "image_model": "cosmos_predict2", "max_img_h": 240, "max_img_w": 240, "max_frames": 8, "in_channels": 16,
    "out_channels": 16, "patch_spatial": 2, "patch_temporal": 1, "model_channels": 64, "num_blocks": 2, "num_heads": 2,
    "concat_padding_mask": True, "crossattn_emb_channels": 48, "pos_emb_cls": "rope3d", "pos_emb_learnable": True,
    "pos_emb_interpolation": "crop", "min_fps": 1, "max_fps": 30, "use_adaln_lora": True, "adaln_lora_dim": 16,
    "rope_h_extrapolation_ratio": 1.0, "rope_w_extrapolation_ratio": 1.0, "rope_t_extrapolation_ratio": 1.0,
}  # fmt: skip
WAN = {
    "image_model": "wan2.1", "model_type": "t2v", "dim": 64, "ffn_dim": 96, "num_heads": 2, "num_layers": 2,
    "text_dim": 48, "text_len": 512, "in_dim": 16, "out_dim": 16, "freq_dim": 32, "patch_size": (1, 2, 2),
    "qk_norm": True, "cross_attn_norm": True, "eps": 1e-6, "window_size": (-1, -1),
}  # fmt: skip
HUNYUAN_IMAGE = {
    "image_model": "hunyuan_video", "in_channels": 64, "out_channels": 64, "vec_in_dim": None, "context_in_dim": 48,
    "hidden_size": 64, "mlp_ratio": 2.0, "num_heads": 2, "depth": 2, "depth_single_blocks": 2, "axes_dim": [16, 16],
    "theta": 256, "patch_size": [1, 1], "qkv_bias": True, "guidance_embed": False, "byt5": True, "meanflow": False,
    "use_cond_type_embedding": False, "vision_in_dim": None, "meanflow_sum": False,
}  # fmt: skip
HIDREAM = {
    "image_model": "hidream", "patch_size": 2, "in_channels": 16, "out_channels": 16, "num_layers": 2,
    "num_single_layers": 2, "attention_head_dim": 32, "num_attention_heads": 2, "caption_channels": [48, 32],
    "text_emb_dim": 24, "num_routed_experts": 3, "num_activated_experts": 2, "axes_dims_rope": [8, 12, 12],
    "max_resolution": [32, 32], "llama_layers": [0, 1, 2, 2],
}  # fmt: skip
# Else 1024 wide and 6 deep, whatever the configuration says.
SMALL_ADAPTER = partial(anima.LLMAdapter, 48, 48, 48, num_layers=1, num_heads=2)


@dataclass
class Built:
    """family: a class of comfy.supported_models. options: what the CONDITIONING of this family holds besides text."""

    family: str
    config: dict
    options: dict = field(default_factory=dict)
    frames: bool = False  # latents are [B,C,1,H,W]
    words: int = 48  # channels of the text
    channels: int = 16  # of the latents
    beside: Callable[[torch.Tensor], dict] = lambda text: {}  # text -> what its encoder says besides, by name

    def make(self, operations=comfy.ops.disable_weight_init):
        """A ModelPatcher with random weights on the CPU, in float32."""
        config = getattr(comfy.supported_models, self.family)(dict(self.config))
        config.set_inference_dtype(torch.float32, None)
        config.custom_operations = operations
        torch.manual_seed(0)
        with patch.object(anima, "LLMAdapter", SMALL_ADAPTER):
            model = config.get_model({}, "", device="cpu")
        for buffer in model.diffusion_model.buffers():
            if buffer.numel() and buffer.is_floating_point():
                torch.nn.init.normal_(buffer, 0.0, 0.2)  # SD3 keeps its positions in one
        for name, parameter in model.named_parameters():
            scale = 0.5 / max(1, parameter[0].numel()) ** 0.5 if parameter.ndim > 1 else 0.1
            centre = 1.0 if parameter.ndim == 1 and "norm" in name and name.endswith(("weight", "scale")) else 0.0
            torch.nn.init.normal_(parameter, centre, 2 * scale)
        model.eval()
        return comfy.model_patcher.ModelPatcher(model, torch.device("cpu"), torch.device("cpu"))

    def latents(self, rows: int = 1, height: int = 8, width: int = 8, seed: int = 1) -> torch.Tensor:
        shape = (rows, self.channels, 1, height, width) if self.frames else (rows, self.channels, height, width)
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed))

    def text(self, seed: int, words: int = 5) -> torch.Tensor:
        return torch.randn(1, words, self.words, generator=torch.Generator().manual_seed(seed))

    def conditioning(self, text: torch.Tensor, **more) -> list:
        pooled = torch.randn(1, 24, generator=torch.Generator().manual_seed(9))
        return [[text, {"pooled_output": pooled, **self.options, **self.beside(text), **more}]]

    def extras(self, prompts: dict[str, torch.Tensor]) -> dict[str, tuple[torch.Tensor, ...]]:
        """What RegionalText holds besides these prompts."""
        found = {name: tuple(self.beside(text).values()) for name, text in prompts.items()}
        return {name: tuple(part.movedim(1, 2).flatten(2) for part in parts) for name, parts in found.items() if parts}


def _reference(channels: int) -> dict:
    return {"reference_latents": [torch.randn(1, channels, 6, 4, generator=torch.Generator().manual_seed(3))]}


def _quoted() -> dict:
    return {"conditioning_byt5small": torch.randn(1, 4, 1472, generator=torch.Generator().manual_seed(4))}


def _llama(text: torch.Tensor) -> dict:
    """Three layers of 32 channels, of two words more than the text has."""
    words = torch.nn.functional.pad(text, (0, 0, 1, 1), value=0.5)[..., :32]
    return {"conditioning_llama3": torch.stack([words, words.flip(1), words.sin()], dim=1)}


ROWS = {
    "SD1.5": Built("SD15", UNET | {"adm_in_channels": None}, channels=4),
    "UNet that reads twice": Built(
        "SD15", UNET | {"adm_in_channels": None, "disable_self_attentions": [True, False]}, channels=4
    ),
    "SD2": Built("SD20", UNET | UNET64 | {"adm_in_channels": None}, channels=4),
    "SDXL": Built("SDXL", UNET | UNET64 | {"adm_in_channels": 24 + 6 * 256, "num_classes": "sequential"}, channels=4),
    "SD3": Built("SD3", SD3),
    "SD3.5 medium": Built("SD3", SD3 | {"x_block_self_attn_layers": [0]}),
    "SD3 with registers": Built("SD3", SD3 | {"register_length": 3}),
    "Flux dev": Built("Flux", FLUX, {"guidance": 3.5}),
    "Flux schnell": Built("FluxSchnell", FLUX | {"guidance_embed": False}),
    "Flux Fill": Built("FluxInpaint", FLUX | {"in_channels": 96}, {"guidance": 30.0}),
    "Flux Canny, Depth": Built("Flux", FLUX | {"in_channels": 32}, {"guidance": 10.0}),
    "Flux Kontext": Built("Flux", FLUX, {"guidance": 3.5, **_reference(16)}),
    "Flux.2": Built("Flux2", FLUX2, {"guidance": 4.0}, channels=128),
    "Flux.2 Klein with a reference": Built("Flux2", FLUX2 | {"guidance_embed": False}, _reference(128), channels=128),
    "Chroma": Built("Chroma", CHROMA),
    "Qwen-Image": Built("QwenImage", QWEN, frames=True),
    "Qwen-Image-Edit": Built("QwenImage", QWEN, {"reference_latents": [torch.randn(1, 16, 1, 6, 4)]}, frames=True),
    "Lumina2": Built("Lumina2", LUMINA),
    "Z-Image": Built("ZImage", Z_IMAGE),
    "AuraFlow": Built("AuraFlow", AURA, channels=4),
    "HiDream-I1": Built("HiDream", HIDREAM, beside=_llama),
    "Krea 2": Built("Krea2", KREA2, frames=True),
    "Cosmos-Predict2": Built("CosmosT2IPredict2", COSMOS, frames=True),
    "HunyuanImage": Built("HunyuanImage21", HUNYUAN_IMAGE, channels=64),
    "HunyuanImage with quoted words": Built("HunyuanImage21", HUNYUAN_IMAGE, _quoted(), channels=64),
    "Anima": Built("Anima", COSMOS | {"image_model": "anima"}, frames=True),
    "Wan": Built("WAN21_T2V", WAN, frames=True),
}
