"""Write the model card beside the weights: what they are, how they were trained, what was measured.

python -m tools.bench.tiny --out out/figures.json
python -m tools.train.card --figures out/figures.json
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

from pakati_core.tiny import WEIGHTS
from pakati_core.tiny.words import VOCABULARY
from pakati_core.tiny.world import COLOURS, HELD_OUT_PAIRS, MATERIALS, PAIRS, SHAPES, THINGS

STAGES = {
    "latent": "latent space (a patch encoder and the decoder up to half size)",
    "decoder": "autoencoder's decoder",
    "encoder": "autoencoder's encoder",
    "model": "UNet and text encoder",
    "reader": "reader",
}


def last_row(path: Path) -> dict[str, str] | None:
    if not path.exists():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))[-1]


def training_lines(folder: Path) -> list[str]:
    lines = ["| part | steps | minutes | last logged |", "|---|---|---|---|"]
    for stage, what in STAGES.items():
        row = last_row(folder / f"{stage}.csv")
        if row is not None:
            minutes, step = float(row.pop("seconds")) / 60, row.pop("step")
            lines.append(f"| {what} | {step} | {minutes:.0f} | {', '.join(f'{k} {v}' for k, v in row.items())} |")
    return lines


def figure_lines(path: Path) -> list[str]:
    lines = ["| figure | share | 95 % interval | of |", "|---|---|---|---|"]
    for label, figure in json.loads(path.read_text(encoding="utf-8")).items():
        low, high = figure["interval"]
        lines.append(f"| {label} | {figure['share']:.1%} | {low:.1%} to {high:.1%} | {figure['count']} |")
    return lines


def card(folder: Path, figures: Path, notes: str) -> str:
    held_out = ", ".join(f"{colour} {kind}" for kind, colour in HELD_OUT_PAIRS)
    return "\n".join(
        [
            "# pakati-tiny: model card",
            "",
            "A text-to-image latent diffusion model of 8.8 M parameters and its reader, trained by this project on "
            "pictures that it draws itself (`pakati_core/tiny/world.py`). MIT licence.",
            "",
            f"**It knows** {len(SHAPES)} shapes ({', '.join(SHAPES)}), {len(THINGS)} things ({', '.join(THINGS)}), "
            f"{len(COLOURS)} colours and {len(MATERIALS)} materials; {len(VOCABULARY) - 2} words. "
            f"{len(HELD_OUT_PAIRS)} of {len(PAIRS)} pairs were held out of all training: {held_out}.",
            "",
            "**Parts**: diffusers' UNet2DConditionModel (64, 128, 192 channels) and AutoencoderTiny (8 latent "
            "channels), transformers' CLIPTextModel (2 layers, 128 wide), flow matching; the reader is "
            "`pakati_core/tiny/reader.py`. Stored as fp16, run as fp32.",
            "",
            "## Training",
            "",
            "Two CPU cores, seed 1; half of the scenes with each object's words visible inside its own frame "
            "only. Steps, wall-clock minutes and the last line of each part's curve:",
            "",
            *training_lines(folder),
            "",
            "Again: `python -m tools.train.autoencoder latent`, then `... decoder`, `... encoder`, "
            "`python -m tools.train.model --batch 24 --lr 2.5e-3 --pool 9000`, `python -m tools.train.reader "
            "--repaint 6000`, `python -m tools.train.export`. Every one resumes where it was stopped, goes on from "
            "these weights with `--from-weights pakati_core/tiny/weights`, and takes `--device cuda`. The UNet was "
            "stopped and resumed several times with other shares of large pictures (`--large`), as said below.",
            "",
            "## Figures",
            "",
            notes,
            "",
            *figure_lines(figures),
            "",
        ]
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("out/train"), help="states and curves of the training")
    parser.add_argument("--figures", type=Path, required=True, help="what tools.bench.tiny wrote with --out")
    parser.add_argument("--notes", default="Measured by `python -m tools.bench.tiny`.")
    parser.add_argument("--to", type=Path, default=WEIGHTS / "README.md")
    args = parser.parse_args()
    args.to.write_text(card(args.folder, args.figures, args.notes), encoding="utf-8")
