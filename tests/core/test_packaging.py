"""What pip, the Comfy registry, ComfyUI's manager and the editor read from this repository."""

import importlib.util
import json
import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SCRIPTS = sorted((ROOT / "web").rglob("*.js"))


def first_match(pattern: str, path: str) -> str:
    found = re.search(pattern, (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
    assert found, f"{path} has no {pattern}"
    return found[1]


def test_installing_the_pack_adds_no_package():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.strip() and not line.startswith("#")] == []
    assert not (ROOT / "install.py").exists()


def test_the_registry_finds_its_fields():
    comfy = PYPROJECT["tool"]["comfy"]
    assert {"PublisherId", "DisplayName"} <= comfy.keys()
    assert PYPROJECT["project"]["urls"]["Repository"].startswith("https://github.com/")
    assert comfy["requires-comfyui"] == ">=0.33.0"
    assert "web" not in comfy, "beside WEB_DIRECTORY it would load every script twice"


def test_no_dependency_is_known_to_break_the_host():
    project = PYPROJECT["project"]
    extras = [wanted for name, wanted in project["optional-dependencies"].items() if name != "dev"]
    names = {re.split(r"[^\w-]", entry)[0] for entry in chain(project["dependencies"], *extras)}
    assert not names & {"mediapipe", "litellm", "pyiqa", "google-generativeai", "comfyui-frontend-package", "protobuf"}


@pytest.mark.parametrize(
    "pattern, path",
    [(r"^## (\S+)", "CHANGELOG.md"), (r'VERSION = "(.+?)"', "web/js/pakati.js")],
    ids=["changelog", "editor"],
)
def test_versions_agree(pattern: str, path: str):
    assert first_match(pattern, path) == PYPROJECT["project"]["version"]


def test_the_root_imports_without_comfyui():
    spec = importlib.util.spec_from_file_location("headless_pakati", ROOT / "__init__.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / module.WEB_DIRECTORY).is_dir()
    assert not hasattr(module, "NODE_CLASS_MAPPINGS"), "ComfyUI would take the pack for an old one and skip its nodes"


def test_only_one_script_registers_with_the_editor():
    """The editor imports every script below web/, so the others must do nothing when they are only imported."""
    assert [path.name for path in SCRIPTS if "registerExtension(" in path.read_text(encoding="utf-8")] == ["pakati.js"]
    assert {path.parent.name for path in SCRIPTS} == {"js"}
    assert [path.name for path in SCRIPTS if ".test." in path.name] == []


def test_scripts_are_readable_and_load_nothing_foreign():
    for path in SCRIPTS:
        text = path.read_text(encoding="utf-8")
        assert max(map(len, text.splitlines())) < 300, f"{path.name} looks minified"
        assert not re.search(r"""(from|import\()\s*["']https?:""", text), f"{path.name} imports from the network"


def test_every_json_that_the_host_reads_is_json():
    """A broken file in subgraphs/ would greet every user with an error at start."""
    folders = ("locales", "subgraphs", "workflows", "web")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.json")]
    assert files
    for path in files:
        json.loads(path.read_text(encoding="utf-8"))
