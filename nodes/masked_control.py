"""The host's ControlNets, each in its own part of the picture."""

from __future__ import annotations

import math
from functools import partial

from torch import Tensor

import nodes as stock

from ..pakati_core.errors import ShapeError
from ..pakati_core.masks import area_pool

Span = tuple[float, float, float]  # strength, start, end


def apply_control(positive: list, negative: list, net, hint: Tensor, span: Span, vae, mask: Tensor | None):
    """As the host's own node, and with a mask ([1,H,W] in [0,1]) only where that is."""
    made = stock.ControlNetApplyAdvanced().apply_controlnet(positive, negative, net, hint, *span, vae=vae)
    if mask is None or span[0] == 0:
        return made
    share = _one(mask)
    for control in {id(options["control"]): options["control"] for part in made for _, options in part}.values():
        # On this copy alone, which the host's node has just made: its class and the loaded model stay as they are.
        control.control_merge = partial(_merge_inside, control, share)
    return made


def _one(mask: Tensor) -> Tensor:
    if mask.ndim == 3 and len(mask) != 1:
        raise ShapeError(f"mask is a batch of {len(mask)} but one ControlNet has one mask; pick one of them first")
    return mask.reshape(mask.shape[-2:]).float().clamp(0, 1)


def _merge_inside(control, mask: Tensor, own: dict, previous: dict | None, output_dtype) -> dict:
    """What the ControlNet adds to each block of the model, times the mask, and then what the ones before it add."""
    plain = type(control).control_merge
    own = plain(control, own, None, output_dtype)
    inside = {place: [_inside(addition, mask) for addition in additions] for place, additions in own.items()}
    return inside if previous is None else _sum(inside, previous)


def _inside(addition: Tensor | None, mask: Tensor) -> Tensor | None:
    """[B,C,h,w] or [B,tokens,C], times the mask at that size."""
    if addition is None:
        return None
    height, width = addition.shape[-2:] if addition.ndim == 4 else grid_of(addition.shape[1], mask)
    share = area_pool(mask.cpu(), height, width).to(addition)
    return addition * (share if addition.ndim == 4 else share.reshape(-1, 1))


def grid_of(tokens: int, mask: Tensor) -> tuple[int, int]:
    """Rows and columns of so many tokens, with the shape of the mask as nearly as can be."""
    wanted = math.log(mask.shape[0] / mask.shape[1])
    rows = [row for row in range(1, tokens + 1) if tokens % row == 0]
    height = min(rows, key=lambda row: abs(math.log(row * row / tokens) - wanted))
    return height, tokens // height


def _sum(one: dict, other: dict) -> dict:
    """Block by block; a block that only one of them has, or where one has nothing, keeps the other's."""
    total = {}
    for place in {*one, *other}:
        a, b = one.get(place, []), other.get(place, [])
        pad = max(len(a), len(b))
        a, b = [*a, *[None] * (pad - len(a))], [*b, *[None] * (pad - len(b))]
        total[place] = [y if x is None else x if y is None else x + y for x, y in zip(a, b)]
    return total
