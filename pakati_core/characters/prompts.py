"""A character's prompt: trigger words, who it is, what happens, where; nothing said twice."""

from __future__ import annotations

from collections.abc import Iterable


def assemble(triggers: Iterable[str], *parts: str) -> str:
    """Comma-separated phrases in their order; a phrase that was there before, whatever its case, is left out.

    triggers: words that LoRAs were trained with; each is put before the rest unless the rest already says it.
    """
    said = [phrase for part in parts for phrase in _phrases(part)]
    known = {_plain(phrase) for phrase in said}
    missing = [word for trigger in triggers for word in _phrases(trigger) if _plain(word) not in known]
    first: dict[str, str] = {}
    for phrase in (*missing, *said):
        first.setdefault(_plain(phrase), phrase)
    return ", ".join(first.values())


def _phrases(text: str) -> list[str]:
    return [phrase.strip() for phrase in text.split(",") if phrase.strip()]


def _plain(phrase: str) -> str:
    return " ".join(phrase.lower().split())
