"""What the region editor saves: a layout as regions.py has it, and beside it what only the editor needs.

    {"pakati": "regions", ..., "regions": [...],
     "editor": {"colours": {id: "#rrggbb"}, "muted": [id], "solo": [id], "background": {"from": "image"}}}

Of that key only `muted` and `solo` matter for a picture; the rest is how the editor looks and is not checked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .errors import LayoutFileError
from .regions import RegionSet


def read_edited(value: str | Mapping[str, Any]) -> RegionSet:
    """The regions that take part: those with solo where there are any, else those that are not muted.

    value: the editor's, as JSON text or read from it; "" is an empty canvas.  Raises LayoutFileError, RegionError.
    """
    data = _parsed(value)
    if not isinstance(data, Mapping):
        raise LayoutFileError(
            'the layout is not a JSON object; draw one in the editor or write {"pakati": "regions", ...}'
        )
    regions = RegionSet.from_dict({key: part for key, part in data.items() if key != "editor"})
    beside = data.get("editor", {})
    if not isinstance(beside, Mapping):
        raise LayoutFileError(f'"editor" is {beside!r}; give an object, or leave it out')
    muted, solo = (_ids(beside, key) & {region.id for region in regions.regions} for key in ("muted", "solo"))
    heard = [region for region in regions.regions if (region.id in solo if solo else region.id not in muted)]
    return replace(regions, regions=tuple(heard))


EMPTY = '{"pakati":"regions","version":1,"width":1024,"height":1024,"regions":[]}'


def _parsed(value: str | Mapping[str, Any]) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value.strip() or EMPTY)
    except (ValueError, RecursionError) as exc:
        raise LayoutFileError(f"the layout is not JSON ({exc}); draw it anew in the editor") from exc


def _ids(beside: Mapping[str, Any], key: str) -> set[str]:
    ids = beside.get(key, [])
    if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
        raise LayoutFileError(f'"{key}" is {ids!r}; give a list of region ids')
    return set(ids)
