"""Joint attention in which text is regional: text and image tokens in one sequence, as in the MMDiT family.

Image tokens see all image tokens and the words of their own prompts; the words of a prompt see each other and the
prompt's own image tokens. Tokens that belong to no prompt (registers, reference pictures) are seen by all and ask the
base prompt, or the one region that covers everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from .attend import DENSE_KEYS, Prompts, strengthened
from .plan import AttentionPlan

BASE = 0  # the base prompt's number
Index = slice | Tensor


class Sequence(NamedTuple):
    """Where the tokens of one call lie; what is neither word nor pixel belongs to no prompt."""

    text: int  # first word
    words: int
    image: int  # first image token
    pixels: int
    total: int

    def prompt(self, prompts: Prompts, number: int) -> range:
        start, length = prompts.span(number)
        return range(self.text + start, self.text + start + length)

    @property
    def rest(self) -> list[int]:
        """All but the words."""
        return [*range(self.text), *range(self.text + self.words, self.total)]

    @property
    def extras(self) -> list[int]:
        return [token for token in self.rest if not self.image <= token < self.image + self.pixels]


class Call(NamedTuple):
    """One call of the host's attention function."""

    queries: Index
    keys: tuple[Index, ...]
    bias: Tensor | None = None  # [queries, keys], additive
    as_text: bool = False  # words see other words at their plain strength

    @property
    def shares(self) -> bool:
        """Sees the words of its own before all that is no word."""
        return len(self.keys) == 2 and not self.as_text


def attend_joint(
    attention: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor,
    plan: AttentionPlan | None, prompts: Prompts, sequence: Sequence, dense_keys: int | None = None,
) -> Tensor:  # fmt: skip
    """Joint attention of one conditioning; plan None: the base prompt alone.

    attention: (q, k, v, mask) -> out; mask is None or additive [queries, keys].
    q, k, v: [..., sequence.total, C], positions already applied. Words that nobody sees come back as zeros.
    """
    dense_keys = DENSE_KEYS if dense_keys is None else dense_keys
    calls = _calls(plan, prompts, sequence, q.dtype, q.device, dense_keys)
    return _run(attention, calls, q, k, v, strengthened(v, prompts, sequence.text))


def attend_words(attention: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, prompts: Prompts) -> Tensor:
    """Attention among words alone, as in text refiners: no prompt sees another. q, k, v: [..., words, C]."""
    spans = [prompts.span(number) for number in range(len(prompts.lengths))]
    calls = [Call(slice(start, start + length), (slice(start, start + length),)) for start, length in spans]
    return _run(attention, tuple(calls), q, k, v, v)


def _run(attention, calls: tuple[Call, ...], q: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Tensor:
    keys, values = _taker(k, calls, q, k, v), _taker(seen, calls, q, k, v)
    parts = [
        attention(_take(q, (c.queries,)), keys(c), _take(v, c.keys) if c.as_text else values(c), c.bias) for c in calls
    ]
    if calls[0].queries == slice(0, q.shape[-2]):
        return parts[0]
    out = parts[0].new_zeros(*parts[0].shape[:-2], q.shape[-2], parts[0].shape[-1])
    for call, part in zip(calls, parts, strict=True):
        out[..., call.queries, :] = part
    return out


def _taker(x: Tensor, calls: tuple[Call, ...], *inputs: Tensor) -> Callable[[Call], Tensor]:
    """Takes a call's keys or values from x; not shared where gradients flow, for then nothing may be written over."""
    sharing = [call.keys for call in calls if call.shares]
    if len(sharing) < 2 or (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)):
        return lambda call: _take(x, call.keys)
    shared = _WordsBefore(x, sharing[0][1], max(_count(words) for words, _ in sharing))
    return lambda call: shared.take(call.keys[0]) if call.shares else _take(x, call.keys)


class _WordsBefore:
    """Tokens copied once, with room in front for the words of one call after the other: a copy of the image for every
    region would cost more than the arithmetic that regions save."""

    def __init__(self, x: Tensor, rest: Index, room: int):
        self.x, self.room = x, room
        tail = _take(x, (rest,))
        self.buffer = x.new_empty(*x.shape[:-2], room + tail.shape[-2], x.shape[-1])
        self.buffer[..., room:, :] = tail

    def take(self, words: Index) -> Tensor:
        own = _take(self.x, (words,))
        start = self.room - own.shape[-2]
        self.buffer[..., start : self.room, :] = own
        return self.buffer[..., start:, :]


def _count(index: Index) -> int:
    return index.stop - index.start if isinstance(index, slice) else len(index)


def _take(x: Tensor, where: tuple[Index, ...]) -> Tensor:
    parts = [x[..., index, :] if isinstance(index, slice) else x.index_select(-2, index) for index in where]
    return parts[0] if len(parts) == 1 else torch.cat(parts, -2)


