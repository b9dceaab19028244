"""Train the embedded autoencoder (TAESD's network, 8 latent channels) in three stages.

latent    a quick patch encoder and the decoder up to half size define the latent space
decoder   the whole decoder learns to paint from that space, which stays as it is
encoder   the real encoder learns to reach that space

The diffusion model can start after the first stage: nothing later moves the latent space.
    python -m tools.train.autoencoder latent && ... decoder && ... encoder
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from diffusers.models.unets.unet_2d_blocks import AutoencoderTinyBlock
from safetensors.torch import load_file
from torch import Tensor, nn

from .data import pictures
from .muon import Muon
from .run import Run, autocast, parser

LATENT_CHANNELS = 8
PATCH_ENCODER = Path(__file__).parent / "patch_encoder.safetensors"  # defines the shipped latent space
HALF_SIZE_LAYERS = 15  # of DecoderTiny.layers: everything before the last upsampling
NOISE = 0.08  # on the latents while the decoder learns: a diffusion model's latents are never exact


class PatchEncoder(nn.Module):
    """[B,3,H,W] in [0,1] -> [B,8,H/8,W/8]; trained towards mean 0 and variance 1 in each channel."""

    def __init__(self, width: int = 128, depth: int = 3):
        super().__init__()
        self.inlet = nn.Sequential(nn.PixelUnshuffle(8), nn.Conv2d(192, width, 1))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1))
            for _ in range(depth)
        )
        self.outlet = nn.Conv2d(width, LATENT_CHANNELS, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.inlet(image * 2 - 1)
        for block in self.blocks:
            x = x + block(x)
        return self.outlet(x)


class HalfSizeHead(nn.Sequential):
    """Paints the picture straight from the decoder's half-size features: a quarter of the cost."""

    def __init__(self):
        super().__init__(nn.Conv2d(64, 12, 3, padding=1), nn.PixelShuffle(2))


def embedded_autoencoder() -> AutoencoderTiny:
    """Blocks and resampling start as the identity: from the default start the first thousand steps are wasted."""
    model = AutoencoderTiny(latent_channels=LATENT_CHANNELS, scaling_factor=1.0, shift_factor=0.0)
    for block in model.modules():
        if isinstance(block, AutoencoderTinyBlock):
            nn.init.zeros_(block.conv[-1].weight)
            nn.init.zeros_(block.conv[-1].bias)
    for half in (model.encoder, model.decoder):
        for layer in half.layers:
            if isinstance(layer, nn.Conv2d) and layer.in_channels == layer.out_channels:
                nn.init.dirac_(layer.weight)
    return model


def trunk(decoder: nn.Module, z: Tensor) -> Tensor:
    x = torch.tanh(z / 3) * 3
    for layer in decoder.layers[:HALF_SIZE_LAYERS]:
        x = layer(x)
    return x


def paint(decoder: nn.Module, z: Tensor) -> Tensor:
    """Latents to a picture in [0,1]; AutoencoderTiny itself works in [-1,1]."""
    x = trunk(decoder, z)
    for layer in decoder.layers[HALF_SIZE_LAYERS:]:
        x = layer(x)
    return x


