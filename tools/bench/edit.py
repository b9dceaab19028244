"""What an edit costs, whether it says what it should, and how well it is joined.

python -m tools.bench.edit time       1/16 to 1/2 of the canvas over a full generation, beside full-frame inpainting
python -m tools.bench.edit scenes     random scenes: the reader on edited regions and on fresh ones, all other
                                      regions' pixels, seam energies, and a sheet of the ten worst seams
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from tqdm import tqdm

from pakati_core.canvas import CropMode, PakatiCanvas
from pakati_core.engines import Request
from pakati_core.engines.diffusers import DiffusersEngine
from pakati_core.files import save_picture
from pakati_core.geometry import Extent
from pakati_core.layout import pil_to_image
from pakati_core.regions import Region, RegionSet
from pakati_core.shapes import BoxShape
from pakati_core.tiny.check import Wanted, see
from pakati_core.tiny.reader import GRID, Reader
from tools.bench.layouts import random_layout
from tools.bench.shares import Share

SHARES = {"1/16": 1 / 16, "1/8": 1 / 8, "1/4": 1 / 4, "1/2": 1 / 2}
ALLOWED = 0.15  # above the share of the canvas


class FullSize(DiffusersEngine):
    """The embedded model as if it were any other: a large canvas is not painted small and enlarged."""

    def capabilities(self):
        return replace(super().capabilities(), model="full size")


def clocked(job: Callable[[Any], object], device: str, on: Any) -> float:
    """Seconds of this process on the CPU, where others may be at work, and of the clock on a GPU."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
        start = time.perf_counter()
        job(on)
        torch.cuda.synchronize()
        return time.perf_counter() - start
    start = time.process_time()
    job(on)
    return time.process_time() - start


def measure_time(args: argparse.Namespace) -> None:
    engine = FullSize(args.model)
    side, name = args.side, str(args.model)
    print(f"{name}, {side}x{side}, {args.steps} steps, {engine.device}; ratios to a full generation, median of rounds")
    rows: dict[str, list[tuple[float, float]]] = {share: [] for share in SHARES}
    engine.generate(Request(RegionSet(Extent(64, 64), (), "grass"), steps=1))
    for _ in range(args.rounds):
        whole = one_region(engine, name, side, 1 / 4)
        full = clocked(lambda canvas: canvas.generate(1, args.steps), engine.device, whole)
        stock = full_frame(engine, whole.image, args.steps) / full
        print(f"  full {full:.1f} s, full frame {stock * full:.1f} s", flush=True)
        for share, fraction in SHARES.items():
            rows[share].append((one_edit(engine, name, fraction, whole.image, full, args.steps), stock))
    print(f"{'canvas':>7} {'native':>7} {'allowed':>8} {'full frame':>11}")
    for share, fraction in SHARES.items():
        ours, stock = (statistics.median(row[i] for row in rows[share]) for i in (0, 1))
        verdict = "ok" if ours <= fraction + ALLOWED else "TOO SLOW"
        print(f"{share:>7} {ours:7.3f} {fraction + ALLOWED:8.3f} {stock:11.3f}  {verdict}", flush=True)


def one_edit(engine, name: str, fraction: float, first: Image.Image, full: float, steps: int) -> float:
    """Over a full generation."""
    canvas = one_region(engine, name, first.width, fraction)
    canvas.add_picture(first)
    ours = clocked(lambda c: c.edit("a", "a red circle on brick", 2, steps=steps), engine.device, canvas)
    stroke = canvas.step.strokes[0]
    print(f"  edit {ours:.1f} s at {stroke.size}, {ours / full:.3f}, {stroke.seam}", flush=True)
    return ours / full