def _calls(
    plan: AttentionPlan | None, prompts: Prompts, sequence: Sequence, dtype: torch.dtype, device, dense_keys: int
) -> tuple[Call, ...]:
    if plan is None:
        return _alone(BASE, prompts, sequence, device)
    key = prompts, sequence, dtype, dense_keys
    if key not in plan.cache:
        plan.cache[key] = tuple(_planned(plan, prompts, sequence, dtype, device, dense_keys))
    return plan.cache[key]


def _planned(plan, prompts: Prompts, sequence: Sequence, dtype, device, dense_keys: int) -> Iterable[Call]:
    if plan.whole is not None:
        return _alone(plan.whole, prompts, sequence, device)
    seen = [n for n, row in enumerate(plan.weights) if row.any() or (n == BASE and sequence.extras)]
    words = [token for number in seen for token in sequence.prompt(prompts, number)]
    if len(words) + len(sequence.rest) <= dense_keys:
        return _dense(plan, prompts, sequence, seen, words, dtype, device)
    return _grouped(plan, prompts, sequence, seen, words, dtype, device)


def _alone(number: int, prompts: Prompts, sequence: Sequence, device) -> tuple[Call, ...]:
    """Every token sees this prompt and no other: as if it had been the only one."""
    words, rest = list(sequence.prompt(prompts, number)), sequence.rest
    keys = (_index(sorted([*words, *rest]), device),)
    if prompts.is_plain:
        return (Call(keys[0], keys),)
    return Call(_index(words, device), keys, as_text=True), Call(_index(rest, device), keys)


def _dense(plan, prompts, sequence, seen, words, dtype, device) -> tuple[Call, ...]:
    """One masked call: where keys are few, several launches cost more than the arithmetic that they save."""
    rest = sequence.rest
    keys = (_index([*words, *rest], device),)
    bias = _square_bias(plan, prompts, sequence, seen).to(device, dtype)
    if prompts.is_plain:
        return (Call(keys[0], keys, bias),)
    return (
        Call(_index(words, device), keys, bias[: len(words)], as_text=True),
        Call(_index(rest, device), keys, bias[len(words) :]),
    )


def _grouped(plan, prompts, sequence, seen, words, dtype, device) -> Iterable[Call]:
    rest, extras = _index(sequence.rest, device), sequence.extras
    own = {number: _index(list(sequence.prompt(prompts, number)), device) for number in seen}
    for group in plan.groups:
        yield Call(group.tokens + sequence.image, (own[group.prompt], rest))
    if len(plan.edge):
        bias = _rows_bias(plan, prompts, sequence, seen)[plan.edge].to(device, dtype)
        yield Call(plan.edge + sequence.image, (_index(words, device), rest), bias)
    if extras:
        yield Call(_index(extras, device), (own[BASE], rest))
    for number in seen:
        pixels = plan.weights[number].nonzero()[:, 0]
        log = plan.weights[number][pixels].log()
        keys = own[number], pixels + sequence.image, *([_index(extras, device)] if extras else [])
        length = prompts.lengths[number]
        bias = torch.cat([log.new_zeros(length), log, log.new_zeros(len(extras))]).to(device, dtype)
        yield Call(own[number], keys, bias.expand(length, -1) if log.any() else None, as_text=True)


def _rows_bias(plan, prompts, sequence, seen: list[int]) -> Tensor:
    """[pixels, words of the prompts seen + rest] for image tokens."""
    lengths = torch.tensor([prompts.lengths[number] for number in seen], device=plan.weights.device)
    words = plan.weights[seen].T.log().repeat_interleave(lengths, dim=1)
    return torch.cat([words, words.new_zeros(len(words), sequence.total - sequence.words)], 1)


def _square_bias(plan, prompts, sequence, seen: list[int]) -> Tensor:
    """[words seen + rest, the same] for all tokens of a call."""
    pixels = _rows_bias(plan, prompts, sequence, seen)
    owner = torch.tensor([n for n in seen for _ in range(prompts.lengths[n])], device=pixels.device)
    count, rest = len(owner), sequence.rest
    inside = [at for at, token in enumerate(rest) if sequence.image <= token < sequence.image + sequence.pixels]
    bias = pixels.new_zeros(count + len(rest), count + len(rest))
    hidden = -torch.inf
    bias[:count, :count] = bias[:count, :count].masked_fill(owner[:, None] != owner[None], hidden)
    image = torch.tensor(inside, device=pixels.device) + count
    bias[count:, :count] = torch.where(owner == BASE, 0.0, hidden)  # extras; pixels come next
    bias[image, :count] = pixels[:, :count]
    bias[:count, image] = pixels[:, :count].T
    return bias


def _index(tokens: list[int], device) -> Index:
    if tokens and tokens[-1] - tokens[0] + 1 == len(tokens) and tokens == list(range(tokens[0], tokens[-1] + 1)):
        return slice(tokens[0], tokens[-1] + 1)
    return torch.tensor(tokens, dtype=torch.long, device=device)
