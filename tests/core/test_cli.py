"""The `pakati` command as people call it: a process of its own, its exit code, its sentence, its files."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from pakati_core.cli import main
from pakati_core.commands import painting
from pakati_core.demo import run_demo
from pakati_core.engines.diffusers import DiffusersEngine

GOOD = {
    "pakati": "regions", "version": 1, "width": 64, "height": 64, "prompt": "grass",
    "regions": [{"id": "left", "box": [0, 0, 32, 64], "prompt": "a red circle"}],
}  # fmt: skip


def written(folder: Path, **changes) -> Path:
    path = folder / "layout.json"
    path.write_text(json.dumps(GOOD | changes))
    return path


def region(**changes) -> list[dict]:
    return [{"id": "hill", "box": [0, 0, 32, 64], "prompt": "sand"} | changes]


def shaped(**shape) -> list[dict]:
    return [{"id": "hill", "prompt": "sand"} | shape]


def test_generate_writes_the_same_picture_for_the_same_seed(tmp_path):
    layout = written(tmp_path)
    for name in ("one.png", "two.png"):
        assert main(["generate", str(layout), "--out", str(tmp_path / name), "--seed", "3", "--steps", "2"]) == 0
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert Image.open(tmp_path / "one.png").size == (64, 64)


def test_refine_writes_passes_report_history_and_the_best(tmp_path, capsys):
    out = tmp_path / "refined"
    command = ["refine", str(written(tmp_path)), "--out", str(out), "--seed", "3", "--steps", "2", "--target", "1"]
    assert main([*command, "--rounds", "2"]) == 1
    said = capsys.readouterr().out
    assert "2 rounds are spent" in said
    history = json.loads((out / "history.json").read_text())
    best = out / f"pass_{history['best_index']:02}.png"
    assert len(history["passes"]) == 2
    assert Image.open(out / "best.png").tobytes() == Image.open(best).tobytes()
    assert min(Image.open(out / "chart.png").size) > 200 and min(Image.open(out / "report.png").size) > 200
    before = best.stat().st_mtime_ns
    assert main([*command, "--rounds", "3"]) == 1
    assert best.stat().st_mtime_ns == before and len(json.loads((out / "history.json").read_text())["passes"]) == 3


def test_regions_draws_the_layout(tmp_path):
    assert main(["regions", str(written(tmp_path)), "--overlay", str(tmp_path / "overlay.png")]) == 0
    assert min(Image.open(tmp_path / "overlay.png").size) >= 512


@pytest.mark.parametrize(
    "regions, words",
    [
        (shaped(polygon=[[0, 0], [9, 9]]), ["hill", "three"]),
        (shaped(polygon=[[0, 0], [30, 30], [30, 0], [0, 30]]), ["hill", "cross"]),
        (region(box=[100, 0, 32, 64]), ["hill"]),
        (region(box=[0, 0, 0, 64]), ["hill"]),
        (region(box=[0, 0, float("nan"), 64]), ["hill"]),
        (region(box=[0, 0, float("inf"), 64]), ["hill"]),
        (region() + region(), ["hill", "twice"]),
        (shaped(mask="nowhere.png"), ["hill", "nowhere.png"]),
        (shaped(mask="layout.json"), ["hill", "layout.json"]),
        (region(weight=-1), ["hill", "weight"]),
        (region(start=0.8, end=0.2), ["hill", "start"]),
    ],
    ids=["two points", "self-crossing", "outside", "zero area", "nan", "infinite", "duplicate ids", "missing mask",
         "mask of the wrong type", "negative weight", "time range"],
)  # fmt: skip
@pytest.mark.parametrize("verb", ["generate", "regions"])
def test_a_bad_region_is_one_sentence_and_exit_code_2(tmp_path, capsys, verb, regions, words):
    out = tmp_path / "out.png"
    flag = "--out" if verb == "generate" else "--overlay"
    assert main([verb, str(written(tmp_path, regions=regions)), flag, str(out)]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("pakati: ") and "\n" not in said
    assert all(word in said for word in words), said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["layout.json"]


def test_a_mask_of_the_wrong_size_is_one_sentence(tmp_path, capsys):
    Image.new("L", (10, 10), 255).save(tmp_path / "mask.png")
    layout = written(tmp_path, regions=shaped(mask="mask.png"))
    assert main(["generate", str(layout), "--out", str(tmp_path / "out.png")]) == 2
    said = capsys.readouterr().err
    assert "hill" in said and "10x10" in said and "64x64" in said


def test_an_empty_prompt_warns_and_works(tmp_path, capsys):
    layout = written(tmp_path, regions=region(prompt=""))
    assert main(["generate", str(layout), "--out", str(tmp_path / "out.png"), "--steps", "1"]) == 0
    assert "'hill' has no prompt" in capsys.readouterr().err


@pytest.mark.parametrize("count", [0, 64])
def test_no_regions_and_64_regions_work(tmp_path, count):
    cells = [{"id": f"r{i}", "box": [i % 8 * 8, i // 8 * 8, 8, 8], "prompt": "sand"} for i in range(count)]
    layout = written(tmp_path, regions=cells)
    assert main(["generate", str(layout), "--out", str(tmp_path / "out.png"), "--steps", "1"]) == 0


def test_a_region_of_one_pixel_works(tmp_path):
    layout = written(tmp_path, regions=region(box=[20, 20, 1, 1]))
    assert main(["generate", str(layout), "--out", str(tmp_path / "out.png"), "--steps", "1"]) == 0


@pytest.mark.parametrize("model", ["nowhere", "layout.json"])
def test_a_model_that_cannot_be_used_is_one_sentence(tmp_path, capsys, model):
    layout, out = written(tmp_path), tmp_path / "out.png"
    assert main(["generate", str(layout), "--out", str(out), "--model", str(tmp_path / model)]) == 2
    said = capsys.readouterr().err.strip()
    assert model in said and "\n" not in said
    assert not out.exists()


def test_an_output_that_cannot_be_written_is_said_before_the_work(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(DiffusersEngine, "generate", lambda *_: pytest.fail("painted for nothing"))
    (tmp_path / "file").write_text("")
    layout = written(tmp_path)
    assert main(["generate", str(layout), "--out", str(tmp_path / "file" / "out.png")]) == 2
    assert main(["generate", str(layout), "--out", str(tmp_path / "out.txt")]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 2 and "file" in said[0] and "out.txt" in said[1]


def test_debug_shows_where_it_came_from(tmp_path):
    command = [
        sys.executable,
        "-m",
        "pakati_core.cli",
        "--debug",
        "regions",
        str(tmp_path / "no.json"),
        "--overlay",
        "x.png",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert "Traceback" in done.stderr and "LayoutFileError" in done.stderr
    command.remove("--debug")
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 2 and "Traceback" not in done.stderr


def default_seed() -> int:
    parser = argparse.ArgumentParser()
    painting.add_verbs(parser.add_subparsers())
    return parser.parse_args(["demo"]).seed


def test_the_demo_writes_its_four_files_and_reads_every_region_right(tmp_path):
    steps = []
    report = run_demo(
        DiffusersEngine("pakati-tiny", "cpu"), tmp_path, default_seed(), lambda done, total: steps.append(done)
    )
    names = ["contact_sheet.png", "overlay.png", "picture.png", "report.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert set(report) == {"model", "seed", "seconds", "peak_mb", "regions"}
    assert steps == list(range(1, 21))
    assert [row["right"] for row in report["regions"]] == [True] * 4, report["regions"]
