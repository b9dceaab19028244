"""SDXL, loaded and let go: the documents' interface. The embedded model stands in for it where it is asked for by name.

PyTorch's own attention (SDPA) is the only one: xformers pins versions of torch that break others.
"""

from __future__ import annotations

import gc
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ..engines import Progress, Request
from ..engines.diffusers import DiffusersEngine
from ..engines.models import EMBEDDED, find_model, models_folder
from ..engines.parts import load_pipeline
from ..errors import ModelError, ShapeError, warn
from ..geometry import Extent
from ..regions import RegionSet

STEPS, GUIDANCE = 30, 7.5


class SDXLPipelineManager:
    """model_path: a folder in diffusers' layout, a .safetensors file, the name of either in the models folder, or
    pakati-tiny. device: without CUDA the CPU is used, with a warning. use_sdpa: must be True.

    Nothing is loaded before the first picture, and nothing is ever downloaded. Raises ModelError if it is not there.
    """

    def __init__(
        self,
        model_path: str | Path = "stabilityai/stable-diffusion-xl-base-1.0",
        device: str = "cuda",
        dtype: torch.dtype | None = None,
        use_sdpa: bool = True,
        scheduler: str | None = None,
    ):
        if not use_sdpa:
            raise ModelError("use_sdpa is off, but PyTorch's own attention is the only one here; leave it on")
        self.model_path = model_path if str(model_path) == EMBEDDED else installed_model(model_path)
        self.scheduler = scheduler
        self.device = _device(device)
        self.dtype = dtype if dtype and self.device != "cpu" else _dtype(self.device)
        self._pipeline: Any = None

    @property
    def is_tiny(self) -> bool:
        return str(self.model_path) == EMBEDDED

    @property
    def best_side(self) -> int:
        """Pixels at which the model is at its best."""
        pipeline = self.load_pipeline()
        if self.is_tiny:
            return pipeline.capabilities().best
        return pipeline.unet.config.sample_size * pipeline.vae_scale_factor

    def load_pipeline(self) -> Any:
        """A StableDiffusionXLPipeline; for pakati-tiny the engine of the embedded model.  Raises ModelError."""
        if self._pipeline is None:
            self._pipeline = DiffusersEngine(EMBEDDED, self.device) if self.is_tiny else self._load()
        return self._pipeline

    def _load(self) -> Any:
        pipeline = load_pipeline(self.model_path, self.device, self.dtype)
        pipeline.set_progress_bar_config(disable=True)
        if self.scheduler:
            pipeline.scheduler = scheduler_called(self.scheduler, pipeline.scheduler.config)
        return pipeline

    def generate(
        self,
        prompt: str,
        negative_prompt: str = "",
        num_steps: int | None = STEPS,
        cfg_scale: float | None = GUIDANCE,
        width: int | None = None,
        height: int | None = None,
        seed: int | None = None,
        progress: Progress | None = None,
    ) -> Image.Image:
        """seed: None draws one. width, height: None is the model's best, for SDXL 1024.

        The same prompt, settings and seed give the same picture.
        """
        pipeline, seed = self.load_pipeline(), secrets.randbelow(2**32) if seed is None else seed
        extent = Extent(width or self.best_side, height or self.best_side)
        if self.is_tiny:
            regions = RegionSet(extent, (), prompt, negative_prompt)
            return pipeline.generate(Request(regions, seed, num_steps, cfg_scale), progress).image
        check_extent(extent)
        return run_pipeline(
            pipeline, seed, progress, prompt=prompt, negative_prompt=negative_prompt, width=extent.width,
            height=extent.height, num_inference_steps=num_steps or STEPS,
            guidance_scale=GUIDANCE if cfg_scale is None else cfg_scale,
        )  # fmt: skip

    def unload_pipeline(self) -> None:
        """Give the memory back; the next call loads again."""
        if self._pipeline is not None and self.is_tiny:
            self._pipeline.unload()
        self._pipeline = None
        gc.collect()
        if self.device != "cpu":
            torch.cuda.empty_cache()

    def get_vram_usage(self) -> float:
        """Gigabytes that tensors hold on the GPU; 0 on the CPU."""
        return torch.cuda.memory_allocated(self.device) / 1e9 if self.device != "cpu" else 0.0


def run_pipeline(pipeline: Any, seed: int, progress: Progress | None, **settings: Any) -> Image.Image:
    """Noise is drawn on the CPU, so that every device draws the same."""
    generator = torch.Generator("cpu").manual_seed(seed % 2**63)
    return pipeline(**settings, generator=generator, callback_on_step_end=_telling(progress)).images[0]


def _telling(progress: Progress | None) -> Callable[[Any, int, Any, dict], dict] | None:
    if progress is None:
        return None

    def tell(pipeline: Any, step: int, _when: Any, state: dict) -> dict:
        progress(step + 1, pipeline.num_timesteps)
        return state

    return tell


def check_extent(extent: Extent) -> None:
    if min(extent) < 8 or extent.width % 8 or extent.height % 8:
        raise ShapeError(f"the picture is {extent} but both sides must divide by 8; give such a size")


def installed_model(model: str | Path) -> str | Path:
    """The path of a model by path, by name, or by a hub's owner/name, in the models folder.  Raises ModelError."""
    for name in (str(model), Path(model).name):
        if (found := find_model(name)) is not None:
            return found
    raise ModelError(f"the model {model} is not in {models_folder()}; put it there, Pakati downloads nothing by itself")


def scheduler_called(name: str, config: Any) -> Any:
    """diffusers' scheduler of this name with the settings of another one.  Raises ModelError."""
    import diffusers

    kind = getattr(diffusers, name, None) if name.endswith("Scheduler") else None
    if kind is None or not hasattr(kind, "from_config"):
        raise ModelError(f"diffusers has no scheduler {name!r}; name one such as DPMSolverMultistepScheduler")
    return kind.from_config(config)


def _device(device: str) -> str:
    if device.startswith("cuda") and not torch.cuda.is_available():
        warn("there is no CUDA device here; the CPU paints instead, which is slow for SDXL")
        return "cpu"
    return device


def _dtype(device: str) -> torch.dtype:
    return torch.float32 if device == "cpu" else torch.float16
