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
PADDED_STREAM = "t5xxl"  # the only one of the host's tokenizers that fills up without a mask that says so
Encoded = tuple[Tensor, int]  # [1,words,C], and the position of the first word in a prompt that is alone


def with_regions(
    clip, conditioning, regions: RegionSet, texts: dict[str, str | None], fill_left: int = 0, clips: dict | None = None
):
    """The conditioning with `texts` (id of a region -> prompt) beside the base prompt; None is the base prompt again.

    fill_left: number of words that the model fills up to on the left. clips: id of a region -> a CLIP of its own.
    """
    if not texts:
        return conditioning
    clips, called = clips or {}, {region.id: region for region in regions.regions}
    # Equal prompts are one tensor, whose words the regions share, unless a region's LoRAs act on its words alone.
    own = {name: text for name, text in texts.items() if text is not None}
    owner = {name: name if called[name].loras else "" for name in own}
    wanted = {name: (owner[name], text, _keeps_padding(called[name])) for name, text in own.items()}
    encoded = {key: encode(clips.get(key[0], clip), *key[1:], fill_left) for key in dict.fromkeys(wanted.values())}
    found = {name: encoded[key] for name, key in wanted.items()}
    echoing = [called[name] for name in texts if name not in own]
    regions, parts = _with_plain_echoes(regions, echoing), []
    for embedding, options in conditioning:
        all_found = found | _echoes(embedding, options, echoing, fill_left)
        parts.append([embedding, {**options, KEY: _regional_text(regions, all_found)}])
    return parts


def _regional_text(regions: RegionSet, encoded: dict[str, Encoded]) -> RegionalText:
    prompts = {name: words for name, (words, _) in encoded.items()}
    return RegionalText(regions, prompts, {name: offset for name, (_, offset) in encoded.items()})


def _echoes(embedding: Tensor, options: dict, regions: list[Region], fill_left: int) -> dict[str, Encoded]:
    """The base prompt once more for each region: the same words, on which the region's LoRAs can act."""
    found, mask = {}, options.get("attention_mask")
    missing = max(0, fill_left - embedding.shape[1])
    for region in regions:
        words = embedding[:1].clone()
        if _keeps_padding(region):
            found[region.id] = torch.nn.functional.pad(words, (0, 0, missing, 0)), 0
        else:
            first, last = _span_of(words, mask) or (0, words.shape[1])
            found[region.id] = words[:, first:last].contiguous(), missing + first
    return found


def _with_plain_echoes(regions: RegionSet, echoing: list[Region]) -> RegionSet:
    """A region's weight is about its own prompt, not about the base prompt that it echoes."""
    weights = {region.id: 1.0 for region in echoing}
    plain = (replace(region, weight=weights.get(region.id, region.weight)) for region in regions.regions)
    return replace(regions, regions=tuple(plain)) if echoing else regions


def encode(clip, text: str, keep_padding: bool, fill_left: int) -> Encoded:
    """The words at their true length."""
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
    if (seen := _span_of(words, mask)) is not None:
        return seen
    stream, pad = _padding(getattr(clip, "tokenizer", None))
    last, count = tokens[stream][-1] if stream in tokens else [], words.shape[1]
    while last and not isinstance(last[-1][0], Tensor) and last[-1][0] == pad:
        last, count = last[:-1], count - 1
    return 0, max(1, count)


def _padding(tokenizer) -> tuple[str, int]:
    """Name of the stream that is filled up, and the token that fills it."""
    own = getattr(tokenizer, "region_padding", None)
    return own or (PADDED_STREAM, getattr(getattr(tokenizer, PADDED_STREAM, None), "pad_token", 0))


def _span_of(words: Tensor, mask: Tensor | None) -> tuple[int, int] | None:
    """What the mask [1,words] lets through, if it says so."""
    if mask is None or mask.shape[-1] != words.shape[1] or not mask.any():
        return None
    seen = mask[0].nonzero()[:, 0]
    return int(seen[0]), int(seen[-1]) + 1


def with_extras(number: Callable | None, clip, conditioning, texts: dict[str, str | None]):
    """The conditioning with what the model needs beside the words of `texts`; number: see Architecture."""
    if number is None or not texts:
        return conditioning
    parts = []
    for embedding, options in conditioning:
        called = {region.id: region for region in options[KEY].regions.regions}
        wanted = {name: (text, _keeps_padding(called[name])) for name, text in texts.items()}
        found = {key: number(clip, key[0], options, key[1]) for key in dict.fromkeys(wanted.values())}
        extras = {name: found[key] for name, key in wanted.items() if found[key] is not None}
        parts.append([embedding, {**options, KEY: replace(options[KEY], extras=extras)}])
    return parts
