"""A batch of conditionings, each with regions of its own or none, in one call of the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .attend import Prompts, attend
from .text import Frame, RegionalText


class Rows(NamedTuple):
    """The rows of one conditioning. text: None where no region is active."""

    start: int
    stop: int
    prompts: Prompts
    text: RegionalText | None = None
    active: tuple[str, ...] = ()
    frame: Frame | None = None


def make_rows(
    start: int, stop: int, base: int, text: RegionalText | None, active: tuple[str, ...], frame: Frame | None
) -> Rows:
    """base: number of the base prompt's tokens."""
    if text is None or not active:
        return Rows(start, stop, Prompts((base,)))
    lengths = (base, *(text.prompts[name].shape[1] for name in active))
    return Rows(start, stop, Prompts(lengths, text.strengths(active)), text, active, frame)


def join_prompts(context: Tensor, rows: list[Rows], length: int) -> Tensor:
    """[B,base,C] -> [B,length,C]: each row's base prompt, then its active regions' prompts, then zeros."""
    joined = context.new_zeros(context.shape[0], length, context.shape[2])
    joined[:, : context.shape[1]] = context
    for row in rows:
        if row.text is not None:
            prompts = torch.cat([row.text.prompts[name].to(context) for name in row.active], dim=1)
            joined[row.start : row.stop, context.shape[1] : row.prompts.total] = prompts
    return joined


def attend_rows(
    attention: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, rows: list[Rows], grid: tuple[int, int]
) -> Tensor:
    """`attend` for each conditioning of a batch; the batch is dimension 0, tokens are dimension -2."""
    parts = []
    for row in rows:
        q_, k_, v_ = (part[row.start : row.stop] for part in (q, k, v))
        if row.text is None or row.frame is None:
            base = row.prompts.lengths[0]
            parts.append(attention(q_, k_[..., :base, :], v_[..., :base, :], None))
        else:
            plan = row.text.plan(row.active, row.frame, grid, q.device)
            parts.append(attend(attention, q_, k_, v_, plan, row.prompts))
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def unet_levels(height: int, width: int) -> list[tuple[int, int]]:
    """Sizes of a UNet's levels, finest first; each halves by rounding up."""
    levels = [(height, width)]
    while max(levels[-1]) > 1:
        levels.append((-(-levels[-1][0] // 2), -(-levels[-1][1] // 2)))
    return levels


def unmistakable_length(length: int, height: int, width: int) -> int:
    """The first length from here that is no level's token count, where a call is known by its number of keys."""
    counts = {tall * wide for tall, wide in unet_levels(height, width)}
    while length in counts:
        length += 1
    return length
