"""The embedded joint-attention model as the host's own objects: what its stock loader makes of the file, the embedded
text encoder, and the embedded autoencoder in Flux.1's latent space."""

from __future__ import annotations

import comfy.latent_formats
import comfy.sd
import comfy.utils
import torch
from safetensors import SafetensorError

from ..pakati_core.errors import ModelError
from ..pakati_core.tiny import JOINT_WEIGHTS
from ..pakati_core.tiny.words import END, IDS
from .tiny_model import TinyClip, TinyTextEncoder, TinyTokenizer, TinyTokenizers, load_clip, vae_weights

FORMAT = comfy.latent_formats.Flux()
ROW = 16  # tokens of the base prompt that it was trained with; a longer prompt goes on in further rows


class JointTokenizer(TinyTokenizer):
    row = ROW


class JointTokenizers(TinyTokenizers):
    region_padding = "pakati_tiny", IDS[END]  # the stream and the token that fill a prompt up: see region_text.py
    tokenizer = JointTokenizer


class JointTextEncoder(TinyTextEncoder):
    row = ROW


class JointClip(TinyClip):
    encoder = JointTextEncoder


def load_tiny_dit():
    """MODEL, CLIP, VAE. Raises ModelError where the embedded files are missing or damaged."""
    try:
        return _load_transformer(), load_clip(JointTokenizers, JointClip), _load_vae()
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError, SafetensorError) as exc:
        message = f"the embedded model in {JOINT_WEIGHTS} is missing or damaged ({exc}); install Pakati again"
        raise ModelError(message) from exc


def _load_transformer():
    weights = comfy.utils.load_torch_file(str(JOINT_WEIGHTS), safe_load=True)
    return comfy.sd.load_diffusion_model_state_dict(weights, model_options={"dtype": torch.float32})


def _load_vae():
    """Eight of the sixteen channels are read and written; their scale and shift undo those of the host's format."""
    weights = vae_weights()
    inlet, outlet = "taesd_decoder.1.weight", "taesd_encoder.14"
    spare = FORMAT.latent_channels - weights[inlet].shape[1]
    weights[inlet] = torch.nn.functional.pad(weights[inlet], (0, 0, 0, 0, 0, spare))
    weights[f"{outlet}.weight"] = torch.nn.functional.pad(weights[f"{outlet}.weight"], (0,) * 7 + (spare,))
    weights[f"{outlet}.bias"] = torch.nn.functional.pad(weights[f"{outlet}.bias"], (0, spare))
    weights["vae_scale"], weights["vae_shift"] = torch.tensor(FORMAT.scale_factor), torch.tensor(FORMAT.shift_factor)
    return comfy.sd.VAE(sd=weights)
