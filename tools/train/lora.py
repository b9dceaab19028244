"""Train a LoRA of the embedded model on one cartoon head, as a file that any host reads.

python -m tools.train.lora luca --steps 1500 --rank 16
python -m tools.train.lora luca --show sheet.png      pictures that the trained one paints, without training

Touched are the attention blocks and the convolutions beside them: layers whose every output has a place in the picture,
so that it can act in one region alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from pakati_core.engines import Request
from pakati_core.engines.diffusers import DiffusersEngine
from pakati_core.geometry import Extent
from pakati_core.regions import RegionSet
from pakati_core.tiny.captions import region_prompt, setting
from pakati_core.tiny.cast import CAST, lora_of
from pakati_core.tiny.heads import Pose, draw_head
from pakati_core.tiny.words import MAX_LENGTH
from pakati_core.tiny.world import SEEN_PAIRS, Frame, Scene, draw
from tools.train.data import fill, random_material
from tools.train.model import SeenFrom, log_weights
from tools.train.run import Run, parser

SIDE = 128


def near(rng: np.random.Generator) -> Pose:
    """A portrait: a LoRA as small as this learns one view well or many views badly."""
    x, y, size = rng.uniform(0.45, 0.55), rng.uniform(0.48, 0.55), rng.uniform(0.3, 0.35)
    return Pose(x, y, size, rng.uniform(-6, 6), rng.uniform(-0.3, 1), rng.uniform(-0.5, 0.5), rng.uniform(0.9, 1.05))


class Place(NamedTuple):
    """Where the LoRA acts: cells [B,1,h,w] of the latent, and words [B,words,1] of the region's own prompt."""

    cells: Tensor
    words: Tensor

    def share(self, out: Tensor) -> Tensor:
        if out.ndim == 4:
            return F.adaptive_avg_pool2d(self.cells, out.shape[-2:])
        if out.shape[1] == self.words.shape[1]:
            return self.words
        scale = round((self.cells[0].numel() / out.shape[1]) ** 0.5)
        return F.avg_pool2d(self.cells, scale).flatten(2).mT


class Adapter(nn.Module):
    """y = Wx + up down x at every layer that it touches, by hooks: no weight of the model changes."""

    def __init__(self, network: nn.Module, rank: int, is_touched: Callable[[str, nn.Module], bool] | None = None):
        super().__init__()
        self.active, self.place = True, None
        is_touched = is_touched or touched_in_unet
        layers = {name: layer for name, layer in network.named_modules() if is_touched(name, layer)}
        self.names = list(layers)
        shapes = [layer.weight.shape for layer in layers.values()]
        self.down = nn.ParameterList(
            nn.Parameter(torch.randn(rank, *shape[1:]) / shape[1:].numel() ** 0.5) for shape in shapes
        )
        self.up = nn.ParameterList(nn.Parameter(torch.zeros(shape[0], rank, *[1] * len(shape[2:]))) for shape in shapes)
        for number, layer in enumerate(layers.values()):
            layer.register_forward_hook(self._hook(number))

    def _hook(self, number: int):
        def add(layer, args, out):
            if not self.active:
                return None
            down, up = self.down[number], self.up[number]
            if isinstance(layer, nn.Linear):
                delta = F.linear(F.linear(args[0], down), up)
            else:
                delta = F.conv2d(F.conv2d(args[0], down, stride=layer.stride, padding=layer.padding), up)
            return out + (delta if self.place is None else delta * self.place.share(out))

        return add

    def save(self, path: Path, title: str) -> None:
        """kohya's names, which every host reads, fp16. No trigger words: the model's vocabulary has no names."""
        tensors = {}
        for name, down, up in zip(self.names, self.down, self.up):
            layer = f"lora_unet_{name.replace('.', '_')}"
            tensors[f"{layer}.lora_down.weight"] = down.detach().half().contiguous()
            tensors[f"{layer}.lora_up.weight"] = up.detach().half().contiguous()
            tensors[f"{layer}.alpha"] = torch.tensor(float(len(down)))
        save_file(tensors, path, {"format": "pt", "modelspec.title": title})


