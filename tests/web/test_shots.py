"""How the pack looks, for people to look at: both renderers, and the light theme.

PAKATI_RECORD=1 python -m pytest tests/web/test_shots.py      takes the pictures in tests/web/shots anew
"""

import io
import json
import os
from pathlib import Path

import pytest
from PIL import Image

from pakati_core.canvas import PakatiCanvas
from pakati_core.regions import RegionSet

ROOT = Path(__file__).absolute().parents[2]
SHOTS = Path(__file__).with_name("shots")
NAMES = {"classic": ("classic", "dark"), "vue": ("vue", "dark"), "light": ("vue", "light")}
LARGEST = 120_000  # bytes


def workflow() -> dict:
    return json.loads((ROOT / "workflows" / "draw_regions.json").read_text(encoding="utf-8"))


def save_canvas(folder: Path) -> None:
    """The quickstart's picture and its regions, in two steps."""
    values = next(node for node in workflow()["nodes"] if node["type"] == "PakatiRegionEditor")["widgets_values"]
    regions = RegionSet.from_dict({key: part for key, part in json.loads(values[0]).items() if key != "editor"})
    picture = Image.open(ROOT / "workflows" / "draw_regions.jpg").convert("RGB").resize(regions.extent)
    canvas = PakatiCanvas.of(regions)
    first = canvas.continue_with(picture, regions, "night over sand", None)
    canvas.continue_with(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), regions, "mirrored", first)
    canvas.save(folder / "beach.pakati")


@pytest.mark.skipif(not os.environ.get("PAKATI_RECORD"), reason="only where PAKATI_RECORD asks for pictures")
@pytest.mark.parametrize("name", NAMES)
def test_take_the_shot(open_editor, name: str):
    renderer, palette = NAMES[name]
    with open_editor(renderer, settings={"Comfy.ColorPalette": palette, "Comfy.Minimap.Visible": False}) as editor:
        page = editor.page
        editor.backend.forget()
        save_canvas(editor.backend.canvases)
        page.set_viewport_size({"width": 1366, "height": 768})
        editor.load(workflow())
        page.get_by_role("button", name="Pakati: start").click()
        page.get_by_role("button", name="Steps of beach").click()
        page.get_by_role("button", name="Open step 1").wait_for()
        page.evaluate(
            "() => { app.canvas.ds.scale = 0.95; app.canvas.ds.offset = [430, 110]; app.canvas.setDirty(true, true); }"
        )
        page.wait_for_timeout(500)
        page.locator(".pakati-name", has_text="beach").first.click()
        page.wait_for_timeout(500)
        shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    SHOTS.mkdir(exist_ok=True)
    shot.quantize(96, dither=Image.Dither.NONE).save(SHOTS / f"{name}.png", optimize=True)


@pytest.mark.parametrize("name", NAMES)
def test_the_shot_is_there_and_small(name: str):
    path = SHOTS / f"{name}.png"
    assert path.is_file(), "run this file with PAKATI_RECORD=1 and look at what it took"
    assert path.stat().st_size < LARGEST
    with Image.open(path) as shot:
        assert shot.size == (1366, 768)
