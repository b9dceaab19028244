"""The loop that ends with the best picture it saw."""

from typing import TYPE_CHECKING

from .routing import TABLE, seed_of
from .state import Attempt, Config, Pass, RefinementStrategy, Route, State
from .step import Decision, Outcome, advance, decide, is_better, step

if TYPE_CHECKING:
    from .api import EnhancedPakatiCanvas, FluxVLMPipeline
    from .masks import automatic_mask, repaint_mask
    from .prompts import clarify
    from .report import draw_chart, draw_report, draw_strip, draw_table
    from .run import IterativeRefinementEngine, Result, ask_about, reference_checks

__all__ = [
    "TABLE", "Attempt", "Config", "Decision", "EnhancedPakatiCanvas", "FluxVLMPipeline", "IterativeRefinementEngine",
    "Outcome", "Pass", "RefinementStrategy", "Result", "Route", "State", "advance", "ask_about", "automatic_mask",
    "clarify", "decide", "draw_chart", "draw_report", "draw_strip", "draw_table", "is_better",
    "reference_checks", "repaint_mask",
    "seed_of", "step",
]  # fmt: skip

_HOMES = {
    "EnhancedPakatiCanvas": "api", "FluxVLMPipeline": "api", "automatic_mask": "masks", "repaint_mask": "masks",
    "clarify": "prompts", "draw_chart": "report", "draw_report": "report", "draw_strip": "report",
    "draw_table": "report", "IterativeRefinementEngine": "run", "Result": "run", "ask_about": "run",
    "reference_checks": "run",
}  # fmt: skip


def __getattr__(name: str):
    """Loaded when asked for: the decision alone needs neither torch nor diffusers."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
