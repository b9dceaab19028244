"""What finds faces and what tells them apart, as the rest of Pakati sees it.

`Embedder`s: the embedded one, OpenCV's, insightface's, any ONNX file. `Finder`s: OpenCV's, and the whole picture.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image

from ..geometry import Box


class FoundFace(NamedTuple):
    """points: [5,2] pixels as indices (the middle of the first pixel is 0): both eyes, the nose, both corners of the
    mouth, those on the left of the picture first. confidence in [0,1].
    """

    box: Box
    points: np.ndarray
    confidence: float = 1.0


class Face(NamedTuple):
    """vector: float32 [D] of length 1: the cosine of two faces is the product of their vectors."""

    box: Box
    vector: np.ndarray
    confidence: float = 1.0


class Finder(Protocol):
    def find(self, image: Image.Image) -> list[FoundFace]:
        """All faces, the largest first."""
        ...


class Embedder(Protocol):
    """Vectors of two embedders say nothing about each other, not even of two trainings of the same one."""

    @property
    def id(self) -> str: ...

    @property
    def weights(self) -> str:
        """SHA-256 of its weights, hexadecimal."""
        ...

    @property
    def threshold(self) -> float:
        """The cosine above which its makers take two faces for the same person."""
        ...

    def embed(self, image: Image.Image) -> list[Face]:
        """All faces, the largest first; none where there is none.  Raises ModelError where it cannot work."""
        ...
