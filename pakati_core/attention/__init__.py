"""Regional attention: the plan says who sees what, `attend` does it; pure torch, one for every host and model."""

from .attend import DENSE_KEYS, Prompts, attend
from .gate import Gate, Window, image_window, token_gate
from .joint import Sequence, attend_joint, attend_words
from .plan import AttentionPlan, make_plan
from .rows import (
    Joined,
    Rows,
    attend_joint_rows,
    attend_rows,
    attend_word_rows,
    join_prompts,
    join_shared,
    joined_length,
    make_rows,
    unet_levels,
    unmistakable_length,
)
from .text import Frame, RegionalText

__all__ = [
    "DENSE_KEYS",
    "AttentionPlan",
    "Frame",
    "Gate",
    "Joined",
    "Prompts",
    "RegionalText",
    "Rows",
    "Sequence",
    "Window",
    "attend",
    "attend_joint",
    "attend_joint_rows",
    "attend_rows",
    "attend_word_rows",
    "attend_words",
    "image_window",
    "join_prompts",
    "join_shared",
    "joined_length",
    "make_plan",
    "make_rows",
    "token_gate",
    "unet_levels",
    "unmistakable_length",
]
