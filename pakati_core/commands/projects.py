"""The verbs edit, history, undo and redo, on a .pakati file."""

from __future__ import annotations

import argparse
from pathlib import Path

from .shared import bar


def add_verbs(verbs) -> None:
    _add_edit(verbs)
    _add_travel(verbs)


def _add_edit(verbs) -> None:
    edit = verbs.add_parser("edit", help="paint one region of a project anew; every other pixel stays")
    edit.add_argument("project", type=Path, metavar="NAME.pakati")
    edit.add_argument("--region", required=True, help="id of the region")
    edit.add_argument("--prompt", help="what it is to show; its old prompt if not given")
    edit.add_argument("--model", help="diffusers folder, .safetensors file or pakati-tiny; its own if not given")
    edit.add_argument("--seed", type=int, default=0)
    edit.add_argument("--steps", type=int)
    edit.add_argument("--guidance", type=float)
    edit.add_argument("--strength", type=float, default=1.0, help="above 0, up to 1, which starts from pure noise")
    edit.add_argument("--mode", default="native", help="native: at its own size; detail: at the model's best size")
    edit.add_argument("--blend", default="best", help="best, feather or poisson")
    edit.add_argument("--out", type=Path, metavar="PICTURE")
    edit.set_defaults(run=_edit)


def _add_travel(verbs) -> None:
    history = verbs.add_parser("history", help="list the steps of a project")
    history.add_argument("project", type=Path, metavar="NAME.pakati")
    history.add_argument("--out", type=Path, metavar="PICTURE", help="draw them side by side")
    history.set_defaults(run=_history)

    for verb, text in (("undo", "go back one step"), ("redo", "take back an undo")):
        travel = verbs.add_parser(verb, help=f"{text} in a project")
        travel.add_argument("project", type=Path, metavar="NAME.pakati")
        travel.add_argument("--out", type=Path, metavar="PICTURE")
        travel.set_defaults(run=_travel, verb=verb)


def _edit(args: argparse.Namespace) -> int:
    from ..canvas import PakatiCanvas
    from ..files import check_picture_path

    if args.out:
        check_picture_path(args.out)
    canvas = PakatiCanvas.open(args.project, autosave=True)
    names = ("model", "steps", "guidance", "strength", "mode", "blend")
    canvas.edit(args.region, args.prompt, args.seed, bar("painting"), **{name: getattr(args, name) for name in names})
    return _told(canvas, args.out)


def _history(args: argparse.Namespace) -> int:
    from ..canvas import PakatiCanvas, describe, draw_strip
    from ..files import save_picture

    history = PakatiCanvas.open(args.project).history
    print("\n".join(describe(history)))
    if args.out:
        save_picture(draw_strip(history), args.out)
    return 0


def _travel(args: argparse.Namespace) -> int:
    from ..canvas import PakatiCanvas
    from ..files import check_picture_path

    if args.out:
        check_picture_path(args.out)
    canvas = PakatiCanvas.open(args.project, autosave=True)
    canvas.undo() if args.verb == "undo" else canvas.redo()
    return _told(canvas, args.out)


def _told(canvas, out: Path | None) -> int:
    from ..canvas import describe
    from ..files import save_picture

    print(next(line for line in describe(canvas.history) if line.startswith("*")))
    if out:
        save_picture(canvas.image, out)
    return 0
