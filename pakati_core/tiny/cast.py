"""The embedded world's people, whom a LoRA each teaches the embedded model."""

from __future__ import annotations

from .heads import Look

CAST = {
    "luca": Look("spiky", "red", "fair", "green", "round", "freckles"),
    "mia": Look("long", "blue", "brown", "brown", "long", "earrings"),
}