def reconstruction_loss(got: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    mse = F.mse_loss(got, wanted)
    return 4 * mse + F.l1_loss(got, wanted), mse


def spread_penalty(z: Tensor) -> Tensor:
    """Batch normalisation instead would shift every picture by what happens to lie beside it in the batch."""
    return z.mean((0, 2, 3)).square().mean() + (z.var((0, 2, 3)) - 1).square().mean()


def crops(pool: np.ndarray, rng: np.random.Generator, count: int, side: int = 64) -> Tensor:
    """[count,3,side,side] in [0,1], cut at random from a pool of [N,H,W,3] uint8 pictures."""
    rows = rng.integers(0, len(pool), count)
    tops, lefts = rng.integers(0, pool.shape[1] - side + 1, (2, count))
    cut = np.stack([pool[n, y : y + side, x : x + side] for n, y, x in zip(rows, tops, lefts, strict=True)])
    return torch.from_numpy(cut).permute(0, 3, 1, 2).float().div_(255).contiguous(memory_format=torch.channels_last)


def psnr(mse: Tensor | float) -> float:
    return float(-10 * np.log10(max(float(mse), 1e-12)))


def train_latent(args) -> None:
    encoder, decoder, head = PatchEncoder(), embedded_autoencoder().decoder, HalfSizeHead()
    modules = nn.ModuleList((encoder, decoder, head)).to(args.device, memory_format=torch.channels_last)
    optimizer = Muon(modules, lr=args.lr, weight_decay=1e-3)
    run = Run("latent", args, {"encoder": encoder, "decoder": decoder, "head": head, "optimizer": optimizer})
    pool, rng = pictures(4000, 128, args.seed), np.random.default_rng(args.seed + run.step)
    for _ in run:
        wanted = crops(pool, rng, args.batch).to(args.device)
        z = encoder(wanted)
        noisy = z + NOISE * torch.randn_like(z)
        loss, mse = reconstruction_loss(head(trunk(decoder, noisy)), wanted)
        loss = loss + 0.05 * spread_penalty(z)
        step(optimizer, loss, modules, run.lr(30))
        run.log(loss=loss.detach(), psnr=psnr(mse.detach()), reach=z.detach().abs().max())


def train_decoder(args) -> None:
    encoder, decoder = load_patch_encoder(args), load_decoder(args)
    optimizer = Muon(decoder, lr=args.lr, weight_decay=1e-3)
    run = Run("decoder", args, {"decoder": decoder, "optimizer": optimizer})
    pool, rng = pictures(4000, 128, args.seed + 1), np.random.default_rng(args.seed + run.step)
    for _ in run:
        wanted = crops(pool, rng, args.batch).to(args.device)
        with torch.no_grad():
            z = encoder(wanted)
        with autocast(args):
            got = paint(decoder, z + NOISE * torch.rand(1) * torch.randn_like(z))
        loss, mse = reconstruction_loss(got.float(), wanted)
        step(optimizer, loss, decoder, run.lr(50))
        run.log(loss=loss.detach(), psnr=psnr(mse.detach()))


def train_encoder(args) -> None:
    teacher, encoder = load_patch_encoder(args), embedded_autoencoder().encoder
    encoder.to(args.device, memory_format=torch.channels_last)
    optimizer = Muon(encoder, lr=args.lr, weight_decay=1e-3)
    run = Run("encoder", args, {"encoder": encoder, "optimizer": optimizer})
    pool, rng = pictures(4000, 128, args.seed + 2), np.random.default_rng(args.seed + run.step)
    for _ in run:
        image = crops(pool, rng, args.batch).to(args.device)
        with torch.no_grad():
            wanted = teacher(image)
        with autocast(args):
            got = encoder.layers(image)
        loss = F.mse_loss(got.float(), wanted)
        step(optimizer, loss, encoder, run.lr(50))
        run.log(loss=loss.detach())


def step(optimizer: torch.optim.Optimizer, loss: Tensor, module: nn.Module, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    optimizer.step()


def stage_state(args, stage: str) -> dict:
    return torch.load(args.folder / f"{stage}.pt", map_location=args.device, weights_only=True)


def load_patch_encoder(args) -> PatchEncoder:
    """From this run's first stage, else the one that the shipped models were trained with."""
    encoder = PatchEncoder()
    own = (args.folder / "latent.pt").exists()
    encoder.load_state_dict(stage_state(args, "latent")["encoder"] if own else load_file(PATCH_ENCODER))
    return encoder.to(args.device, memory_format=torch.channels_last).eval().requires_grad_(False)


def load_decoder(args) -> nn.Module:
    """The furthest one there is: of this folder's second stage, the shipped one, or this folder's first stage."""
    decoder = embedded_autoencoder().decoder
    if (args.folder / "decoder.pt").exists() or not args.from_weights:
        stage = "decoder" if (args.folder / "decoder.pt").exists() else "latent"
        decoder.load_state_dict(stage_state(args, stage)["decoder"])
    else:
        decoder = AutoencoderTiny.from_pretrained(args.from_weights / "vae", torch_dtype=torch.float32).decoder
    return decoder.to(args.device, memory_format=torch.channels_last)


STAGES = {"latent": train_latent, "decoder": train_decoder, "encoder": train_encoder}

if __name__ == "__main__":
    arguments = parser(__doc__, steps=2500, batch=16, lr=2e-3)
    arguments.add_argument("stage", choices=STAGES)
    chosen = arguments.parse_args()
    STAGES[chosen.stage](chosen)
