"""Flux's family on this machine: base, Fill, and Canny and Depth control, of which one is loaded at a time."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import ModelError, ShapeError
from .conditions import edges
from .models import models_folder
from .parts import quiet_libraries
from .ports import Capabilities, Picture, Progress, Request

CELL = 16  # pixels to a token
WORDS = 512  # tokens of the long text encoder


@dataclass(frozen=True)
class Member:
    """folder: as its publisher calls it.  guidance, steps: as its model card gives them."""

    folder: str
    pipeline: str  # class of diffusers
    guidance: float
    steps: int


MEMBERS = {
    "base": Member("FLUX.1-dev", "FluxPipeline", 3.5, 28),
    "fill": Member("FLUX.1-Fill-dev", "FluxFillPipeline", 30.0, 50),
    "canny": Member("FLUX.1-Canny-dev", "FluxControlImg2ImgPipeline", 30.0, 50),
    "depth": Member("FLUX.1-Depth-dev", "FluxControlImg2ImgPipeline", 10.0, 30),
}


class FluxFamily:
    """An engine: paints with the base model, edits with Fill; `keep_edges` and `keep_depth` repaint under control.

    folders: by member, folders in diffusers' layout; those not given are looked for in the models folder. depth: makes
    a depth map, needed by `keep_depth` only.  On CUDA parts of the loaded model wait on the CPU until they are needed.
    """

    def __init__(self, folders: Mapping[str, str | Path] | None = None,
                 depth: Callable[[Image.Image], Image.Image] | None = None, device: str | None = None,
                 dtype: torch.dtype | None = None):  # fmt: skip
        if unknown := set(folders or {}) - set(MEMBERS):
            raise ModelError(f"Flux has no member {sorted(unknown)}; give {', '.join(MEMBERS)}")
        found = {name: models_folder() / member.folder for name, member in MEMBERS.items()} | dict(folders or {})
        self.folders = {name: Path(path) for name, path in found.items() if Path(path).is_dir()}
        self.depth = depth
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.dtype = dtype or (torch.bfloat16 if self.device.startswith("cuda") else torch.float32)
        self.loaded: str | None = None
        self._pipe: Any = None

    def has(self, member: str) -> bool:
        return member in self.folders and (member != "depth" or self.depth is not None)

    def generate(self, request: Request, progress: Progress | None = None) -> Picture:
        return self._picture("base", request, _spoken(request, None), progress)

    def edit(self, request: Request, image: Image.Image, mask: Tensor, progress: Progress | None = None) -> Picture:
        original = _fitting(request, image)
        if mask.shape != original.size[::-1]:
            sizes = f"{mask.shape[-1]}x{mask.shape[-2]} but the canvas is {original.width}x{original.height}"
            raise ShapeError(f"the mask is {sizes}; make them equal")
        more = {"image": original, "mask_image": Image.fromarray((mask.numpy() * 255).round().astype(np.uint8))}
        made = self._picture("fill", request, _spoken(request, mask), progress, strength=request.strength, **more)
        share = mask[..., None].numpy()
        blended = np.asarray(made.image, np.float32) * share + np.asarray(original, np.float32) * (1 - share)
        kept = Image.fromarray(blended.round().astype(np.uint8))
        return Picture(kept, request, made.model, made.seconds, made.notes)

    def keep_edges(self, request: Request, image: Image.Image) -> Picture:
        return self._controlled("canny", request, image, edges)

    def keep_depth(self, request: Request, image: Image.Image) -> Picture:
        if self.depth is None:
            raise ModelError("Flux Depth needs a depth map; give FluxFamily(depth=DepthEstimator(folder))")
        return self._controlled("depth", request, image, self.depth)

    def _controlled(self, member: str, request: Request, image: Image.Image,
                    condition: Callable[[Image.Image], Image.Image]) -> Picture:  # fmt: skip
        original = _fitting(request, image)
        more = {"image": original, "control_image": condition(original)}
        return self._picture(member, request, _spoken(request, None), None, strength=request.strength, **more)

    def _picture(self, member: str, request: Request, prompt: str, progress: Progress | None, **more) -> Picture:
        start, extent = time.perf_counter(), request.regions.extent
        if extent.width % CELL or extent.height % CELL:
            raise ShapeError(f"the canvas is {extent.width}x{extent.height}; give Flux sides that divide by {CELL}")
        pipe, kind = self._use(member), MEMBERS[member]
        steps = kind.steps if request.steps is None else request.steps
        guidance = request.guidance if member == "base" and request.guidance is not None else kind.guidance
        if "strength" in more:  # else few steps at little strength are none at all
            steps = max(steps, int(np.ceil(1 / more["strength"])))
        image = pipe(
            prompt=prompt, width=extent.width, height=extent.height, num_inference_steps=steps, guidance_scale=guidance,
            generator=torch.Generator("cpu").manual_seed(request.seed), max_sequence_length=WORDS,
            callback_on_step_end=_told(progress, steps), **more,
        ).images[0]  # fmt: skip
        return Picture(image, request, kind.folder, time.perf_counter() - start, _notes(request))

    def _use(self, member: str) -> Any:
        if self.loaded != member:
            self.unload()
            self._pipe, self.loaded = self._load(member), member
        return self._pipe

    def _load(self, member: str) -> Any:
        kind = MEMBERS[member]
        if member not in self.folders:
            raise ModelError(f"{kind.folder} is not in {models_folder()}; put its diffusers folder there")
        import diffusers

        try:
            with quiet_libraries():
                made = getattr(diffusers, kind.pipeline).from_pretrained(
                    self.folders[member], torch_dtype=self.dtype, local_files_only=True
                )
        except Exception as exc:  # what a damaged folder raises depends on the library that reads it
            raise ModelError(f"{self.folders[member]} cannot be read as {kind.folder} ({exc}); get it again") from exc
        made.set_progress_bar_config(disable=True)
        return self._placed(made)

    def _placed(self, pipe: Any) -> Any:
        if not self.device.startswith("cuda"):
            return pipe.to(self.device)
        try:
            pipe.enable_model_cpu_offload(device=self.device)
        except ImportError as exc:
            raise ModelError("Flux on CUDA needs accelerate; install pakati[local]") from exc
        return pipe

    def capabilities(self) -> Capabilities:
        """megabytes: of the member that is loaded now, if any."""
        parts = self._pipe.components.values() if self._pipe else ()
        weights = (p for part in parts if isinstance(part, torch.nn.Module) for p in part.parameters())
        megabytes = sum(p.numel() * p.element_size() for p in weights) / 1e6
        return Capabilities(MEMBERS["base"].folder, CELL, 4 * CELL, 4096, 1024, self.device, megabytes)

    def unload(self) -> None:
        self._pipe = self.loaded = None
        gc.collect()
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()


def _spoken(request: Request, mask: Tensor | None) -> str:
    """The prompts in one line; of an edit only those whose regions lie under the mask."""
    regions = request.regions
    if mask is None or not regions.regions:
        return ", ".join([regions.prompt, *(r.prompt for r in regions.regions)]).strip(", ")
    shares = regions.coverage()
    under = [r.prompt for r, share in zip(regions.regions, shares) if float((share * mask).sum()) > 0.5 * share.sum()]
    return ", ".join(under) or regions.prompt


def _fitting(request: Request, image: Image.Image) -> Image.Image:
    extent = request.regions.extent
    if image.size != extent:
        sizes = f"{image.width}x{image.height} but the canvas is {extent.width}x{extent.height}"
        raise ShapeError(f"the picture is {sizes}; make them equal")
    return image.convert("RGB")


def _notes(request: Request) -> tuple[str, ...]:
    return ("Flux read the regions' prompts as one; what fails in a region is repainted there",) * bool(
        request.regions.regions
    )


def _told(progress: Progress | None, steps: int) -> Callable:
    def told(_pipe: Any, step: int, _time: Any, values: dict) -> dict:
        if progress:
            progress(step + 1, steps)
        return values

    return told
