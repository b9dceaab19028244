"""The workflow with a LoRA in each of two regions, as shipped: each style is read in its region and in no other."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
TWIN = ROOT / "workflows" / "api" / "regional_loras_quickstart.json"
LEFT, RIGHT = "40", "41"  # the nodes of their LoRAs
LIMIT_S = 300


@pytest.fixture(scope="module")
def style_of():
    sys.path.insert(0, str(ROOT))
    from tools.train.styles import style_of

    return style_of


def styles(server, style_of, **enabled) -> tuple[str | None, str | None]:
    """What is read in the left and in the right half; enabled: whether a side's LoRA is."""
    prompt = json.loads(TWIN.read_text(encoding="utf-8"))
    for node, is_on in enabled.items():
        prompt[{"left": LEFT, "right": RIGHT}[node]]["inputs"]["enabled"] = is_on
    (entry,) = server.run(prompt, LIMIT_S)["33"]["images"]
    picture = np.asarray(Image.open(io.BytesIO(server.image(entry))).convert("RGB"))
    is_left = np.arange(128)[None] < np.full((128, 1), 64)
    return style_of(picture, is_left), style_of(picture, ~is_left)


def test_each_style_is_read_in_its_region(server, style_of):
    assert styles(server, style_of) == ("dotted", "hatched")
    assert styles(server, style_of, left=False) == (None, "hatched")
    assert styles(server, style_of, right=False) == ("dotted", None)
    assert styles(server, style_of, left=False, right=False) == (None, None)
