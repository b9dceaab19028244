"""`lora_registry.yaml`: the LoRAs that one works with, by short names, with their weights and trigger words.

    characters:
      luca:
        name: "Luca Paguro"
        lora_path: "luca_character.safetensors"
        default_weight: 0.8
        trigger_words: ["luca", "boy"]
    backgrounds: ...
    styles: ...

Whatever else stands in the file is kept when it is written again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PureWindowsPath
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import PakatiError
from ..extras import read_yaml, write_yaml
from .triggers import trigger_words

SECTIONS = ("characters", "backgrounds", "styles")


class RegisteredLora(BaseModel):
    model_config = ConfigDict(extra="allow")

    name: str = ""
    lora_path: str = Field(min_length=1)
    default_weight: float = Field(default=0.8, ge=-10, le=10)
    trigger_words: list[str] = []


class LoraRegistry(BaseModel):
    model_config = ConfigDict(extra="allow")

    characters: dict[str, RegisteredLora] = {}
    backgrounds: dict[str, RegisteredLora] = {}
    styles: dict[str, RegisteredLora] = {}

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Raises PakatiError that names the entry: one that is not understood, or two with the same short name."""
        data = read_yaml(Path(path))
        try:
            registry = cls.model_validate(data)
        except ValidationError as exc:
            wrong = exc.errors()[0]
            place = ".".join(map(str, wrong["loc"])) or "it"
            raise PakatiError(f"{path}: {place} cannot be used ({wrong['msg']}); mend it there") from exc
        seen: set[str] = set()
        for short, _ in registry.entries():
            if short in seen:
                raise PakatiError(f"{path}: {short!r} is there twice; give each LoRA a short name of its own")
            seen.add(short)
        return registry

    def save(self, path: str | Path) -> None:
        """Whole or not at all.  Raises OutputError."""
        write_yaml(self.model_dump(exclude_unset=True), path)

    def entries(self) -> Iterator[tuple[str, RegisteredLora]]:
        for section in SECTIONS:
            yield from getattr(self, section).items()

    def find(self, name: str) -> RegisteredLora | None:
        """By its short name, else by its file's, with or without ending."""
        entries = dict(self.entries())
        if name in entries:
            return entries[name]
        wanted = PureWindowsPath(name)  # reads both kinds of slashes
        for entry in entries.values():
            file = PureWindowsPath(entry.lora_path)
            if wanted.name.casefold() in (file.name.casefold(), file.stem.casefold()):
                return entry
        return None

    def locate(self, name: str, folders: Sequence[str | Path]) -> Path:
        """The entry's file: where it says, else under its own name in the folders.  Raises PakatiError."""
        entry = self.find(name)
        if entry is None:
            known = ", ".join(short for short, _ in self.entries()) or "none"
            raise PakatiError(f"LoRA {name!r} is not in the registry, which knows {known}; enter it there")
        if (found := _on_disk(entry, folders)) is None:
            places = ", ".join(map(str, folders)) or "no other folder"
            raise PakatiError(f"LoRA {name!r} is neither at {entry.lora_path} nor in {places}; put its file there")
        return found

    def missing(self, folders: Sequence[str | Path]) -> list[str]:
        """Short names of the entries whose files are nowhere."""
        return [short for short, entry in self.entries() if _on_disk(entry, folders) is None]

    def words_of(self, lora: str | Path) -> tuple[str, ...]:
        """Its trigger words as the registry has them, else as its own files do."""
        entry = self.find(str(lora))
        return tuple(entry.trigger_words) if entry is not None and entry.trigger_words else trigger_words(lora)


def _on_disk(entry: RegisteredLora, folders: Sequence[str | Path]) -> Path | None:
    relative = PureWindowsPath(entry.lora_path)
    tries = [Path(entry.lora_path)]
    for folder in map(Path, folders):
        if not relative.is_absolute() and not relative.root:
            tries.append(folder / Path(*relative.parts))
        tries.append(folder / relative.name)
    return next((path for path in tries if path.is_file()), None)
