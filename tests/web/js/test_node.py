"""The pure JavaScript modules, tested by Node's own runner: one test here per file there."""

import importlib.util
import json
import shutil
import subprocess
import warnings
from pathlib import Path

import pytest

from pakati_core.editing import read_edited
from pakati_core.errors import PakatiError, PakatiWarning

WEB = Path(__file__).absolute().parents[3] / "web" / "js"
FILES = sorted(Path(__file__).parent.glob("*.test.mjs"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_javascript(path: Path):
    node = shutil.which("node")
    assert node
    result = subprocess.run([node, "--test", str(path)], capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr


def test_there_are_files():
    assert len(FILES) >= 3


@pytest.fixture
def hostile():
    spec = importlib.util.spec_from_file_location("pakati_hostile", Path(__file__).parents[1] / "hostile.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_whatever_the_editor_was_given_it_saves_what_the_core_reads(hostile, tmp_path: Path):
    """300 hostile values through the editor's reader: the core draws what it would save, unless a PNG is damaged."""
    values = hostile.hostile_values(300)
    (tmp_path / "values.json").write_text(json.dumps(values), encoding="utf-8")
    script = """
        const [modulePath, valuesPath] = process.argv.slice(-2);
        const { read, write } = await import(modulePath);
        const { readFileSync } = await import("node:fs");
        const values = JSON.parse(readFileSync(valuesPath, "utf8"));
        console.log(JSON.stringify(values.map(value => write(read(value).layout))));
    """
    command = [
        "node",
        "--input-type=module",
        "-e",
        script,
        "--",
        (WEB / "layout.js").as_uri(),
        str(tmp_path / "values.json"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=600)
    assert done.returncode == 0, done.stderr
    refused = []
    for value, saved in zip(values, json.loads(done.stdout), strict=True):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", PakatiWarning)
                regions = read_edited(saved)
                for region in regions.regions:
                    region.draw(regions.extent, region.window(regions.extent))
        except PakatiError as error:
            refused.append((value[:300], str(error)))
    assert [case for case in refused if "the mask inside the layout" not in case[1]] == []
