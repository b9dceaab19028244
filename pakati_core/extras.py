"""Libraries that not every installation has, and the files that need them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from .errors import PakatiError
from .files import save_text


def optional(module: str, what: str, package: str) -> Any:
    """A library of an extra.  Raises PakatiError that names the package."""
    try:
        return importlib.import_module(module)
    except ImportError as exc:
        raise PakatiError(f"{what} needs {package}; install it with: pip install {package}") from exc


def read_yaml(path: Path, failure: type[PakatiError] = PakatiError) -> dict[str, Any]:
    """A mapping.  Raises `failure` where the file holds none."""
    yaml = optional("yaml", f"the file {path.name}", "pyyaml")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        reason = getattr(exc, "strerror", None) or " ".join(str(exc).split())
        raise failure(f"{path} cannot be read as YAML ({reason}); mend it") from exc
    if not isinstance(data, dict):
        raise failure(f"{path} holds a {type(data).__name__} but names with their settings were wanted; mend it")
    return data


def write_yaml(data: dict[str, Any], path: str | Path) -> None:
    """Whole or not at all.  Raises OutputError."""
    yaml = optional("yaml", "a YAML file", "pyyaml")
    save_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), path)
