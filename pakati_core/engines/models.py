"""Finds the engine for a model that is asked for by name, or says why there is none."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ..errors import ModelError, warn
from ..geometry import Extent
from .ports import Capabilities, Engine

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


class Registry:
    """The engines of one canvas: finds the one for a model's name, and says why where it cannot.

    Each is loaded once. Give it engines of your own by name, such as a remote provider's, before they are asked for.
    """

    def __init__(self, engines: dict[str, Engine] | None = None):
        self.engines: dict[str, Engine] = dict(engines or {})

    def known(self, name: str) -> str | None:
        """The key under which this model's engine is kept; None where it is not installed."""
        found = name if name in self.engines else find_model(name)
        return None if found is None else str(found)

    def choose(self, name: str, instead: str = EMBEDDED) -> str:
        """The key for this model, or for the one to use instead, with a warning that says why."""
        found = self.known(name)
        if found is None:
            found = self.known(instead) or EMBEDDED
            why = f"was retired on {RETIRED[name]}" if name in RETIRED else f"is not in {models_folder()}"
            warn(f"the model {name!r} {why}; {Path(found).stem} paints instead")
        return found

    def able(self, key: str, needs: Iterable[str]) -> str:
        """This key if its model can do what is needed, else that of another engine, with a warning that says why.

        Only engines that are here already are asked: no model is loaded to find out.  Raises ModelError if none can.
        """
        reason = _lack(self.engine(key).capabilities(), needs, None)
        if reason is None:
            return key
        others = (name for name, engine in self.engines.items() if _lack(engine.capabilities(), needs, None) is None)
        found = next(others, None)
        if found is None:
            raise ModelError(f"the model {Path(key).stem} {reason}")
        warn(f"the model {Path(key).stem} {reason.split(';')[0]}; {Path(found).stem} paints instead")
        return found

    def engine(self, key: str, needs: Iterable[str] = (), size: Extent | None = None) -> Engine:
        """needs: fields of Capabilities that must be true.  size: that it must paint.  Raises ModelError."""
        from .diffusers import DiffusersEngine

        engine = self.engines.get(key)
        if engine is None:
            engine = self.engines[key] = DiffusersEngine(key)
        if reason := _lack(engine.capabilities(), needs, size):
            raise ModelError(f"the model {Path(key).stem} {reason}")
        return engine


def _lack(able: Capabilities, needs: Iterable[str], size: Extent | None) -> str | None:
    """Why a model cannot do what is needed, and what to do; None where it can."""
    for need in needs:
        if not getattr(able, need):
            return LACKS[need]
    if size and not (able.smallest <= min(size) and max(size) <= able.largest):
        return f"paints sides from {able.smallest} to {able.largest} pixels, not {size}; choose another size or model"
    return None


LACKS = {
    "regional": "gives no region a prompt of its own; give the regions another model",
    "inpaint": "cannot edit a part of a picture; give this region another model",
    "control": "follows no control pictures; remove the controls or choose another model",
}
