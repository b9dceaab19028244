"""`pakati edit`, `history`, `undo` and `redo` as people call them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pakati_core.cli import main

LAYOUT = {
    "pakati": "regions", "version": 1, "width": 64, "height": 64, "prompt": "grass",
    "regions": [{"id": "lake", "box": [0, 0, 32, 64], "prompt": "sea"},
                {"id": "beach", "box": [32, 0, 32, 64], "prompt": "sand", "locked": True}],
}  # fmt: skip


@pytest.fixture(scope="module")
def painted(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("painted")
    (folder / "layout.json").write_text(json.dumps(LAYOUT))
    out, project = str(folder / "first.png"), str(folder / "lake.pakati")
    assert main(["generate", str(folder / "layout.json"), "--out", out, "--project", project, "--steps", "1"]) == 0
    return folder


@pytest.fixture
def project(painted, tmp_path) -> Path:
    (tmp_path / "lake.pakati").write_bytes((painted / "lake.pakati").read_bytes())
    return tmp_path / "lake.pakati"


def test_edit_undo_redo_and_history(painted, project, tmp_path, capsys):
    first, edited, back = painted / "first.png", tmp_path / "edited.png", tmp_path / "back.png"
    call = ["edit", str(project), "--region", "lake", "--prompt", "brick", "--steps", "1", "--seed", "3"]
    assert main([*call, "--model", "nowhere", "--out", str(edited)]) == 0
    assert "the model 'nowhere' is not in models; pakati-tiny paints instead" in capsys.readouterr().err
    before, after = (np.asarray(Image.open(path)) for path in (first, edited))
    assert np.array_equal(before[:, 32:], after[:, 32:]) and not np.array_equal(before[:, :32], after[:, :32])

    assert main(["undo", str(project), "--out", str(back)]) == 0
    assert np.array_equal(np.asarray(Image.open(back)), before)
    assert main(["redo", str(project), "--out", str(back)]) == 0
    assert np.array_equal(np.asarray(Image.open(back)), after)
    capsys.readouterr()

    assert main(["history", str(project), "--out", str(tmp_path / "strip.png")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[0].startswith("    1") and lines[1].startswith("*   2 <- 1")
    assert "edit lake  seed 3  (pakati-tiny, " in lines[1]
    assert Image.open(tmp_path / "strip.png").width > 2 * 224


@pytest.mark.parametrize(
    "call, words",
    [
        (["edit", "{project}", "--region", "nobody"], "no region 'nobody'"),
        (["edit", "{project}", "--region", "beach", "--prompt", "snow"], "'beach' is locked"),
        (["edit", "{project}", "--region", "lake", "--mode", "huge"], "mode is 'huge'"),
        (["edit", "{project}", "--region", "lake", "--out", "x.txt"], "x.txt"),
        (["undo", "{project}"], "nothing to undo"),
        (["redo", "{project}"], "nothing to redo"),
        (["history", "nowhere.pakati"], "no project at nowhere.pakati"),
        (["generate", "{layout}", "--out", "x.png", "--project", "{project}"], "is there already"),
    ],
    ids=["unknown region", "locked", "mode", "no picture", "undo", "redo", "missing", "generate over it"],
)
def test_a_mistake_is_one_sentence_and_changes_nothing(painted, project, capsys, call, words):
    before = project.read_bytes()
    places = {"project": project, "layout": painted / "layout.json"}
    assert main([part.format(**places) for part in call]) == 2
    said = capsys.readouterr().err.strip()
    assert words in said and "\n" not in said
    assert project.read_bytes() == before
