"""Pakati's headless core: regional prompts on one picture, without ComfyUI."""

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["PakatiCanvas", "PakatiError", "Region", "RegionSet"]

if TYPE_CHECKING:
    from .canvas import PakatiCanvas
    from .errors import PakatiError
    from .regions import Region, RegionSet

_HOMES = {"PakatiCanvas": "canvas", "PakatiError": "errors", "Region": "regions", "RegionSet": "regions"}


def __getattr__(name: str):
    """Loaded when asked for: torch and diffusers take seconds, and a host that imports us may need neither."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
