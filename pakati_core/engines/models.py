"""Finds the engine for a model that is asked for by name."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import warn
from .ports import Engine

EMBEDDED = "pakati-tiny"
# Names from before 2026 that people still write, and the file stems under which the models lie today.
STEMS = {
    "stable-diffusion-xl": ("stable-diffusion-xl-base-1.0", "sd_xl_base_1.0", "sdxl"),
    "stable-diffusion": ("stable-diffusion-v1-5", "v1-5-pruned-emaonly", "sd15"),
}
RETIRED = {"dalle-2": "2026-05-12", "dalle-3": "2026-05-12", "gpt-image-1": "2026-10-23"}


def models_folder() -> Path:
    """Where models are looked for by name: $PAKATI_MODELS, else `models` in the working folder."""
    return Path(os.environ.get("PAKATI_MODELS", "models"))


def find_model(name: str) -> str | Path | None:
    """`pakati-tiny`, or the path of an installed model, or None."""
    if name == EMBEDDED or Path(name).exists():
        return name
    for stem in (name, *STEMS.get(name, ())):
        for candidate in (models_folder() / stem, models_folder() / f"{stem}.safetensors"):
            if candidate.exists():
                return candidate
    return None


def engine_for(names: list[str], engines: dict[str, Engine]) -> Engine:
    """An engine for the first of these names that is installed, else the embedded model, with a warning.

    engines: those loaded already, by model; a new one is added.
    """
    from .diffusers import DiffusersEngine

    found = {name: find_model(name) for name in names}
    chosen = next((model for model in found.values() if model is not None), EMBEDDED)
    for name, model in found.items():
        if model is None:
            why = f"was retired on {RETIRED[name]}" if name in RETIRED else f"is not in {models_folder()}"
            warn(f"the model {name!r} {why}; {Path(chosen).stem} paints instead")
    if len({model for model in found.values() if model is not None}) > 1:
        warn(f"one pass paints all regions with one model, here {Path(chosen).stem}")
    return engines.setdefault(str(chosen), DiffusersEngine(chosen))
