"""The local engine, on diffusers' models."""

from __future__ import annotations

import gc
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import ShapeError
from .denoising import Denoising
from .parts import Parts, load_parts
from .ports import Capabilities, Picture, Progress, Request


class DiffusersEngine:
    """Any SD1.5 or SDXL folder or single file, and the embedded model. Loads at the first call, keeps it loaded.

    model: `pakati-tiny`, a folder in diffusers' layout, or a .safetensors checkpoint.
    dtype: float16 on CUDA and float32 elsewhere where it is not given.
    """

    def __init__(self, model: str | Path = "pakati-tiny", device: str | None = None, dtype: torch.dtype | None = None):
        self.model = model
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.dtype = dtype or (torch.float16 if self.device.startswith("cuda") else torch.float32)
        self._parts: Parts | None = None

    @property
    def parts(self) -> Parts:
        if self._parts is None:
            self._parts = load_parts(self.model, self.device, self.dtype)
        return self._parts

    def unload(self) -> None:
        self._parts = None
        gc.collect()
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()

    def capabilities(self) -> Capabilities:
        parts = self.parts
        return Capabilities(
            parts.name, parts.scale, 8 * parts.scale, 4096, parts.best, self.device, parts.megabytes(), parts.good
        )

    def generate(self, request: Request, progress: Progress | None = None) -> Picture:
        start = time.perf_counter()
        run = Denoising(self.parts, request)
        image = run.decode(run.sample(run.noise() * run.initial_scale, progress))
        return Picture(image, request, self.parts.name, time.perf_counter() - start, run.notes)

    def edit(self, request: Request, image: Image.Image, mask: Tensor, progress: Progress | None = None) -> Picture:
        start, original = time.perf_counter(), image.convert("RGB")
        if image.size != request.regions.extent or mask.shape != image.size[::-1]:
            sizes = f"{image.width}x{image.height} and {mask.shape[-1]}x{mask.shape[-2]}"
            width, height = request.regions.extent
            raise ShapeError(f"picture and mask are {sizes} but the canvas is {width}x{height}; make them equal")
        run = Denoising(self.parts, request)
        result = run.repaint(original, mask, progress)
        share = mask[..., None].numpy()
        blended = np.asarray(result, np.float32) * share + np.asarray(original, np.float32) * (1 - share)
        kept = Image.fromarray(blended.round().astype(np.uint8))
        return Picture(kept, request, self.parts.name, time.perf_counter() - start, run.notes, result)
