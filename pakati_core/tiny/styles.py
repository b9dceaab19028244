"""Manners of drawing that a LoRA each teaches the embedded models."""

from __future__ import annotations

from pathlib import Path

STYLES = "hatched", "dotted"
LORAS = Path(__file__).with_name("styles") / "loras"


def style_lora(model: str, style: str) -> Path:
    """model: pakati-tiny or pakati-tiny-dit; the file is in kohya's layout."""
    return LORAS / f"{model}-{style}.safetensors"
