"""A batch of conditionings, each with regions of its own or none, in one call of the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .attend import Prompts, attend, own_keys
from .joint import Sequence, attend_joint, attend_words
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


class Joined(NamedTuple):
    """Every prompt of a batch once, after the base prompt; all rows carry all of them and see their own.

    context: [B,words,C]. pads: [words] bool, filled up to the model's multiple. positions: [words] int64, where each
    token would stand if its prompt were alone. before_image: [words] int64, the same counted back from the image.
    lengths: of the prompts, one after the other, padding included. order: [words] int64, where the model has them one
    after the other; None: as they are here.
    """

    context: Tensor
    pads: Tensor
    positions: Tensor
    before_image: Tensor
    rows: list[Rows]
    lengths: tuple[int, ...]
    order: Tensor | None = None

    @property
    def words(self) -> int:
        return self.context.shape[1] if self.order is None else len(self.order)


def join_shared(context: Tensor, rows: list[Rows], multiple: int = 1, avoid: int = -1) -> Joined:
    """For models whose positions are the same for a whole batch.

    multiple: each prompt is filled up to a multiple of it, as the model would do with one alone. avoid: a number of
    words that would be mistaken for the image's.
    """
    base, pieces = context.shape[1], {0: _Piece(context, 0, _up(context.shape[1], multiple), 0)}
    for text, name in ((row.text, name) for row in rows if row.text for name in row.active):
        prompt, end = text.prompts[name], sum(piece.filled for piece in pieces.values())
        piece = _Piece(prompt, end, _up(prompt.shape[1], multiple), text.offsets.get(name, 0))
        pieces.setdefault(id(prompt), piece)
    words = sum(piece.filled for piece in pieces.values())
    words += multiple if words == avoid else 0
    starts = {key: piece.start for key, piece in pieces.items()}
    placed = [_placed(row, base, starts, multiple) for row in rows]
    return Joined(*_laid_out(context, list(pieces.values()), words), placed, tuple(p.filled for p in pieces.values()))


class _Piece(NamedTuple):
    prompt: Tensor
    start: int
    filled: int  # tokens, padding included
    offset: int


def _laid_out(context: Tensor, pieces: list[_Piece], words: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What Joined holds: context, pads, positions, before_image."""
    joined = context.new_zeros(context.shape[0], words, context.shape[2])
    pads = torch.ones(words, dtype=torch.bool, device=context.device)
    positions = torch.zeros(words, dtype=torch.long, device=context.device)
    before_image = torch.zeros_like(positions)
    for prompt, start, filled, offset in pieces:
        joined[:, start : start + prompt.shape[1]] = prompt.to(context)
        pads[start : start + prompt.shape[1]] = False
        positions[start : start + filled] = torch.arange(offset, offset + filled, device=context.device)
        before_image[start : start + filled] = torch.arange(words - filled, words, device=context.device)
    return joined, pads, positions, before_image


def _placed(row: Rows, base: int, starts: dict[int, int], multiple: int) -> Rows:
    """The row with its prompts where they lie in the shared text."""
    first, length = row.prompts.span(0)
    length = _up(length, multiple) if length == base else length
    texts = [row.text.prompts[name] for name in row.active] if row.text else []
    lengths = (length, *(_up(text.shape[1], multiple) for text in texts))
    return row._replace(prompts=Prompts(lengths, row.prompts.strengths, (first, *(starts[id(text)] for text in texts))))


def _up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


def attend_joint_rows(
    attention: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, rows: list[Rows], sequence: Sequence,
    grid: tuple[int, int],
) -> Tensor:  # fmt: skip
    """`attend_joint` for each conditioning of a batch; the batch is dimension 0, tokens are dimension -2."""
    parts = []
    for row in rows:
        plan = row.text.plan(row.active, row.frame, grid, q.device) if row.text and row.frame else None
        q_, k_, v_ = (part[row.start : row.stop] for part in (q, k, v))
        parts.append(attend_joint(attention, q_, k_, v_, plan, row.prompts, sequence))
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def attend_word_rows(attention: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, rows: list[Rows]) -> Tensor:
    """`attend_words` for each conditioning of a batch."""
    parts = []
    for row in rows:
        here = slice(row.start, row.stop)
        parts.append(attend_words(attention, q[here], k[here], v[here], row.prompts))
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def attend_rows(
    attention: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, rows: list[Rows], grid: tuple[int, int],
    common: int = 0,
) -> Tensor:  # fmt: skip
    """`attend` for each conditioning of a batch; the batch is dimension 0, tokens are dimension -2."""
    parts = []
    for row in rows:
        q_, k_, v_ = (part[row.start : row.stop] for part in (q, k, v))
        if row.text is None or row.frame is None:
            parts.append(attention(q_, *own_keys(k_, v_, 0, row.prompts.lengths[0], common), None))
        else:
            plan = row.text.plan(row.active, row.frame, grid, q.device)
            parts.append(attend(attention, q_, k_, v_, plan, row.prompts, common=common))
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
