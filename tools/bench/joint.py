"""How well the embedded joint-attention model keeps regions apart, beside the embedded UNet; in ComfyUI's Python.

python -m tools.bench.joint --count 300
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pakati_core.layout import pil_to_image
from pakati_core.tiny.reader import Reader
from tools.bench.host_painter import CFG, HostPainter
from tools.bench.layouts import judge_layout, random_layout
from tools.bench.shares import Score
from tools.bench.sheets import save_sheet


def measure(args: argparse.Namespace) -> Score:
    score, reader = Score(), Reader()
    for architecture in args.models:
        painter = HostPainter(architecture)
        for count in args.regions:
            rng, label = np.random.default_rng(300 + count), f"{architecture}, {count} regions, {args.side}"
            layouts, shown = [random_layout(rng, count, args.side) for _ in range(-(-args.count // count))], []
            for number, layout in enumerate(tqdm(layouts, desc=label)):
                shown.append(painter.paint(layout, 20_000 + number))
                judge_layout(score, label, reader.read(pil_to_image(shown[-1]))[0], layout)
            save_sheet(shown[:24], args.out / f"joint_{architecture}_{count}_{args.side}.png")
    return score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=list(CFG), choices=list(CFG))
    parser.add_argument("--count", type=int, default=300, help="regions for each figure")
    parser.add_argument("--regions", type=int, nargs="*", default=[2, 3, 4, 6])
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="where figures and sheets are written")
    args = parser.parse_args()
    shares = measure(args).shares
    for label, share in shares.items():
        print(f"{label:55} {share}")
    rows = {k: {"share": s.hits / max(1, s.count), "interval": s.interval, "count": s.count} for k, s in shares.items()}
    (args.out / "joint.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
