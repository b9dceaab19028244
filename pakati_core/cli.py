"""The `pakati` command. A mistake ends in one sentence and exit code 2; --debug shows where it came from."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from .errors import PakatiError, PakatiWarning


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", PakatiWarning)
            warnings.showwarning = _say_warning
            return args.run(args)
    except PakatiError as exc:
        if args.debug:
            raise
        print(f"pakati: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("pakati: cancelled; nothing was written", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pakati", description="Regional prompts on one picture.")
    parser.add_argument("--debug", action="store_true", help="show the full traceback of a mistake")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    demo = verbs.add_parser("demo", help="paint the shown layout with the embedded model and check each region")
    demo.add_argument("--out", type=Path, default=Path("out/demo"), help="folder for the results")
    demo.add_argument("--seed", type=int, default=2)
    demo.set_defaults(run=_demo)

    generate = verbs.add_parser("generate", help="paint a layout")
    generate.add_argument("layout", type=Path, metavar="REGIONS.json")
    generate.add_argument("--out", type=Path, required=True, metavar="PICTURE")
    generate.add_argument("--seed", type=int, default=0)
    generate.add_argument("--steps", type=int, help="denoising steps; the model's own default if not given")
    generate.add_argument("--guidance", type=float, help="guidance scale; the model's own default if not given")
    generate.add_argument("--model", default="pakati-tiny", help="diffusers folder, .safetensors file or pakati-tiny")
    generate.add_argument("--project", type=Path, metavar="NAME.pakati", help="also keep it as a canvas to edit")
    generate.set_defaults(run=_generate)

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

    history = verbs.add_parser("history", help="list the steps of a project")
    history.add_argument("project", type=Path, metavar="NAME.pakati")
    history.add_argument("--out", type=Path, metavar="PICTURE", help="draw them side by side")
    history.set_defaults(run=_history)

    for verb, text in (("undo", "go back one step"), ("redo", "take back an undo")):
        travel = verbs.add_parser(verb, help=f"{text} in a project")
        travel.add_argument("project", type=Path, metavar="NAME.pakati")
        travel.add_argument("--out", type=Path, metavar="PICTURE")
        travel.set_defaults(run=_travel, verb=verb)

    refine = verbs.add_parser("refine", help="paint a layout, judge it and repair it until its questions are answered")
    refine.add_argument("layout", type=Path, metavar="REGIONS.json")
    refine.add_argument("--out", type=Path, required=True, metavar="DIR", help="taken up again where it was cut off")
    refine.add_argument("--rounds", type=int, default=5, help="pictures at most")
    refine.add_argument("--target", type=float, default=0.9, help="score from which it is content, 0 to 1")
    refine.add_argument("--seed", type=int, default=0)
    refine.add_argument("--steps", type=int, help="denoising steps; the model's own default if not given")
    refine.add_argument("--model", default="pakati-tiny", help="diffusers folder, .safetensors file or pakati-tiny")
    refine.add_argument(
        "--judge",
        default="reader",
        metavar="JUDGE",
        help="reader, measurements, or a model behind openai:, ollama:, gemini: or anthropic:",
    )
    refine.set_defaults(run=_refine)

    regions = verbs.add_parser("regions", help="draw a layout")
    regions.add_argument("layout", type=Path, metavar="REGIONS.json")
    regions.add_argument("--overlay", type=Path, required=True, metavar="PICTURE")
    regions.add_argument("--on", type=Path, help="a picture to draw it on")
    regions.set_defaults(run=_regions)
    character = verbs.add_parser("character", help="paint candidates of a character and keep those that are like it")
    character.add_argument("character", help="its name among the presets")
    character.add_argument("scene", help="what it does")
    character.add_argument("--candidates", type=int, default=1, metavar="N", help="how many pictures")
    character.add_argument("--out", type=Path, metavar="DIR", help="taken up again where it was cut off")
    character.add_argument("--background", help="a place, or the name of a LoRA in the registry")
    character.add_argument("--quality", help="draft, standard, high or another one of sdxl_config.yaml")
    character.add_argument("--seed", type=int, default=0)
    character.add_argument("--model", help="that of sdxl_config.yaml if not given, or pakati-tiny")
    character.add_argument("--presets", type=Path, metavar="CHARACTERS.yaml")
    character.add_argument("--references", type=Path, nargs="+", metavar="PICTURE", help="pictures of its face")
    character.add_argument("--embedder", help="what reads faces: opencv-sface, buffalo_l, FILE.onnx or pakati-tiny")
    character.add_argument("--no-face", choices=["drop", "keep", "retry"], default="drop", help="if no face is found")
    character.set_defaults(run=_character)
    return parser


def _demo(args: argparse.Namespace) -> int:
    from .demo import run_demo

    report = run_demo(_engine("pakati-tiny"), args.out, args.seed, _bar("painting"))
    for region in report["regions"]:
        print(f"  {'right' if region['right'] else 'WRONG'}  {region['name']}: {region['prompt']} -> {region['read']}")
    print(f"{args.out}: {report['seconds']} s, {report['peak_mb']} MB at most")
    return 0 if all(region["right"] for region in report["regions"]) else 1


def _generate(args: argparse.Namespace) -> int:
    from .engines import Request
    from .files import check_picture_path, save_picture
    from .regions import RegionSet

    layout = RegionSet.load(args.layout)
    check_picture_path(args.out)
    if args.project:
        return _generate_project(layout, args)
    request = Request(layout, seed=args.seed, steps=args.steps, guidance=args.guidance)
    save_picture(_engine(args.model).generate(request, _bar("painting")).image, args.out)
    return 0


def _generate_project(layout, args: argparse.Namespace) -> int:
    from .canvas import PakatiCanvas
    from .errors import ProjectError
    from .files import check_writable, save_picture

    if args.project.exists():
        raise ProjectError(f"{args.project} is there already; give another name, or use `pakati edit`")
    check_writable(args.project.absolute().parent)
    canvas = PakatiCanvas.of(layout, args.model)
    canvas.generate(args.seed, args.steps, args.guidance, _bar("painting"))
    canvas.save(args.project)
    save_picture(canvas.image, args.out)
    return 0


def _edit(args: argparse.Namespace) -> int:
    from .canvas import PakatiCanvas
    from .files import check_picture_path

    if args.out:
        check_picture_path(args.out)
    canvas = PakatiCanvas.open(args.project, autosave=True)
    names = ("model", "steps", "guidance", "strength", "mode", "blend")
    canvas.edit(args.region, args.prompt, args.seed, _bar("painting"), **{name: getattr(args, name) for name in names})
    return _told(canvas, args.out)


def _history(args: argparse.Namespace) -> int:
    from .canvas import PakatiCanvas, describe, draw_strip
    from .files import save_picture

    history = PakatiCanvas.open(args.project).history
    print("\n".join(describe(history)))
    if args.out:
        save_picture(draw_strip(history), args.out)
    return 0


def _travel(args: argparse.Namespace) -> int:
    from .canvas import PakatiCanvas
    from .files import check_picture_path

    if args.out:
        check_picture_path(args.out)
    canvas = PakatiCanvas.open(args.project, autosave=True)
    canvas.undo() if args.verb == "undo" else canvas.redo()
    return _told(canvas, args.out)


def _told(canvas, out: Path | None) -> int:
    from .canvas import describe
    from .files import save_picture

    print(next(line for line in describe(canvas.history) if line.startswith("*")))
    if out:
        save_picture(canvas.image, out)
    return 0


def _refine(args: argparse.Namespace) -> int:
    from .engines import Request
    from .files import save_picture
    from .judge import ReplayJudge, judge_called
    from .refine import Config, IterativeRefinementEngine, draw_chart, draw_report
    from .regions import RegionSet

    request = Request(RegionSet.load(args.layout), args.seed, args.steps)
    judge = ReplayJudge(args.out / "answers", judge_called(args.judge))
    loop = IterativeRefinementEngine(_engine(args.model), judge)
    config = Config(args.rounds, args.target, seed=args.seed)
    result = loop.refine(request, config=config, folder=args.out, on_pass=_say_pass)
    save_picture(draw_report(result.state, result.images), args.out / "report.png")
    save_picture(draw_chart(result.state), args.out / "chart.png")
    save_picture(result.final_image, args.out / "best.png")
    score = "no verdict" if result.satisfaction_score is None else f"{result.satisfaction_score:.2f}"
    print(f"{args.out}: picture {result.state.best_index} is the best, {score}; {result.decision.reason}")
    return 0 if result.decision.outcome == "satisfied" else 1


def _say_pass(state, _image, decision) -> None:
    made = state.passes[-1]
    score = "no verdict" if made.score is None else f"{made.score:.2f}"
    print(
        f"  {made.attempt.index}  {score}  {made.attempt.route} {', '.join(made.attempt.regions)}-> {decision.reason}"
    )


def _regions(args: argparse.Namespace) -> int:
    from PIL import Image

    from .errors import LayoutFileError
    from .files import save_picture
    from .overlay import draw_overlay
    from .regions import RegionSet

    layout = RegionSet.load(args.layout)
    try:
        ground = Image.open(args.on).convert("RGB") if args.on else None
    except OSError as exc:
        raise LayoutFileError(f"{args.on} is not a picture that can be read; give a PNG, JPEG or WebP") from exc
    save_picture(draw_overlay(layout, ground), args.overlay)
    return 0


def _character(args: argparse.Namespace) -> int:
    from .characters import BatchGenerator, CharacterGenerator, SDXLPipelineManager, Unknown, jobs_for, load_presets
    from .errors import OutputError

    if args.candidates < 1:
        raise OutputError(f"--candidates is {args.candidates}; ask for at least 1 picture")
    presets = load_presets(args.presets)
    if args.character in presets:
        presets[args.character] = _own_faces(presets[args.character], args)
    manager = SDXLPipelineManager(args.model, _device()) if args.model else None
    generator = CharacterGenerator(manager, presets=presets)
    wish = args.character, args.scene, args.candidates, args.seed, args.background, args.quality
    jobs = jobs_for(*wish, unknown=Unknown(args.no_face))
    generator.plan(args.character, args.scene)  # says what is wrong before anything is written
    folder = args.out or Path("out/characters") / args.character
    report = BatchGenerator(generator.paint, folder).run(jobs, _bar("painting", "picture"))
    for path, record in zip(report.pictures, report.records):
        verdict = {True: "kept", False: "dropped", None: "made"}[record["kept"]]
        print(f"  {verdict:7}  {path.name}  {record['text']}")
    print(f"{folder}: {len(report.kept)} of {len(report.pictures)} kept, {report.made_now} painted now")
    return 0 if report.kept else 1


def _own_faces(preset, args: argparse.Namespace):
    own = {"embedder": args.embedder} if args.embedder else {}
    if args.references:
        own |= {"reference_images": [str(path) for path in args.references], "reference_embeddings": []}
    return preset.model_copy(update=own)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _engine(model: str):
    from .engines.diffusers import DiffusersEngine

    return DiffusersEngine(model)


def _bar(title: str, unit: str = "step") -> Callable[[int, int], None]:
    from tqdm import tqdm

    bar = tqdm(desc=title, unit=unit, leave=False)

    def step(done: int, total: int, /) -> None:
        bar.total = total
        bar.update(done - bar.n)
        if done == total:
            bar.close()

    return step


def _say_warning(message, category, *_args, **_kwargs) -> None:
    if issubclass(category, PakatiWarning):
        print(f"pakati: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
