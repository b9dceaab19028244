"""Whether pictures show the character of a reference picture: the documents' interface to the identity of faces."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from ..errors import IdentityError
from .calibration import Aggregate
from .embedders import DOCUMENTS_THRESHOLD, embedder_called
from .embeddings import Embeddings, best_face, read_picture, unit
from .identity import Match, Person, Unknown, recognise, split
from .ports import Embedder

Picture = str | Path | Image.Image
AnyPicture = TypeVar("AnyPicture", str, Path, Image.Image)


class CharacterConsistencyChecker:
    """model_name: see embedders.py; where it is not given, $PAKATI_EMBEDDER, else buffalo_l. Or an embedder itself.

    Raises ModelError, without touching the network, where its weights are missing.
    """

    def __init__(self, model_name: str | None = None, embedder: Embedder | None = None):
        name = model_name or os.environ.get("PAKATI_EMBEDDER") or "buffalo_l"
        self.embedder = embedder or embedder_called(name)

    def extract_embedding(self, image: Picture) -> np.ndarray:
        """float32 [D] of length 1, of the most prominent face.  Raises IdentityError where there is none."""
        return best_face(self.embedder, read_picture(image), _name(image)).vector

    def compute_similarity(self, reference_embedding: np.ndarray, generated_embedding: np.ndarray) -> float:
        """The cosine, in [-1,1]."""
        one, two = np.ravel(reference_embedding), np.ravel(generated_embedding)
        if one.shape != two.shape:
            raise IdentityError(f"embeddings of {one.size} and {two.size} numbers cannot be compared; use one embedder")
        return float(unit(one) @ unit(two))

    def verify_character_match(
        self, reference_image: Picture, generated_image: Picture, threshold: float = DOCUMENTS_THRESHOLD
    ) -> dict[str, Any]:
        """is_match, similarity and threshold. Where no face is found: is_match False, similarity None, and `unknown`
        is True."""
        finding = recognise(read_picture(generated_image), self._person(reference_image, threshold), self.embedder)
        return {
            "is_match": finding.match == Match.same,
            "similarity": finding.score,
            "threshold": threshold,
            "unknown": finding.match == Match.unknown,
        }

    def filter_consistent_images(
        self,
        reference_image: Picture | Embeddings,
        generated_images: Sequence[AnyPicture],
        threshold: float = DOCUMENTS_THRESHOLD,
        unknown: Unknown = Unknown.drop,
    ) -> list[AnyPicture]:
        """Those of the pictures that show the character, in their order, as they were given."""
        person = self._person(reference_image, threshold)
        findings = [recognise(read_picture(picture), person, self.embedder) for picture in generated_images]
        return [generated_images[i] for i in split(findings, unknown)[0]]

    def _person(self, reference: Picture | Embeddings, threshold: float) -> Person:
        if not isinstance(reference, Embeddings):
            reference = Embeddings.of(self.embedder, [(_name(reference), read_picture(reference))])
        return Person("the character", reference, threshold, Aggregate.top2)


def _name(image: Picture) -> str:
    return "" if isinstance(image, Image.Image) else Path(image).name
