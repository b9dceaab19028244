"""Write the trained parts as the folder that Pakati ships: fp16 safetensors in diffusers' layout.

python -m tools.train.export --to pakati_core/tiny/weights
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, FlowMatchEulerDiscreteScheduler
from safetensors.torch import save_file
from torch import nn

from pakati_core.tiny import JOINT_WEIGHTS

from .autoencoder import PATCH_ENCODER, crops, embedded_autoencoder, load_patch_encoder
from .data import pictures
from .flux_net import host_layout
from .model import embedded_text_encoder, embedded_unet


def averaged(folder: Path, name: str, key: str = "average") -> dict[str, torch.Tensor]:
    return torch.load(folder / f"{name}.pt", map_location="cpu", weights_only=True)[key]["shadow"]


def export_model(args) -> None:
    modules = nn.ModuleDict({"unet": embedded_unet(), "text": embedded_text_encoder()})
    modules.load_state_dict(averaged(args.folder, "model"))
    modules.half()
    modules["unet"].to(memory_format=torch.contiguous_format).save_pretrained(args.to / "unet")
    modules["text"].save_pretrained(args.to / "text_encoder")
    FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=1.0).save_pretrained(args.to / "scheduler")


def export_autoencoder(args) -> None:
    shipped = args.to / "vae"
    model = AutoencoderTiny.from_pretrained(shipped) if shipped.is_dir() else embedded_autoencoder()
    for half in ("encoder", "decoder"):
        path = args.folder / f"{half}.pt"
        if path.exists():
            state = torch.load(path, map_location="cpu", weights_only=True)
            getattr(model, half).load_state_dict(state[half])
    model.register_to_config(_name_or_path=None)  # where it was loaded from is nobody's business
    model.half().to(memory_format=torch.contiguous_format).save_pretrained(args.to / "vae")


def export_latent_space(args) -> None:
    """What a later training needs to go on in the same latent space; it does not ship with the pack."""
    state = torch.load(args.folder / "latent.pt", map_location="cpu", weights_only=True)["encoder"]
    save_file({name: value.half().contiguous() for name, value in state.items()}, PATCH_ENCODER)


def export_preview(args) -> None:
    """The linear map from latents to colours that shows a picture while it is sampled."""
    args.device = "cpu"
    images = crops(pictures(200, 128, 5), np.random.default_rng(5), 400)
    with torch.no_grad():
        latents = load_patch_encoder(args)(images)
    wanted = nn.functional.avg_pool2d(images, 8) * 2 - 1
    rows = latents.permute(0, 2, 3, 1).flatten(0, 2)
    rows = torch.cat([rows, torch.ones(len(rows), 1)], 1)
    fit = torch.linalg.lstsq(rows, wanted.permute(0, 2, 3, 1).flatten(0, 2)).solution
    rounded = [[round(value, 4) for value in row] for row in fit.tolist()]
    (args.to / "preview.json").write_text(json.dumps({"factors": rounded[:-1], "bias": rounded[-1]}) + "\n")


def export_reader(args) -> None:
    weights = averaged(args.folder, "reader")
    halves = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    save_file({name: value.contiguous() for name, value in halves.items()}, args.to / "reader.safetensors")


def export_dit(args) -> None:
    weights = {name: value.half().contiguous() for name, value in host_layout(averaged(args.folder, "dit")).items()}
    JOINT_WEIGHTS.parent.mkdir(exist_ok=True)
    save_file(weights, JOINT_WEIGHTS, {"format": "pt", "modelspec.title": "pakati-tiny-dit"})
    print(f"{JOINT_WEIGHTS.name}: {JOINT_WEIGHTS.stat().st_size / 1e6:.2f} MB")


PARTS = {
    "model": export_model,
    "autoencoder": export_autoencoder,
    "latent space": export_latent_space,
    "preview": export_preview,
    "reader": export_reader,
    "dit": export_dit,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("out/train"))
    parser.add_argument("--to", type=Path, default=Path("pakati_core/tiny/weights"))
    parser.add_argument("parts", nargs="*", default=list(PARTS), choices=list(PARTS))
    arguments = parser.parse_args()
    arguments.to.mkdir(parents=True, exist_ok=True)
    for part in arguments.parts:
        PARTS[part](arguments)
    total = sum(path.stat().st_size for path in arguments.to.rglob("*.safetensors"))
    print(f"{arguments.to}: {total / 1e6:.2f} MB of weights")
