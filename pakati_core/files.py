"""Writing results: whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from .errors import OutputError


def save_picture(image: Image.Image, path: str | Path) -> None:
    """Written beside its place, then renamed. Raises OutputError where that is impossible."""
    path = Path(path)
    kind = picture_format(path)
    _replace(path, lambda draft: image.save(draft, kind))


def picture_format(path: Path) -> str:
    """Pillow's name for the format of this ending. Raises OutputError for one that it cannot write."""
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in Image.SAVE:
        raise OutputError(f"{path.name} has no picture's ending; write .png, .jpg or .webp")
    return kind


def check_picture_path(path: Path) -> None:
    """Find out before the work whether a picture can be written there."""
    picture_format(path)
    check_writable(path.absolute().parent)


def save_text(text: str, path: str | Path) -> None:
    _replace(Path(path), lambda draft: draft.write_text(text, encoding="utf-8"))


def save_whole(path: Path, write: Callable[[BinaryIO], None], check: Callable[[], None] | None = None) -> None:
    """Write a file so that a crash, or a power cut, at any moment leaves either the old one or the new one.

    write: fills the open draft.  check: called just before the draft takes the file's place; what it raises keeps the
    old file. Raises OutputError.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(draft, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if check:
            check()
        os.replace(draft, path)
        _sync_folder(path.absolute().parent)
    except OSError as exc:
        raise OutputError(f"{path} cannot be written: {exc.strerror or exc}; choose another folder") from exc
    finally:
        with suppress(OSError):
            draft.unlink()


def _sync_folder(folder: Path) -> None:
    """So that the new name survives a power cut, too. Windows knows no such thing."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def save_bytes(data: bytes, path: str | Path) -> None:
    def write(file: BinaryIO) -> None:
        file.write(data)

    save_whole(Path(path), write)


def _replace(path: Path, write) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(draft)
        os.replace(draft, path)
    except OSError as exc:
        with suppress(OSError):
            draft.unlink()
        raise OutputError(f"{path} cannot be written: {exc.strerror or exc}; choose another folder") from exc


def check_writable(folder: str | Path) -> Path:
    """Make the folder, and find out before the work whether results can be written there."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe.{os.getpid()}.tmp"
        probe.touch()
        probe.unlink()
    except OSError as exc:
        raise OutputError(f"{folder} cannot be written to: {exc.strerror or exc}; choose another folder") from exc
    return folder
