"""The embedded models: the world they know, its words, the reader, and their weights."""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
JOINT_WEIGHTS = Path(__file__).parent / "dit" / "pakati-tiny-dit.safetensors"
