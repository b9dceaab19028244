"""The embedded world's people, whom a LoRA each teaches the embedded model."""

from __future__ import annotations

from pathlib import Path

from .heads import Look

FOLDER = Path(__file__).with_name("cast")  # of the LoRAs, the finder and the embedder

CAST = {
    "luca": Look("spiky", "red", "fair", "green", "round", "freckles"),
    "mia": Look("long", "blue", "brown", "brown", "long", "earrings"),
}


def lora_of(name: str) -> Path:
    """The file of this person's LoRA, for the embedded model's UNet, in diffusers' names."""
    return FOLDER / f"{name}.safetensors"