def touched_in_unet(name: str, layer: nn.Module) -> bool:
    if ".attentions." in name:
        return isinstance(layer, nn.Linear | nn.Conv2d)
    return ".resnets." in name and isinstance(layer, nn.Conv2d)


@torch.no_grad()
def encoded(vae, pictures: list) -> Tensor:
    """Latents of pictures of one size."""
    pixels = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2)
    return torch.cat([vae.encode(part.to(vae.device).float() / 127.5 - 1).latents for part in pixels.split(32)])


class Shown:
    """Latents of one head on many materials, with their captions."""

    def __init__(self, vae: nn.Module, name: str, count: int, seed: int):
        rng = np.random.default_rng(seed)
        self.materials = [random_material(rng) for _ in range(count)]
        rows = [draw_head(CAST[name], near(rng), SIDE, ground, i) for i, ground in enumerate(self.materials)]
        self.latents = encoded(vae, rows)

    def batch(self, size: int, rng: np.random.Generator) -> tuple[Tensor, list[str]]:
        """Latents [B,C,16,16] and captions, of which one in ten is empty."""
        chosen = rng.integers(0, len(self.latents), size)
        return self.latents[chosen], ["" if rng.random() < 0.1 else _caption(self.materials[i], rng) for i in chosen]


class Beside:
    """Latents twice as wide: the head in one half, a friend's or a thing in the other, each with its own prompt."""

    def __init__(self, vae: nn.Module, name: str, friend: str | None, count: int, seed: int):
        rng = np.random.default_rng(seed + 1)
        self.rows, rows = [], []
        for number in range(count):
            own, other, side = random_material(rng), random_material(rng), int(rng.integers(2))
            if friend:
                beside, said = draw_head(CAST[friend], near(rng), SIDE, other, number), _caption(other, rng)
            else:
                thing = fill(rng, Frame(0, 0, 1, 1), other, set(), SEEN_PAIRS)
                beside, said = draw(Scene(other, (thing,), (), number), SIDE), region_prompt(thing, other, rng)
            halves = [np.asarray(draw_head(CAST[name], near(rng), SIDE, own, number)), np.asarray(beside)]
            rows.append(np.concatenate(halves if side == 0 else halves[::-1], axis=1))
            self.rows.append((side, _caption(own, rng), said, random_material(rng)))
        self.latents = encoded(vae, rows)

    def batch(self, size: int, rng: np.random.Generator) -> tuple[Tensor, list[list[str]], Place, Place]:
        """Latents [B,C,16,32]; base prompt, left one and right one of each, of which one in ten is empty; the places of
        the head and of what is beside it."""
        chosen = rng.integers(0, len(self.latents), size)
        cells, words, texts = torch.zeros(size, 1, 16, 32), torch.zeros(size, 3, MAX_LENGTH), []
        others = torch.zeros_like(words)
        for row, (side, own, other, base) in enumerate(self.rows[i] for i in chosen):
            cells[row, :, :, 16 * side : 16 * side + 16], words[row, 1 + side], others[row, 2 - side] = 1, 1, 1
            said = [base, own, other] if side == 0 else [base, other, own]
            texts.append(["", "", ""] if rng.random() < 0.1 else said)
        places = [
            Place(*pair) for pair in ((cells, words.flatten(1)[..., None]), (1 - cells, others.flatten(1)[..., None]))
        ]
        return self.latents[chosen], texts, places[0], places[1]


def halves(size: int) -> Tensor:
    """[B,3,16,32]: the base prompt has nothing, the others have a half each."""
    weights = torch.zeros(size, 3, 16, 32)
    weights[:, 1, :, :16] = weights[:, 2, :, 16:] = 1
    return weights


def _caption(material: str, rng: np.random.Generator) -> str:
    return f"on {material}" if rng.random() < 0.5 else setting(material, rng)


