"""The English texts for the editor: those of the schemas, from where other languages start.

PAKATI_RECORD=1 python -m pytest tests/nodes/test_locales.py       writes them anew
"""

import asyncio
import json
import os
from pathlib import Path

from pakati import comfy_entrypoint

ENGLISH = Path(__file__).absolute().parents[2] / "locales" / "en" / "nodeDefs.json"
NODES = asyncio.run(comfy_entrypoint().get_node_list())


def texts(node) -> dict:
    """As the host's editor looks them up: inputs by id, outputs by number."""
    schema = node.define_schema()
    inputs = {entry.id: {"name": entry.display_name or entry.id, "tooltip": entry.tooltip} for entry in schema.inputs}
    outputs = {
        str(i): {"name": entry.display_name or entry.id, "tooltip": entry.tooltip}
        for i, entry in enumerate(schema.outputs)
    }
    shown = {"display_name": schema.display_name, "description": schema.description}
    return shown | {"inputs": inputs, "outputs": outputs}


def test_the_english_texts_are_those_of_the_schemas():
    wanted = {node.define_schema().node_id: texts(node) for node in NODES}
    if os.environ.get("PAKATI_RECORD"):
        ENGLISH.parent.mkdir(parents=True, exist_ok=True)
        ENGLISH.write_text(json.dumps(wanted, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    saved = json.loads(ENGLISH.read_text(encoding="utf-8"))
    stale = [name for name, text in saved.items() if wanted.get(name) != text]
    assert not stale, f"{stale} changed: run this test with PAKATI_RECORD=1 and commit {ENGLISH.name}"


def test_no_text_is_taken_for_markup():
    """The editor's translator gives a meaning to these characters."""
    saved = json.loads(ENGLISH.read_text(encoding="utf-8"))
    assert [text for text in _strings(saved) if set("{}|@") & set(text)] == []


def _strings(value) -> list[str]:
    return [text for part in value.values() for text in _strings(part)] if isinstance(value, dict) else [value]
