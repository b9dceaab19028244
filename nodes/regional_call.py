"""What one call of a model with regions is about, for the patches that ComfyUI hands no options to."""

from __future__ import annotations

from contextvars import ContextVar
from enum import StrEnum
from typing import NamedTuple

import torch
from torch import Tensor

from ..pakati_core.attention import Gate, Joined, Rows, Sequence, token_gate, unet_levels


class Stream(StrEnum):
    """What the tokens of a layer are."""

    words = "words"
    image = "image"  # and what belongs to no prompt
    both = "both"
    none = "none"


class RegionalCall(NamedTuple):
    """joined: None where words are read by cross-attention. grid: image tokens; latent: height and width."""

    rows: list[Rows]
    grid: tuple[int, int]
    latent: tuple[int, int]
    cache: dict  # what layer after layer asks for
    before: int = 0  # tokens before the words
    joined: Joined | None = None
    base: int = 0  # words of a base prompt, and
    keys: int = 0  # of a row of the batch in all, where they are read by cross-attention
    image_last: bool = False  # other tokens may stand between words and image

    @property
    def batch(self) -> int:
        return self.rows[-1].stop

    @property
    def words(self) -> int:
        return self.joined.words if self.joined is not None else self.keys

    @property
    def grids(self) -> list[tuple[int, int]]:
        """All that the model has; a model whose tokens are cells of the latent has smaller ones too."""
        return unet_levels(*self.grid) if self.joined is None and self.grid == self.latent else [self.grid]

    def shared_words(self, row: Rows, number: int, tokens: int) -> Tensor:
        """Where a region's words lie among the `tokens` of all rows, one row after another: the rows hold them
        together where they are read by cross-attention."""
        start, length = row.prompts.span(number)
        at, room = torch.arange(start, start + length), self.keys - self.base
        return at // room * tokens + self.base + at % room

    def gate(self, stream: Stream, row: Rows, number: int, tokens: int, device: torch.device) -> Gate | None:
        """A region's own among so many tokens of its rows; none where they are not the model's."""
        place = self.sequence(stream, tokens)
        if place is None or row.text is None:
            return None
        sequence, grid = place
        return token_gate(row.text.plan(row.active, row.frame, grid, device), row.prompts, number, sequence)

    def sequence(self, stream: Stream, tokens: int) -> tuple[Sequence, tuple[int, int]] | None:
        """Where words and pixels lie among so many tokens, and the grid of the pixels; None: these are not they."""
        if stream == Stream.words:
            first = 0 if self.image_last else tokens - self.words
            known = first in (0, self.before) and tokens >= self.words
            return (Sequence(first, self.words, tokens, 0, tokens), self.grid) if known else None
        first = self.before + self.words if stream == Stream.both else 0
        for height, width in self.grids:
            more = tokens - first - height * width
            if stream != Stream.none and (more == 0 or (more > 0 and self.joined is not None)):
                words = (self.before, self.words) if first else (0, 0)
                image = first + more if self.image_last else first
                return Sequence(*words, image, height * width, tokens), (height, width)
        return None


CALL: ContextVar[RegionalCall | None] = ContextVar("pakati_regional_call", default=None)
