"""Low-rank deltas of all regions at once: two thin products for all tokens of a layer, between which each token keeps
the directions of its own regions' LoRAs, by its share, and no other's.

As long as few directions act, this is a handful of launches and passes over memory, where gathering each region's
tokens and scattering them again takes dozens: `tools/bench/regional.py --methods LoRAs` prints what they cost.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

import torch
from torch import Tensor
from torch.nn import functional as F

from ..pakati_core.lora import LowRank
from .lora_files import Part
from .regional_call import RegionalCall, Stream

# Together. Four LoRAs of rank 32 on a quarter of SDXL's canvas each took 1.18 of a plain step, and gathered 1.35; their
# arithmetic grows with the number of regions, and that of gathered tokens does not. More was not measured.
MOST_RANKS = 128
Ranks = tuple[tuple[str, int], ...]  # columns between the two products: name of their LoRA, and how many


def thin_parts(parts: dict[str, list[Part]], acting: Iterable[str]) -> dict[str, list[Part]]:
    """Those of the acting LoRAs that are nothing but products of two factors; none where they are too many together."""
    thin = {name: parts[name] for name in acting if all(map(_is_thin, parts[name]))}
    ranks = sum(len(part.delta.down) for each in thin.values() for part in each)
    return thin if ranks <= MOST_RANKS else {}


def _is_thin(part: Part) -> bool:
    return isinstance(part.delta, LowRank) and part.delta.mid is None and part.inputs is None


def add_thin(tokens: Tensor, added: Tensor, thin: dict[str, list[Part]], call: RegionalCall, stream: Stream) -> None:
    """In place. tokens: [B,T,I]; added: [B,T,O]; a layer whose tokens the call knows."""
    named = [(name, part) for name, parts in thin.items() for part in parts]
    named.sort(key=lambda each: each[1].outputs or (0, 0))
    ranks = tuple((name, len(part.delta.down)) for name, part in named)
    down = _joined([part.delta.down.to(tokens) for _, part in named], 0)
    middle = F.linear(tokens, down).mul_(_shares(call, stream, ranks, tokens)).flatten(0, 1)
    out, first = added.view(-1, added.shape[-1]), 0
    for outputs, group in groupby(named, key=lambda each: each[1].outputs):
        up = _joined([part.delta.up.to(out) * part.delta.scale for _, part in group], 1)
        target = out if outputs is None else out.narrow(-1, *outputs)
        target.addmm_(middle[:, first : first + up.shape[1]], up.T)
        first += up.shape[1]


def _joined(factors: list[Tensor], dim: int) -> Tensor:
    return factors[0] if len(factors) == 1 else torch.cat(factors, dim)


def _shares(call: RegionalCall, stream: Stream, ranks: Ranks, tokens: Tensor) -> Tensor:
    """[B,T,ranks]: share of the token times strength; made once in a call of the model for all layers alike."""
    key = stream, tokens.shape[1], ranks, tokens.dtype
    if key not in call.cache:
        shares = {name: _share(call, stream, tokens, name) for name in dict(ranks)}
        columns = [shares[name][..., None].expand(-1, -1, rank) for name, rank in ranks]
        call.cache[key] = torch.cat(columns, -1).to(tokens.dtype)
    return call.cache[key]


def _share(call: RegionalCall, stream: Stream, tokens: Tensor, name: str) -> Tensor:
    """float32 [B,T]: of this LoRA on each token."""
    batch, count, device = *tokens.shape[:2], tokens.device
    share = torch.zeros(batch, count, device=device)
    for row in call.rows:
        for number, region in enumerate(row.active if row.text else (), start=1):
            (loras,) = (each.loras for each in row.text.regions.regions if each.id == region)
            strength = sum(strength for used, strength, _ in loras if used == name)
            if not strength:
                continue
            if stream == Stream.words and call.joined is None:
                share.view(-1)[call.shared_words(row, number, count).to(device)] += strength
                continue
            gate = call.gate(stream, row, number, count, device)
            if gate is not None:
                share[row.start : row.stop][:, gate.tokens] += strength * (1.0 if gate.share is None else gate.share)
    return share
