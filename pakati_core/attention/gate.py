"""What of a layer's input belongs to a region: its words, and its share of the image."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .attend import Prompts
from .joint import Index, Sequence
from .plan import AttentionPlan


class Gate(NamedTuple):
    """tokens: ascending. share: [tokens] in (0,1]; None where all are 1."""

    tokens: Index
    share: Tensor | None


class Window(NamedTuple):
    """The part of an image that holds a region: rows and columns from, to. share: [rows,columns]; None: all 1."""

    rows: tuple[int, int]
    columns: tuple[int, int]
    share: Tensor | None


def token_gate(plan: AttentionPlan, prompts: Prompts, number: int, sequence: Sequence) -> Gate | None:
    """The tokens of prompt `number`; those that belong to no prompt are its own where it is the only one.

    sequence: words or pixels may be 0 where a layer sees only the other kind. None: no tokens at all.
    """
    key = "gate", prompts, number, sequence
    if key not in plan.cache:
        plan.cache[key] = _token_gate(plan, prompts, number, sequence)
    return plan.cache[key]


def image_window(plan: AttentionPlan, number: int, grid: tuple[int, int]) -> Window | None:
    """Where prompt `number` has a share of the image that the plan is for; None: nowhere."""
    key = "window", number
    if key not in plan.cache:
        plan.cache[key] = _image_window(plan.weights[number].view(grid))
    return plan.cache[key]


def _token_gate(plan: AttentionPlan, prompts: Prompts, number: int, sequence: Sequence) -> Gate | None:
    device = plan.weights.device
    words = list(sequence.prompt(prompts, number)) if sequence.words else []
    if plan.whole == number:
        tokens = torch.tensor(sorted([*words, *sequence.rest]), dtype=torch.long, device=device)
        return _gate(tokens, torch.ones(len(tokens), device=device))
    pixels = plan.weights[number].nonzero()[:, 0] if sequence.pixels else torch.zeros(0, dtype=torch.long)
    tokens = torch.cat([torch.tensor(words, dtype=torch.long, device=device), pixels.to(device) + sequence.image])
    share = torch.cat([torch.ones(len(words), device=device), plan.weights[number][pixels]])
    return _gate(tokens, share)


def _gate(tokens: Tensor, share: Tensor) -> Gate | None:
    if not len(tokens):
        return None
    first, last = int(tokens[0]), int(tokens[-1])
    index = slice(first, last + 1) if last - first + 1 == len(tokens) else tokens
    return Gate(index, None if bool((share == 1).all()) else share)


def _image_window(share: Tensor) -> Window | None:
    if not share.any():
        return None
    (top, bottom), (left, right) = (_span(share.any(dim)) for dim in (1, 0))
    inside = share[top:bottom, left:right]
    return Window((top, bottom), (left, right), None if bool((inside == 1).all()) else inside)


def _span(found: Tensor) -> tuple[int, int]:
    at = found.nonzero()[:, 0]
    return int(at[0]), int(at[-1]) + 1
