"""HunyuanImage: words attend to words first, led by their mean, and a second encoder reads what stands in quotes."""

from __future__ import annotations

import torch
from torch import Tensor

from ...pakati_core.errors import PakatiError
from ..regional_call import CALL

REFINER, QUOTES = "diffusion_model.txt_in", "byt5"


def refine_apart(model) -> None:
    """Let each prompt go through the text refiner as if it were alone: by its mean it would hear of all others."""
    network = model.get_model_object("diffusion_model")
    if network.cond_type_embedding is not None:
        raise PakatiError(
            "regions cannot reach HunyuanVideo 1.5, whose words stand behind others; use ComfyUI's own "
            "ConditioningSetMask with Conditioning (Combine)"
        )
    stock = model.get_model_object(f"{REFINER}.forward")
    if not isinstance(stock, _Apart):
        model.add_object_patch(f"{REFINER}.forward", _Apart(stock))


class _Apart:
    def __init__(self, stock):
        self.stock = stock

    def __call__(self, x: Tensor, timesteps: Tensor, mask: Tensor | None, transformer_options: dict) -> Tensor:
        call = CALL.get()
        if call is None or call.joined is None or x.shape[1] != call.joined.words:
            return self.stock(x, timesteps, mask, transformer_options=transformer_options)
        parts = x.split(call.joined.lengths, dim=1)
        done = [self.stock(part, timesteps, None, transformer_options=transformer_options) for part in parts]
        return torch.cat(done, dim=1)


def refuse_quotes(clip, text: str | None, options: dict, _: bool) -> None:
    """Its tokens have no place of their own among a region's.  Raises PakatiError."""
    if text and QUOTES in clip.tokenize(text):
        raise PakatiError(
            f"the region's prompt {text!r} quotes what is to be written, which HunyuanImage reads with a second "
            "encoder for the base prompt alone; put the quoted words into the base prompt"
        )
