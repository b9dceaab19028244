"""LoRAs: stacks of them, their trigger words, the registry, and what each adds to a layer."""

from .deltas import BiasDelta, Delta, FullDelta, Hadamard, Kronecker, LowRank
from .engine_loader import EngineLoraLoader
from .loader import LoRALoader
from .registry import LoraRegistry, RegisteredLora
from .stack import LoraRow, find_name, inject, read_rows, write_rows
from .triggers import trigger_words

__all__ = [
    "BiasDelta",
    "Delta",
    "EngineLoraLoader",
    "FullDelta",
    "Hadamard",
    "Kronecker",
    "LoRALoader",
    "LoraRegistry",
    "LoraRow",
    "LowRank",
    "RegisteredLora",
    "find_name",
    "inject",
    "read_rows",
    "trigger_words",
    "write_rows",
]
