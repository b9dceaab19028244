"""Regional attention: the plan says who sees what, `attend` does it; pure torch, one for every host and model."""

from .attend import DENSE_KEYS, Prompts, attend
from .plan import AttentionPlan, make_plan
from .rows import Rows, attend_rows, join_prompts, make_rows, unet_levels, unmistakable_length
from .text import Frame, RegionalText

__all__ = [
    "DENSE_KEYS",
    "AttentionPlan",
    "Frame",
    "Prompts",
    "RegionalText",
    "Rows",
    "attend",
    "attend_rows",
    "join_prompts",
    "make_plan",
    "make_rows",
    "unet_levels",
    "unmistakable_length",
]
