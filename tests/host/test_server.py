"""The pack in a real ComfyUI: loads cleanly, quickly, and brings its nodes and its script."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).absolute().parents[2]
RECORDED = ROOT / "tests" / "data" / "object_info.json"

# What the browser tests need beside the nodes of our own workflows.
STOCK_NODES = {
    *("CheckpointLoaderSimple", "CLIPTextEncode", "EmptyLatentImage", "KSampler", "VAEDecode", "VAEEncode"),
    *("LoadImage", "LoraLoader", "PreviewImage", "SaveImage", "ImageScale", "MaskToImage", "SolidMask"),
}


def test_the_pack_loads_without_a_traceback(server):
    loaded = re.search(r"([\d.]+) seconds(.*?): .*[/\\]pakati$", server.log, re.MULTILINE)
    assert loaded, "ComfyUI did not report the pack among its custom nodes"
    assert "FAILED" not in loaded[2]
    # up to the first prompt: tests elsewhere ask for mistakes on purpose
    start = server.log.split("got prompt")[0]
    assert "Traceback" not in start
    assert "Unable to parse pyproject.toml" not in start
    assert not re.search(r"(error|warning|skipping).*pakati", start, re.IGNORECASE)


def test_the_pack_starts_quickly(server):
    """At most 0.3 s, in ComfyUI's own measure."""
    loaded = re.search(r"([\d.]+) seconds.*[/\\]pakati$", server.log, re.MULTILINE)
    assert loaded and float(loaded[1]) <= 0.3


def test_the_server_offers_our_nodes(server):
    nodes = {name: node for name, node in server.json("/object_info").items() if "pakati" in node["python_module"]}
    assert nodes
    assert {name for name in nodes if not name.startswith("Pakati")} == set()
    assert {node["category"] for node in nodes.values() if not node["category"].startswith("Pakati")} == set()


def test_the_server_serves_our_script_once(server):
    ours = [path for path in server.json("/extensions") if path.endswith("/pakati.js")]
    assert ours == ["/extensions/pakati/js/pakati.js"]
    assert b"registerExtension" in server.fetch(ours[0])


def test_installing_the_requirements_changes_nothing():
    """Needs no network: there is nothing to look for."""
    if importlib.util.find_spec("pip") is None:
        pytest.skip("ComfyUI's Python has no pip")
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "-r", str(ROOT / "requirements.txt")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Would install" not in done.stdout


def test_the_recorded_definitions_are_current(server):
    """tests/web runs on this record where there is no ComfyUI; `make record` renews it."""
    live = server.json("/object_info")
    ours = {name for name, node in live.items() if "pakati" in node["python_module"]}
    wanted = {name: live[name] for name in sorted(ours | STOCK_NODES | (nodes_in_workflows() & live.keys()))}
    if os.environ.get("PAKATI_RECORD"):
        RECORDED.parent.mkdir(exist_ok=True)
        RECORDED.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    names = sorted(ours | wanted.keys() | recorded.keys())
    stale = [name for name in names if shape_of(recorded.get(name)) != shape_of(wanted.get(name))]
    assert not stale, f"{stale} changed: run `make record` and commit tests/data/object_info.json"


def shape_of(node: dict | None) -> dict | None:
    """The definition without the files of models and pictures: tests write some."""
    if node is None or "pakati" in node["python_module"]:
        return node
    groups = {
        group: {
            name: ["FILES", *rest] if isinstance(kind, list) else [kind, *rest] for name, (kind, *rest) in rows.items()
        }
        for group, rows in node["input"].items()
    }
    return {**node, "input": groups}


def nodes_in_workflows() -> set[str]:
    names = set()
    for path in (ROOT / "workflows").rglob("*.json"):
        saved = json.loads(path.read_text(encoding="utf-8"))
        if "nodes" in saved:
            graphs = [saved, *saved.get("definitions", {}).get("subgraphs", [])]
            names |= {node["type"] for graph in graphs for node in graph["nodes"]}
        else:
            names |= {node["class_type"] for node in saved.values()}
    return names
