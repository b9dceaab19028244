"""The verb refine: paint, judge and repair until the questions are answered."""

from __future__ import annotations

import argparse
from pathlib import Path

from .shared import bar, engine


def add_verbs(verbs) -> None:
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


def _refine(args: argparse.Namespace) -> int:
    from ..engines import Request
    from ..files import save_picture
    from ..judge import ReplayJudge, judge_called
    from ..refine import Config, IterativeRefinementEngine, draw_chart, draw_report
    from ..regions import RegionSet

    request = Request(RegionSet.load(args.layout), args.seed, args.steps)
    judge = ReplayJudge(args.out / "answers", judge_called(args.judge))
    loop = IterativeRefinementEngine(engine(args.model), judge)
    config = Config(args.rounds, args.target, seed=args.seed)
    result = loop.refine(request, config=config, folder=args.out, on_pass=_say_pass, progress=bar("painting"))
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
