"""How good the embedded models are: every figure over fresh prompts with fixed seeds, with 95 % intervals.

python -m tools.bench.tiny                      all of it, 300 prompts a figure: hours on two cores
python -m tools.bench.tiny regional --count 100 --sides 128 --methods pakati
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from pakati_core.engines import Request
from pakati_core.engines.denoising import Denoising
from pakati_core.engines.diffusers import DiffusersEngine
from pakati_core.geometry import Extent
from pakati_core.layout import pil_to_image
from pakati_core.regions import RegionSet
from pakati_core.tiny.captions import name
from pakati_core.tiny.check import Wanted, see
from pakati_core.tiny.reader import GRID, MALFORMED, Finding, Reader, Reading
from pakati_core.tiny.world import HELD_OUT_PAIRS, PAIRS, SEEN_PAIRS, Scene, Thing, draw
from tools.bench.layouts import judge_layout, random_layout
from tools.bench.shares import Score, Share
from tools.train.data import plain_scene, random_material, random_pair
from tools.train.misdrawn import draw_with_malformed

# --- the reader alone -----------------------------------------------------------------------------------------------


def nearest(reading: Reading, thing: Thing) -> Finding | None:
    near = min(reading.findings, key=lambda f: (f.x - thing.x) ** 2 + (f.y - thing.y) ** 2, default=None)
    return near if near and (near.x - thing.x) ** 2 + (near.y - thing.y) ** 2 < thing.radius**2 else None


def matches(reading: Reading, scene: Scene) -> Iterator[bool]:
    """For each thing of the scene: does the finding nearest to it say what it is?"""
    for thing in scene.things:
        near = nearest(reading, thing)
        yield near is not None and (near.kind, near.colour) == (thing.kind, thing.colour)


def measure_reader(args: argparse.Namespace) -> Score:
    score, reader, rng = Score(), Reader(), np.random.default_rng(101)
    vae, spoilt = DiffusersEngine().parts.vae, np.random.default_rng(102)
    errors = []
    for _ in tqdm(range(args.count), desc="reader"):
        scene = plain_scene(rng, PAIRS)
        drawn = torch.from_numpy(draw(scene, 128).copy())[None].float() / 255
        with torch.no_grad():
            latents = vae.encode(drawn.permute(0, 3, 1, 2) * 2 - 1).latents
            back = vae.decode(latents).sample.permute(0, 2, 3, 1).add(1).div(2).clamp(0, 1)
        errors.append(float((back - drawn).square().mean()))
        for label, picture in (("drawn", drawn), ("after the autoencoder", back)):
            reading = reader.read(picture)[0]
            for right in matches(reading, scene):
                score.add(f"reader, objects, {label}", right)
            score.add(f"reader, material, {label}", reading.material() == scene.material)
    for _ in tqdm(range(args.count), desc="reader, malformed"):
        scene = plain_scene(spoilt, PAIRS)
        picture = torch.from_numpy(draw_with_malformed(scene, spoilt, share=1.0)[0].copy())[None].float() / 255
        reading = reader.read(picture)[0]
        for thing in scene.things:
            near = nearest(reading, thing)
            score.add("reader, malformed objects taken for good ones", bool(near and near.kind != MALFORMED))
    print(f"autoencoder: {-10 * np.log10(np.mean(errors)):.2f} dB over {len(errors)} pictures")
    return score


# --- plain prompts --------------------------------------------------------------------------------------------------


def measure_single(args: argparse.Namespace) -> Score:
    score, reader, engine, rng = Score(), Reader(), DiffusersEngine(), np.random.default_rng(202)
    whole = torch.ones(GRID, GRID)
    for side in args.sides:
        for label, pairs in (("seen pairs", SEEN_PAIRS), ("held-out pairs", HELD_OUT_PAIRS)):
            for number in tqdm(range(args.count), desc=f"one object {side} {label}"):
                prompt, thing = single_prompt(rng, pairs)
                image = engine.generate(Request(RegionSet(Extent(side, side), (), prompt), seed=10_000 + number)).image
                seen = see(reader.read(pil_to_image(image))[0], whole, replace(Wanted.of(prompt), material=None))
                score.add(f"one object, {label}, {side}", seen.right)
                score.add(f"exactly one object, {label}, {side}", len(seen.objects) == 1)
    return score


def single_prompt(rng: np.random.Generator, pairs: tuple) -> tuple[str, Thing]:
    material = random_material(rng)
    thing = Thing(*random_pair(rng, material, set(), pairs), 0.5, 0.5, 0.25)
    return f"{name(thing)} on {material}", thing


# --- regional prompts -----------------------------------------------------------------------------------------------


class Blended(Denoising):
    """Latent blending: every prompt predicts the whole canvas, the predictions are mixed by the masks (SetMask)."""

    def _denoise(self, x, t, done, state, sides):
        (text, _), *rest = sides
        layout = self.request.regions
        weights = layout.weights_on_grid(self.frame.height, self.frame.width)
        prompts = [text.tokens, *self.wanted.prompts.values()]
        parts = torch.cat([self.parts.unet(x, t, prompt).sample for prompt in prompts])
        wanted = (parts * weights[:, None].to(parts)).sum(0, keepdim=True)
        others = [self.parts.unet(x, t, side.tokens).sample for side, _ in rest]
        return torch.cat([wanted, *others])


def paint(engine: DiffusersEngine, layout: RegionSet, seed: int, method: str):
    request = Request(layout, seed=seed)
    if method == "pakati":
        return engine.generate(request).image
    if method == "joined":
        prompts = [region.prompt for region in layout.regions]
        joined = f"{', '.join(prompts)}, {layout.prompt}"
        return engine.generate(Request(RegionSet(layout.extent, (), joined), seed=seed)).image
    run = Blended(engine.parts, request)
    return run.decode(run.sample(run.noise() * run.initial_scale, None))


def measure_regional(args: argparse.Namespace) -> Score:
    score, reader, engine = Score(), Reader(), DiffusersEngine()
    for side in args.sides:
        for count in args.regions:
            rng = np.random.default_rng(300 + count)
            layouts = [random_layout(rng, count, side) for _ in range(-(-args.count // count))]
            for method in args.methods:
                for number, layout in enumerate(tqdm(layouts, desc=f"{method} {count} regions {side}")):
                    image = paint(engine, layout, 20_000 + number, method)
                    judge_layout(
                        score, f"{method}, {count} regions, {side}", reader.read(pil_to_image(image))[0], layout
                    )
    return score


def measure_materials(args: argparse.Namespace) -> Score:
    score, reader, engine, rng = Score(), Reader(), DiffusersEngine(), np.random.default_rng(404)
    for side in args.sides:
        for number in tqdm(range(-(-args.count // 4)), desc=f"materials {side}"):
            layout = random_layout(rng, 4, side, materials_only=True)
            reading = reader.read(pil_to_image(paint(engine, layout, 30_000 + number, "pakati")))[0]
            for region, share in zip(layout.regions, layout.weights_on_grid(GRID, GRID)[1:], strict=True):
                score.add(f"material as the region's prompt, {side}", reading.material(share) == region.prompt)
    return score


# --- speed ----------------------------------------------------------------------------------------------------------


def measure_speed(args: argparse.Namespace) -> Score:
    """In a process of its own: 256x256, 20 steps, guidance on, 4 regions."""
    program = (
        "import time, json; from pakati_core.demo import LAYOUT, peak_mb; from pakati_core.regions import RegionSet;"
        "from pakati_core.engines import Request; from pakati_core.engines.diffusers import DiffusersEngine;"
        "e = DiffusersEngine(); r = Request(RegionSet.load(LAYOUT), steps=20); e.generate(r); s = time.perf_counter();"
        "e.generate(r); print(json.dumps({'seconds': round(time.perf_counter() - s, 2), 'peak_mb': round(peak_mb())}))"
    )
    out = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True)
    print("256x256, 20 steps, 4 regions, guidance on:", out.stdout.strip().splitlines()[-1])
    return Score()


SECTIONS = {
    "reader": measure_reader, "single": measure_single, "regional": measure_regional,
    "materials": measure_materials, "speed": measure_speed,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", default=list(SECTIONS), choices=list(SECTIONS))
    parser.add_argument("--count", type=int, default=300, help="objects or regions for each figure")
    parser.add_argument("--sides", type=int, nargs="*", default=[128, 256])
    parser.add_argument("--regions", type=int, nargs="*", default=[2, 3, 4, 6])
    parser.add_argument("--methods", nargs="*", default=["pakati", "joined", "blended"])
    parser.add_argument("--out", type=Path, help="also write the figures there, as JSON")
    args = parser.parse_args()
    figures: dict[str, Share] = {}
    for section in args.sections:
        figures |= SECTIONS[section](args).shares
    for label, share in figures.items():
        print(f"{label:55} {share}")
    if args.out:
        rows = {
            label: {"share": s.hits / max(1, s.count), "interval": s.interval, "count": s.count}
            for label, s in figures.items()
        }
        args.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
