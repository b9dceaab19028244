"""Train the reader on drawn pictures, on malformed objects, and on what the autoencoder makes of both.

python -m tools.train.reader --steps 6000
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from safetensors.torch import load_file
from torch import Tensor

from pakati_core.tiny.reader import _SPLIT, GRID, MALFORMED, READ_KINDS, SIDE, ReaderNet
from pakati_core.tiny.world import COLOURS, KINDS, MATERIALS, PAIRS, Scene, draw, draw_thing

from .autoencoder import load_decoder, load_patch_encoder, paint, step
from .data import plain_scene, regional_scene
from .run import Average, Run, autocast, parser


def malformed_picture(rng: np.random.Generator, colour: tuple[int, int, int], side: int) -> Image.Image:
    """An object that is none: two halves that do not fit, a bitten shape, a blob, or a thing torn by waves."""
    first, second = (draw_thing(KINDS[i], colour, side) for i in rng.choice(len(KINDS), 2, replace=False))
    way = rng.integers(4)
    if way == 0:
        cut = int(side * rng.uniform(0.4, 0.6))
        box = (cut, 0, side, side) if rng.random() < 0.5 else (0, cut, side, side)
        first.paste(second.crop(box), box)
    elif way == 1:
        pen, bite = ImageDraw.Draw(first), side * rng.uniform(0.28, 0.42)
        x, y = side / 2 + rng.uniform(-0.32, 0.32, 2) * side
        pen.ellipse((x - bite, y - bite, x + bite, y + bite), fill=(0, 0, 0, 0))
    elif way == 2:
        first, angles = Image.new("RGBA", (side, side)), np.sort(rng.uniform(0, 2 * np.pi, 7))
        radii = rng.uniform(0.2, 0.5, 7) * side
        points = [(side / 2 + r * np.cos(a), side / 2 + r * np.sin(a)) for a, r in zip(angles, radii, strict=True)]
        ImageDraw.Draw(first).polygon(points, fill=colour)
    else:
        y, x = np.mgrid[0:side, 0:side] / side
        waves = rng.uniform(0.09, 0.15), rng.uniform(8, 14), rng.uniform(0, 6, 2)
        dx, dy = (waves[0] * np.sin(waves[1] * along + phase) for along, phase in ((y, waves[2][0]), (x, waves[2][1])))
        rows, columns = (((a + d).clip(0, 0.999) * side).astype(int) for a, d in ((y, dy), (x, dx)))
        first = Image.fromarray(np.asarray(first)[rows, columns])
    return first


def draw_with_malformed(scene: Scene, rng: np.random.Generator, share: float) -> tuple[np.ndarray, list[str]]:
    """The picture, and the kind that the reader should name for each of the scene's things."""
    bad = [thing for thing in scene.things if rng.random() < share]
    picture = Image.fromarray(draw(replace(scene, things=tuple(t for t in scene.things if t not in bad)), SIDE))
    for thing in bad:
        side = max(8, round(2 * thing.radius * SIDE))
        object_ = malformed_picture(rng, COLOURS[thing.colour], side)
        picture.paste(object_, (round(thing.x * SIDE - side / 2), round(thing.y * SIDE - side / 2)), object_)
    return np.asarray(picture), [MALFORMED if thing in bad else thing.kind for thing in scene.things]


def targets(scene: Scene, kinds: list[str]) -> tuple[Tensor, Tensor, Tensor]:
    """heat [16,16]; rows of (row, column, dx, dy, log radius, kind, colour) padded to 6; materials [16,16]."""
    heat, rows = np.zeros((GRID, GRID), np.float32), np.full((6, 7), -1, np.float32)
    grid = np.arange(GRID) + 0.5
    for i, (thing, kind) in enumerate(zip(scene.things, kinds, strict=True)):
        x, y = thing.x * GRID, thing.y * GRID
        row, column = min(GRID - 1, int(y)), min(GRID - 1, int(x))
        far = (grid[None] - column - 0.5) ** 2 + (grid[:, None] - row - 0.5) ** 2
        heat = np.maximum(heat, np.exp(-far / (2 * max(0.6, thing.radius * GRID / 3.5) ** 2)))
        rows[i] = (row, column, x - column - 0.5, y - row - 0.5, np.log(thing.radius),
                   READ_KINDS.index(kind), list(COLOURS).index(thing.colour))  # fmt: skip
    materials = np.full((GRID, GRID), MATERIALS.index(scene.material))
    for patch in scene.patches:
        f, centres = patch.frame, grid / GRID
        inside = ((centres >= f.top) & (centres < f.bottom))[:, None] & ((centres >= f.left) & (centres < f.right))[
            None
        ]
        if patch.round:
            cx, cy, w, h = (f.left + f.right) / 2, (f.top + f.bottom) / 2, f.right - f.left, f.bottom - f.top
            inside = ((centres[:, None] - cy) / h) ** 2 + ((centres[None] - cx) / w) ** 2 < 0.25
        materials[inside] = MATERIALS.index(patch.material)
    return torch.from_numpy(heat), torch.from_numpy(rows), torch.from_numpy(materials)


