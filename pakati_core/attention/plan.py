"""Which image tokens see which prompts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor


class Group(NamedTuple):
    """Image tokens that see one prompt and no other."""

    prompt: int
    tokens: Tensor  # [n] int64, ascending


@dataclass(frozen=True, eq=False)
class AttentionPlan:
    """The prompts' shares of every image token, sorted into what needs a mask and what does not.

    weights: [P,T] in [0,1], each column sums to 1; row 0 is the base prompt.
    groups: the tokens that belong to one prompt alone: an unmasked call each.
    edge: [n] tokens that several prompts share; they see all of these with the additive log-weight log w, which is
    the same as merging the prompts' attention by their log-sum-exp and w.
    """

    weights: Tensor
    groups: tuple[Group, ...]
    edge: Tensor
    cache: dict = field(default_factory=dict, repr=False)  # every layer of a level asks for the same

    @property
    def whole(self) -> int | None:
        """The prompt that every token sees alone, if there is one."""
        return self.groups[0].prompt if len(self.groups) == 1 and not len(self.edge) else None

    def bias(
        self, lengths: tuple[int, ...], tokens: Tensor | None = None, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """[tokens, sum(lengths)], additive: log w on each key of a prompt, -inf where the prompt is not seen.

        tokens: None for all of them, else self.edge.
        """
        key = lengths, tokens is None, dtype
        if key not in self.cache:
            weights = self.weights if tokens is None else self.weights[:, tokens]
            repeats = torch.tensor(lengths, device=weights.device)
            columns = weights.T.log().to(dtype).repeat_interleave(repeats, dim=1, output_size=sum(lengths))
            self.cache[key] = columns.contiguous()
        return self.cache[key]

    def to(self, device: torch.device | str) -> AttentionPlan:
        groups = tuple(Group(group.prompt, group.tokens.to(device)) for group in self.groups)
        return AttentionPlan(self.weights.to(device), groups, self.edge.to(device))


def make_plan(weights: Tensor) -> AttentionPlan:
    """weights: [P,height,width] or [P,T], the base prompt first, as RegionSet.weights_on_grid gives them."""
    flat = weights.flatten(1).float()
    alone = flat == 1
    groups = tuple(Group(i, row.nonzero()[:, 0]) for i, row in enumerate(alone) if row.any())
    return AttentionPlan(flat, groups, (~alone.any(0)).nonzero()[:, 0])
