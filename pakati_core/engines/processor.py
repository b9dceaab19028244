"""Regional attention as an attention processor of diffusers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ..attention import Rows, attend_rows, unet_levels
from ..errors import ShapeError


@dataclass
class RegionalState:
    """What the processors need to know of the call that is under way; no rows: no region is active."""

    rows: list[Rows] = field(default_factory=list)
    latent: tuple[int, int] = (0, 0)


class RegionalProcessor:
    """For UNet blocks: projections as diffusers makes them, then attention per region."""

    def __init__(self, state: RegionalState):
        self.state = state

    def __call__(self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None,
                 attention_mask: Tensor | None = None, temb: Tensor | None = None) -> Tensor:  # fmt: skip
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        if attn.norm_cross and encoder_hidden_states is not None:
            context = attn.norm_encoder_hidden_states(context)
        q, k, v = attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context)
        q, k, v = (part.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for part in (q, k, v))
        if encoder_hidden_states is None or not self.state.rows:
            out = _sdpa(q, k, v, attention_mask)
        else:
            out = attend_rows(_sdpa, q, k, v, self.state.rows, self._grid(q.shape[-2]))
        return attn.to_out[1](attn.to_out[0](out.transpose(1, 2).flatten(2))) / attn.rescale_output_factor

    def _grid(self, tokens: int) -> tuple[int, int]:
        for height, width in unet_levels(*self.state.latent):
            if height * width == tokens:
                return height, width
        raise ShapeError(f"{tokens} image tokens fit no level of a {self.state.latent} latent; use a UNet that halves")


def _sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


@contextmanager
def install(unet: Any, processor: RegionalProcessor | None) -> Iterator[None]:
    """Put the processor into every attention layer for a while; None leaves the model as it is."""
    if processor is None:
        yield
        return
    before = dict(unet.attn_processors)
    unet.set_attn_processor(processor)
    try:
        yield
    finally:
        unet.set_attn_processor(before)
