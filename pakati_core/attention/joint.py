"""Joint attention in which text is regional: text and image tokens in one sequence, as in the MMDiT family.

Image tokens see all image tokens and the words of their own prompts; the words of a prompt see each other and the
prompt's own image tokens. Tokens that belong to no prompt (registers, reference pictures) are seen by all and ask the
base prompt, or the one region that covers everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

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
    after: slice | None = None  # all that comes after the words: more keys


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
    words = slice(sequence.text, sequence.text + sequence.words)
    return _run(attention, calls, q, k, v, strengthened(v, prompts, sequence.text), words)


def attend_words(attention: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, prompts: Prompts) -> Tensor:
    """Attention among words alone, as in text refiners: no prompt sees another. q, k, v: [..., words, C]."""
    spans = [prompts.span(number) for number in range(len(prompts.lengths))]
    calls = [Call(slice(start, start + length), (slice(start, start + length),)) for start, length in spans]
    return _run(attention, tuple(calls), q, k, v, v, slice(0, q.shape[-2]))


def _run(attention, calls: tuple[Call, ...], q: Tensor, k: Tensor, v: Tensor, seen: Tensor, words: slice) -> Tensor:
    """seen: values as the image sees them. words: where all words are, which need not all be asked."""

    def ask(call: Call, keys: Tensor, values: Tensor) -> Tensor:
        return attention(_take(q, (call.queries,)), keys, values, call.bias)

    sharing = [call for call in calls if call.after]
    with _taker(k, sharing, q, k, v) as keys, _taker(seen, sharing, q, k, v) as values:
        parts = [ask(call, keys(call), values(call)) for call in sharing]
    others = [call for call in calls if not call.after]
    parts += [ask(call, _take(k, call.keys), _take(v if call.as_text else seen, call.keys)) for call in others]
    if calls[0].queries == slice(0, q.shape[-2]):
        return parts[0]
    out = parts[0].new_empty(*parts[0].shape[:-2], q.shape[-2], parts[0].shape[-1])
    out[..., words, :] = 0
    for call, part in zip([*sharing, *others], parts, strict=True):
        _put(out, call.queries, part)
    return out


def _put(out: Tensor, where: Index, part: Tensor) -> None:
    if isinstance(where, slice):
        out[..., where, :] = part
    else:
        out.index_copy_(-2, where, part)


@contextmanager
def _taker(x: Tensor, sharing: list[Call], *inputs: Tensor) -> Iterator[Callable[[Call], Tensor]]:
    """Takes from x the words of a call and what comes after them.

    Those are written where all words lie already, right before the image, for a copy of the image for every region
    would cost more than the arithmetic that regions save; in the end all is as it was. Not so where gradients flow,
    for then nothing may be written over.
    """
    flows = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)
    after = sharing[0].after if sharing else None
    if after is None or len(sharing) < 2 or flows or not _owns_its_memory(x):
        yield lambda call: _take(x, (*call.keys, after or slice(0, 0)))
        return
    words = x[..., : after.start, :].clone()

    def take(call: Call) -> Tensor:
        own = _take(words, call.keys)
        first = after.start - own.shape[-2]
        x[..., first : after.start, :] = own
        return x[..., first : after.stop, :]

    try:
        yield take
    finally:
        x[..., : after.start, :] = words


def _owns_its_memory(x: Tensor) -> bool:
    return not any(stride == 0 and size > 1 for stride, size in zip(x.stride(), x.shape, strict=True))


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
    registers, extras = [*range(sequence.text)], sequence.extras
    after = slice(sequence.text + sequence.words, sequence.total)
    own = {number: list(sequence.prompt(prompts, number)) for number in seen}
    for group in plan.groups:
        yield Call(group.tokens + sequence.image, (_index([*registers, *own[group.prompt]], device),), after=after)
    if len(plan.edge):
        bias = _words_bias(plan, prompts, seen)[plan.edge].to(device, dtype)
        bias = pad(bias, (len(registers), after.stop - after.start))
        yield Call(plan.edge + sequence.image, (_index([*registers, *words], device),), bias, after=after)
    if extras:
        yield Call(_index(extras, device), (_index([*registers, *own[BASE]], device),), after=after)
    for number in seen:
        pixels = plan.weights[number].nonzero()[:, 0]
        log = plan.weights[number][pixels].log()
        keys = _index(own[number], device), pixels + sequence.image, *([_index(extras, device)] if extras else [])
        length = prompts.lengths[number]
        bias = torch.cat([log.new_zeros(length), log, log.new_zeros(len(extras))]).to(device, dtype)
        yield Call(keys[0], keys, bias.expand(length, -1) if log.any() else None, as_text=True)


def _words_bias(plan, prompts, seen: list[int]) -> Tensor:
    """[pixels, words of the prompts seen]"""
    lengths = torch.tensor([prompts.lengths[number] for number in seen], device=plan.weights.device)
    return plan.weights[seen].T.log().repeat_interleave(lengths, dim=1)


def _square_bias(plan, prompts, sequence, seen: list[int]) -> Tensor:
    """[words seen + rest, the same] for all tokens of a call."""
    pixels = _words_bias(plan, prompts, seen)
    owner = torch.tensor([n for n in seen for _ in range(prompts.lengths[n])], device=pixels.device)
    count, rest = len(owner), sequence.rest
    inside = [at for at, token in enumerate(rest) if sequence.image <= token < sequence.image + sequence.pixels]
    bias = pixels.new_zeros(count + len(rest), count + len(rest))
    hidden = -torch.inf
    bias[:count, :count] = bias[:count, :count].masked_fill(owner[:, None] != owner[None], hidden)
    image = torch.tensor(inside, device=pixels.device) + count
    bias[count:, :count] = torch.where(owner == BASE, 0.0, hidden)  # extras; pixels come next
    bias[image, :count] = pixels
    bias[:count, image] = pixels.T
    return bias


def _index(tokens: list[int], device) -> Index:
    if tokens and tokens[-1] - tokens[0] + 1 == len(tokens) and tokens == list(range(tokens[0], tokens[-1] + 1)):
        return slice(tokens[0], tokens[-1] + 1)
    return torch.tensor(tokens, dtype=torch.long, device=device)
