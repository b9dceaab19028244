"""Anima: an adapter in the model makes the text of Qwen's words and of T5's word numbers, before sampling begins."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ...pakati_core.attention import RegionalText
from ...pakati_core.errors import PakatiError

NUMBERS, WEIGHTS, STREAM = "t5xxl_ids", "t5xxl_weights", "t5xxl"
Numbers = tuple[Tensor, Tensor]  # [words] int, [words] float


def number_words(clip, text: str | None, options: dict, _: bool) -> Numbers | None:
    """T5's numbers of a prompt and their weights; text None: those of the conditioning itself."""
    if text is None:
        return (options[NUMBERS], options[WEIGHTS]) if NUMBERS in options else None
    tokens = clip.tokenize(text)
    if STREAM not in tokens:
        raise PakatiError(f"this CLIP has no {STREAM} tokens, which Anima needs; load the text encoder as type anima")
    words = tokens[STREAM][0]
    return torch.tensor([word[0] for word in words], dtype=torch.int), torch.tensor([word[1] for word in words])


def adapt_words(model, text: RegionalText, device: torch.device) -> RegionalText:
    """The prompts as the adapter makes them, its zeros included: it was trained with them. model: a BaseModel."""

    def adapt(name: str, words: Tensor) -> Tensor:
        if name not in text.extras:
            return words
        numbers, weights = (part.to(device)[None] for part in text.extras[name])
        words = words.to(device, model.get_dtype_inference())
        return model.diffusion_model.preprocess_text_embeds(words, numbers, weights[..., None].to(words))

    made: dict[int, Tensor] = {}  # regions that share a prompt go on sharing one tensor
    for name, words in text.prompts.items():
        if id(words) not in made:
            made[id(words)] = adapt(name, words)
    return replace(text, prompts={name: made[id(words)] for name, words in text.prompts.items()})
