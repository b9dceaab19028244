"""Drawn pictures as the embedded model would paint them: they show the same and take on its hand.

Noise is added up to a level and taken away again (SDEdit, https://arxiv.org/abs/2108.01073). At level 0 that is the
autoencoder's round trip alone; at 0.4 edges and textures are the model's own, while shapes and places stay.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from tqdm import tqdm
from transformers import CLIPTextModel

from pakati_core.tiny import WEIGHTS
from pakati_core.tiny.world import Scene

from .autoencoder import load_decoder, load_patch_encoder, paint
from .model import Example, SeenFrom, encode_prompts, log_weights, prepare
from .run import autocast

STEPS, BATCH = 4, 16


class Repainter:
    def __init__(self, args, seed: int):
        self.args, self.rng = args, np.random.default_rng(seed)
        self.unet = UNet2DConditionModel.from_pretrained(WEIGHTS / "unet", torch_dtype=torch.float32).to(args.device)
        self.text = CLIPTextModel.from_pretrained(WEIGHTS / "text_encoder", dtype=torch.float32).to(args.device).eval()
        self.encoder, self.decoder = load_patch_encoder(args), load_decoder(args)
        self.unet.set_attn_processor(SeenFrom(bias := {}))
        self.bias: dict[int, Tensor] = bias

    @torch.no_grad()
    def paint(self, pictures: Tensor, scenes: list[Scene], levels: Tensor) -> Tensor:
        """[N,128,128,3] uint8, again; levels: [N] in [0,1)."""
        out, groups = torch.empty_like(pictures), defaultdict(list)
        for row, scene in enumerate(scenes):
            groups[len(Example(scene, torch.empty(1, 16, 16)).frames)].append(row)
        parts = [part for rows in groups.values() for part in torch.tensor(rows).split(BATCH)]
        for rows in tqdm(parts, desc="painted over"):
            with autocast(self.args):
                out[rows] = self._over(pictures[rows], [scenes[row] for row in rows], levels[rows])
        return out

    def _over(self, pictures: Tensor, scenes: list[Scene], levels: Tensor) -> Tensor:
        device = self.args.device
        latents = self.encoder(pictures.to(device).permute(0, 3, 1, 2).float().div(255))
        examples = [Example(scene, latent) for scene, latent in zip(scenes, latents.float().cpu(), strict=True)]
        x, ids, weights, _ = (part.to(device) for part in prepare(examples, self.rng, drop=0.0))
        words = encode_prompts(self.text, ids)
        self.bias.update(log_weights(weights))
        level = levels.to(device)[:, None, None, None]
        x = torch.lerp(x, torch.randn_like(x), level)
        for step in range(STEPS if bool(levels.any()) else 0):
            now = level * (1 - step / STEPS)
            x = x - level / STEPS * self.unet(x, now.flatten() * 1000, words).sample
        return paint(self.decoder, x).float().clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).cpu()
