"""The verbs of the `pakati` command: one file for what belongs together. Models are imported when a verb runs."""

from . import characters, painting, projects, refinement

GROUPS = (painting, projects, refinement, characters)

__all__ = ["GROUPS"]
