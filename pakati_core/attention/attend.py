"""Attention in which text is regional: the caller's own attention function, on the right queries and keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from .plan import AttentionPlan

# Up to this many keys one masked call beats a call for each group: gathering, scattering and launching cost more
# than the arithmetic that they save. `tools/bench/regional.py --strategies` prints both.
DENSE_KEYS = 1024


class Prompts(NamedTuple):
    """Where the prompts of one conditioning lie among the keys, base prompt first."""

    lengths: tuple[int, ...]
    strengths: tuple[float, ...] = ()  # factor on a prompt's values; empty: all 1
    starts: tuple[int, ...] = ()  # empty: one after the other

    @property
    def total(self) -> int:
        return sum(self.lengths)

    @property
    def is_plain(self) -> bool:
        return all(strength == 1 for strength in self.strengths)

    def span(self, prompt: int) -> tuple[int, int]:
        """Start and length of one prompt's keys."""
        return self.starts[prompt] if self.starts else sum(self.lengths[:prompt]), self.lengths[prompt]


def attend(
    attention: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan, prompts: Prompts,
    dense_keys: int | None = None, common: int = 0,
) -> Tensor:  # fmt: skip
    """Cross-attention of image tokens to their own prompts.

    attention: (q, k, v, mask) -> out; mask is None or additive [queries, keys].
    q: [..., T, C]; k, v: [..., S, C] with S >= prompts.total; keys beyond the total are padding that nobody sees, but
    for the last `common` ones, which all see.
    Returns what `attention` returns, [..., T, C].
    """
    v = strengthened(v, prompts)
    if plan.whole is not None:
        return attention(q, *own_keys(k, v, *prompts.span(plan.whole), common), None)
    if prompts.total <= (DENSE_KEYS if dense_keys is None else dense_keys):
        k, v = own_keys(k, v, 0, prompts.total, common)
        return attention(q, k, v, pad(plan.bias(prompts.lengths, dtype=q.dtype), (0, common)))
    return _grouped(attention, q, k, v, plan, prompts, common)


def _grouped(
    attention: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan, prompts: Prompts,
    common: int,
) -> Tensor:  # fmt: skip
    tokens, parts = [], []
    for group in plan.groups:
        tokens.append(group.tokens)
        keys = own_keys(k, v, *prompts.span(group.prompt), common)
        parts.append(attention(q.index_select(-2, group.tokens), *keys, None))
    if len(plan.edge):
        tokens.append(plan.edge)
        keys = own_keys(k, v, 0, prompts.total, common)
        bias = pad(plan.bias(prompts.lengths, plan.edge, q.dtype), (0, common))
        parts.append(attention(q.index_select(-2, plan.edge), *keys, bias))
    first = parts[0]
    out = first.new_empty(*first.shape[:-2], q.shape[-2], first.shape[-1])
    return out.index_copy_(-2, torch.cat(tokens), torch.cat(parts, -2))


def own_keys(k: Tensor, v: Tensor, start: int, length: int, common: int = 0) -> tuple[Tensor, Tensor]:
    """One prompt's keys and values, and the last `common` ones."""
    last = k.shape[-2] - common
    if start + length == last and (start == 0 or not common):
        return k[..., start:, :], v[..., start:, :]
    own = k.narrow(-2, start, length), v.narrow(-2, start, length)
    if not common:
        return own
    return torch.cat([own[0], k[..., last:, :]], -2), torch.cat([own[1], v[..., last:, :]], -2)


def strengthened(v: Tensor, prompts: Prompts, first: int = 0) -> Tensor:
    """Values [..., S, C] times each prompt's strength; first: where the prompts begin."""
    if prompts.is_plain:
        return v
    factors = torch.ones(v.shape[-2], dtype=v.dtype, device=v.device)
    for prompt, strength in enumerate(prompts.strengths):
        start, length = prompts.span(prompt)
        factors[first + start : first + start + length] = strength
    return v * factors[:, None]
