"""The editor takes our extension without complaint, in both renderers and in newer frontends."""

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).absolute().parents[2]
NEWER = sorted((ROOT / ".venv" / "frontends").glob("*/comfyui_frontend_package/static"))


def test_the_page_loads_without_errors(editor):
    assert editor.first_errors == []
    assert editor.backend.unanswered == set()


def test_our_script_asks_nobody_else(editor):
    """The frontend itself asks Comfy's own service for news; the tests refuse that, too."""
    assert {urlsplit(url).hostname for url in editor.foreign} <= {"api.comfy.org"}


def test_the_about_page_names_our_version(editor):
    editor.page.evaluate("() => window.app.extensionManager.command.execute('Comfy.Help.AboutComfyUI')")
    editor.page.get_by_text("Pakati v").wait_for(timeout=10_000)


@pytest.mark.parametrize("renderer", ["classic", "vue"])
@pytest.mark.parametrize("frontend", NEWER, ids=lambda path: path.parents[1].name)
def test_in_newer_frontends_one_draws_too(open_editor, renderer: str, frontend: Path):
    with open_editor(renderer, frontend=frontend) as editor:
        page = editor.page
        editor.load({"nodes": [], "links": [], "version": 0.4})
        page.evaluate("() => app.extensionManager.command.execute('Pakati.AddRegionEditor')")
        box = page.locator(".pakati-canvas").bounding_box()
        page.mouse.move(box["x"] + 60, box["y"] + 60)
        page.mouse.down()
        page.mouse.move(box["x"] + 160, box["y"] + 140, steps=4)
        page.mouse.up()
        page.keyboard.type("a red barn")
        page.wait_for_function("() => app.graph.nodes.at(-1).widgets[0].value.includes('a red barn')")
        drawn = [
            region for node in editor.prompt().values() for region in json.loads(node["inputs"]["layout"])["regions"]
        ]
        workflow = editor.saved()
        editor.load(workflow)
        page.locator(".pakati-name", has_text="region 1").wait_for()
        (again,) = (json.loads(node["inputs"]["layout"])["regions"] for node in editor.prompt().values())
        assert len(drawn) == 1 and again == drawn
        page.get_by_role("button", name="Pakati: start").click()
        page.get_by_text("No canvases are saved yet").wait_for()
        assert editor.errors == []
