"""A list of LoRAs as text, one on each line, and the words that they want in a prompt."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ..errors import PakatiError

FORM = "write one on each line: NAME, then its strength on the model, then that on the text encoder"
FLAGS = ("on", "off", "silent")


class LoraRow(NamedTuple):
    """model, clip: strengths. on: whether it acts. triggers: whether its words are wanted in the prompt."""

    name: str
    model: float = 1.0
    clip: float = 1.0
    on: bool = True
    triggers: bool = True

    @property
    def acts(self) -> bool:
        return self.on and bool(self.model or self.clip)


def read_rows(text: str, weight_of: Callable[[str], float] = lambda name: 1.0) -> list[LoraRow]:
    """Lines of `NAME [model [clip]] [off] [silent]`; a # before the name is the same as off, empty lines are skipped.

    A name may hold spaces. Without strengths they are what weight_of says; with one, it is both. Raises PakatiError.
    """
    return [_row(line.strip(), weight_of) for line in text.splitlines() if line.strip(" \t#")]


def write_rows(rows: Iterable[LoraRow]) -> str:
    """What read_rows gives back the same."""
    lines = []
    for row in rows:
        flags = ("" if row.on else " off") + ("" if row.triggers else " silent")
        lines.append(f"{row.name} {row.model:g} {row.clip:g}{flags}")
    return "\n".join(lines)


def _row(line: str, weight_of: Callable[[str], float]) -> LoraRow:
    words, strengths, flags = line.lstrip("# \t").split(), [], set()
    while len(words) > 1 and words[-1].lower() in FLAGS:
        flags.add(words.pop().lower())
    while len(words) > 1 and len(strengths) < 2 and re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)", words[-1]):
        strengths.insert(0, float(words.pop()))
    name = " ".join(words).rstrip(",;:")
    if not name or {"on", "off"} <= flags:
        raise PakatiError(f"LoRA line {line!r} was not understood; {FORM}")
    strengths = strengths or [weight_of(name)]
    on = not line.startswith("#") and "off" not in flags
    return LoraRow(name, strengths[0], strengths[-1], on, "silent" not in flags)


def find_name(name: str, known: Iterable[str]) -> str:
    """The file that a name stands for: as it is, without folders, or without its ending.  Raises PakatiError."""
    known = list(known)
    if name in known:
        return name
    wanted = _plain(name)
    for matches in ([each for each in known if _plain(each) == wanted], [e for e in known if _stem(e) == _stem(name)]):
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise PakatiError(f"LoRA {name!r} could be {' or '.join(map(repr, matches))}; write its folder before it")
    raise PakatiError(f"LoRA {name!r} is not in the models/loras folder; put it there or pick another one")


def _plain(name: str) -> str:
    return name.replace("\\", "/").casefold()


def _stem(name: str) -> str:
    return re.sub(r"\.(safetensors|sft|pt|ckpt|bin)$", "", _plain(name).rpartition("/")[2])


def inject(prompt: str, words: Iterable[str]) -> str:
    """The prompt with the words that it lacks before it, each once, whatever their case."""
    missing: dict[str, str] = {}
    for word in words:
        if not _says(prompt, word):
            missing.setdefault(word.casefold(), word)
    return ", ".join([*missing.values(), *([prompt] if prompt.strip() else [])])


def _says(prompt: str, word: str) -> bool:
    """As whole words, so that "art" is not found in "party"."""
    return re.search(rf"(?<!\w){re.escape(word.strip())}(?!\w)", prompt, re.IGNORECASE) is not None
