"""Batches survive crashes: what is there stays, what is missing is made, and the bytes are those of a quiet run."""

import hashlib
import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
from PIL import Image

from pakati_core.characters.batches import BatchGenerator, Painted
from pakati_core.errors import OutputError
from pakati_core.tiny.heads import LOOKS, Pose, draw_head

KEPT = "pictures/*.png", "done/*.json", "batch.json", "report.json", "sheet.png"


def jobs(count: int) -> list[dict]:
    return [{"look": 31 * i % len(LOOKS), "seed": i} for i in range(count)]


def paint(job: dict) -> Painted:
    image = draw_head(LOOKS[job["look"]], Pose(degrees=job["seed"] % 30 - 15), 48, "sky", job["seed"])
    return Painted(image, job["seed"] % 3 != 0, f"number {job['seed']}", {"seed": job["seed"]})


def digest(folder: Path) -> dict[str, str]:
    files = [path for pattern in KEPT for path in folder.glob(pattern)]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the test kills a fork of itself, which this system does not know")
def test_a_batch_killed_at_random_ends_as_if_it_had_never_been(tmp_path):
    """PAKATI_BATCH=200,20 is the size that was measured: 200 pictures, 20 kills."""
    count, wanted = map(int, os.environ.get("PAKATI_BATCH", "40,5").split(","))
    start = time.perf_counter()
    quiet = BatchGenerator(paint, tmp_path / "quiet").run(jobs(count))
    took = time.perf_counter() - start
    assert quiet.made_now == count
    rng, painted, kills = random.Random(3), tmp_path / "painted.log", 0
    while kills < wanted:
        child = os.fork()
        if child == 0:
            run_and_exit(tmp_path / "killed", painted, count)
        time.sleep(rng.uniform(0, 2 * took / wanted))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        kills += os.WIFSIGNALED(status)
        if not os.WIFSIGNALED(status):
            break
    assert kills >= wanted / 2, "it was done before it could be killed"
    last = BatchGenerator(counted(painted), tmp_path / "killed").run()
    assert len(last.pictures) == count and all(path.is_file() for path in last.pictures)
    assert digest(tmp_path / "killed") == digest(tmp_path / "quiet")
    assert not list((tmp_path / "killed").rglob("*.tmp")), "drafts of killed runs are removed"
    numbers = painted.read_text().split()
    print(f"{count} pictures, {kills} kills, {len(numbers) - count} of the pictures painted twice")
    assert len(set(numbers)) == count
    assert len(numbers) <= count + kills, "at most the picture that was at work is made again"


def counted(log: Path):
    def paint_and_count(job: dict) -> Painted:
        with log.open("a") as file:
            file.write(f"{job['seed']}\n")
        return paint(job)

    return paint_and_count


def run_and_exit(folder: Path, log: Path, count: int) -> None:
    """In the fork: never back into the test run."""
    try:
        BatchGenerator(counted(log), folder).run(jobs(count))
    finally:
        os._exit(0)


def test_a_second_run_makes_nothing(tmp_path):
    first = BatchGenerator(paint, tmp_path).run(jobs(4))
    before = digest(tmp_path)
    again = BatchGenerator(paint, tmp_path).run(jobs(4))
    assert (first.made_now, again.made_now) == (4, 0)
    assert digest(tmp_path) == before


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "pictures" / "00002.png").unlink(),
        lambda folder: (folder / "pictures" / "00002.png").write_bytes(b"half a pic"),
        lambda folder: (folder / "done" / "00002.json").unlink(),
        lambda folder: (folder / "done" / "00002.json").write_text("{"),
    ],
    ids=["picture lost", "picture damaged", "record lost", "record damaged"],
)
def test_what_was_lost_is_made_again_and_nothing_else(tmp_path, harm):
    BatchGenerator(paint, tmp_path).run(jobs(3))
    before = digest(tmp_path)
    harm(tmp_path)
    assert BatchGenerator(paint, tmp_path).missing() == 1
    assert BatchGenerator(paint, tmp_path).run().made_now == 1
    assert digest(tmp_path) == before


def test_the_filter_shows_in_report_and_sheet(tmp_path):
    report = BatchGenerator(paint, tmp_path).run(jobs(7))
    assert [path.stem for path in report.kept] == ["00002", "00003", "00005", "00006"]
    told = json.loads((tmp_path / "report.json").read_text())
    assert (told["pictures"], told["kept"]) == (7, 4)
    assert told["rows"][1] == {"picture": "00002.png", "kept": True, "text": "number 1", "seed": 1}
    assert min(Image.open(tmp_path / "sheet.png").size) > 256


def test_progress_counts_every_picture(tmp_path):
    seen = []
    BatchGenerator(paint, tmp_path).run(jobs(3), lambda done, total: seen.append((done, total)))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_a_cancelled_batch_goes_on_where_it_was(tmp_path):
    def cancel(done: int, _total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        BatchGenerator(paint, tmp_path).run(jobs(5), cancel)
    assert BatchGenerator(paint, tmp_path).run(jobs(5)).made_now == 3


def test_another_batch_in_the_folder_is_refused(tmp_path):
    BatchGenerator(paint, tmp_path).run(jobs(2))
    with pytest.raises(OutputError, match="another batch"):
        BatchGenerator(paint, tmp_path).run(jobs(3))


def test_two_runs_at_once_are_refused(tmp_path):
    def paint_beside(job: dict) -> Painted:
        with pytest.raises(OutputError, match="another run"):
            BatchGenerator(paint, tmp_path).run(jobs(1))
        return paint(job)

    assert BatchGenerator(paint_beside, tmp_path).run(jobs(1)).made_now == 1


def test_nothing_to_go_on_with_is_one_sentence(tmp_path):
    with pytest.raises(OutputError, match="give the jobs"):
        BatchGenerator(paint, tmp_path).run()
