"""Every shipped workflow opens in the editor as its author saved it."""

import json
from pathlib import Path

import pytest

WORKFLOWS = Path(__file__).absolute().parents[2] / "workflows"
DEFINITIONS = json.loads((WORKFLOWS.parent / "tests" / "data" / "object_info.json").read_text(encoding="utf-8"))
NOTHING = object()  # equal to no value
SHIPPED = sorted(WORKFLOWS.glob("*.json"))
TWINS = [path for path in SHIPPED if (WORKFLOWS / "api" / path.name).is_file()]


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_there_are_workflows():
    if not WORKFLOWS.is_dir():
        pytest.skip("no workflows/ yet")
    assert SHIPPED
    assert [path.stem for path in SHIPPED if not path.with_suffix(".jpg").is_file()] == [], "a template needs a picture"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_workflow_opens_with_no_missing_nodes(editor, path: Path):
    workflow = read(path)
    editor.load(workflow)
    assert editor.missing_nodes() == []
    assert editor.errors == []
    assert {node["id"]: node["type"] for node in editor.saved()["nodes"]} == {
        node["id"]: node["type"] for node in workflow["nodes"]
    }


@pytest.mark.parametrize("path", TWINS, ids=lambda path: path.stem)
def test_the_api_twin_is_what_the_editor_queues(editor, path: Path):
    editor.load(read(path))
    twin = read(WORKFLOWS / "api" / path.name)
    assert essence(editor.prompt()) == essence(twin)


def essence(prompt: dict) -> dict:
    """Class and inputs by node id: titles may differ, and a twin need not say what is so by default."""
    return {node_id: (node["class_type"], told(node["class_type"], node["inputs"])) for node_id, node in prompt.items()}


def told(class_type: str, inputs: dict) -> dict:
    optional = DEFINITIONS[class_type]["input"].get("optional", {})
    defaults = {name: rest[0].get("default", NOTHING) for name, (_, *rest) in optional.items() if rest}
    return {name: value for name, value in inputs.items() if defaults.get(name, NOTHING) != value}
