"""Characters that stay themselves: presets, identity, control, batches.

What needs diffusers is loaded when it is first named.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .batches import BatchGenerator, Painted, folder_for
from .calibration import Aggregate, Threshold, calibrate
from .checker import CharacterConsistencyChecker
from .embedders import DOCUMENTS_THRESHOLD, OPENCV, embedder_called
from .embeddings import Embeddings
from .heads_embedder import HEADS_ID
from .identity import Finding, Match, Person, Unknown, recognise, recognise_all, split
from .ports import Embedder, Face
from .presets import Preset, load_presets, save_presets
from .prompts import assemble
from .sheet import Candidate, draw_sheet
from .tiny_embedder import TINY

if TYPE_CHECKING:
    from .control import ControlNetGenerator
    from .generator import CharacterGenerator, jobs_for
    from .sdxl import SDXLPipelineManager

_LATE = {
    "CharacterGenerator": "generator", "jobs_for": "generator", "ControlNetGenerator": "control",
    "SDXLPipelineManager": "sdxl",
}  # fmt: skip

__all__ = [
    "DOCUMENTS_THRESHOLD", "HEADS_ID", "OPENCV", "TINY", "Aggregate", "BatchGenerator", "Candidate",
    "CharacterConsistencyChecker", "CharacterGenerator", "ControlNetGenerator", "Embedder", "Embeddings", "Face",
    "Finding", "Match", "Painted", "Person", "Preset", "SDXLPipelineManager", "Threshold", "Unknown", "assemble",
    "calibrate", "draw_sheet", "embedder_called", "folder_for", "jobs_for", "load_presets", "recognise",
    "recognise_all", "save_presets", "split",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_LATE[name]}", __name__), name)
