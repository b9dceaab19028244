"""Pictures that steer a picture: poses, depth, edges, through ControlNets; the documents' interface for diffusers."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ..engines.models import models_folder
from ..errors import ModelError, PakatiError
from ..geometry import Extent
from ..layout import image_to_pil, pil_to_image
from ..lora import LoRALoader
from .edges import canny, from_opencv
from .embeddings import read_picture
from .presets import ControlnetConfig, load_controlnet_config, load_lora_registry
from .sdxl import GUIDANCE, STEPS, check_extent, run_pipeline

Picture = str | Path | Image.Image


class Kind(StrEnum):
    pose = "pose"
    depth = "depth"
    canny = "canny"


# The documents' name in controlnet_config.yaml, and what it is where there is no such file.
ENTRIES = {Kind.pose: "openpose", Kind.depth: "depth", Kind.canny: "canny"}
STRENGTHS = {Kind.pose: 1.0, Kind.depth: 0.8, Kind.canny: 0.7}
AS_IS = "as is"  # the picture is a drawn skeleton, a depth map or a line drawing already


@dataclass(frozen=True)
class Control:
    """strength: of the ControlNet's influence; start, end: fractions of sampling."""

    kind: Kind
    image: Image.Image
    strength: float
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self):
        if self.strength < 0 or not 0 <= self.start < self.end <= 1:
            raise PakatiError(
                f"control {self.kind} has strength {self.strength} from {self.start} to {self.end}, but a strength of "
                "0 or more and 0 <= start < end <= 1 were wanted"
            )


