"""The pure JavaScript modules, tested by Node's own runner: one test here per file there."""

import shutil
import subprocess
from pathlib import Path

import pytest

FILES = sorted(Path(__file__).parent.glob("*.test.mjs"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_javascript(path: Path):
    node = shutil.which("node")
    assert node
    result = subprocess.run([node, "--test", str(path)], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