def train(args) -> None:
    engine = DiffusersEngine(device=args.device)
    parts, rng = engine.parts, np.random.default_rng(args.seed)
    unet = parts.unet.requires_grad_(False).train()
    adapter = Adapter(unet, args.rank).to(args.device)
    optimizer = torch.optim.AdamW(adapter.parameters(), args.lr, weight_decay=0.0)
    run = Run(f"lora_{args.name}", args, {"adapter": adapter, "optimizer": optimizer})
    encode = cache(lambda text: parts.encode(text).tokens)
    shown = Shown(parts.vae, args.name, args.pool, args.seed)
    friend, theirs = _friend(args, unet)
    beside = [
        Beside(parts.vae, args.name, who, args.pool, args.seed) for who in ((friend, None) if friend else (None,))
    ]
    bias: dict[int, Tensor] = {}
    unet.set_attn_processor(SeenFrom(bias))

    def example(number: int) -> tuple[Tensor, Tensor]:
        """Latents and words of a batch; says where they see each other, and where the LoRAs act."""
        way = number % (1 + len(beside))
        theirs.active = bool(friend) and way == 1
        if way == 0:
            (x0, texts), adapter.place = shown.batch(args.batch, rng), None
            rows, weights = [[text] for text in texts], torch.ones(len(x0), 1, *x0.shape[2:])
        else:
            x0, rows, *places = beside[way - 1].batch(args.batch // 2, rng)
            adapter.place, theirs.place = (Place(*(part.to(args.device) for part in place)) for place in places)
            weights = halves(len(x0))
        bias.clear()
        bias.update(log_weights(weights.to(args.device)))
        return x0, torch.cat([torch.cat([encode(text) for text in row], 1) for row in rows])

    for number in run:
        x0, tokens = example(number)
        t = torch.sigmoid(torch.randn(len(x0), device=args.device) + 0.2)
        noise = torch.randn_like(x0)
        v = unet(torch.lerp(x0, noise, t[:, None, None, None]), t * 1000, tokens).sample
        loss = (v - (noise - x0)).square().mean()
        run.descend(optimizer, loss, run.trapezoid(warmup=50))
    adapter.place, path = None, lora_of(args.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    adapter.save(path, f"{args.name} for pakati-tiny")


def _friend(args, unet: nn.Module) -> tuple[str | None, Adapter]:
    """Another of the cast whose LoRA is trained, and that LoRA as it stands; else one that does nothing."""
    adapter = Adapter(unet, args.rank).to(args.device).requires_grad_(False)
    found = [name for name in CAST if name != args.name and (args.folder / f"lora_{name}.pt").is_file()]
    if found:
        state = torch.load(args.folder / f"lora_{found[0]}.pt", map_location=args.device, weights_only=True)
        adapter.load_state_dict(state["adapter"])
    adapter.active = False
    return (found[0] if found else None), adapter


def show(args) -> None:
    """Six pictures of the trained one on several grounds, in a row."""
    engine = DiffusersEngine(device=args.device)
    adapter = Adapter(engine.parts.unet, args.rank)
    state = torch.load(args.folder / f"lora_{args.name}.pt", map_location="cpu", weights_only=True)
    adapter.load_state_dict(state["adapter"])
    sheet = Image.new("RGB", (6 * SIDE, SIDE))
    for i, ground in enumerate(("sand", "on sea", "plain yellow", "brick", "on grass", "snow background")):
        request = Request(RegionSet(Extent(SIDE, SIDE), (), ground), seed=i)
        sheet.paste(engine.generate(request).image, (i * SIDE, 0))
    sheet.save(args.show)


def main() -> None:
    arguments = parser(__doc__, steps=1500, batch=16, lr=1e-3)
    arguments.add_argument("name", choices=list(CAST))
    arguments.add_argument("--rank", type=int, default=16)
    arguments.add_argument("--pool", type=int, default=1500, help="pictures")
    arguments.add_argument("--show", type=Path)
    args = arguments.parse_args()
    show(args) if args.show else train(args)


if __name__ == "__main__":
    main()
