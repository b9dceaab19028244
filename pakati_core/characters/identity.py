"""Is it the same person? One picture against a character's references, and several characters in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from PIL import Image
from scipy.optimize import linear_sum_assignment

from ..errors import IdentityError
from ..geometry import Box
from .calibration import Aggregate, similarities
from .embeddings import Embeddings
from .ports import Embedder, Face


class Match(StrEnum):
    same = "same"
    other = "other"
    unknown = "unknown"  # no face was found


class Unknown(StrEnum):
    """What is to be done with a picture without a face."""

    drop = "drop"
    keep = "keep"
    retry = "retry"  # paint another one; where that cannot be done, as drop


@dataclass(frozen=True)
class Person:
    """Someone to be recognised."""

    name: str
    references: Embeddings
    threshold: float
    how: Aggregate = Aggregate.top2

    def score(self, faces: Sequence[Face], embedder: Embedder) -> np.ndarray:
        """[faces] in [-1,1].  Raises IdentityError where the embedder is another one than the references'."""
        if not faces:
            return np.zeros(0, np.float32)
        vectors = np.stack([face.vector for face in faces])
        self.references.check_comparable(embedder.id, embedder.weights, vectors.shape[1])
        return similarities(vectors, self.references.vectors, self.how)


@dataclass(frozen=True)
class Finding:
    """What was found of one person. score and box are None where the match is unknown."""

    person: str
    match: Match
    score: float | None = None
    threshold: float = 0.0
    box: Box | None = None

    @property
    def text(self) -> str:
        """`0.71, the same` for people to read."""
        if self.score is None:
            return "no face found"
        return f"{self.score:.2f}, {'the same' if self.match == Match.same else 'someone else'}"

    def is_kept(self, unknown: Unknown) -> bool:
        return self.match == Match.same or (self.match == Match.unknown and unknown == Unknown.keep)


def recognise(image: Image.Image, person: Person, embedder: Embedder) -> Finding:
    """The face that is most like the person, whichever that is."""
    return recognise_all(image, [person], embedder)[0]


def recognise_all(image: Image.Image, people: Sequence[Person], embedder: Embedder) -> list[Finding]:
    """For each person a face of their own: the assignment with the largest sum of similarities.

    With fewer faces than people, those that are left without one are unknown.
    """
    faces = embedder.embed(image)
    scores = np.array([person.score(faces, embedder) for person in people]).reshape(len(people), len(faces))
    found = [Finding(person.name, Match.unknown, None, person.threshold) for person in people]
    for row, column in assign(scores):
        person, score = people[row], float(scores[row, column])
        match = Match.same if score >= person.threshold else Match.other
        found[row] = Finding(person.name, match, score, person.threshold, faces[column].box)
    return found


def assign(scores: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (row, column) with the largest sum, each row and each column at most once."""
    if not np.isfinite(scores).all():
        raise IdentityError("similarities must be finite numbers; embed the pictures again")
    return [(int(row), int(column)) for row, column in zip(*linear_sum_assignment(scores, maximize=True))]


def split(findings: Sequence[Finding], unknown: Unknown = Unknown.drop) -> tuple[list[int], list[int]]:
    """Places of the findings that are kept, and of those that are not, both in their order."""
    kept = [i for i, finding in enumerate(findings) if finding.is_kept(unknown)]
    return kept, [i for i in range(len(findings)) if i not in set(kept)]
