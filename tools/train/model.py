"""Train the embedded text-to-image model: text encoder and UNet together, by flow matching on latents.

    python -m tools.train.model --steps 10000

Needs the autoencoder's first stage. Half of the scenes are regional: each object's words are visible only inside
its own frame, by the same additive log-weights that regional attention uses.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from pakati_core.tiny.captions import caption, region_prompt, setting
from pakati_core.tiny.words import END, IDS, MAX_LENGTH, START, VOCABULARY, encode_padded
from pakati_core.tiny.world import SEEN_PAIRS, Frame, Scene, draw

from .autoencoder import LATENT_CHANNELS, load_patch_encoder, step
from .data import plain_scene, regional_scene
from .muon import Muon
from .run import Average, Run, autocast, parser

WIDTH = 128
HIDDEN = -1e4  # a prompt's log-weight where it is not seen
EMPTY = torch.tensor(encode_padded("")[0])
HARD = {"sun": 3, "moon": 1}  # how much more often: rays and horns come last
FEW = (1, 2, 2, 2, 3, 3, 3)  # regions of a large picture
OFTEN = tuple(pair for pair in SEEN_PAIRS for _ in range(1 + HARD.get(pair[0], 0)))


def embedded_unet() -> UNet2DConditionModel:
    """Cross-attention only at the finest level: self-attention over its tokens would cost more than everything else."""
    return UNet2DConditionModel(
        sample_size=16, in_channels=LATENT_CHANNELS, out_channels=LATENT_CHANNELS, block_out_channels=(64, 128, 192),
        layers_per_block=1, down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=WIDTH,
        attention_head_dim=4, use_linear_projection=True, only_cross_attention=(True, False, False),
    )  # fmt: skip


def embedded_text_encoder() -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(VOCABULARY), hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_hidden_layers=2,
            num_attention_heads=4, max_position_embeddings=MAX_LENGTH, hidden_act="gelu", projection_dim=WIDTH,
            bos_token_id=IDS[START], eos_token_id=IDS[END], pad_token_id=IDS[END],
        )
    )  # fmt: skip


class SeenFrom(nn.Module):
    """Attention processor with an additive log-weight per (image token, text token); `bias` maps token count to it."""

    def __init__(self, bias: dict[int, Tensor]):
        super().__init__()
        self.bias = bias

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, **_):
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q, k, v = attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context)
        q, k, v = (x.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for x in (q, k, v))
        scores = (q * attn.scale) @ k.transpose(-1, -2)
        if encoder_hidden_states is not None:
            scores = scores + self.bias[q.shape[2]]
        out = scores.softmax(-1) @ v
        return attn.to_out[0](out.transpose(1, 2).flatten(2))


def frame_weights(frame: Frame, side: int) -> np.ndarray:
    """[side, side] share of each latent cell that the frame covers."""

    def along(low: float, high: float) -> np.ndarray:
        cells = np.arange(side)
        return np.clip(np.minimum(cells + 1, high * side) - np.maximum(cells, low * side), 0, 1)

    return np.outer(along(frame.top, frame.bottom), along(frame.left, frame.right)).astype(np.float32)


class Example:
    """One scene with its latent and, for regional scenes, its frames and who is in them."""

    def __init__(self, scene: Scene, latent: Tensor):
        self.scene, self.latent = scene, latent
        self.frames = list(dict.fromkeys([t.frame for t in scene.things if t.frame] + [p.frame for p in scene.patches]))
        side = latent.shape[-1]
        self.weights = (
            torch.from_numpy(np.stack([frame_weights(f, side) for f in self.frames])) if self.frames else None
        )
        self.objects = torch.from_numpy(
            sum((frame_weights(_around(t), side) for t in scene.things), np.zeros((side, side), np.float32)).clip(0, 1)
        )

    def prompts(self, rng: np.random.Generator) -> list[str]:
        if not self.frames:
            return [caption(self.scene, rng)]
        things = {t.frame: t for t in self.scene.things}
        own = {p.frame: p.material for p in self.scene.patches}
        texts = []
        for frame in self.frames:
            material = own.get(frame) or (self.scene.material if rng.random() < 0.3 else None)
            texts.append(region_prompt(things.get(frame), material, rng))
        return [setting(self.scene.material, rng), *texts]


def _around(thing) -> Frame:
    return Frame(thing.x - thing.radius, thing.y - thing.radius, thing.x + thing.radius, thing.y + thing.radius)


def scene_for(rng: np.random.Generator, side: int) -> Scene:
    """Objects stand mostly in the middle of their place, as people draw them.

    At 256x256 large objects in large regions come last, so that they come more often.
    """
    regional = rng.random() < (0.55 if side < 256 else 0.8)
    count = int(rng.choice(FEW)) if side >= 256 and rng.random() < 0.8 else None
    if regional:
        return regional_scene(rng, OFTEN, count, stray=0.35)
    return plain_scene(rng, OFTEN, 1 if count else None, centred=0.6)


class Pool:
    """Scenes with their latents, grouped by (side, number of frames) so that a batch needs no padding prompts."""

    def __init__(
        self, encoder: nn.Module, device: str, seed: int,
        scene: Callable[[np.random.Generator, int], Scene] = scene_for,
        picture: Callable[[Scene, int], np.ndarray] = draw,
    ):  # fmt: skip
        self.encoder, self.device, self.scene, self.picture = encoder, device, scene, picture
        self.rng = np.random.default_rng(seed)
        self.groups: dict[tuple[int, int], list[Example]] = {}

    def add(self, count: int, side: int, keep: int) -> None:
        scenes = [self.scene(self.rng, side) for _ in range(count)]
        pictures = torch.from_numpy(np.stack([self.picture(scene, side) for scene in scenes])).to(self.device)
        with torch.no_grad():
            latents = self.encoder(pictures.permute(0, 3, 1, 2).float().div(255)).half()
        for scene, latent in zip(scenes, latents, strict=True):
            example = Example(scene, latent)
            group = self.groups.setdefault((side // 8, len(example.frames)), [])
            if len(group) >= keep:
                group[int(self.rng.integers(len(group)))] = example
            else:
                group.append(example)

    def batch(self, size: int, large: float) -> list[Example]:
        side = 32 if self.rng.random() < large else 16
        keys = [key for key in self.groups if key[0] == side]
        sizes = np.array([len(self.groups[key]) for key in keys], float)
        group = self.groups[keys[self.rng.choice(len(keys), p=sizes / sizes.sum())]]
        size = size if side == 16 else max(2, size // 4)
        return [group[i] for i in self.rng.integers(0, len(group), size)]


def encode_prompts(text: nn.Module, rows: Tensor) -> Tensor:
    """[B,N,L] ids -> [B,N*L,width]; each distinct prompt is encoded once."""
    distinct, where = rows.flatten(0, 1).unique(dim=0, return_inverse=True)
    hidden = text(distinct)[0][where]
    return hidden.unflatten(0, rows.shape[:2]).flatten(1, 2)


def log_weights(weights: Tensor) -> dict[int, Tensor]:
    """[B,N,side,side] prompt weights -> per level {tokens: [B,1,tokens,N*L]}."""
    levels = {}
    for scale in (1, 2, 4):
        pooled = F.avg_pool2d(weights, scale).flatten(2).transpose(1, 2)
        bias = torch.where(pooled > 1e-3, pooled.clamp_min(1e-3).log(), HIDDEN)
        levels[pooled.shape[1]] = bias.repeat_interleave(MAX_LENGTH, dim=2)[:, None]
    return levels


def prepare(examples: list[Example], rng: np.random.Generator, drop: float = 0.1) -> tuple[Tensor, ...]:
    """Latents [B,C,s,s], ids [B,N,L], weights [B,N,s,s] (base first), objects [B,1,s,s]."""
    ids, weights = [], []
    for example in examples:
        rows = torch.tensor([encode_padded(prompt)[0] for prompt in example.prompts(rng)])
        regions = example.weights if example.weights is not None else torch.zeros(0, *example.objects.shape)
        if rng.random() < drop:
            rows, regions = EMPTY.expand_as(rows), torch.zeros_like(regions)
        ids.append(rows)
        weights.append(torch.cat([(1 - regions.sum(0, keepdim=True)).clamp_min(0), regions]))
    latents = torch.stack([example.latent for example in examples]).float()
    return latents, torch.stack(ids), torch.stack(weights), torch.stack([e.objects for e in examples])[:, None]


def times(count: int, early: float, side: int = 16) -> Tensor:
    """[count] in (0,1): sigmoid(N(0.2, 1)), but a share of them from the noisiest fifth.

    Where objects stand is settled there, and where regions share no cell nothing else says it. In twice as many cells
    along a side the same noise hides half as much (section 5.3.2 of https://arxiv.org/abs/2403.03206).
    """
    usual, noisy = torch.sigmoid(torch.randn(count) + 0.2), 1 - 0.2 * torch.rand(count)
    t = torch.where(torch.rand(count) < early, noisy, usual)
    return t * (side / 16) / (1 + t * (side / 16 - 1))


def main() -> None:
    arguments = parser(__doc__, steps=10_000, batch=16, lr=1e-3)
    arguments.add_argument("--pool", type=int, default=16_000)
    arguments.add_argument("--large", type=float, default=0.12, help="share of the steps at 256x256")
    arguments.add_argument("--early", type=float, default=0.3, help="share of the samples from the noisiest fifth")
    arguments.add_argument("--object-weight", type=float, default=2.0, help="extra loss on objects until --plain-from")
    arguments.add_argument("--plain-from", type=float, default=0.6, help="share of the run without that extra loss")
    arguments.add_argument("--average", type=float, default=0.9995, help="decay of the weights' moving average")
    args = arguments.parse_args()
    unet, text = embedded_unet(), embedded_text_encoder()
    if args.from_weights:
        unet = UNet2DConditionModel.from_pretrained(args.from_weights / "unet", torch_dtype=torch.float32)
        text = CLIPTextModel.from_pretrained(args.from_weights / "text_encoder", dtype=torch.float32)
    modules = nn.ModuleDict({"unet": unet, "text": text}).to(args.device)
    unet.to(memory_format=torch.channels_last)
    bias: dict[int, Tensor] = {}
    unet.set_attn_processor(SeenFrom(bias))
    optimizer = Muon(modules, lr=args.lr)
    average = Average(modules, args.average)
    run = Run("model", args, {"modules": modules, "optimizer": optimizer, "average": average}, save_every=250)
    pool = Pool(load_patch_encoder(args), args.device, args.seed + run.step)
    for side, count in ((128, args.pool), (256, args.pool // 2)):
        for _ in range(0, count, 64):
            pool.add(64, side, keep=count)
    rng = np.random.default_rng(args.seed + run.step)
    for number in run:
        examples = pool.batch(args.batch, args.large)
        x0, ids, weights, objects = (part.to(args.device) for part in prepare(examples, rng))
        bias.update(log_weights(weights))
        t = times(len(x0), args.early, x0.shape[-1]).to(args.device)
        noise = torch.randn_like(x0)
        xt = torch.lerp(x0, noise, t[:, None, None, None]).to(memory_format=torch.channels_last)
        with autocast(args):
            v = unet(xt, t * 1000, encode_prompts(text, ids)).sample
        error = (v.float() - (noise - x0)).square().mean(1, keepdim=True)
        extra = args.object_weight if number < args.plain_from * args.steps else 0.0
        loss = (error * (1 + extra * objects)).mean()
        step(optimizer, loss, modules, run.trapezoid())
        average.update()
        run.log(loss=error.detach().mean(), objects=(error * objects).detach().sum() / objects.sum().clamp_min(1))
        if number % 2 == 0:
            pool.add(8, 128, keep=args.pool)
            pool.add(4, 256, keep=args.pool // 2)


if __name__ == "__main__":
    main()
