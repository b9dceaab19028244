"""HiDream-I1: a prompt's words come in three runs: T5's, Llama's last layer, and a layer of Llama's for each block."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ...pakati_core.attention import Joined, Rows, join_shared, make_rows
from ...pakati_core.errors import PakatiError

STATES, LLAMA = "conditioning_llama3", "encoder_hidden_states_llama3"  # in a conditioning, and as the model is called
STREAM, PADDING = "llama", 128009  # the tokenizer's name for these words, and what it fills up with


def read_llama(clip, text: str | None, options: dict, keep_padding: bool) -> tuple[Tensor]:
    """What Llama's layers say of a prompt, [1,words,layers*C]: as words are joined."""
    if text is None:
        return (_as_words(options[STATES]),)
    tokens = clip.tokenize(text)
    states = clip.encode_from_tokens(tokens, return_pooled=True, return_dict=True).get(STATES)
    if states is None or STREAM not in tokens:
        raise PakatiError("this CLIP has no Llama, which HiDream needs; load the text encoders as type hidream")
    words = _as_words(states)
    return (words if keep_padding else words[:, : max(1, words.shape[1] - _padding(tokens[STREAM][-1]))].contiguous(),)


def _padding(tokens: list[tuple]) -> int:
    count = 0
    while count < len(tokens) and tokens[-1 - count][0] == PADDING:
        count += 1
    return count


def _as_words(states: Tensor) -> Tensor:
    """[B,layers,words,C] -> [B,words,layers*C]."""
    return states.movedim(1, 2).flatten(2)


def join_runs(context: Tensor, rows: list[Rows], arguments: dict) -> Joined:
    """Both encoders' prompts side by side; `order` says where the model has the words of one prompt after another."""
    if arguments.get("image_cond") is not None:
        raise PakatiError("regions do not reach HiDream-E1, which edits a picture beside its own; use HiDream-I1")
    states = arguments.get(LLAMA)
    if states is None:
        raise PakatiError("the base prompt has nothing from Llama; encode it with text encoders of type hidream")
    layers, beside = states.shape[1], [_beside(row, states.shape[2]) for row in rows]
    one, two = join_shared(context, rows), join_shared(_as_words(states), beside)
    arguments[LLAMA] = two.context.unflatten(2, (layers, -1)).movedim(2, 1)
    placed = [row._replace(prompts=_three_runs(row, other)) for row, other in zip(one.rows, two.rows, strict=True)]
    lengths = tuple(first + 2 * second for first, second in zip(one.lengths, two.lengths, strict=True))
    return one._replace(rows=placed, lengths=lengths, order=_order(one.lengths, two.lengths, context.device))


def _beside(row: Rows, base: int) -> Rows:
    """The same conditioning with Llama's words for T5's."""
    if row.text is None:
        return row._replace(prompts=row.prompts._replace(lengths=(base,)))
    text = replace(row.text, prompts={name: extra[0] for name, extra in row.text.extras.items()}, offsets={})
    return make_rows(row.start, row.stop, base, text, row.active, row.frame)


def _three_runs(row: Rows, other: Rows):
    spans = [(row.prompts.span(number), other.prompts.span(number)) for number in range(len(row.prompts.lengths))]
    lengths = tuple(one[1] + 2 * two[1] for one, two in spans)
    return row.prompts._replace(lengths=lengths, starts=tuple(one[0] + 2 * two[0] for one, two in spans))


def _order(first: tuple[int, ...], second: tuple[int, ...], device) -> Tensor:
    runs, ends = [first, second, second], [0, sum(first), sum(first) + sum(second)]
    parts = []
    for number in range(len(first)):
        for run, end in zip(runs, ends, strict=True):
            start = end + sum(run[:number])
            parts.append(torch.arange(start, start + run[number], device=device))
    return torch.cat(parts)
