"""The verbs demo, generate and regions: a layout becomes a picture, or a drawing of itself."""

from __future__ import annotations

import argparse
from pathlib import Path

from .shared import bar, engine


def add_verbs(verbs) -> None:
    _add_demo(verbs)
    _add_generate(verbs)
    _add_regions(verbs)


def _add_demo(verbs) -> None:
    demo = verbs.add_parser("demo", help="paint the shown layout with the embedded model and check each region")
    demo.add_argument("--out", type=Path, default=Path("out/demo"), help="folder for the results")
    demo.add_argument("--seed", type=int, default=1)
    demo.set_defaults(run=_demo)


def _add_generate(verbs) -> None:
    generate = verbs.add_parser("generate", help="paint a layout")
    generate.add_argument("layout", type=Path, metavar="REGIONS.json")
    generate.add_argument("--out", type=Path, required=True, metavar="PICTURE")
    generate.add_argument("--seed", type=int, default=0)
    generate.add_argument("--steps", type=int, help="denoising steps; the model's own default if not given")
    generate.add_argument("--guidance", type=float, help="guidance scale; the model's own default if not given")
    generate.add_argument("--model", default="pakati-tiny", help="diffusers folder, .safetensors file or pakati-tiny")
    generate.add_argument("--project", type=Path, metavar="NAME.pakati", help="also keep it as a canvas to edit")
    generate.set_defaults(run=_generate)


def _add_regions(verbs) -> None:
    regions = verbs.add_parser("regions", help="draw a layout")
    regions.add_argument("layout", type=Path, metavar="REGIONS.json")
    regions.add_argument("--overlay", type=Path, required=True, metavar="PICTURE")
    regions.add_argument("--on", type=Path, help="a picture to draw it on")
    regions.set_defaults(run=_regions)


def _demo(args: argparse.Namespace) -> int:
    from ..demo import run_demo

    report = run_demo(engine("pakati-tiny"), args.out, args.seed, bar("painting"))
    for region in report["regions"]:
        print(f"  {'right' if region['right'] else 'WRONG'}  {region['name']}: {region['prompt']} -> {region['read']}")
    print(f"{args.out}: {report['seconds']} s, {report['peak_mb']} MB at most")
    return 0 if all(region["right"] for region in report["regions"]) else 1


def _generate(args: argparse.Namespace) -> int:
    from ..engines import Request
    from ..files import check_picture_path, save_picture
    from ..regions import RegionSet

    layout = RegionSet.load(args.layout)
    check_picture_path(args.out)
    if args.project:
        return _generate_project(layout, args)
    request = Request(layout, seed=args.seed, steps=args.steps, guidance=args.guidance)
    save_picture(engine(args.model).generate(request, bar("painting")).image, args.out)
    return 0


def _generate_project(layout, args: argparse.Namespace) -> int:
    from ..canvas import PakatiCanvas
    from ..errors import ProjectError
    from ..files import check_writable, save_picture

    if args.project.exists():
        raise ProjectError(f"{args.project} is there already; give another name, or use `pakati edit`")
    check_writable(args.project.absolute().parent)
    canvas = PakatiCanvas.of(layout, args.model)
    canvas.generate(args.seed, args.steps, args.guidance, bar("painting"))
    canvas.save(args.project)
    save_picture(canvas.image, args.out)
    return 0


def _regions(args: argparse.Namespace) -> int:
    from PIL import Image

    from ..errors import LayoutFileError
    from ..files import save_picture
    from ..overlay import draw_overlay
    from ..regions import RegionSet

    layout = RegionSet.load(args.layout)
    try:
        ground = Image.open(args.on).convert("RGB") if args.on else None
    except OSError as exc:
        raise LayoutFileError(f"{args.on} is not a picture that can be read; give a PNG, JPEG or WebP") from exc
    save_picture(draw_overlay(layout, ground), args.overlay)
    return 0
