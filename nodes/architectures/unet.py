"""UNets whose blocks may read the words twice."""

from __future__ import annotations

import re

FIRST_READ = re.compile(r"(.+)\.attn1\.to_[kv]")


def reads_words(network, layer: str) -> bool:
    """Whether this layer reads words in the place of self-attention; layer: its path in the network."""
    found = FIRST_READ.fullmatch(layer)
    return found is not None and getattr(network.get_submodule(found[1]), "disable_self_attn", False)
