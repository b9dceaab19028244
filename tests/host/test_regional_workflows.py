"""The workflows for SDXL and Flux.1 on a real server: stock loaders, reduced random files under the names they name."""

import copy
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.host.files import write_flux, write_sdxl

WORKFLOWS = Path(__file__).parents[2] / "workflows" / "api"
SIDE, LIMIT_S = 128, 300


def small(name: str) -> dict:
    """The workflow at an eighth of its size, places and all, and in two steps."""
    prompt = json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8"))
    lengths = ("width", "height", "shape.units.x", "shape.units.y", "shape.units.width", "shape.units.height")
    for node in prompt.values():
        inputs = node["inputs"]
        factor = SIDE / 1024
        inputs |= {key: inputs[key] * factor if "." in key else SIDE for key in lengths if key in inputs}
        inputs |= {"steps": 2} if "steps" in inputs else {}
    return prompt


def changed(prompt: dict, number: int, text: str) -> dict:
    prompt = copy.deepcopy(prompt)
    prompt[str(number)]["inputs"]["prompt"] = text
    return prompt


def picture(server, prompt: dict) -> np.ndarray:
    (entry,) = server.run(prompt, LIMIT_S)["33"]["images"]
    return np.asarray(Image.open(io.BytesIO(server.image(entry))).convert("RGB"), np.float32)


@pytest.mark.parametrize("name, write", [("regional_sdxl", write_sdxl), ("regional_flux", write_flux)])
def test_the_workflow_runs_and_a_regions_prompt_acts_where_the_region_is(server, name, write):
    write(server.folder / "models")
    prompt = small(name)
    first = picture(server, prompt)
    assert first.shape == (SIDE, SIDE, 3)
    assert first.std() > 5
    other = np.abs(picture(server, changed(prompt, 21, "seven yellow submarines")) - first).mean(-1)
    left, right = other[48:, 8:56].mean(), other[48:, 72:].mean()
    assert left > 1.3 * right, "the knight's region, and not the dragon's"
    assert left > 0.5
