"""What a control model keeps of a picture: its edges, or its depth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..errors import ModelError

SMOOTH = 1.4  # sigma in pixels of the blur before gradients are taken
WEAK, STRONG = 100 / 255, 200 / 255  # of Sobel's gradient per unit of grey, the thresholds that control models expect


def edges(image: Image.Image, weak: float = WEAK, strong: float = STRONG) -> Image.Image:
    """White on black, RGB: thin edges, weak ones only where they touch a strong one.

    After: J. Canny, A computational approach to edge detection, PAMI 1986.
    """
    from scipy.ndimage import gaussian_filter, label, sobel

    grey = gaussian_filter(np.asarray(image.convert("L"), np.float64) / 255, SMOOTH)
    dx, dy = sobel(grey, 1), sobel(grey, 0)
    steep = _ridges(np.hypot(dx, dy), dx, dy)
    pieces, _ = label(steep > weak, np.ones((3, 3)))  # type: ignore[misc]
    kept = np.isin(pieces, np.unique(pieces[steep > strong])) & (pieces > 0)
    return Image.fromarray(kept.astype(np.uint8) * 255).convert("RGB")


def _ridges(steep: np.ndarray, dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """steep where it is no less than both neighbours along the gradient, else 0."""
    sector = (np.round(np.arctan2(dy, dx) / (np.pi / 4)) % 4).astype(int)
    around = np.pad(steep, 1)
    rows, columns = np.indices(steep.shape) + 1
    step_y, step_x = np.array([0, 1, 1, 1])[sector], np.array([1, 1, 0, -1])[sector]
    before, after = around[rows - step_y, columns - step_x], around[rows + step_y, columns + step_x]
    return np.where((steep >= before) & (steep > after), steep, 0)


class DepthEstimator:
    """Depth as a grey RGB picture, near is bright. folder: of a depth model that transformers can read, on the CPU."""

    def __init__(self, folder: str | Path):
        from transformers import AutoImageProcessor, AutoModelForDepthEstimation

        if not Path(folder).is_dir():
            raise ModelError(f"there is no depth model at {folder}; give a folder such as Depth-Anything-V2-Small-hf")
        self.processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        self.model = AutoModelForDepthEstimation.from_pretrained(folder, local_files_only=True).eval()

    @torch.no_grad()
    def __call__(self, image: Image.Image) -> Image.Image:
        given = self.processor(images=image.convert("RGB"), return_tensors="pt")
        depth = self.model(**given).predicted_depth[0].float()
        depth = (depth - depth.min()) / (depth.max() - depth.min()).clamp(min=1e-6)
        grey = Image.fromarray((depth.numpy() * 255).round().astype(np.uint8))
        return grey.resize(image.size, Image.Resampling.BICUBIC).convert("RGB")