def full_frame(engine, first: Image.Image, steps: int) -> float:
    """Seconds of the host's own way: the whole picture denoised with a noise mask, whatever the mask's size."""
    extent = Extent(*first.size)
    asked = Request(RegionSet(extent, (), "a red circle on brick"), 2, steps)
    mask = BoxShape(0, 0, extent.width // 2, extent.height // 2).mask(extent)
    return clocked(lambda e: e.edit(asked, first, mask), engine.device, engine)


def one_region(engine, name: str, side: int, fraction: float) -> PakatiCanvas:
    """A square of this share of the canvas, off its middle."""
    length = round(side * fraction**0.5)
    shape = BoxShape((side - length) // 3, (side - length) // 2, length, length)
    canvas = PakatiCanvas(side, side, "grass", model=name, engines={name: engine})
    canvas.apply_to_region(canvas.create_region(shape, "a"), "sand")
    return canvas


def measure_scenes(args: argparse.Namespace) -> None:
    engine, reader, rng = DiffusersEngine(), Reader(), np.random.default_rng(505)
    hits: dict[str, list[bool]] = {}
    seams: list[tuple[float, float, str, Image.Image]] = []
    for number in tqdm(range(args.count), desc="scenes", mininterval=20):
        before, after = edited_pair(rng, args.side)
        target = next(r for r, old in zip(after.regions, before.regions) if r.prompt != old.prompt)
        start = PakatiCanvas.of(before, engines={"pakati-tiny": engine})
        start.generate(40_000 + number, args.steps)
        manners = {mode: {"mode": mode} for mode in args.modes}
        if not args.no_fresh:
            fresh = engine.generate(Request(after, seed=50_000 + number, steps=args.steps)).image
            hits.setdefault("fresh", []).append(reads_right(reader, fresh, after, target))
        for mode, manner in manners.items():
            image = start.edit(target.id, target.prompt, 50_000 + number, steps=args.steps, **manner)
            hits.setdefault(mode, []).append(reads_right(reader, image, after, target))
            others = np.asarray(after.coverage()[[r.id for r in after.regions].index(target.id)] == 0)
            old, new = np.asarray(start.history.state(1).image), np.asarray(image)
            hits.setdefault(f"{mode}: all others unchanged", []).append(np.array_equal(old[others], new[others]))
            how, plain, solved = start.step.strokes[0].seam or ("", 0.0, 0.0)
            seams.append((plain, solved, f"{number} {mode} {how}: {solved / max(plain, 1e-9):.2f}", image))
            start.undo()
        if number % 10 == 9 or number + 1 == args.count:
            tell_hits(hits)
            tell_seams(seams, args.out)


def tell_hits(hits: dict[str, list[bool]]) -> None:
    print()
    for label, found in hits.items():
        print(f"{label:35} {Share(sum(found), len(found))}", flush=True)


def edited_pair(rng: np.random.Generator, side: int) -> tuple[RegionSet, RegionSet]:
    """A layout, and the same with another prompt in one of its regions."""
    before = random_layout(rng, int(rng.integers(2, 5)), side)
    other = random_layout(rng, len(before.regions), side)
    chosen = int(rng.integers(len(before.regions)))
    prompt = next(r.prompt for r in other.regions if r.prompt not in [own.prompt for own in before.regions])
    changed = [replace(r, prompt=prompt) if i == chosen else r for i, r in enumerate(before.regions)]
    return before, replace(before, regions=tuple(changed))


def reads_right(reader: Reader, image: Image.Image, layout: RegionSet, target: Region) -> bool:
    weights = layout.weights_on_grid(GRID, GRID)[1:][[r.id for r in layout.regions].index(target.id)]
    return see(reader.read(pil_to_image(image))[0], weights, Wanted.of(target.prompt)).right


def tell_seams(seams: list[tuple[float, float, str, Image.Image]], out: Path) -> None:
    joined = [seam for seam in seams if seam[0] > 0]
    ratios = [solved / plain for plain, solved, _, _ in joined]
    worse = sum(ratio > 1 for ratio in ratios)
    print(f"seam energy over plain feathering: mean {statistics.mean(ratios):.3f}, worst {max(ratios):.3f}, "
          f"{worse} of {len(ratios)} worse")  # fmt: skip
    worst = sorted(joined, key=lambda seam: -seam[1] / seam[0])[:10]
    sheet = Image.new("RGB", (5 * 270, 2 * 290), "white")
    for i, (_, _, label, image) in enumerate(worst):
        place = (i % 5 * 270 + 5, i // 5 * 290 + 5)
        sheet.paste(image.resize((256, 256), Image.Resampling.NEAREST), place)
        ImageDraw.Draw(sheet).text((place[0], place[1] + 260), label[:42], "black")
    out.parent.mkdir(parents=True, exist_ok=True)
    save_picture(sheet, out)
    print(f"the ten worst: {out}", flush=True)


def main() -> None:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("section", choices=["time", "scenes"])
    parser.add_argument("--model", default="pakati-tiny", help="of `time`: a diffusers folder or a .safetensors file")
    parser.add_argument("--side", type=int, help="of the canvas; 1024 for `time`, 128 for `scenes`")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--count", type=int, default=200, help="scenes")
    parser.add_argument("--modes", nargs="*", default=list(CropMode))
    parser.add_argument("--no-fresh", action="store_true", help="leave the fresh pictures out")
    parser.add_argument("--out", type=Path, default=Path("out/worst_seams.png"))
    args = parser.parse_args()
    args.side = args.side or {"time": 1024, "scenes": 128}[args.section]
    {"time": measure_time, "scenes": measure_scenes}[args.section](args)


if __name__ == "__main__":
    main()
