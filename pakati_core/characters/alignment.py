"""Faces turned, moved and scaled to where recognisers expect them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

from ..errors import ShapeError

SIDE = 112
# Eyes, nose and corners of the mouth in a 112x112 picture, as indices: the template that ArcFace's models were trained
# with and that its successors (SFace, AdaFace, AuraFace) kept. Values: insightface, face_align.arcface_dst.
TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)], np.float64
)


class Similarity(NamedTuple):
    """x -> scale * turn @ x + shift. turn: [2,2] a rotation."""

    scale: float
    turn: np.ndarray
    shift: np.ndarray

    def apply(self, points: np.ndarray) -> np.ndarray:
        """[N,2] -> [N,2]"""
        return self.scale * points @ self.turn.T + self.shift

    def inverse(self) -> Similarity:
        turn = self.turn.T
        return Similarity(1 / self.scale, turn, -turn @ self.shift / self.scale)


def fit_similarity(points: np.ndarray, template: np.ndarray = TEMPLATE) -> Similarity:
    """The similarity that brings points [N,2] nearest to the template, in least squares and without mirroring.

    Umeyama, Least-squares estimation of transformation parameters between two point patterns, 1991.
    Raises ShapeError where the points are all one.
    """
    x, y = np.asarray(points, np.float64), np.asarray(template, np.float64)
    mx, my = x.mean(0), y.mean(0)
    variance = ((x - mx) ** 2).sum() / len(x)
    if not np.isfinite(variance) or variance < 1e-9:
        raise ShapeError("the marks of the face lie on one spot; give eyes, nose and corners of the mouth")
    u, d, vt = np.linalg.svd((y - my).T @ (x - mx) / len(x))
    s = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt)) or 1.0])
    turn, scale = u * s @ vt, float((d * s).sum() / variance)
    return Similarity(scale, turn, my - scale * turn @ mx)


def align(image: Image.Image, points: np.ndarray, side: int = SIDE) -> Image.Image:
    """The face with these marks ([5,2] pixels) as the template wants it: an RGB picture, side x side.

    Bilinear; a face larger than the template is averaged first, so that the picture's size changes little.
    """
    image, points = image.convert("RGB"), np.asarray(points, np.float64)
    template = (TEMPLATE + 0.5) * side / SIDE - 0.5
    shrink = int(1 / fit_similarity(points, template).scale)
    if shrink > 1:
        image, points = image.reduce(shrink), (points + 0.5) / shrink - 0.5
    back = fit_similarity(points, template).inverse()
    a = back.scale * back.turn
    # Pillow counts from the corner of a pixel, face templates from its middle.
    shift = back.shift + 0.5 - 0.5 * a.sum(1)
    row = (a[0, 0], a[0, 1], shift[0], a[1, 0], a[1, 1], shift[1])
    return image.transform((side, side), Image.Transform.AFFINE, row, Image.Resampling.BILINEAR)
