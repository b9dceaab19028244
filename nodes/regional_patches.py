"""Other packs' patches of a UNet's cross-attention, in a call where the words of all regions are joined."""

from __future__ import annotations

from collections.abc import Callable

from comfy.ldm.modules.attention import optimized_attention

from ..pakati_core.errors import PakatiError

REPLACED, PATCHED = "patches_replace", "patches"


class WordsRead:
    """What the next cross-attention will read: `keys` words, and what a patch adds after them.

    added: None until a patch says it; as far as no pack patches what is read, nothing is added.
    """

    def __init__(self, keys: int, batch: int):
        self.keys, self.batch, self.added = keys, batch, None

    def note(self, n, context, value, options: dict):
        """An `attn2_patch` that comes after all others.  Raises PakatiError where regions would be lost."""
        if context.shape[1] < self.keys or value.shape[1] != context.shape[1] or n.shape[0] != self.batch:
            raise PakatiError(
                f"another pack's patch of the cross-attention makes {tuple(context.shape[:2])} of the "
                f"{self.batch} x {self.keys} words of the regions; remove it, or the regions"
            )
        self.added = context.shape[1] - self.keys
        return n, context, value

    def take(self, keys: int) -> int | None:
        """How many of so many keys are added, at their end; None for an attention that does not read the words."""
        if keys != self.keys + (self.added or 0):
            return None
        found, self.added = self.added or 0, None
        return found


def beside_patches(options: dict, words: WordsRead, base: int) -> dict:
    """transformer_options with which the patches go on working.  base: number of the base prompt's words."""
    patches, replaced = options.get(PATCHED, {}), options.get(REPLACED, {})
    if patches.get("attn2_patch"):
        options = {**options, PATCHED: {**patches, "attn2_patch": [*patches["attn2_patch"], words.note]}}
    if replaced.get("attn2"):
        ours = {where: _beside(theirs, base) for where, theirs in replaced["attn2"].items()}
        options = {**options, REPLACED: {**replaced, "attn2": ours}}
    return options


def _beside(theirs: Callable, base: int) -> Callable:
    """IPAdapter and its kin replace attention by itself and something more: that is added to what regions make."""

    def attend(q, k, v, options: dict):
        heads, precision = options["n_heads"], options.get("attn_precision")
        own = k[:, :base], v[:, :base]
        plain = optimized_attention(q, *own, heads, attn_precision=precision)
        regional = optimized_attention(q, k, v, heads, attn_precision=precision, transformer_options=options)
        return regional + (theirs(q, *own, options) - plain)

    return attend
