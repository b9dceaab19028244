"""Whether a region's LoRA stays in its region: two regions, of which one has a manner of drawing; in ComfyUI's Python.

python -m tools.bench.styles --count 200
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pakati_core.regions import RegionSet
from pakati_core.tiny.styles import LORAS, STYLES, style_lora
from tools.bench.host_painter import CFG, HostPainter
from tools.bench.layouts import random_layout
from tools.bench.shares import Score
from tools.bench.sheets import save_sheet
from tools.train.styles import style_of

SIDE = 128


def with_style(layout: RegionSet, number: int, model: str, style: str) -> RegionSet:
    own = replace(layout.regions[number], loras=((style_lora(model, style).name, 1.0, 1.0),))
    return replace(layout, regions=tuple(own if i == number else r for i, r in enumerate(layout.regions)))


def measure(args: argparse.Namespace) -> Score:
    score = Score()
    for model in args.models:
        painter = HostPainter(model, LORAS)
        for style in args.styles:
            rng, shown = np.random.default_rng(500), []
            for number in tqdm(range(args.count), desc=f"{model}, {style}"):
                layout, own = random_layout(rng, 2, SIDE), number % 2
                shown.append(painter.paint(with_style(layout, own, model, style), 40_000 + number))
                inside = layout.weights_on_grid(SIDE, SIDE)[1:].numpy() > 0.5
                seen = [style_of(np.asarray(shown[-1]), where) for where in inside]
                score.add(f"{model}, {style}: in its own region", seen[own] == style)
                score.add(f"{model}, {style}: in the other", seen[1 - own] is not None)
            save_sheet(shown[:24], args.out / f"style_{model}_{style}.png")
    return score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=list(CFG), choices=list(CFG))
    parser.add_argument("--styles", nargs="*", default=list(STYLES), choices=list(STYLES))
    parser.add_argument("--count", type=int, default=200, help="pictures for each figure")
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="where sheets of the pictures are written")
    args = parser.parse_args()
    for label, share in measure(args).shares.items():
        print(f"{label:55} {share}")


if __name__ == "__main__":
    main()
