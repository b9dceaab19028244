"""Models of every measured family in ComfyUI's own classes, at full width and with random weights."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

FLUX = {
    "image_model": "flux", "in_channels": 16, "out_channels": 16, "patch_size": 2, "vec_in_dim": 768,
    "context_in_dim": 4096, "hidden_size": 3072, "mlp_ratio": 4.0, "num_heads": 24, "depth": 19,
    "depth_single_blocks": 38, "axes_dim": [16, 56, 56], "theta": 10000, "qkv_bias": True, "guidance_embed": True,
    "txt_ids_dims": [],
}  # fmt: skip
FLUX2 = FLUX | {
    "image_model": "flux2", "patch_size": 1, "in_channels": 128, "out_channels": 128, "vec_in_dim": None,
    "context_in_dim": 15360, "hidden_size": 6144, "num_heads": 48, "mlp_ratio": 3.0, "depth": 8,
    "depth_single_blocks": 48, "axes_dim": [32, 32, 32, 32], "theta": 2000, "txt_ids_dims": [3],
    "global_modulation": True, "mlp_silu_act": True, "ops_bias": False, "qkv_bias": False,
    "default_ref_method": "index", "ref_index_scale": 10.0,
}  # fmt: skip
SD3 = {
    "in_channels": 16, "out_channels": 16, "patch_size": 2, "depth": 24, "input_size": None, "num_patches": 192**2,
    "pos_embed_max_size": 192, "pos_embed_scaling_factor": None, "adm_in_channels": 2048,
    "context_embedder_config": {"target": "torch.nn.Linear", "params": {"in_features": 4096, "out_features": 1536}},
}  # fmt: skip
QWEN = {
    "image_model": "qwen_image", "in_channels": 64, "num_layers": 60, "attention_head_dim": 128,
    "num_attention_heads": 24, "joint_attention_dim": 3584, "axes_dims_rope": (16, 56, 56),
}  # fmt: skip
Z_IMAGE = {
    "image_model": "lumina2", "patch_size": 2, "in_channels": 16, "dim": 3840, "n_layers": 30, "n_heads": 30,
    "n_kv_heads": 30, "qk_norm": True, "cap_feat_dim": 2560, "axes_dims": [32, 48, 48], "axes_lens": [1536, 512, 512],
    "rope_theta": 256.0, "ffn_dim_multiplier": 8.0 / 3.0, "z_image_modulation": True, "time_scale": 1000.0,
    "pad_tokens_multiple": 32,
}  # fmt: skip
UNET = {
    "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 320, "use_spatial_transformer": True,
    "legacy": False, "use_temporal_attention": False,
}  # fmt: skip
SD15 = UNET | {
    "adm_in_channels": None, "num_res_blocks": [2, 2, 2, 2], "channel_mult": [1, 2, 4, 4], "num_heads": 8,
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0], "transformer_depth_middle": 1, "context_dim": 768,
    "transformer_depth_output": [1] * 9 + [0] * 3, "use_linear_in_transformer": False,
}  # fmt: skip
SDXL = UNET | {
    "num_classes": "sequential", "adm_in_channels": 2816, "num_res_blocks": [2, 2, 2], "channel_mult": [1, 2, 4],
    "transformer_depth": [0, 0, 2, 2, 10, 10], "transformer_depth_middle": 10, "context_dim": 2048,
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10], "use_linear_in_transformer": True,
    "num_head_channels": 64,
}  # fmt: skip


@dataclass(frozen=True)
class Family:
    """family: a class of comfy.supported_models. shallow: what differs where depth is reduced; widths never are.

    words: channels, and numbers of words of the base prompt and of a region's. patch: pixels to a latent cell.
    options: what the CONDITIONING holds besides text. guided: sampled with a negative prompt beside the positive.
    """

    family: str
    config: dict
    shallow: dict
    words: tuple[int, int, int]
    channels: int = 16
    cell: int = 8
    side: int = 1024
    pooled: int = 0
    options: dict = field(default_factory=dict)
    guided: bool = True
    frames: bool = False

    def make(self, device: str, dtype: torch.dtype, reduced: bool = False):
        """A ModelPatcher with random weights; on the device `meta` without any."""
        import comfy.model_patcher
        import comfy.ops
        import comfy.supported_models

        config = getattr(comfy.supported_models, self.family)(self.config | (self.shallow if reduced else {}))
        config.set_inference_dtype(dtype, None)
        config.custom_operations = comfy.ops.disable_weight_init
        torch.manual_seed(0)
        model = config.get_model({}, "", device=device).eval().requires_grad_(False)
        if device == "meta":
            model.diffusion_model.to("meta")
        else:
            model = model.to(device)
            for tensor in (*model.diffusion_model.parameters(), *model.diffusion_model.buffers()):
                if tensor.is_floating_point():
                    tensor.uniform_(-1, 1).mul_(max(1, tensor[0].numel() if tensor.ndim else 1) ** -0.5)
        return comfy.model_patcher.ModelPatcher(model, torch.device(device), torch.device(device))

    def latents(self, side: int, device: str) -> Tensor:
        cells = side // self.cell
        return torch.randn(1, self.channels, *([1] if self.frames else []), cells, cells, device=device)

    def text(self, of_region: bool = False) -> Tensor:
        """On the CPU, as the host's encoders hand it over."""
        channels, base, region = self.words
        return torch.randn(1, region if of_region else base, channels)

    def conditioning(self, text: Tensor, **more) -> list:
        """The same but for the text, so that two ways can be compared."""
        fixed = torch.Generator().manual_seed(9)
        pooled = {"pooled_output": torch.randn(1, self.pooled, generator=fixed)} if self.pooled else {}
        return [[text, {**pooled, **self.options, **more}]]


# A region's prompt has 64 words where its padding is cut off; CLIP's prompts always have 77.
FAMILIES = {
    "SD1.5": Family("SD15", SD15, {}, (768, 77, 77), channels=4, side=512),
    "SDXL": Family(
        "SDXL", SDXL,
        {"transformer_depth": [0, 0, 1, 1, 2, 2], "transformer_depth_middle": 2,
         "transformer_depth_output": [0, 0, 0, 1, 1, 1, 2, 2, 2]},
        (2048, 77, 77), channels=4, pooled=1280,
    ),
    "Flux.1": Family(
        "Flux", FLUX, {"depth": 1, "depth_single_blocks": 1}, (4096, 256, 64), pooled=768,
        options={"guidance": 3.5}, guided=False,
    ),
    "Flux.2": Family(
        "Flux2", FLUX2, {"depth": 1, "depth_single_blocks": 1}, (15360, 512, 64), channels=128, cell=16,
        options={"guidance": 4.0}, guided=False,
    ),
    "SD3": Family("SD3", SD3, {"num_blocks": 2}, (4096, 154, 141), pooled=2048),
    "Qwen-Image": Family("QwenImage", QWEN, {"num_layers": 1}, (3584, 256, 64), frames=True),
    "Z-Image": Family("ZImage", Z_IMAGE, {"n_layers": 1, "n_refiner_layers": 1}, (2560, 256, 64), guided=False),
}  # fmt: skip
