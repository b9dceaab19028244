"""Region layouts that people keep: files in the pack's folder of the host's user directory.

A file is named by the hash of its template's name, so that no name from a request ever becomes a path.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ..pakati_core.editing import read_edited
from ..pakati_core.errors import PakatiError
from ..pakati_core.files import check_writable, save_text

LONGEST_NAME = 80
MOST = 500
LARGEST = 8 << 20  # bytes of one layout as JSON


class TemplateError(PakatiError):
    """A template that is refused."""


class MissingTemplateError(TemplateError):
    """A template that is not there."""


class Templates:
    def __init__(self, folder: Path):
        self.folder = folder

    def names(self) -> list[dict[str, Any]]:
        """Name, size of the canvas and count of regions of each, by name. Files that are damaged are left out."""
        found = []
        for path in sorted(self.folder.glob("*.json")):
            try:
                saved = json.loads(path.read_text(encoding="utf-8"))
                layout = saved["layout"]
                sides = {"width": layout["width"], "height": layout["height"], "regions": len(layout["regions"])}
                found.append({"name": str(saved["name"]), **sides})
            except (OSError, ValueError, KeyError, TypeError, RecursionError):
                continue
        return sorted(found, key=lambda entry: entry["name"].casefold())

    def load(self, name: Any) -> dict[str, Any]:
        path = self._path(name)
        try:
            return json.loads(path.read_text(encoding="utf-8"))["layout"]
        except FileNotFoundError as exc:
            raise MissingTemplateError(f"there is no template {name!r}; it may have been deleted") from exc
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as exc:
            raise TemplateError(f"template {name!r} is damaged; delete it") from exc

    def save(self, name: Any, layout: Any) -> None:
        """Raises TemplateError, or what reading the layout raises."""
        path = self._path(name)
        if not isinstance(layout, dict):
            raise TemplateError('the body has no layout; send {"layout": {"pakati": "regions", ...}}')
        text = json.dumps({"name": name.strip(), "layout": layout})
        if len(text) > LARGEST:
            raise TemplateError(f"the layout has {len(text)} bytes; a template has at most {LARGEST}")
        read_edited(layout)
        check_writable(self.folder)
        if not path.exists() and sum(1 for _ in self.folder.glob("*.json")) >= MOST:
            raise TemplateError(f"there are {MOST} templates already; delete one first")
        save_text(text, path)

    def delete(self, name: Any) -> None:
        try:
            self._path(name).unlink()
        except FileNotFoundError as exc:
            raise MissingTemplateError(f"there is no template {name!r}; it may have been deleted") from exc

    def _path(self, name: Any) -> Path:
        if not isinstance(name, str) or not name.strip() or len(name.strip()) > LONGEST_NAME or not name.isprintable():
            raise TemplateError(f"the name is {str(name)[:LONGEST_NAME]!r}; give 1 to {LONGEST_NAME} printable letters")
        return self.folder / f"{hashlib.sha256(name.strip().encode()).hexdigest()[:32]}.json"
