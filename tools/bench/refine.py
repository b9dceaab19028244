"""What refinement is worth: scenes of three to five objects whose first picture fails, refined and resampled alike.

    python -m tools.bench.refine --count 200 --out DIR

Refined: the loop with at most --rounds pictures. Resampled: up to as many whole pictures of the same request from other
seeds, of which the judge picks the best; edits cost fewer steps than pictures, so it never gets less than the loop.
DIR gets refine.json, after every scene, and refine.png.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from itertools import count
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from tqdm import tqdm

from pakati_core.canvas import CropMode, Manner
from pakati_core.canvas.painter import Layers, plan_edit
from pakati_core.engines import Request
from pakati_core.engines.diffusers import DiffusersEngine
from pakati_core.files import check_writable, save_picture, save_text
from pakati_core.judge import ReaderJudge, Verdict, questions_from_regions
from pakati_core.lettering import font
from pakati_core.masks import bounds_of
from pakati_core.refine import Attempt, Config, IterativeRefinementEngine, Route, is_better, seed_of
from pakati_core.regions import RegionSet
from tools.bench.layouts import random_layout
from tools.bench.shares import Share


def right_after(verdicts: list[Verdict]) -> list[bool]:
    """For each number of pictures: is the best of them all right?"""
    best, found = None, []
    for verdict in verdicts:
        best = verdict if is_better(verdict, best, 0.0) else best
        found.append(bool(best and best.all_right))
    return found


@cache
def painter() -> tuple[DiffusersEngine, ReaderJudge]:
    return DiffusersEngine(), ReaderJudge()


def scene(number: int, args: argparse.Namespace) -> dict | None:
    """None: the first picture is right already."""
    rng, (engine, judge) = np.random.default_rng(50_000 + number), painter()
    layout = random_layout(rng, int(rng.integers(3, 6)), args.side)
    questions, request = questions_from_regions(layout, artefacts=False), Request(layout, 60_000 + number, args.steps)
    first = judge.judge(engine.generate(request).image, questions)
    assert isinstance(first, Verdict)
    if first.all_right:
        return None
    config = Config(args.rounds, 0.9, args.rounds, seed=request.seed)
    result = IterativeRefinementEngine(engine, judge).refine(request, questions, config)
    refined = [made.verdict for made in result.history if isinstance(made.verdict, Verdict)]
    cost = sum(_cost(engine, layout, made.attempt) for made in result.history)
    resampled = [first]
    while len(resampled) < args.rounds:  # at least as many pictures as the loop may paint: no less than equal cost
        image = engine.generate(replace(request, seed=seed_of(request.seed + 1, len(resampled)))).image
        resampled.append(judge.judge(image, questions))
        if resampled[-1].all_right:
            break
    return {
        "scene": number,
        "objects": len(layout.regions),
        "first": first.geometric,
        "refined": _padded(refined, args.rounds),
        "resampled": _padded(resampled, args.rounds),
        "cost": cost,
        "score": result.satisfaction_score,
    }


def _cost(engine: DiffusersEngine, layout: RegionSet, attempt: Attempt) -> float:
    """Steps times pixels, in whole pictures."""
    if attempt.route != Route.detail:
        return attempt.strength
    window = bounds_of((Layers(layout).mask(attempt.regions) > 0).numpy())
    return attempt.strength * plan_edit(window, layout.extent, engine, Manner(mode=CropMode.detail)).share


def _padded(verdicts: list[Verdict], rounds: int) -> list[bool]:
    found = right_after(verdicts)
    return found + found[-1:] * (rounds - len(found))


def report(rows: list[dict], tried: int, rounds: int) -> str:
    lines = [f"{len(rows)} scenes whose first picture fails, of {tried}"]
    for pictures in range(1, rounds + 1):
        shares = [Share(sum(row[name][pictures - 1] for row in rows), len(rows)) for name in ("refined", "resampled")]
        lines.append(f"{pictures} pictures: refined {shares[0]}, resampled {shares[1]}")
    lower = sum(row["score"] < row["first"] for row in rows)
    lines.append(
        f"below the first picture: {lower}; full pictures' worth of steps: {np.mean([r['cost'] for r in rows]):.2f}"
    )
    return "\n".join(lines)


def draw(rows: list[dict], rounds: int) -> Image.Image:
    sheet = Image.new("RGB", (640, 400), (247, 245, 240))
    pen = ImageDraw.Draw(sheet)
    x = [80 + i * 500 // max(1, rounds - 1) for i in range(rounds)]
    for tenth in range(0, 11, 2):
        pen.line((70, 340 - 30 * tenth, 600, 340 - 30 * tenth), (214, 210, 200))
        pen.text((24, 332 - 30 * tenth), f"{10 * tenth} %", (110, 112, 120), font(14))
    for name, colour, at in (("refined", (34, 146, 88), 20), ("resampled", (206, 48, 56), 40)):
        y = [340 - 300 * sum(row[name][i] for row in rows) / max(1, len(rows)) for i in range(rounds)]
        pen.line(list(zip(x, y)), colour, 3)
        pen.text((90, at), f"{name}: scenes with all questions right", colour, font(15))
    for i, place in enumerate(x):
        pen.text((place - 4, 350), str(i + 1), (110, 112, 120), font(14))
    pen.text((260, 372), "pictures painted", (110, 112, 120), font(14))
    return sheet


def scenes(args: argparse.Namespace) -> Iterator[dict | None]:
    """In their order, painted by several processes."""
    begun = time.monotonic()
    with ProcessPoolExecutor(args.jobs, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        waiting = deque(pool.submit(scene, args.first + number, args) for number in range(args.jobs))
        for number in count(args.first + args.jobs):
            if time.monotonic() - begun < 60 * args.minutes:
                waiting.append(pool.submit(scene, number, args))
            if not waiting:
                return
            try:
                yield waiting.popleft().result()
            except GeneratorExit:
                pool.shutdown(cancel_futures=True)
                raise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="scenes whose first picture fails")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="end with fewer scenes after this time")
    parser.add_argument("--first", type=int, default=0, help="number of the first scene; other numbers, other scenes")
    parser.add_argument("--jobs", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    check_writable(args.out)
    rows, tried = [], 0
    with tqdm(total=args.count) as bar:
        for row in scenes(args):
            tried += 1
            if row:
                rows.append(row)
                bar.update()
                save_text(json.dumps({"tried": tried, "rows": rows}, indent=1) + "\n", args.out / "refine.json")
            if len(rows) == args.count:
                break
    save_picture(draw(rows, args.rounds), args.out / "refine.png")
    print(report(rows, tried, args.rounds))


if __name__ == "__main__":
    main()
