"""What is kept of the faces on a character's reference pictures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save

from ..errors import IdentityError, PakatiError
from ..files import save_bytes
from ..geometry import Box
from .ports import Embedder, Face

NO_FACE = "no face was found"


@dataclass(frozen=True)
class Embeddings:
    """One vector for each reference face. Raises IdentityError where the vectors cannot be used.

    vectors: float32 [N,D], each of length 1. embedder and weights say what made them: other embedders' vectors cannot
    be compared with them. Both are empty for a bare .npy file, which does not say. sources: where each came from.
    """

    embedder: str
    weights: str
    vectors: np.ndarray
    sources: tuple[str, ...] = ()

    def __post_init__(self):
        vectors = np.atleast_2d(np.asarray(self.vectors, np.float32))
        if vectors.ndim != 2 or not vectors.size or not np.isfinite(vectors).all():
            raise IdentityError(f"embeddings are {list(vectors.shape)} but finite numbers [N,D] were wanted")
        object.__setattr__(self, "vectors", unit(vectors))
        object.__setattr__(self, "sources", tuple(self.sources) or ("",) * len(vectors))

    def __len__(self) -> int:
        return len(self.vectors)

    @classmethod
    def of(cls, embedder: Embedder, pictures: Iterable[tuple[str, Image.Image]]) -> Self:
        """The best face of each named picture.  Raises IdentityError where a picture has none."""
        found = [(name, best_face(embedder, picture, name)) for name, picture in pictures]
        if not found:
            raise IdentityError("there is no reference picture; give at least one with the character's face")
        vectors = np.stack([face.vector for _, face in found])
        return cls(embedder.id, embedder.weights, vectors, tuple(name for name, _ in found))

    def joined(self, other: Embeddings) -> Embeddings:
        """These and the others."""
        self.check_comparable(other.embedder, other.weights, other.vectors.shape[1])
        vectors = np.concatenate([self.vectors, other.vectors])
        made_by = (self.embedder, self.weights) if self.embedder else (other.embedder, other.weights)
        return Embeddings(*made_by, vectors, (*self.sources, *other.sources))

    def check_comparable(self, embedder: str, weights: str, dimensions: int) -> None:
        """Raises IdentityError where vectors of that embedder are not of this kind."""
        if self.vectors.shape[1] != dimensions:
            raise IdentityError(
                f"the references have {self.vectors.shape[1]} numbers a face and {embedder or 'the others'} "
                f"{dimensions}; embed the reference pictures again with the same embedder"
            )
        if self.embedder and embedder and (self.embedder, self.weights) != (embedder, weights):
            other = "other weights of " if self.embedder == embedder else ""
            raise IdentityError(
                f"the references were embedded by {self.embedder} and this face by {other}{embedder}; embed the "
                "reference pictures again with the same embedder"
            )

    def save(self, path: str | Path) -> None:
        """A safetensors file, with who made it in its header."""
        header = {"pakati": "embeddings", "embedder": self.embedder, "weights": self.weights}
        header["sources"] = json.dumps(self.sources)
        save_bytes(save({"vectors": self.vectors}, header), path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """A file of `save`, or a .npy with [D] or [N,D] numbers, which does not say who made it."""
        path = Path(path)
        try:
            if path.suffix == ".npy":
                return cls("", "", np.load(path, allow_pickle=False), (path.name,))
            with safe_open(path, "np") as file:
                header = file.metadata() or {}
                if header.get("pakati") != "embeddings":
                    raise IdentityError("it holds something else")
                sources = tuple(json.loads(header["sources"]))
                return cls(header["embedder"], header["weights"], file.get_tensor("vectors"), sources)
        except Exception as exc:  # what a damaged file raises depends on the library that reads it
            reason = "it is not there" if isinstance(exc, FileNotFoundError) else str(exc).splitlines()[0]
            message = f"embeddings cannot be read from {path} ({reason}); make them anew from the reference pictures"
            raise IdentityError(message) from exc


def best_face(embedder: Embedder, picture: Image.Image, name: str = "the picture") -> Face:
    """The most prominent face.  Raises IdentityError where there is none."""
    faces = embedder.embed(picture)
    if not faces:
        raise IdentityError(f"{NO_FACE} in {name or 'the picture'} by {embedder.id}; give one that shows it large")
    return faces[0]


def unit(vectors: np.ndarray) -> np.ndarray:
    """Each row of [...,D] at length 1."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True).clip(1e-12)


def sha256_of(*paths: Path) -> str:
    """Of the hashes of the files' contents."""
    return hashlib.sha256(b"".join(_digest(path, path.stat().st_mtime_ns) for path in paths)).hexdigest()


@lru_cache(64)
def _digest(path: Path, _changed: int) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def read_picture(source: str | Path | Image.Image) -> Image.Image:
    """A picture as it is, or the one in a file.  Raises PakatiError where that cannot be read."""
    if isinstance(source, Image.Image):
        return source.convert("RGB")
    try:
        return Image.open(source).convert("RGB")
    except OSError as exc:
        raise PakatiError(f"{source} is not a picture that can be read; give a PNG, JPEG or WebP") from exc


def picture_box(image: Image.Image) -> Box:
    return Box(0, 0, image.width, image.height)
