"""The embedded model as the host's own objects: its UNet, its CLIP text encoder, its TAESD autoencoder."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import comfy.clip_model
import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.supported_models_base
import comfy.utils
import torch
from comfy.sd1_clip import SD1ClipModel, SD1Tokenizer, SDClipModel, SDTokenizer
from safetensors import SafetensorError

from ..pakati_core.errors import ModelError
from ..pakati_core.tiny import WEIGHTS
from ..pakati_core.tiny.words import END, IDS, MAX_LENGTH, START, encode


class TinyLatents(comfy.latent_formats.LatentFormat):
    latent_channels = 8

    def __init__(self):
        preview = json.loads((WEIGHTS / "preview.json").read_text(encoding="utf-8"))
        self.latent_rgb_factors, self.latent_rgb_factors_bias = preview["factors"], preview["bias"]


class TinyConfig(comfy.supported_models_base.BASE):
    unet_config = {}
    unet_extra_config = {}
    latent_format = TinyLatents
    sampling_settings = {"shift": 1.0, "multiplier": 1000}
    memory_usage_factor = 0.2
    supported_inference_dtypes = [torch.float32]

    def inpaint_model(self) -> bool:
        return False  # the base class takes every UNet with more than 4 channels for one


def _unet_config(config: dict) -> dict:
    """The host's names for a diffusers UNet's configuration with one resnet a block."""
    channels = config["block_out_channels"]
    depth = [int(block.startswith("CrossAttn")) for block in config["down_block_types"]]
    return {
        "image_size": 32,
        "in_channels": config["in_channels"],
        "out_channels": config["out_channels"],
        "model_channels": channels[0],
        "channel_mult": [width // channels[0] for width in channels],
        "num_res_blocks": [1] * len(channels),
        "transformer_depth": depth,
        "transformer_depth_output": [d for d in depth for _ in range(2)],
        "transformer_depth_middle": 1,
        "disable_self_attentions": list(config["only_cross_attention"]),
        "use_spatial_transformer": True,
        "use_linear_in_transformer": True,
        "context_dim": config["cross_attention_dim"],
        "num_heads": config["attention_head_dim"],
        "num_head_channels": -1,
        "dtype": torch.float32,
    }


class Words:
    """The closed vocabulary behind the interface that the host expects of a tokenizer."""

    @classmethod
    def from_pretrained(cls, path, **_):
        return cls()

    def __call__(self, text: str) -> dict[str, list[int]]:
        ids, unknown = encode(text)
        if unknown:
            logging.warning("Pakati: the embedded model does not know %s; it goes on without", ", ".join(unknown))
        return {"input_ids": ids}

    def get_vocab(self) -> dict[str, int]:
        return IDS


class TinyTokenizer(SDTokenizer):
    row = MAX_LENGTH

    def __init__(self, embedding_directory=None, tokenizer_data={}):  # noqa: B006 - the host's signature
        super().__init__(
            tokenizer_path="", max_length=self.row, embedding_directory=embedding_directory, embedding_size=128,
            embedding_key="clip_pakati_tiny", tokenizer_class=Words, tokenizer_data=tokenizer_data,
        )  # fmt: skip


class TinyTokenizers(SD1Tokenizer):
    tokenizer = TinyTokenizer

    def __init__(self, embedding_directory=None, tokenizer_data={}):  # noqa: B006 - the host's signature
        super().__init__(embedding_directory, tokenizer_data, clip_name="pakati_tiny", tokenizer=self.tokenizer)


class TinyTextModel(comfy.clip_model.CLIPTextModel):
    def __init__(self, config_dict, dtype, device, operations):
        super().__init__(config_dict, dtype, device, operations)
        # The host's class knows no other vocabulary than CLIP's.
        shape = len(IDS), config_dict["hidden_size"]
        self.set_input_embeddings(operations.Embedding(*shape, dtype=dtype, device=device))


class TinyTextEncoder(SDClipModel):
    row = MAX_LENGTH

    def __init__(self, device="cpu", dtype=None, model_options={}, **_):  # noqa: B006 - the host's signature
        config = _json("text_encoder") | {"max_position_embeddings": self.row}
        super().__init__(
            device=device, dtype=dtype, max_length=self.row, textmodel_json_config=config, model_class=TinyTextModel,
            special_tokens={"start": IDS[START], "end": IDS[END], "pad": IDS[END]}, return_projected_pooled=False,
            model_options=model_options,
        )  # fmt: skip


class TinyClip(SD1ClipModel):
    encoder = TinyTextEncoder

    def __init__(self, device="cpu", dtype=None, model_options={}):  # noqa: B006 - the host's signature
        super().__init__(device, dtype, model_options, clip_name="pakati_tiny", clip_model=self.encoder)


def load_tiny():
    """MODEL, CLIP, VAE. Raises ModelError where the embedded files are missing or damaged."""
    try:
        return _load_unet(), load_clip(), comfy.sd.VAE(sd=vae_weights())
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as exc:
        raise ModelError(
            f"the embedded model in {WEIGHTS} is missing or damaged ({exc}); install Pakati again"
        ) from exc


def _json(part: str) -> dict:
    return json.loads((WEIGHTS / part / "config.json").read_text(encoding="utf-8"))


def _tensors(part: str, name: str) -> dict[str, torch.Tensor]:
    loaded = comfy.utils.load_torch_file(str(Path(WEIGHTS) / part / name), safe_load=True)
    return {key: value.float() for key, value in loaded.items()}


def _load_unet():
    config = TinyConfig(_unet_config(_json("unet")))
    weights = _tensors("unet", "diffusion_pytorch_model.safetensors")
    names = comfy.utils.unet_to_diffusers(config.unet_config)
    model = comfy.model_base.BaseModel(config, model_type=comfy.model_base.ModelType.FLOW)
    model.diffusion_model.load_state_dict({names[name]: value for name, value in weights.items()})
    device = comfy.model_management.get_torch_device()
    return comfy.model_patcher.ModelPatcher(model, device, comfy.model_management.unet_offload_device())


def load_clip(tokenizers: type[SD1Tokenizer] = TinyTokenizers, encoders: type[TinyClip] = TinyClip):
    weights = _tensors("text_encoder", "model.safetensors")
    weights = {
        name if name.startswith("text_model.") else f"text_model.{name}": value for name, value in weights.items()
    }
    weights = {name: value for name, value in weights.items() if not name.endswith("position_ids")}
    positions = "text_model.embeddings.position_embedding.weight"
    weights[positions] = weights[positions][: encoders.encoder.row]

    class Target:
        params: dict = {}
        clip, tokenizer = encoders, tokenizers

    return comfy.sd.CLIP(Target, state_dict=[weights], parameters=sum(value.numel() for value in weights.values()))


def vae_weights() -> dict[str, torch.Tensor]:
    """The embedded autoencoder's, in the host's names."""
    weights = _tensors("vae", "diffusion_pytorch_model.safetensors")
    # diffusers counts the layers, the host's decoder begins with a clamp that has no weights
    names = {}
    for name in weights:
        half, _, layer, rest = name.split(".", 3)
        names[name] = f"taesd_{half}.{int(layer) + (half == 'decoder')}.{rest}"
    return {names[name]: value for name, value in weights.items()}
