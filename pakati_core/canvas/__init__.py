"""The canvas: regions, their prompts, and the pictures made of them."""

from .canvas import PakatiCanvas, RegionResult

__all__ = ["PakatiCanvas", "RegionResult"]