class ControlNetGenerator:
    """base_pipeline: a StableDiffusionXLPipeline, as SDXLPipelineManager.load_pipeline gives it.

    lora_loader: with the documents' load_lora and unload_lora; for `character_lora`.
    """

    def __init__(self, base_pipeline: Any, config: ControlnetConfig | None = None, lora_loader: Any = None):
        if not hasattr(base_pipeline, "unet") or not hasattr(base_pipeline, "text_encoder_2"):
            raise ModelError("ControlNets need an SDXL pipeline, and this is none; load an SDXL model first")
        self.base, self.loras = base_pipeline, lora_loader
        self.config = config or load_controlnet_config()
        self._nets: dict[Kind, Any] = {}

    def generate_with_pose(
        self, reference_image: Picture, prompt: str, character_lora: str | None = None,
        controlnet_strength: float | None = None, **generation_kwargs: Any,
    ) -> Image.Image:  # fmt: skip
        return self._one(Kind.pose, reference_image, prompt, character_lora, controlnet_strength, generation_kwargs)

    def generate_with_depth(
        self, reference_image: Picture, prompt: str, character_lora: str | None = None,
        controlnet_strength: float | None = None, **kwargs: Any,
    ) -> Image.Image:  # fmt: skip
        return self._one(Kind.depth, reference_image, prompt, character_lora, controlnet_strength, kwargs)

    def generate_with_canny(
        self, reference_image: Picture, prompt: str, character_lora: str | None = None,
        controlnet_strength: float | None = None, **kwargs: Any,
    ) -> Image.Image:  # fmt: skip
        return self._one(Kind.canny, reference_image, prompt, character_lora, controlnet_strength, kwargs)

    def generate_multi_controlnet(
        self, controls: Sequence[dict[str, Any]], prompt: str, character_lora: str | None = None, **kwargs: Any
    ) -> Image.Image:
        """controls: each {"type": pose, depth or canny, "image": path or picture}, and as wished strength, start, end,
        and "preprocess": "as is" where the picture is drawn already, or "auto".

        kwargs: negative_prompt, num_steps, cfg_scale, width, height, seed, progress, as SDXLPipelineManager.generate.
        """
        if not controls:
            raise PakatiError("there are no controls; give at least one with a type and an image")
        ready = [self._control(**control) for control in controls]
        if not character_lora:
            return self._generate(ready, prompt, **kwargs)
        self._load_lora(character_lora)
        try:
            return self._generate(ready, prompt, **kwargs)
        finally:
            self.loras.unload_lora(character_lora)

    def _one(self, kind: Kind, image: Picture, prompt: str, lora: str | None, strength: float | None, more: dict):
        own = {name: more.pop(name) for name in ("preprocess", "start", "end") if name in more}
        if strength is not None:
            own["strength"] = strength
        return self.generate_multi_controlnet([{"type": kind, "image": image, **own}], prompt, lora, **more)

    def _control(
        self, type: str, image: Picture, strength: float | None = None, start: float = 0.0, end: float = 1.0,
        preprocess: str = "auto",
    ) -> Control:  # fmt: skip
        """The names of the arguments are the keys of the documents."""
        if type not in list(Kind):
            raise PakatiError(f"there is no control {type!r}; give {', '.join(Kind)}")
        kind = Kind(type)
        entry = self.config.controlnets.get(ENTRIES[kind])
        if strength is None:
            strength = entry.default_strength if entry else STRENGTHS[kind]
        picture = read_picture(image)
        if preprocess != AS_IS:
            picture = preprocess_picture(kind, picture, self.config.preprocessing.get(ENTRIES[kind], {}))
        return Control(kind, picture, strength, start, end)

    def _generate(
        self, controls: list[Control], prompt: str, negative_prompt: str = "", num_steps: int | None = STEPS,
        cfg_scale: float | None = GUIDANCE, width: int | None = None, height: int | None = None,
        seed: int | None = None, progress: Any = None,
    ) -> Image.Image:  # fmt: skip
        from diffusers import StableDiffusionXLControlNetPipeline

        side = self.base.unet.config.sample_size * self.base.vae_scale_factor
        extent = Extent(width or side, height or side)
        check_extent(extent)
        nets: list[Any] = [self._net(control.kind) for control in controls]
        parts: dict[str, Any] = dict(self.base.components)
        pipeline = StableDiffusionXLControlNetPipeline(**parts, controlnet=nets)
        pipeline.set_progress_bar_config(disable=True)
        hints = [control.image.resize(extent, Image.Resampling.BICUBIC) for control in controls]
        return run_pipeline(
            pipeline, secrets.randbelow(2**32) if seed is None else seed, progress, prompt=prompt,
            negative_prompt=negative_prompt, image=hints, width=extent.width, height=extent.height,
            num_inference_steps=num_steps or STEPS, guidance_scale=GUIDANCE if cfg_scale is None else cfg_scale,
            controlnet_conditioning_scale=[float(control.strength) for control in controls],
            control_guidance_start=[control.start for control in controls],
            control_guidance_end=[control.end for control in controls],
        )  # fmt: skip

    def _load_lora(self, name: str) -> None:
        """Load a character's LoRA by its name in the registry or its path.  Raises PakatiError."""
        registry = load_lora_registry()
        entry = registry.find(name)
        path = registry.locate(name, [models_folder() / "loras"]) if entry else name
        self.loras = self.loras or LoRALoader(self.base)
        self.loras.load_lora(path, name, entry.default_weight if entry else 0.8)

    def _net(self, kind: Kind) -> Any:
        if kind not in self._nets:
            self._nets[kind] = self._load(kind)
        return self._nets[kind]

    def _load(self, kind: Kind) -> Any:
        from diffusers import ControlNetModel

        path = self._path(kind)
        unet = self.base.unet
        try:
            read = ControlNetModel.from_single_file if path.is_file() else ControlNetModel.from_pretrained
            net: Any = read(str(path), torch_dtype=unet.dtype, local_files_only=True)
        except Exception as exc:  # what a damaged file raises depends on the library that reads it
            reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
            raise ModelError(f"the ControlNet at {path} is damaged or of an unknown kind ({reason})") from exc
        return net.to(unet.device).eval().requires_grad_(False)

    def _path(self, kind: Kind) -> Path:
        """Where the documents' configuration says, else controlnet/ in the models folder."""
        entry = self.config.controlnets.get(ENTRIES[kind])
        if entry is None:
            raise ModelError(f"controlnet_config.yaml has no {ENTRIES[kind]}; name its model there")
        name = Path(entry.model).name
        folders = [models_folder() / "controlnet", *([Path(entry.cache_dir)] if entry.cache_dir else [])]
        places = [Path(entry.model), *(folder / each for folder in folders for each in (name, f"{name}.safetensors"))]
        found = next((place for place in places if place.exists()), None)
        if found is None:
            raise ModelError(
                f"the ControlNet {entry.model} is not in {folders[0]}; put it there, Pakati downloads nothing by itself"
            )
        return found


def preprocess_picture(kind: Kind, picture: Image.Image, settings: dict[str, Any]) -> Image.Image:
    """What the ControlNet wants to see. settings: of controlnet_config.yaml; canny's thresholds are OpenCV's."""
    if kind != Kind.canny:
        raise PakatiError(
            f"finding the {kind} in a photograph needs a model of its own; give a drawn {kind} picture with "
            f'preprocess="{AS_IS}", such as ComfyUI\'s pose and depth nodes make'
        )
    low, high = from_opencv(settings.get("low_threshold", 100), settings.get("high_threshold", 200))
    with torch.no_grad():
        return image_to_pil(canny(pil_to_image(picture), low, high))
