"""The embedded world's people, whom a LoRA each teaches the embedded model."""

from __future__ import annotations

from pathlib import Path

from .heads import Look

FOLDER = Path(__file__).with_name("cast")  # of the finder and the embedder, and of the cast's faces
LORAS = FOLDER / "loras"

CAST = {
    "luca": Look("spiky", "red", "fair", "green", "round", "freckles"),
    "mia": Look("long", "blue", "brown", "brown", "long", "earrings"),
}


def lora_of(name: str) -> Path:
    """The file of this person's LoRA, for the embedded model's UNet, in kohya's layout."""
    return LORAS / f"pakati-tiny-{name}.safetensors"


def faces_of(name: str) -> Path:
    """The file of this person's reference faces, as `pakati-heads` embeds them."""
    return FOLDER / f"{name}_faces.safetensors"
