"""The canvases that Save Canvas keeps, as the sidebar lists them: look, open, duplicate, delete, take that back.

A canvas is a project file of the output folder. What is deleted lies in a folder beside it until twenty others do.
"""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

from ..pakati_core.canvas.project import SUFFIX, Stamp, load_project
from ..pakati_core.canvas.summary import Step, Summary, read_picture, read_summary
from ..pakati_core.errors import OutputError, PakatiError
from ..pakati_core.files import save_whole

FOLDER = "pakati"  # within the output folder; as in canvas.py
NAME = re.compile(r"[\w][\w .-]{0,99}")  # as in canvas.py
TOKEN = re.compile(r"[0-9a-f]{16}")
DELETED = ".deleted"
MOST_LISTED = 60
MOST_STEPS = 60
MOST_DELETED = 20
THUMBNAIL, PICTURE = 160, 1024  # pixels along the longer side


class MissingCanvasError(PakatiError):
    """A canvas or a step that is not there."""


class Canvases:
    """folder: asked for at each call, for the host's output folder may change."""

    def __init__(self, folder: Callable[[], Path]):
        self.folder = folder

    def listed(self) -> dict[str, Any]:
        """Those written last come first. A file that cannot be read is listed with the reason."""
        paths = [path for path in self.folder().glob(f"*{SUFFIX}") if self._is_ours(path)]
        latest = sorted(paths, key=lambda path: (Stamp.of(path) or (0,), path.name), reverse=True)
        rows = [self._row(path) for path in latest[:MOST_LISTED]]
        return {"canvases": rows, "left_out": max(0, len(latest) - MOST_LISTED)}

    def steps(self, name: str) -> dict[str, Any]:
        """The latest steps of one canvas, each with a small picture."""
        path = self._existing(name)
        summary = read_summary(path)
        rows = [_step_row(path, step, step is summary.shown) for step in summary.steps[-MOST_STEPS:]]
        return {"name": path.stem, "steps": rows, "left_out": max(0, len(summary.steps) - MOST_STEPS)}

    def step(self, name: str, number: int) -> dict[str, Any]:
        """The layout and the picture of one step; 0 is the one that the canvas stands at."""
        path = self._existing(name)
        history = load_project(path)[0].history
        state = history.states.get(number) if number else history.current
        if state is None:
            raise MissingCanvasError(f"{path.stem} has no step {number}; look at its history")
        return {
            "step": state.id,
            "layout": state.regions.to_dict(),
            "picture": _small(state.png, PICTURE),
        }

    def duplicate(self, name: str) -> str:
        """The name of the copy."""
        path = self._existing(name)
        for number in range(1, 1000):
            copy = path.with_name(f"{path.stem[:80]} copy{'' if number == 1 else f' {number}'}{SUFFIX}")
            if not copy.exists():
                with path.open("rb") as source:
                    save_whole(copy, lambda file: shutil.copyfileobj(source, file))
                return copy.stem
        raise PakatiError(f"there are 1000 copies of {path.stem!r} already; delete some")

    def delete(self, name: str) -> str:
        """A token with which it can be had back."""
        path, token = self._existing(name), f"{time.time_ns():016x}"  # in the order of time
        kept = self.folder() / DELETED
        try:
            kept.mkdir(exist_ok=True)
            os.replace(path, kept / f"{token}{SUFFIX}")
            for one in sorted(kept.glob(f"*{SUFFIX}"))[:-MOST_DELETED]:
                one.unlink()
        except OSError as exc:
            raise OutputError(f"{path.name} cannot be deleted: {exc.strerror}") from exc
        return token

    def restore(self, name: str, token: Any) -> str:
        """The name under which it is back: another one where the old one is taken by now."""
        path = self._path(name)
        kept = self.folder() / DELETED / f"{token}{SUFFIX}"
        if not isinstance(token, str) or not TOKEN.fullmatch(token) or not kept.is_file():
            raise MissingCanvasError(f"{path.stem!r} cannot be had back; it was deleted too long ago")
        free = path if not path.exists() else path.with_name(f"{path.stem[:80]} {token}{SUFFIX}")
        try:
            os.replace(kept, free)
        except OSError as exc:
            raise OutputError(f"{path.name} cannot be brought back: {exc.strerror}") from exc
        return free.stem

    def _row(self, path: Path) -> dict[str, Any]:
        row: dict[str, Any] = {"name": path.stem, "stamp": _stamp(path)}
        try:
            summary = read_summary(path)
            return row | _about(path, summary)
        except PakatiError as error:
            return row | {"problem": str(error)}

    def _is_ours(self, path: Path) -> bool:
        return bool(NAME.fullmatch(path.stem)) and path.is_file() and not path.is_symlink()

    def _path(self, name: Any) -> Path:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise PakatiError(f"the name is {str(name)[:100]!r}; give letters, digits, spaces and . - _")
        return self.folder() / f"{name}{SUFFIX}"

    def _existing(self, name: Any) -> Path:
        path = self._path(name)
        if not self._is_ours(path):
            raise MissingCanvasError(f"there is no canvas {name!r}; it may have been deleted")
        return path


def _about(path: Path, summary: Summary) -> dict[str, Any]:
    about: dict[str, Any] = {"width": summary.width, "height": summary.height, "steps": len(summary.steps)}
    if summary.shown is None:
        return about | {"regions": 0}
    shown = {"regions": summary.shown.regions, "time": summary.shown.time}
    return about | shown | {"thumbnail": _thumbnail(path, summary.shown.picture)}


def _step_row(path: Path, step: Step, is_here: bool) -> dict[str, Any]:
    row = {"step": step.id, "parent": step.parent, "title": step.title, "time": step.time, "seed": step.seed}
    return row | {"regions": step.regions, "is_here": is_here, "thumbnail": _thumbnail(path, step.picture)}


def _stamp(path: Path) -> str:
    """Changes whenever the file does."""
    return "-".join(map(str, Stamp.of(path) or ()))


@lru_cache(maxsize=1024)
def _thumbnail(path: Path, entry: str) -> str:
    """An entry is named by the hash of its bytes, so it never becomes another picture."""
    return _small(read_picture(path, entry), THUMBNAIL)


def _small(png: bytes, side: int) -> str:
    """As a data URL, which every page of the host may show."""
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as picture:
            shown = picture.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as exc:
        raise PakatiError("a picture of the canvas is damaged; take a copy of the file from before") from exc
    shown.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    shown.save(out, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode("ascii")
