"""The canvas: regions, their prompts, and the pictures made of them."""

from .canvas import PakatiCanvas, RegionResult
from .crop import CropMode, CropPlan
from .history import Comparison, History, State
from .painter import Manner, main_model, paint_enlarged
from .project import Project, load_project, save_project
from .seams import Blend, Seam, solve_seam
from .strip import describe, draw_strip

__all__ = [
    "Blend",
    "Comparison",
    "CropMode",
    "CropPlan",
    "History",
    "Manner",
    "PakatiCanvas",
    "Project",
    "RegionResult",
    "Seam",
    "State",
    "describe",
    "draw_strip",
    "load_project",
    "main_model",
    "paint_enlarged",
    "save_project",
    "solve_seam",
]
