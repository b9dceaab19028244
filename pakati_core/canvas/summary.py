"""What a project file says of its steps, read without unpacking the pictures; and one picture at a time."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..errors import ProjectError
from .project import Reader, _check_header, _checked

Found = TypeVar("Found")


@dataclass(frozen=True)
class Step:
    """parent: the step before, or None. regions: how many. picture: the name of its entry in the file."""

    id: int
    parent: int | None
    title: str
    time: str
    seed: int | None
    regions: int
    picture: str


@dataclass(frozen=True)
class Summary:
    """current: the step that the canvas stands at, or None. steps: in the order in which they were made."""

    width: int
    height: int
    current: int | None
    steps: tuple[Step, ...]

    @property
    def shown(self) -> Step | None:
        """The step by which the whole canvas is shown."""
        return next((step for step in self.steps if step.id == self.current), self.steps[-1] if self.steps else None)


def read_summary(path: Path) -> Summary:
    """Raises ProjectError for a file that says something else. The pictures are not looked at."""
    return _opened(path, lambda read: _summary(json.loads(read("project.json")), path.name))


def read_picture(path: Path, entry: str) -> bytes:
    """PNG.  entry: Step.picture.  Raises ProjectError where it is missing or damaged."""
    return _opened(path, lambda read: read(entry))


def _opened(path: Path, use: Callable[[Reader], Found]) -> Found:
    try:
        with zipfile.ZipFile(path) as archive:
            return use(_checked(archive, path.name))
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as exc:
        raise ProjectError(f"{path.name} is no project or is damaged; take a copy of it from before") from exc
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ProjectError(f"{path.name} has a project.json that makes no sense; mend it there") from exc


def _summary(data: Any, name: str) -> Summary:
    _check_header(data, name)
    steps = tuple(_step(row) for row in data["states"])
    layout, current = data["layout"], data["current"]
    return Summary(int(layout["width"]), int(layout["height"]), None if current is None else int(current), steps)


def _step(row: dict[str, Any]) -> Step:
    seed = row["request"].get("seed")
    return Step(
        id=int(row["id"]),
        parent=None if row["parent"] is None else int(row["parent"]),
        title=str(row["title"]),
        time=str(row["time"]),
        seed=seed if isinstance(seed, int) else None,
        regions=len(row["layout"]["regions"]),
        picture=str(row["picture"]),
    )
