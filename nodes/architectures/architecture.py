"""What regional attention must know of a model family."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..regional_call import Stream


@dataclass(frozen=True)
class Architecture:
    """network: the class of `diffusion_model`, by its full name, so that nothing is imported for a listing.

    joint: words and pixels in one sequence, words first; else words are read by cross-attention.
    patch: name of the attribute with the side of an image token in latent cells.
    registers: name of the attribute that says how many learnt tokens stand before the words: a number, or a tensor
    [1,N,C]. counts_words: words have positions, and `post_input` patches can set them. left_filled: words are filled
    up on the left to this number where words are counted. masks: `attention_mask` hides words from all.
    refines_words: words attend to words before they meet the image. image_shift: the image's positions may begin
    after the words. image_last: what stands between words and image belongs to no prompt. prepare: patches a cloned
    MODEL. number: (CLIP, prompt, options of the conditioning, padding too) -> what the model needs beside a prompt's
    words; prompt None: those of the conditioning. join: (words, rows, other arguments of the model) -> Joined, where
    one prompt's words stand in several places, behind the image. adapt: (BaseModel, RegionalText, device) -> the text
    that attention reads.
    words, both, vectors: patterns of the layers whose tokens are words, words and pixels, or neither; all other layers
    with tokens have the image's. reads_words: (network, layer) -> whether its tokens are words, where only the network
    can tell.
    """

    name: str
    network: str
    joint: bool = True
    patch: str = "patch_size"
    registers: str = ""
    counts_words: bool = False
    left_filled: int = 0
    masks: bool = False
    refines_words: bool = False
    image_shift: bool = False
    image_last: bool = False
    prepare: Callable | None = None
    number: Callable | None = None
    join: Callable | None = None
    adapt: Callable | None = None
    words: str = ""
    both: str = ""
    vectors: str = ""
    reads_words: Callable | None = None

    def grid(self, network, height: int, width: int) -> tuple[int, int]:
        """Image tokens of a latent, rounded up as every model here rounds."""
        side = getattr(network, self.patch)
        side = side[-1] if isinstance(side, (tuple, list)) else side
        return -(-height // side), -(-width // side)

    def stream(self, network, layer: str) -> Stream:
        """What the tokens of a layer are, if it has any; layer: its path in the network."""
        if self.reads_words is not None and self.reads_words(network, layer):
            return Stream.words
        for stream, pattern in ((Stream.none, self.vectors), (Stream.words, self.words), (Stream.both, self.both)):
            if pattern and re.search(pattern, layer):
                return stream
        return Stream.image

    def registers_of(self, network) -> int:
        found = getattr(network, self.registers) if self.registers else 0
        return found.shape[1] if isinstance(found, torch.Tensor) else found

    def fills_left(self, network) -> int:
        """Words are counted from the end of this many; 0 where they are not counted or counted from the start."""
        counted = getattr(getattr(network, "params", None), "txt_ids_dims", ())
        return self.left_filled if counted else 0


def is_kind(network, name: str) -> bool:
    network = getattr(network, "_orig_mod", network)  # torch.compile's
    return any(f"{cls.__module__}.{cls.__qualname__}" == name for cls in type(network).__mro__)
