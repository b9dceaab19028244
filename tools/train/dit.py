"""Train the embedded joint-attention model, of Flux.1's layout, by flow matching on latents of drawn scenes.

    python -m tools.train.dit --steps 20000

Text encoder and autoencoder are the embedded UNet's. Where words may be seen is what `pakati_core.attention.joint`
says, as additive log-weights. To be learned in hours on a CPU its world is simpler than the UNet's: a prompt speaks of
one object at most, which stands in the middle of its region, as large as the region suggests. So prompts and regions
say nearly all of a picture, and it needs no guidance.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPTextModel

from pakati_core.tiny import WEIGHTS
from pakati_core.tiny.words import encode, encode_padded
from pakati_core.tiny.world import Scene, Thing

from .autoencoder import LATENT_CHANNELS, load_patch_encoder, step
from .data import WHOLE, plain_scene, regional_scene
from .flux_net import BASE_WORDS, ROOM, FluxNet, joint_bias
from .model import OFTEN, WIDTH, Example, Pool, times
from .muon import Muon
from .run import Average, Run, autocast, parser

REGIONS = (1, 2, 2, 2, 3, 3, 3, 4, 4, 5, 5, 6, 6, 6, 6, 6)  # the more there are, the harder each is
RADIUS = 0.385  # of an object, as a share of its region's shorter side


class Batch(NamedTuple):
    """latents: [B,C,s,s]; words: [B,L,C], the base prompt's with its padding, then ROOM for each region; lengths:
    [B,N] words of each region's prompt; weights: [B,1+N,s,s] of the prompts; objects: [B,1,s,s], where they are."""

    latents: Tensor
    words: Tensor
    lengths: Tensor
    weights: Tensor
    objects: Tensor


class Words:
    """Prompts as the frozen text encoder says them, each encoded once."""

    def __init__(self, encoder: Any):
        self.encoder, self.known = encoder, {}

    @classmethod
    def embedded(cls, device: str) -> Words:
        encoder: Any = CLIPTextModel.from_pretrained(WEIGHTS / "text_encoder", dtype=torch.float32)
        return cls(encoder.to(device).eval().requires_grad_(False))

    @torch.no_grad()
    def __call__(self, text: str) -> Tensor:
        """[32,C]"""
        if text not in self.known:
            rows = torch.tensor(encode_padded(text)[:1], device=self.encoder.device)
            self.known[text] = self.encoder(rows)[0][0].cpu()
        return self.known[text]

    def joint(self, prompts: list[str]) -> Tensor:
        """[L,C]: the base prompt's and, after it, the regions'."""
        base, *regions = (self(text) for text in prompts)
        return torch.cat([base[:BASE_WORDS], *(words[:ROOM] for words in regions)])


def true_length(text: str) -> int:
    """Without the end, which looks like padding: as the host's node trims it."""
    return min(ROOM, len(encode(text).ids) - 1)


def settled(thing: Thing) -> Thing:
    frame = thing.frame or WHOLE
    radius = min(0.34, RADIUS * min(frame.right - frame.left, frame.bottom - frame.top))
    return replace(thing, x=(frame.left + frame.right) / 2, y=(frame.top + frame.bottom) / 2, radius=radius)


def one_object_scene(rng: np.random.Generator, _side: int) -> Scene:
    if rng.random() < 0.85:
        scene = regional_scene(rng, OFTEN, int(rng.choice(REGIONS)))
    else:
        scene = plain_scene(rng, OFTEN, int(rng.random() < 0.9))
    return scene.with_things(*map(settled, scene.things))


def make_batch(words: Words, examples: list[Example], rng: np.random.Generator, drop: float) -> Batch:
    """drop: the share of the examples that have no words at all."""
    prompts = [example.prompts(rng) for example in examples]
    prompts = [[""] * len(row) if rng.random() < drop else row for row in prompts]
    lengths = torch.tensor([[true_length(text) for text in row[1:]] for row in prompts]).view(len(examples), -1)
    regions = torch.stack([e.weights if e.weights is not None else torch.zeros(0, *e.objects.shape) for e in examples])
    weights = torch.cat([(1 - regions.sum(1, keepdim=True)).clamp_min(0), regions], 1)
    latents = torch.stack([example.latent for example in examples]).float()
    objects = torch.stack([example.objects for example in examples])[:, None]
    return Batch(latents, torch.stack([words.joint(row) for row in prompts]), lengths, weights, objects)


def embedded_dit(weights: dict[str, Tensor] | None = None) -> FluxNet:
    net = FluxNet(LATENT_CHANNELS, WIDTH)
    if weights:
        net.load_state_dict({name: value.float() for name, value in weights.items()})
    return net


def filled_pool(args, seed: int) -> Pool:
    pool = Pool(load_patch_encoder(args), args.device, seed, one_object_scene)
    for _ in range(0, args.pool, 64):
        pool.add(64, 128, keep=args.pool)
    return pool


def main() -> None:
    arguments = parser(__doc__, steps=20_000, batch=32, lr=3e-3)
    arguments.add_argument("--pool", type=int, default=12_000)
    arguments.add_argument("--early", type=float, default=0.3, help="share of the samples from the noisiest fifth")
    arguments.add_argument("--drop", type=float, default=0.05, help="share of the samples without any words")
    arguments.add_argument("--object-weight", type=float, default=2.0, help="extra loss on objects")
    arguments.add_argument("--average", type=float, default=0.999, help="decay of the weights' moving average")
    arguments.add_argument("--compile", action="store_true", help="torch.compile for the blocks")
    args = arguments.parse_args()
    net = embedded_dit(load_file(args.from_weights) if args.from_weights else None).to(args.device)
    optimizer, average = Muon(net, lr=args.lr), Average(net, args.average)
    run = Run("dit", args, {"net": net, "optimizer": optimizer, "average": average}, save_every=250)
    if args.compile:
        for block in (*net.double_blocks, *net.single_blocks):
            block.compile(dynamic=True)
    words, pool = Words.embedded(args.device), filled_pool(args, args.seed + run.step)
    rng = np.random.default_rng(args.seed + run.step)
    for number in run:
        batch = make_batch(words, pool.batch(args.batch, 0.0), rng, args.drop)
        bias = joint_bias(batch.lengths, batch.weights).to(args.device)
        x0, said, objects = (part.to(args.device) for part in (batch.latents, batch.words, batch.objects))
        t, noise = times(len(x0), args.early).to(args.device), torch.randn_like(x0)
        with autocast(args):
            v = net(torch.lerp(x0, noise, t[:, None, None, None]), t, said, bias)
        error = (v.float() - (noise - x0)).square().mean(1, keepdim=True)
        step(optimizer, (error * (1 + args.object_weight * objects)).mean(), net, run.trapezoid())
        average.update()
        run.log(loss=error.detach().mean(), objects=(error * objects).detach().sum() / objects.sum().clamp_min(1))
        if number % 2 == 0:
            pool.add(4, 128, keep=args.pool)


if __name__ == "__main__":
    main()
