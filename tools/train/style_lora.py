"""Train a LoRA of an embedded model on a manner of drawing, as a file that any host reads.

    python -m tools.train.style_lora hatched --model pakati-tiny-dit

Half of its pictures have the manner in one region only, where the LoRA acts, so that it stays there.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPTextModel

from pakati_core.tiny import JOINT_WEIGHTS, WEIGHTS
from pakati_core.tiny.styles import STYLES, style_lora
from pakati_core.tiny.words import MAX_LENGTH
from pakati_core.tiny.world import Scene, draw

from .autoencoder import LATENT_CHANNELS, load_patch_encoder
from .data import plain_scene, regional_scene
from .dit import Words, embedded_dit, make_batch, settled
from .flux_net import BASE_WORDS, PATCH, ROOM, joint_bias, own_layout
from .lora import Adapter, Place, touched_in_unet
from .model import OFTEN, Example, Pool, SeenFrom, encode_prompts, log_weights, prepare, times
from .run import Run, autocast, parser
from .styles import in_style


def scene_in_style(rng: np.random.Generator, _side: int, are_settled: bool) -> Scene:
    if rng.random() < 0.7:
        scene = regional_scene(rng, OFTEN, 2, stray=0.35)
    else:
        scene = plain_scene(rng, OFTEN, 1, centred=0.8)
    return scene.with_things(*map(settled, scene.things)) if are_settled else scene


def styled_region(scene: Scene) -> int | None:
    """The number of the region that has the manner; None: the whole picture has it."""
    frames = Example(scene, torch.empty(1, 1, 1)).frames
    return scene.seed % len(frames) if frames and scene.seed % 5 else None


def draw_in_style(scene: Scene, side: int, style: str) -> np.ndarray:
    plain = draw(scene, side)
    number, styled = styled_region(scene), in_style(plain, style)
    if number is None:
        return styled
    frame = Example(scene, torch.empty(1, 1, 1)).frames[number]
    middles = (np.arange(side) + 0.5) / side
    rows, columns = (middles > frame.top) & (middles < frame.bottom), (middles > frame.left) & (middles < frame.right)
    return np.where(np.outer(rows, columns)[..., None], styled, plain)


class JointPlace(NamedTuple):
    """Where the LoRA acts: cells [B,1,h,w] of the latent, and words [B,words,1]."""

    cells: Tensor
    words: Tensor

    def share(self, out: Tensor) -> Tensor:
        pixels = F.avg_pool2d(self.cells, PATCH).flatten(2).mT
        return pixels if out.shape[1] == pixels.shape[1] else torch.cat([self.words, pixels], 1)


def places(examples: list[Example], weights: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
    """Cells [B,1,h,w] and words [B,L,1] where the manner is; weights: [B,1+N,h,w]; words: [L], whose prompt's."""
    cells, said = torch.ones(len(examples), 1, *weights.shape[2:]), torch.ones(len(examples), len(words), 1)
    for row, example in enumerate(examples):
        if (number := styled_region(example.scene)) is not None:
            cells[row, 0] = weights[row, 1 + number]
            said[row, :, 0] = (words == 1 + number).float()
    return cells, said


class UNetPupil:
    settled = False

    def __init__(self, args):
        unet: Any = UNet2DConditionModel.from_pretrained(WEIGHTS / "unet", torch_dtype=torch.float32)
        self.network = unet.to(args.device).requires_grad_(False).train()
        text: Any = CLIPTextModel.from_pretrained(WEIGHTS / "text_encoder", dtype=torch.float32)
        self.text, self.bias = text.to(args.device).eval().requires_grad_(False), {}
        self.network.set_attn_processor(SeenFrom(self.bias))
        self.adapter = Adapter(self.network, args.rank, touched_in_unet).to(args.device)

    def error(self, examples: list[Example], rng: np.random.Generator, args) -> Tensor:
        x0, ids, weights, _ = (part.to(args.device) for part in prepare(examples, rng))
        owner = torch.arange(ids.shape[1]).repeat_interleave(MAX_LENGTH)
        self.adapter.place = Place(*(part.to(args.device) for part in places(examples, weights.cpu(), owner)))
        self.bias.update(log_weights(weights))
        xt, t, wanted = noised(x0)
        with autocast(args):
            v = self.network(xt, t * 1000, encode_prompts(self.text, ids)).sample
        return (v.float() - wanted).square()


class JointPupil:
    settled = True

    def __init__(self, args):
        self.network = embedded_dit(own_layout(load_file(JOINT_WEIGHTS), LATENT_CHANNELS))
        self.network.to(args.device).requires_grad_(False)
        self.words = Words.embedded(args.device)
        self.adapter = Adapter(self.network, args.rank, touched_in_transformer).to(args.device)

    def error(self, examples: list[Example], rng: np.random.Generator, args) -> Tensor:
        batch = make_batch(self.words, examples, rng, drop=0.05)
        regions = batch.lengths.shape[1]
        owner = torch.cat([torch.zeros(BASE_WORDS), 1 + torch.arange(regions).repeat_interleave(ROOM)])
        self.adapter.place = JointPlace(*(part.to(args.device) for part in places(examples, batch.weights, owner)))
        xt, t, wanted = noised(batch.latents.to(args.device))
        bias = joint_bias(batch.lengths, batch.weights).to(args.device)
        with autocast(args):
            v = self.network(xt, t, batch.words.to(args.device), bias)
        return (v.float() - wanted).square()


def noised(x0: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Noised latents, their noise levels, and the velocity that belongs to them."""
    t, noise = times(len(x0), 0.2).to(x0), torch.randn_like(x0)
    return torch.lerp(x0, noise, t[:, None, None, None]), t, noise - x0


def touched_in_transformer(name: str, layer: nn.Module) -> bool:
    """What has a place in the picture: no modulation, and nothing that is about words alone."""
    is_block = name.startswith(("double_blocks.", "single_blocks."))
    return isinstance(layer, nn.Linear) and is_block and "mod" not in name and ".txt_" not in name


PUPILS = {"pakati-tiny": UNetPupil, "pakati-tiny-dit": JointPupil}


def main() -> None:
    arguments = parser(__doc__, steps=700, batch=16, lr=2e-3)
    arguments.add_argument("style", choices=STYLES)
    arguments.add_argument("--model", choices=list(PUPILS), default="pakati-tiny")
    arguments.add_argument("--rank", type=int, default=8)
    arguments.add_argument("--pool", type=int, default=3000, help="pictures")
    args = arguments.parse_args()
    pupil, rng = PUPILS[args.model](args), np.random.default_rng(args.seed)
    optimizer = torch.optim.AdamW(pupil.adapter.parameters(), args.lr, weight_decay=0.0)
    run = Run(f"{args.model}-{args.style}", args, {"adapter": pupil.adapter, "optimizer": optimizer})
    scene = partial(scene_in_style, are_settled=pupil.settled)
    pool = Pool(load_patch_encoder(args), args.device, args.seed, scene, partial(draw_in_style, style=args.style))
    for _ in range(0, args.pool, 50):
        pool.add(50, 128, keep=args.pool)
    for _ in run:
        loss = pupil.error(pool.batch(args.batch, 0.0), rng, args).mean()
        run.descend(optimizer, loss, run.trapezoid(warmup=50))
    path = style_lora(args.model, args.style)
    path.parent.mkdir(parents=True, exist_ok=True)
    pupil.adapter.save(path, f"{args.style} for {args.model}")


if __name__ == "__main__":
    main()