class Pool:
    """Labelled pictures as uint8; `through` is an optional autoencoder round trip."""

    def __init__(self, count: int, seed: int):
        rng, self.pictures, labels = np.random.default_rng(seed), [], []
        for _ in range(count):
            scene = plain_scene(rng, PAIRS) if rng.random() < 0.6 else regional_scene(rng, PAIRS)
            picture, kinds = draw_with_malformed(scene, rng, 0.18)
            self.pictures.append(picture)
            labels.append(targets(scene, kinds))
        self.pictures = torch.from_numpy(np.stack(self.pictures))
        self.labels = [torch.stack(part) for part in zip(*labels, strict=True)]

    def batch(self, rows: Tensor) -> tuple[Tensor, list[Tensor]]:
        return self.pictures[rows].permute(0, 3, 1, 2).float().div(255), [part[rows] for part in self.labels]


def disturb(image: Tensor) -> Tensor:
    """Blur, noise and tint, each by chance: a generated picture is softer and dirtier than a drawn one."""
    blurred = F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), 3, 1)
    amount = torch.rand(len(image), 1, 1, 1) * (torch.rand(len(image), 1, 1, 1) < 0.6)
    image = torch.lerp(image, blurred, amount) + torch.randn(len(image), 3, 1, 1) * 0.02
    return (image + torch.randn_like(image) * 0.05 * torch.rand(len(image), 1, 1, 1)).clamp(0, 1)


def focal(logits: Tensor, heat: Tensor) -> Tensor:
    """CenterNet's penalty-reduced focal loss."""
    p = logits.sigmoid().clamp(1e-4, 1 - 1e-4)
    peak = (heat > 0.999).float()
    gain = peak * (1 - p) ** 2 * p.log() + (1 - peak) * (1 - heat) ** 4 * p**2 * (1 - p).log()
    return -gain.sum() / peak.sum().clamp_min(1)


def loss_of(cells: Tensor, labels: list[Tensor]) -> Tensor:
    heat, offset, radius, kind, colour, material = cells.split(_SPLIT, dim=1)
    wanted_heat, rows, materials = labels
    which, slot = (rows[..., 0] >= 0).nonzero(as_tuple=True)
    row, column, dx, dy, size, wanted_kind, wanted_colour = rows[which, slot].unbind(-1)
    row, column = row.long(), column.long()
    whole = wanted_kind.long() != READ_KINDS.index(MALFORMED)
    return (
        focal(heat[:, 0], wanted_heat)
        + F.l1_loss(offset[which, :, row, column], torch.stack([dx, dy], -1))
        + F.l1_loss(radius[which, 0, row, column], size)
        + F.cross_entropy(kind[which, :, row, column], wanted_kind.long())
        + F.cross_entropy(colour[which, :, row, column][whole], wanted_colour.long()[whole])
        + F.cross_entropy(material, materials, label_smoothing=0.02)
    )


@torch.no_grad()
def round_trips(pool: Pool, args, count: int) -> Pool:
    """The first `count` pictures as the autoencoder gives them back."""
    encoder, decoder = load_patch_encoder(args), load_decoder(args)
    copy = object.__new__(Pool)
    copy.labels = [part[:count] for part in pool.labels]
    parts = [paint(decoder, encoder(pool.batch(torch.arange(i, min(i + 16, count)))[0])) for i in range(0, count, 16)]
    copy.pictures = torch.cat(parts).clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).contiguous()
    return copy


def main() -> None:
    arguments = parser(__doc__, steps=6000, batch=32, lr=2e-3)
    arguments.add_argument("--pool", type=int, default=16_000)
    arguments.add_argument("--round-trips", type=int, default=0, help="pictures that also come through the autoencoder")
    args = arguments.parse_args()
    net = ReaderNet().to(args.device, memory_format=torch.channels_last)
    if args.from_weights:
        net.load_state_dict({n: v.float() for n, v in load_file(args.from_weights / "reader.safetensors").items()})
    optimizer = torch.optim.AdamW(net.parameters(), lr=args.lr, weight_decay=1e-3)
    average = Average(net, 0.998)
    run = Run("reader", args, {"net": net, "optimizer": optimizer, "average": average})
    pools = [Pool(args.pool, args.seed + run.step)]
    if args.round_trips:
        pools.append(round_trips(pools[0], args, args.round_trips))
    for number in run:
        pool = pools[number % len(pools)]
        image, labels = pool.batch(torch.randint(len(pool.pictures), (args.batch,)))
        with autocast(args):
            cells = net(disturb(image).to(args.device, memory_format=torch.channels_last))
        loss = loss_of(cells.float(), labels)
        step(optimizer, loss, net, run.lr())
        average.update()
        run.log(loss=loss.detach())


if __name__ == "__main__":
    main()
