"""The regions' prompts, encoded by the host's CLIP and attached to a conditioning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ..pakati_core.attention import RegionalText
from ..pakati_core.regions import Region, RegionSet
from ..pakati_core.shapes import WholeShape

KEY = "pakati_regions"  # in a conditioning, and in transformer_options while sampling
PADDED_STREAM = "t5xxl"  # the only tokenizer that fills up without a mask that says so


def with_regions(clip, conditioning, regions: RegionSet, texts: dict[str, str], fill_left: int = 0):
    """The conditioning with `texts` (id of a region -> prompt) beside the base prompt.

    fill_left: number of words that the model fills up to on the left.
    """
    if not texts:
        return conditioning
    called = {region.id: region for region in regions.regions}
    wanted = {name: (text, _keeps_padding(called[name])) for name, text in texts.items()}
    encoded = {key: encode(clip, *key, fill_left) for key in dict.fromkeys(wanted.values())}
    prompts = {name: encoded[key][0] for name, key in wanted.items()}
    offsets = {name: encoded[key][1] for name, key in wanted.items()}
    text = RegionalText(regions, prompts, offsets)
    return [[embedding, {**options, KEY: text}] for embedding, options in conditioning]


def encode(clip, text: str, keep_padding: bool, fill_left: int) -> tuple[Tensor, int]:
    """[1,words,C] at its true length, and the position of its first word in a prompt that is alone."""
    tokens = clip.tokenize(text)
    out = clip.encode_from_tokens(tokens, return_pooled=True, return_dict=True)
    words = out["cond"]
    missing = max(0, fill_left - words.shape[1])
    if keep_padding:
        return torch.nn.functional.pad(words, (0, 0, missing, 0)), 0
    first, last = _true_span(words, out.get("attention_mask"), tokens, clip)
    return words[:, first:last].contiguous(), missing + first


def _keeps_padding(region: Region) -> bool:
    """A prompt for the whole canvas takes the base prompt's place, padding included: to the model it is the same."""
    return isinstance(region.shape, WholeShape) and not region.invert


def _true_span(words: Tensor, mask: Tensor | None, tokens: dict, clip) -> tuple[int, int]:
    """Padding of a region's prompt would dilute it: models read it as words that say nothing."""
    count = words.shape[1]
    if mask is not None and mask.shape[-1] == count and mask.any():
        seen = mask[0].nonzero()[:, 0]
        return int(seen[0]), int(seen[-1]) + 1
    if PADDED_STREAM in tokens:
        pad = getattr(getattr(clip.tokenizer, PADDED_STREAM, None), "pad_token", 0)
        last = tokens[PADDED_STREAM][-1]
        while last and not isinstance(last[-1][0], Tensor) and last[-1][0] == pad:
            last, count = last[:-1], count - 1
    return 0, max(1, count)


def with_extras(number: Callable | None, clip, conditioning, texts: dict[str, str]):
    """The conditioning with what the model needs beside the words of `texts`; number: see Architecture."""
    if number is None or not texts:
        return conditioning
    parts = []
    for embedding, options in conditioning:
        found = {name: number(clip, text, options) for name, text in texts.items()}
        extras = {name: each for name, each in found.items() if each is not None}
        parts.append([embedding, {**options, KEY: replace(options[KEY], extras=extras)}])
    return parts
