"""A canvas as one file, NAME.pakati: a zip of versioned JSON, the pictures of all steps, and the painted masks.

    project.json                {"pakati": "project", "version": 1, "width": ..., "states": [...], ...}
    pictures/<sha256>.png       lossless, one for each different picture
    masks/<sha256>.png

Nothing is ever extracted to the disk. Every picture is named by the hash of its bytes, so damage is noticed.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from ..errors import PakatiError, ProjectError
from ..files import save_whole
from ..geometry import Extent
from ..regions import RegionSet
from ..shapes import PNG_PREFIX, Shape, shape_from_json
from .history import History, State, Stroke

VERSION = 1
SUFFIX = ".pakati"
ENTRY = re.compile(r"project\.json|(pictures|masks)/[0-9a-f]{64}\.png")
MAX_ENTRIES = 20_000
MAX_JSON = 64 * 2**20  # bytes
MAX_PICTURE = 2**30
MAX_TOTAL = 16 * 2**30
FIRST_DATE = (1980, 1, 1, 0, 0, 0)  # of every entry: the same canvas gives the same file


@dataclass
class Project:
    """What a file holds. layout, dirty: as they are now, which may be later than the last step."""

    layout: RegionSet
    model: str | None = None
    shapes: dict[str, Shape] = field(default_factory=dict)  # of every region, also of those without a prompt
    dirty: tuple[str, ...] = ()
    history: History = field(default_factory=History)


class Stamp(tuple):
    """What a file on the disk looked like: by this it is noticed that somebody else wrote it."""

    @classmethod
    def of(cls, path: Path) -> Stamp | None:
        try:
            found = os.stat(path)
        except OSError:
            return None
        return cls((found.st_mtime_ns, found.st_size, found.st_ino))


def save_project(project: Project, path: Path, seen: Stamp | None) -> Stamp | None:
    """Written beside its place, flushed to the disk, then renamed: there is always a whole file.

    seen: the stamp of the file that this project came from; where another one lies there by now, nothing is written.
    Returns the stamp of the new file.  Raises OutputError, or ProjectError where somebody else wrote the file.
    """

    def check() -> None:
        if Stamp.of(path) not in (None, seen):
            raise ProjectError(
                f"{path.name} was written by somebody else since it was opened; save it elsewhere or open it anew"
            )

    check()
    save_whole(path, lambda file: _write(project, file), check)
    return Stamp.of(path)


def load_project(path: Path) -> tuple[Project, Stamp | None]:
    """Raises ProjectError in one sentence for whatever is wrong with the file."""
    stamp = Stamp.of(path)
    if stamp is None:
        raise ProjectError(f"there is no project at {path}; give the path of a {SUFFIX} file")
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(_checked(archive, path.name), path.name), stamp
    except ProjectError:
        raise
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as exc:
        raise ProjectError(f"{path.name} is no project or is damaged ({exc}); take a copy of it from before") from exc
    except (PakatiError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise ProjectError(f"{path.name} has a project.json that makes no sense ({exc!r}); mend it there") from exc


def _write(project: Project, file: BinaryIO) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        files: dict[str, bytes] = {}
        data = _to_json(project, files)
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, FIRST_DATE), content)
        text = json.dumps(data, ensure_ascii=False, indent=1)
        archive.writestr(zipfile.ZipInfo("project.json", FIRST_DATE), text, zipfile.ZIP_DEFLATED)


def _to_json(project: Project, files: dict[str, bytes]) -> dict[str, Any]:
    """files: filled with the pictures and masks that the JSON names."""
    history = project.history
    current = None if history.current is None else history.current.id
    return {
        "pakati": "project",
        "version": VERSION,
        "model": project.model,
        "shapes": [_masks_out({"id": name, **shape.to_json()}, files) for name, shape in project.shapes.items()],
        "layout": _layout_out(project.layout, files),
        "dirty": list(project.dirty),
        "current": current,
        "next": {str(id): following for id, following in history.next.items()},
        "states": [_state_out(state, files) for state in history],
    }


def _state_out(state: State, files: dict[str, bytes]) -> dict[str, Any]:
    strokes = [asdict(stroke) for stroke in state.strokes]
    data = {name: getattr(state, name) for name in ("id", "parent", "title", "time", "request")}
    picture = _put("pictures", state.png, files)
    layout = _layout_out(state.regions, files)
    return {**data, "picture": picture, "layout": layout, "dirty": list(state.dirty), "strokes": strokes}


def _layout_out(layout: RegionSet, files: dict[str, bytes]) -> dict[str, Any]:
    data = layout.to_dict()
    return {**data, "regions": [_masks_out(region, files) for region in data["regions"]]}


def _masks_out(region: dict[str, Any], files: dict[str, bytes]) -> dict[str, Any]:
    if "mask" not in region:
        return region
    png = base64.b64decode(region["mask"].removeprefix(PNG_PREFIX))
    return {**region, "mask": _put("masks", png, files)}


def _put(folder: str, content: bytes, files: dict[str, bytes]) -> str:
    name = f"{folder}/{hashlib.sha256(content).hexdigest()}.png"
    files[name] = content
    return name


Reader = Callable[[str], bytes]


def _checked(archive: zipfile.ZipFile, name: str) -> Reader:
    """A function that reads one entry. Refused at once: names, numbers and sizes that no project has."""
    entries = {entry.filename: entry for entry in archive.infolist()}
    strange = next((entry.filename for entry in archive.infolist() if not ENTRY.fullmatch(entry.filename)), None)
    if strange is not None:
        raise ProjectError(f"{name} holds a file named {strange[:80]!r}, which no project has; do not trust it")
    if len(entries) != len(archive.infolist()) or len(entries) > MAX_ENTRIES:
        raise ProjectError(f"{name} holds {len(archive.infolist())} files or one twice; do not trust it")
    if "project.json" not in entries:
        raise ProjectError(f"{name} has no project.json; give a file that Pakati saved")
    if sum(entry.file_size for entry in entries.values()) > MAX_TOTAL:
        raise ProjectError(f"{name} would unpack to more than {MAX_TOTAL // 2**30} GB; do not trust it")

    def read(entry: str) -> bytes:
        limit = MAX_JSON if entry == "project.json" else MAX_PICTURE
        if entry not in entries:
            raise ProjectError(f"{name} lacks {entry}; take a copy of it from before")
        with archive.open(entries[entry]) as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise ProjectError(f"{name} would unpack to more than {limit // 2**20} MB in {entry}; do not trust it")
        if entry != "project.json" and hashlib.sha256(content).hexdigest() not in entry:
            raise ProjectError(f"{name} is damaged at {entry}; take a copy of it from before")
        return content

    return read


def _read(read: Reader, name: str) -> Project:
    data = json.loads(read("project.json"))
    _check_header(data, name)
    layout = _layout_in(data["layout"], read)
    shapes = {row["id"]: _shape_in(row, read) for row in data["shapes"]}
    states = {row["id"]: _state_in(row, read, layout.extent, name) for row in data["states"]}
    following = {int(id): target for id, target in data["next"].items()}
    _check_tree(states, data["current"], following, name)
    history = History(states, data["current"], following)
    return Project(layout, data["model"], shapes, tuple(data["dirty"]), history)


def _check_header(data: Any, name: str) -> None:
    if not isinstance(data, dict) or data.get("pakati") != "project":
        raise ProjectError(f'{name} does not say "pakati": "project"; give a file that Pakati saved')
    version = data.get("version")
    if not isinstance(version, int) or version < 1:
        raise ProjectError(f"{name} has the version {version!r}; give a file that Pakati saved")
    if version > VERSION:
        raise ProjectError(f"{name} has version {version} but this Pakati knows {VERSION}; install a newer Pakati")


def _check_tree(states: dict[int, State], current: Any, following: dict[int, int], name: str) -> None:
    known = set(states)
    parents = {state.parent for state in states.values()} - {None}
    later = all(state.parent is None or state.parent < id for id, state in states.items())  # so there is no circle
    if not (parents <= known and later and (current in known or not known and current is None)):
        raise ProjectError(f"{name} has steps that do not hang together; take a copy of it from before")
    if not all(id in known and target in known and states[target].parent == id for id, target in following.items()):
        raise ProjectError(f"{name} has steps that do not hang together; take a copy of it from before")


def _state_in(row: dict[str, Any], read: Reader, extent: Extent, name: str) -> State:
    png = read(row["picture"])
    _check_picture(png, extent, name)
    known = {key: row[key] for key in ("id", "parent", "title", "time", "request")}
    strokes = tuple(_stroke_in(stroke) for stroke in row["strokes"])
    return State(**known, png=png, regions=_layout_in(row["layout"], read), dirty=tuple(row["dirty"]), strokes=strokes)


def _stroke_in(row: dict[str, Any]) -> Stroke:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    return Stroke(**values)


def _check_picture(png: bytes, extent: Extent, name: str) -> None:
    with Image.open(io.BytesIO(png), formats=["PNG"]) as picture:
        if picture.size != extent or picture.mode != "RGB":
            raise ProjectError(f"{name} holds a picture of {Extent(*picture.size)} on a {extent} canvas; mend it there")


def _layout_in(data: dict[str, Any], read: Reader) -> RegionSet:
    return RegionSet.from_dict({**data, "regions": [_masks_in(region, read) for region in data["regions"]]})


def _masks_in(region: dict[str, Any], read: Reader) -> dict[str, Any]:
    if "mask" not in region:
        return region
    return {**region, "mask": PNG_PREFIX + base64.b64encode(read(region["mask"])).decode("ascii")}


def _shape_in(row: dict[str, Any], read: Reader) -> Shape:
    return shape_from_json(_masks_in(row, read))
