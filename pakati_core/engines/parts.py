"""A loaded model, whatever its family, behind one set of parts: text in, UNet, latents out."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers import (
    AutoencoderTiny,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    UNet2DConditionModel,
)
from diffusers.utils import logging as diffusers_logging
from torch import Tensor
from transformers import CLIPTextModel
from transformers.utils import logging as transformers_logging

from ..errors import ModelError
from ..tiny import WEIGHTS
from ..tiny.words import encode, encode_padded
from .checkpoints import load_checkpoint


class Text(NamedTuple):
    """tokens: [1,L,C]; pooled: [1,C] where the family has it; unknown: words that the model does not know."""

    tokens: Tensor
    pooled: Tensor | None = None
    unknown: tuple[str, ...] = ()


@dataclass
class Parts:
    """What the engine works with. encode(text) -> Text; scheduler() -> a fresh diffusers scheduler."""

    name: str
    unet: Any  # diffusers' types describe neither its configurations nor its outputs
    vae: Any
    encode: Callable[[str], Text]
    scheduler: Callable[[], Any]
    best: int  # side in pixels
    steps: int
    guidance: float
    wants_size: bool = False  # SDXL is told the picture's size
    also: tuple = field(default=())  # further modules that hold memory
    good: int = 64  # smallest side in pixels at which it still paints well

    @property
    def scale(self) -> int:
        """Pixels to a latent cell."""
        return 2 ** (
            len(
                getattr(
                    self.vae.config, "block_out_channels", self.vae.config.get("encoder_block_out_channels", (0,) * 4)
                )
            )
            - 1
        )

    def megabytes(self) -> float:
        modules = (self.unet, self.vae, *self.also)
        return sum(p.numel() * p.element_size() for module in modules for p in module.parameters()) / 1e6


def load_parts(model: str | Path, device: str, dtype: torch.dtype) -> Parts:
    """model: `pakati-tiny`, a diffusers folder, or a single safetensors file. Raises ModelError."""
    path = WEIGHTS if str(model) == "pakati-tiny" else Path(model)
    if not path.exists():
        raise ModelError(f"there is no model at {path}; give a diffusers folder, a .safetensors file or pakati-tiny")
    with _reading(path):
        is_tiny = (path / "preview.json").exists()
        return _load_tiny(path, device) if is_tiny else _load_pipeline(path, device, dtype)


def load_pipeline(model: str | Path, device: str, dtype: torch.dtype) -> Any:
    """diffusers' own pipeline of a folder or a single file, SD1.5 or SDXL. Raises ModelError."""
    path = Path(model)
    with _reading(path):
        return _pipeline(path, device, dtype)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        with quiet_libraries():
            yield
    except ModelError:
        raise
    except Exception as exc:  # what a damaged file raises depends on the library that reads it
        reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        raise ModelError(f"the model at {path} is damaged or of an unknown kind ({reason}); get it again") from exc


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Their bars and remarks while loading say nothing that a user could act on; what fails is raised."""
    libraries = (diffusers_logging, transformers_logging)
    levels = [library.get_verbosity() for library in libraries]
    bar = transformers_logging.is_progress_bar_enabled()
    for library in libraries:
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for library, level in zip(libraries, levels, strict=True):
            library.set_verbosity(level)
            if bar:
                library.enable_progress_bar()


def _load_tiny(folder: Path, device: str) -> Parts:
    """Always float32: a model this small gains nothing from less."""
    unet: Any = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32)
    vae: Any = AutoencoderTiny.from_pretrained(folder / "vae", torch_dtype=torch.float32)
    encoder: Any = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
    for part in (unet, vae, encoder):
        part.to(device).eval().requires_grad_(False)

    @torch.no_grad()
    def encode_text(text: str) -> Text:
        rows = torch.tensor(encode_padded(text), device=device)
        hidden = encoder(rows).last_hidden_state
        return Text(hidden.flatten(0, 1)[None], None, tuple(encode(text).unknown))

    return Parts(
        "pakati-tiny", unet, vae, encode_text, lambda: FlowMatchEulerDiscreteScheduler(), best=128, steps=20,
        guidance=4.0, also=(encoder,),
    )  # fmt: skip


def _load_pipeline(path: Path, device: str, dtype: torch.dtype) -> Parts:
    pipe = _pipeline(path, device, dtype)
    if pipe.vae.config.get("force_upcast"):
        pipe.vae.to(torch.float32)  # SDXL's overflows in float16 and gives black pictures
    is_xl = hasattr(pipe, "text_encoder_2")

    @torch.no_grad()
    def encode_text(text: str) -> Text:
        out = pipe.encode_prompt(text, device=device, num_images_per_prompt=1, do_classifier_free_guidance=False)
        return Text(out[0], out[2] if is_xl else None)

    encoders = (pipe.text_encoder, pipe.text_encoder_2) if is_xl else (pipe.text_encoder,)
    schedule = pipe.scheduler.config
    return Parts(
        path.stem, pipe.unet, pipe.vae, encode_text, lambda: EulerDiscreteScheduler.from_config(schedule),
        best=pipe.unet.config.sample_size * pipe.vae_scale_factor, steps=25, guidance=6.0 if is_xl else 7.5,
        wants_size=is_xl, also=encoders, good=384 if is_xl else 256,
    )  # fmt: skip


def _pipeline(path: Path, device: str, dtype: torch.dtype) -> Any:
    pipe = load_checkpoint(path, dtype) if path.is_file() else _load_folder(path, dtype)
    return pipe.to(device)


def _load_folder(path: Path, dtype: torch.dtype) -> Any:
    # Imported here: it takes seconds and talks about torchvision, and the embedded model needs neither.
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

    index = json.loads((path / "model_index.json").read_text(encoding="utf-8"))
    if "text_encoder_2" in index:
        return StableDiffusionXLPipeline.from_pretrained(path, torch_dtype=dtype, local_files_only=True)
    return StableDiffusionPipeline.from_pretrained(
        path, torch_dtype=dtype, local_files_only=True, safety_checker=None, requires_safety_checker=False
    )
