"""Pictures and masks in and out of tensors: the only place where layouts and ranges change.

An image is float32 [B,H,W,C] in [0,1], a mask float32 [H,W] in [0,1], as in ComfyUI. "Picture" means PIL.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .errors import ShapeError


def pil_to_image(picture: Image.Image) -> Tensor:
    """Any PIL mode to float32 [1,H,W,3] in [0,1]. Transparency is dropped, not blended."""
    return torch.from_numpy(np.array(picture.convert("RGB"), dtype=np.float32) / 255)[None]


def image_to_pil(image: Tensor) -> Image.Image:
    """[1,H,W,3] or [H,W,3] to an RGB picture; values outside [0,1] are clipped, NaN becomes black."""
    if image.ndim == 4 and image.shape[0] == 1:
        image = image[0]
    if image.ndim != 3 or image.shape[-1] != 3:
        raise ShapeError(f"image is {list(image.shape)} but one picture [1,H,W,3] was wanted; convert one at a time")
    return Image.fromarray(_to_levels(image))


def image_to_bchw(image: Tensor) -> Tensor:
    """[B,H,W,C] to [B,C,H,W], as models want it; the range stays."""
    return image.movedim(-1, 1)


def bchw_to_image(pixels: Tensor) -> Tensor:
    """[B,C,H,W] to [B,H,W,C], as pictures want it; the range stays."""
    return pixels.movedim(1, -1)


def pil_to_mask(picture: Image.Image) -> Tensor:
    """A painted picture to float32 [H,W] in [0,1].

    Where it has transparency, opaque is 1 whatever the colour; without, white is 1 and black 0.
    """
    if picture.has_transparency_data:
        alpha = picture.convert("RGBA").getchannel("A")
        if alpha.getextrema() != (255, 255):
            picture = alpha
    return torch.from_numpy(np.array(picture.convert("L"), dtype=np.float32) / 255)


def mask_to_pil(mask: Tensor) -> Image.Image:
    """[H,W] in [0,1] to a grey picture; values outside are clipped, NaN becomes black."""
    return Image.fromarray(_to_levels(mask))


def array_to_mask(array: Any) -> Tensor:
    """A numpy array or tensor to float32 [H,W] in [0,1] on the CPU.

    array: [H,W] or [1,H,W]; bool, uint8 (255 is 1) or floats in [0,1].  Raises ShapeError for anything else.
    """
    values = _as_tensor(array)
    if values.ndim == 3 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 2 or 0 in values.shape:
        raise ShapeError(f"mask is {list(values.shape)} but [H,W] was wanted; give one mask without channels")
    if values.dtype == torch.uint8:
        return values.float() / 255
    if values.dtype != torch.bool and not values.is_floating_point():
        raise ShapeError(f"mask holds {values.dtype} but bool, uint8 or floats in [0,1] were wanted; convert it")
    values = values.float()
    if not bool(((values >= 0) & (values <= 1)).all()):
        raise ShapeError("mask has values outside [0,1] or NaN; scale it to 0 (outside) ... 1 (inside)")
    return values


def _as_tensor(array: Any) -> Tensor:
    if isinstance(array, Tensor):
        return array.detach().cpu()
    try:
        return torch.from_numpy(np.array(array))
    except (TypeError, ValueError) as exc:
        raise ShapeError(f"mask is a {type(array).__name__} but a numpy array or tensor was wanted") from exc


def _to_levels(values: Tensor) -> np.ndarray:
    return (values.detach().float().cpu().nan_to_num(0).clamp(0, 1) * 255).round().byte().numpy()
