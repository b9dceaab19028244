"""A batch of conditionings, each with regions of its own or none, in one call of the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .attend import Prompts, attend
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


def joined_length(rows: list[Rows]) -> int:
    """How many words each row of a batch gets, at least: its base prompt, and its part of all regions' prompts."""
    words = sum(sum(row.prompts.lengths[1:]) for row in rows)
    return rows[0].prompts.lengths[0] + -(-words // rows[-1].stop)


def join_prompts(context: Tensor, rows: list[Rows], length: int) -> tuple[Tensor, list[Rows]]:
    """[B,base,C] -> [B,length,C]: each row's base prompt, then its part of the regions' prompts, then zeros.

    The rows hold the regions' prompts together, each conditioning's once: those of several pictures are the same, and
    a negative without regions would carry as many words of padding. What comes back with it are the rows, whose
    regions' prompts start where they lie in the rows' parts, one after the other.
    """
    (batch, base, channels), placed, pieces, end = context.shape, [], [], 0
    for row in rows:
        starts = [0]
        for prompt in [row.text.prompts[name] for name in row.active] if row.text else ():
            pieces.append(prompt.to(context)[0])
            starts.append(end)
            end += len(pieces[-1])
        placed.append(row._replace(prompts=row.prompts._replace(starts=tuple(starts))))
    shared = context.new_zeros(batch * (length - base), channels)
    if pieces:
        shared[:end] = torch.cat(pieces)
    return torch.cat([context, shared.view(batch, length - base, channels)], 1), placed


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
    """`attend` for each conditioning of a batch whose prompts `join_prompts` joined.

    The batch is dimension 0, tokens are dimension -2; all see the last `common` keys of their row.
    """
    parts, base = [], rows[0].prompts.lengths[0]
    keys, values = _Held(k, base, common), _Held(v, base, common)
    for row in rows:
        q_, k_, v_ = q[row.start : row.stop], keys.of(row), values.of(row)
        if row.text is None or row.frame is None:
            parts.append(attention(q_, k_, v_, None))
        else:
            plan = row.text.plan(row.active, row.frame, grid, q.device)
            parts.append(attend(attention, q_, k_, v_, plan, row.prompts._replace(starts=()), common=common))
    return torch.cat(parts) if len(parts) > 1 else parts[0]


class _Held:
    """Keys or values of joined prompts."""

    def __init__(self, x: Tensor, base: int, common: int):
        last = x.shape[-2] - common
        self.base, self.common = x[..., :base, :], x[..., last:, :]
        self.shared = x[..., base:last, :].movedim(0, -3).flatten(-3, -2)[None]

    def of(self, row: Rows) -> Tensor:
        """The row's prompts, one after the other, and what is common."""
        here = slice(row.start, row.stop)
        own, common = self.base[here], self.common[here]
        spans = [row.prompts.span(number) for number in range(1, len(row.prompts.lengths))]
        shared = [self.shared.narrow(-2, *span).expand(len(own), *(-1,) * (own.ndim - 1)) for span in spans]
        return torch.cat([own, *shared, common], -2) if shared or common.shape[-2] else own


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
