"""Widget values as nobody should write them: hand-edited, older, of wrong types, huge, or meant to run a script."""

import json
import random
from pathlib import Path

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "layouts.json").read_text(encoding="utf-8"))
SCRIPT = "window.broken=1"
STRINGS = [
    f"<img src=x onerror='{SCRIPT}'>",
    f"<script>{SCRIPT}</script>",
    f"javascript:{SCRIPT}",
    f'"></textarea><svg onload={SCRIPT}>',
    f"url(javascript:{SCRIPT})",
    f"{{{{constructor.constructor('{SCRIPT}')()}}}}",
    f"${{{SCRIPT}}}",
    "__proto__",
    "constructor",
    "toString",
    "",
    " ",
    "\0",
    "\ud800",
    "‮evil",
    "☃" * 50,
    "x" * 30_000,
    "../../etc/passwd",
    "%s%n",
    "NaN",
    "-0",
    "1e999",
    "data:image/png;base64,AAAA",
    "data:image/svg+xml,<svg onload='window.broken=1'/>",
    "data:text/html,<script>window.broken=1</script>",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg==",
]
NUMBERS = [0, -1, 1, 0.5, 1e-9, 1e308, -1e308, 2**53, 2**64, 2**64 - 1, 16384, 16385, 255.99999]
ODD = [None, True, False, [], {}, [[]], [None], {"a": {"b": {}}}, *NUMBERS, *STRINGS]
KEYS = [
    *(
        "pakati",
        "version",
        "width",
        "height",
        "prompt",
        "negative",
        "overlap",
        "regions",
        "editor",
        "id",
        "name",
        "box",
        "ellipse",
    ),
    *(
        "polygon",
        "mask",
        "whole",
        "units",
        "weight",
        "base",
        "feather",
        "grow",
        "invert",
        "start",
        "end",
        "guidance",
        "seed",
        "loras",
    ),
    *(
        "controls",
        "model",
        "locked",
        "colours",
        "muted",
        "solo",
        "background",
        "__proto__",
        "constructor",
        "toString",
        "x",
    ),
]


def hostile_values(count: int, seed: int = 1) -> list[str]:
    """The same ones each time: the golden layouts with some of their parts exchanged, and texts that are no layout."""
    dice = random.Random(seed)
    layouts = [json.dumps(case["value"]) for case in GOLDEN if case["usable"] and case["value"]]
    values = [*STRINGS, "[" * 5000, '{"pakati":' * 2000, "NaN", "[1e999]", "{" + " " * 100_000, json.dumps(STRINGS)]
    values.append(_layout(points=[[dice.random() * 1e4, dice.random() * 1e4] for _ in range(3000)]))
    values.append(
        json.dumps({**json.loads(_layout()), "regions": [{"id": str(i), "whole": True} for i in range(3000)]})
    )
    while len(values) < count:
        layout = json.loads(dice.choice(layouts))
        for _ in range(dice.choice((1, 1, 2, 4, 8))):
            layout = _spoilt(layout, dice)
        values.append(json.dumps(layout)[: None if dice.random() < 0.95 else dice.randrange(200)])
    return values[:count]


def _layout(**shape) -> str:
    region = {"id": "a", "polygon": shape["points"]} if shape else {"id": "a", "whole": True}
    return json.dumps({"pakati": "regions", "version": 1, "width": 512, "height": 512, "regions": [region]})


def _spoilt(value, dice: random.Random, depth: int = 0):
    """One part somewhere inside exchanged, added or taken away; seldom one that decides over all the rest."""
    if isinstance(value, dict) and value and (depth < 1 or dice.random() < 0.9):
        deeper = [name for name in ("regions", "editor") if value.get(name)] * 20
        key = dice.choice([*value, *deeper, dice.choice(KEYS)])
        if key in value and key != "regions" and dice.random() < 0.1:
            return {name: part for name, part in value.items() if name != key}
        return {**value, key: _spoilt(value[key], dice, depth + 1) if key in value else dice.choice(ODD)}
    if isinstance(value, list) and value and dice.random() < 0.9:
        at = dice.randrange(len(value))
        return [_spoilt(part, dice, depth + 1) if i == at else part for i, part in enumerate(value)]
    return dice.choice(ODD)
