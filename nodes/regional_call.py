"""What one call of a model with regions is about, for the patches that ComfyUI hands no options to."""

from __future__ import annotations

from contextvars import ContextVar
from typing import NamedTuple

from ..pakati_core.attention import Joined, Rows


class RegionalCall(NamedTuple):
    """joined: None where words are read by cross-attention. grid: image tokens; latent: height and width."""

    rows: list[Rows]
    grid: tuple[int, int]
    latent: tuple[int, int]
    before: int = 0  # tokens before the words
    joined: Joined | None = None


CALL: ContextVar[RegionalCall | None] = ContextVar("pakati_regional_call", default=None)
