"""Keys of remote services: where they are looked for, to whom they are sent, and how they stay out of every text."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import JudgeError

# A key goes only to its own service: a workflow from elsewhere can name another address, and must get nothing there.
SERVICES = {
    "api.openai.com": ("PAKATI_API_KEY_OPENAI", "OPENAI_API_KEY"),
    "generativelanguage.googleapis.com": ("PAKATI_API_KEY_GEMINI", "GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "api.anthropic.com": ("PAKATI_API_KEY_ANTHROPIC", "ANTHROPIC_API_KEY"),
    "openrouter.ai": ("PAKATI_API_KEY_OPENROUTER", "OPENROUTER_API_KEY"),
}
REMOVED = "[key removed]"


def key_names(address: str) -> tuple[str, ...]:
    """Names under which the key for an address is looked for; for an unknown host one that holds its name and port."""
    host = urlsplit(address).netloc.lower()
    return SERVICES.get(host, ("PAKATI_KEY_" + re.sub(r"[^A-Z0-9]+", "_", host.upper()),))


def find_key(names: Iterable[str], files: Iterable[Path] = ()) -> str | None:
    """From the environment, else from files of lines NAME=value."""
    saved: dict[str, str] = {}
    for path in files:
        saved |= _lines(path)
    return next((value for name in names if (value := os.environ.get(name) or saved.get(name))), None)


def _lines(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.lstrip().startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, value in pairs}


def check_address(address: str) -> str:
    """Without a slash at its end. Raises JudgeError for one to which neither picture nor key may go."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise JudgeError("the judge's address is no http or https address without a user name; write https://host/path")
    if parts.query or parts.fragment:
        raise JudgeError(f"the judge's address at {parts.hostname} has a query; give scheme, host and path alone")
    return address.rstrip("/")


def may_carry_key(address: str) -> bool:
    """Over https, or to this machine."""
    parts = urlsplit(address)
    return parts.scheme == "https" or is_local(parts.hostname or "")


def is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def redact(text: str, key: str | None) -> str:
    """Without the key, however a service echoed it; every other thing that looks like a key goes too."""
    for part in {key, (key or "").strip()} - {None, ""}:
        text = text.replace(str(part), REMOVED)
    return re.sub(r"\b(sk-|AIza|Bearer )[A-Za-z0-9_.-]{12,}", REMOVED, text)
