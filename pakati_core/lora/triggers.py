"""The words that wake a LoRA, read from what lies on the disk; no tensor is loaded and nothing is asked of the network.

The first of these that says anything is believed:

    NAME.metadata.json  NAME.civitai.info  NAME.rgthree-info.json  NAME.json   trainedWords, "activation text"
    NAME.txt                                                                   words between commas or on lines
    NAME.safetensors    the header: modelspec.trigger_phrase, trained_words, else the commonest tags of ss_tag_frequency

Of each file at most READ_LIMIT bytes are read. What that cuts off is lost, and what stands before it is used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

READ_LIMIT = 100_000
JSON_SIDECARS = (".metadata.json", ".civitai.info", ".rgthree-info.json", ".json")
SIDECAR_KEYS = ("trainedWords", "trained_words", "activation text")
HEADER_KEYS = ("modelspec.trigger_phrase", "trained_words", "ss_trigger_words")
FREQUENCIES = "ss_tag_frequency"
COMMON, MOST_TAGS = 0.9, 5  # tags nearly as frequent as the commonest one, for captions repeat what a LoRA is about


def trigger_words(lora: str | Path) -> tuple[str, ...]:
    """In the order of the file, none twice. Files that are missing, damaged or silent give none."""
    lora = Path(lora)
    for suffix in JSON_SIDECARS:
        if found := _unique(_from_json(_head(lora.with_suffix(suffix)), SIDECAR_KEYS)):
            return found
    return _unique(_split(_head(lora.with_suffix(".txt")))) or _unique(_from_header(lora))


def _head(path: Path) -> str:
    try:
        with path.open("rb", buffering=0) as file:
            return (file.read(READ_LIMIT) or b"").decode("utf-8", errors="ignore")
    except (OSError, ValueError):
        return ""


def _from_header(path: Path) -> Iterable[str]:
    """A safetensors file: 8 bytes that say how long the header is, then JSON with the texts in `__metadata__`."""
    try:
        with path.open("rb", buffering=0) as file:
            start = file.read(READ_LIMIT) or b""
    except (OSError, ValueError):
        return []
    length = int.from_bytes(start[:8], "little")
    head = start[8 : 8 + length].decode("utf-8", errors="ignore")
    if not head.startswith("{"):
        return []
    found = list(_from_json(head, HEADER_KEYS))
    return found or _commonest(_text_after(head, FREQUENCIES))


def _from_json(text: str, keys: tuple[str, ...]) -> Iterator[str]:
    """All words under the first of these keys that has any; the text may end anywhere."""
    for key in keys:
        words = [word for value in _values(text, key) for word in _words(value)]
        if words:
            yield from words
            return


def _values(text: str, key: str) -> Iterator[Any]:
    for match in re.finditer(rf'"{re.escape(key)}"\s*:\s*', text):
        try:
            yield json.JSONDecoder().raw_decode(text, match.end())[0]
        except (ValueError, RecursionError):
            continue


def _words(value: Any) -> Iterator[str]:
    """A text, a list of texts, one of objects with a `word`, or JSON of these in a text."""
    match value:
        case str() if value.lstrip().startswith("["):
            try:
                yield from _words(json.loads(value))
            except (ValueError, RecursionError):
                yield from _split(value)
        case str():
            yield from _split(value)
        case list():
            for each in value:
                yield from _words(each)
        case {"word": str(word)}:
            yield from _split(word)


def _text_after(head: str, key: str) -> str:
    """The text under a key, its escapes undone, as far as it was read."""
    match = re.search(rf'"{key}"\s*:\s*"((?:[^"\\]|\\.)*)', head)
    return "" if match is None else re.sub(r"\\(.)", r"\1", match[1])


def _commonest(frequencies: str) -> list[str]:
    """frequencies: {folder: {tag: count}} as text; folders are skipped, for they are followed by no number."""
    counts: dict[str, int] = {}
    for tag, count in re.findall(r'"([^"]+)"\s*:\s*(\d{1,9})', frequencies):
        counts[tag.strip()] = counts.get(tag.strip(), 0) + int(count)
    most = max(counts.values(), default=0)
    return [tag for tag, count in counts.items() if tag and count >= COMMON * most][:MOST_TAGS]


def _split(text: str) -> list[str]:
    return [word.strip() for word in re.split(r"[,\r\n]", text) if word.strip()]


def _unique(words: Iterable[str]) -> tuple[str, ...]:
    first: dict[str, str] = {}
    for word in words:
        first.setdefault(word.casefold(), word)
    return tuple(first.values())
