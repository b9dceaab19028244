"""Many pictures, one after the other, that survive a crash at any moment.

A batch is a folder:

    batch.json              the jobs, written first and never changed
    pictures/00001.png      written whole, then renamed
    done/00001.json         written after the picture: its hash, and what was found out about it
    report.json, sheet.png  at the end

A job is done when its record is there and the picture has the hash that the record tells. Whatever else lies there is
made again, from the job alone: so it has the same bytes as in a run that was never interrupted.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import OutputError
from ..files import check_writable, save_bytes, save_picture, save_text
from .sheet import Candidate, draw_sheet

VERSION = 1
SHOWN = 60  # pictures on the sheet at most
Job = dict[str, Any]  # plain JSON


@dataclass(frozen=True)
class Painted:
    """facts: plain JSON that is recorded beside the picture. kept: None where nothing was asked of it."""

    image: Image.Image
    kept: bool | None = None
    text: str = ""  # for people: what was found
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """pictures: all of them, in the order of the jobs; kept: those that the filter let through."""

    folder: Path
    pictures: tuple[Path, ...]
    kept: tuple[Path, ...]
    records: tuple[dict[str, Any], ...]
    made_now: int  # the others were there already
    seconds: float


class BatchGenerator:
    """paint: makes one job's picture; the same job must give the same picture.

    folder: of this batch alone. A folder with another batch in it is refused.
    """

    def __init__(self, paint: Callable[[Job], Painted], folder: str | Path):
        self.paint, self.folder = paint, Path(folder)

    def run(self, jobs: Sequence[Job] | None = None, progress: Callable[[int, int], None] | None = None) -> Report:
        """Make what is not there yet. jobs: None goes on with those of the folder.  progress: done, of how many."""
        start, made = time.perf_counter(), 0
        check_writable(self.folder)
        with _alone(self.folder):
            jobs = self._plan(jobs)
            for number, job in enumerate(jobs, 1):
                if progress:
                    progress(number - 1, len(jobs))
                if not self._is_done(number, job):
                    self._make(number, job)
                    made += 1
            if progress:
                progress(len(jobs), len(jobs))
            return self._report(len(jobs), made, time.perf_counter() - start)

    def missing(self) -> int:
        """How many pictures of the folder's batch are still to be made."""
        jobs = self._plan(None)
        return sum(not self._is_done(number, job) for number, job in enumerate(jobs, 1))

    def _plan(self, jobs: Sequence[Job] | None) -> list[Job]:
        path = self.folder / "batch.json"
        for name in ("pictures", "done"):
            check_writable(self.folder / name)
        wanted = None if jobs is None else json.loads(json.dumps(list(jobs)))
        if path.is_file():
            planned = _read(path).get("jobs")
            if wanted is not None and planned != wanted:
                raise OutputError(f"{self.folder} holds another batch; give another folder, or the same jobs to go on")
            if isinstance(planned, list):
                return planned
        if wanted is None:
            raise OutputError(f"{path} is missing or damaged; give the jobs once more")
        save_text(json.dumps({"pakati": "batch", "version": VERSION, "jobs": wanted}, indent=1) + "\n", path)
        return wanted

    def picture(self, number: int) -> Path:
        return self.folder / "pictures" / f"{number:05d}.png"

    def _record(self, number: int) -> Path:
        return self.folder / "done" / f"{number:05d}.json"

    def _is_done(self, number: int, job: Job) -> bool:
        record, picture = _read(self._record(number)), self.picture(number)
        if record.get("job") != job or not picture.is_file():
            return False
        return record.get("sha256") == hashlib.sha256(picture.read_bytes()).hexdigest()

    def _make(self, number: int, job: Job) -> None:
        painted, data = self.paint(job), BytesIO()
        painted.image.save(data, "PNG")
        save_bytes(data.getvalue(), self.picture(number))
        record = {"number": number, "job": job, "sha256": hashlib.sha256(data.getvalue()).hexdigest()}
        record |= {"kept": painted.kept, "text": painted.text, "facts": painted.facts}
        save_text(json.dumps(record, indent=1) + "\n", self._record(number))

    def _report(self, count: int, made: int, seconds: float) -> Report:
        records = tuple(_read(self._record(number)) for number in range(1, count + 1))
        pictures = tuple(self.picture(number) for number in range(1, count + 1))
        kept = tuple(picture for picture, record in zip(pictures, records) if record.get("kept") is not False)
        report = Report(self.folder, pictures, kept, records, made, seconds)
        save_text(json.dumps(_summary(report), indent=1) + "\n", self.folder / "report.json")
        save_picture(_sheet(report), self.folder / "sheet.png")
        return report


def _summary(report: Report) -> dict[str, Any]:
    """Without times: the same batch ends with the same bytes, however often it was interrupted."""
    rows = [
        {"picture": picture.name, "kept": record.get("kept"), "text": record.get("text"), **record.get("facts", {})}
        for picture, record in zip(report.pictures, report.records)
    ]
    return {"pictures": len(rows), "kept": len(report.kept), "rows": rows}


def _sheet(report: Report) -> Image.Image:
    rows = list(zip(report.pictures, report.records))[:SHOWN]
    shown = [
        Candidate(Image.open(picture), picture.stem, record.get("text", ""), record.get("kept"))
        for picture, record in rows
    ]
    return draw_sheet(shown, f"{len(report.kept)} of {len(report.pictures)} kept")


def folder_for(jobs: Sequence[Job], first: Path) -> Path:
    """`first`, or with a number behind it: the first one that is free or holds these jobs, to go on with them."""
    wanted = json.loads(json.dumps(list(jobs)))
    folders = (first if number == 1 else first.with_name(f"{first.name}-{number}") for number in count(1))
    return next(f for f in folders if not (f / "batch.json").is_file() or _read(f / "batch.json").get("jobs") == wanted)


def _read(path: Path) -> dict[str, Any]:
    """{} where the file is missing or damaged: it is written whole, so that only happens to files of others."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two runs in one folder would do everything twice; drafts that a killed run left are removed.

    The system itself lets go of the lock when a process ends, however it ends.
    """
    with (folder / ".lock").open("a") as file:
        try:
            _lock(file.fileno())
        except OSError as exc:
            raise OutputError(f"another run is at work in {folder}; wait for it or give another folder") from exc
        for draft in folder.rglob(".*.tmp"):
            with suppress(OSError):
                draft.unlink()
        yield


if os.name == "nt":
    import msvcrt

    def _lock(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # pyright: ignore[reportAttributeAccessIssue]
else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
