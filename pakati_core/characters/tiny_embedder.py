"""Identity in the embedded world, where the faces are objects: who it is, is its kind and its colour."""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..geometry import Box
from ..layout import image_to_bchw, pil_to_image
from ..tiny import WEIGHTS
from ..tiny.reader import GRID, MALFORMED, SIDE, Finding, Reader
from .embeddings import sha256_of, unit
from .ports import Face

TINY = "pakati-tiny"


class TinyEmbedder:
    """Each object that the embedded reader finds, as the odds of every kind and of every colour.

    Two objects of one kind and colour have a cosine near 1, of one of both near 1/2, of neither near 0.
    """

    id, threshold = TINY, 0.75

    def __init__(self):
        self.reader = Reader()

    @property
    def weights(self) -> str:
        return sha256_of(WEIGHTS / "reader.safetensors")

    def embed(self, image: Image.Image) -> list[Face]:
        image = image.convert("RGB")
        findings = [thing for thing in self.reader.read(pil_to_image(image))[0].findings if thing.kind != MALFORMED]
        boxes = [_box(thing, image) for thing in findings]
        odds = self.reader.odds(F.interpolate(image_to_bchw(pil_to_image(image)), (SIDE, SIDE), mode="area"))
        faces = [Face(box, _vector(odds, thing), thing.confidence) for thing, box in zip(findings, boxes)]
        return sorted(faces, key=lambda face: -face.box.area)


def _vector(odds: tuple[Tensor, Tensor], thing: Finding) -> np.ndarray:
    """[kinds + colours], both halves of one length, at the object's middle."""
    row, column = (min(GRID - 1, max(0, int(fraction * GRID))) for fraction in (thing.y, thing.x))
    halves = [unit(part[0, :, row, column].numpy()) for part in odds]
    return unit(np.concatenate(halves).astype(np.float32))


def _box(thing: Finding, image: Image.Image) -> Box:
    half = thing.radius * min(image.size)
    return Box(thing.x * image.width - half, thing.y * image.height - half, 2 * half, 2 * half).intersect(
        Box(0, 0, image.width, image.height)
    )
