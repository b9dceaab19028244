"""The editor takes our extension without complaint, in both renderers and in newer frontends."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).absolute().parents[2]
NEWER = sorted((ROOT / ".venv" / "frontends").glob("*/comfyui_frontend_package/static"))


def test_the_page_loads_without_errors(editor):
    assert editor.errors == []
    assert editor.backend.unanswered == set()


def test_our_script_asks_nobody_else(editor):
    """The frontend itself asks Comfy's own service for news; the tests refuse that, too."""
    assert {urlsplit(url).hostname for url in editor.foreign} <= {"api.comfy.org"}


def test_the_about_page_names_our_version(editor):
    editor.page.evaluate("() => window.app.extensionManager.command.execute('Comfy.Help.AboutComfyUI')")
    editor.page.get_by_text("Pakati v").wait_for(timeout=10_000)


@pytest.mark.parametrize("renderer", ["classic", "vue"])
@pytest.mark.parametrize("frontend", NEWER, ids=lambda path: path.parents[1].name)
def test_newer_frontends_load_it_too(open_editor, renderer: str, frontend: Path):
    with open_editor(renderer, frontend=frontend) as editor:
        assert editor.errors == []
