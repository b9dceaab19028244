"""Identity of the embedded world's cartoon heads, by networks that come with Pakati and need no further package."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from ..geometry import Box
from ..layout import image_to_bchw, pil_to_image
from ..tiny.head_nets import CELL, HEADS, SIDE, HeadEmbedder, HeadFinder, load_head_nets
from .alignment import align
from .embeddings import sha256_of
from .ports import Face, FoundFace

HEADS_ID = "pakati-heads"
SURE = 0.4  # heat of a cell that holds a head
APART = 7  # cells: of two peaks that are nearer, one is the other's echo
# Of a head, in half heads: between the eyes; from the eyes' line to the mouth's and to the middle; half of its box.
EYES, MOUTH, MIDDLE, HALF = 0.72, 0.64, 0.12, 1.15


class HeadsFinder:
    """Five marks of every cartoon head. net: of `load_head_nets`."""

    def __init__(self, net: HeadFinder | None = None):
        self.net = net or load_head_nets()[0]

    @torch.no_grad()
    def find(self, image: Image.Image) -> list[FoundFace]:
        image = image.convert("RGB")
        scale = SIDE / min(image.size)
        size = [max(CELL, round(side * scale / CELL) * CELL) for side in reversed(image.size)]
        pixels = F.interpolate(image_to_bchw(pil_to_image(image)), size, mode="bilinear", antialias=True)
        out = self.net(pixels)[0]
        heat = out[0].sigmoid()
        peaks = (heat >= SURE) & (heat == F.max_pool2d(heat[None], APART, 1, APART // 2)[0])
        stretch = np.array([image.width / size[1], image.height / size[0]])
        found = []
        for row, column in peaks.nonzero().tolist():
            cells = out[1:, row, column].reshape(5, 2).double().numpy() + (column + 0.5, row + 0.5)
            found.append(_found(cells * CELL * stretch - 0.5, float(heat[row, column])))
        return sorted(found, key=lambda face: -face.box.area)


def _found(points: np.ndarray, confidence: float) -> FoundFace:
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    x, y = eyes + (mouth - eyes) * MIDDLE / MOUTH + 0.5
    half = HALF * float(np.linalg.norm(points[1] - points[0])) / EYES
    return FoundFace(Box(x - half, y - half, 2 * half, 2 * half), points, confidence)


class HeadsEmbedder:
    """Cartoon heads of pakati_core/tiny/heads.py; 64 numbers each."""

    id, threshold = HEADS_ID, 0.6

    @cached_property
    def nets(self) -> tuple[HeadFinder, HeadEmbedder]:
        return load_head_nets()

    @property
    def weights(self) -> str:
        return sha256_of(HEADS)

    def embed(self, image: Image.Image) -> list[Face]:
        finder, embedder = self.nets
        found = HeadsFinder(finder).find(image)
        if not found:
            return []
        faces = np.stack([np.asarray(align(image, face.points), np.float32) for face in found])
        with torch.no_grad():
            vectors = embedder((torch.from_numpy(faces).permute(0, 3, 1, 2) - 127.5) / 127.5).numpy()
        return [Face(face.box, vector, face.confidence) for face, vector in zip(found, vectors)]
