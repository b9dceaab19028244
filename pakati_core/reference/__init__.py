"""Reference pictures: what differs from them, signed, and what to do about it."""

from .actions import Action, Memory, suggest
from .annotated import Reference, quality
from .colour import ciede2000, lab_to_srgb, srgb_to_lab
from .delta import ASPECTS, Delta, compare, fit_reference
from .palette import Palette, palette, transport

__all__ = [
    "ASPECTS", "Action", "Delta", "Memory", "Palette", "Reference", "ciede2000", "compare", "fit_reference",
    "lab_to_srgb", "palette", "quality", "srgb_to_lab", "suggest", "transport",
]  # fmt: skip
