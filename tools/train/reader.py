"""Train the reader on drawn pictures, on malformed objects, and on both as the embedded model would paint them.

python -m tools.train.reader --steps 6000
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from pakati_core.tiny.reader import _SPLIT, GRID, MALFORMED, READ_KINDS, ReaderNet
from pakati_core.tiny.world import COLOURS, MATERIALS, Scene

from .autoencoder import step
from .data import any_scene, with_patches
from .misdrawn import draw_with_malformed
from .repaint import Repainter
from .run import Average, Run, autocast, parser


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


def most_noise(scene: Scene, kinds: list[str]) -> float:
    """Up to which level a picture can be painted over and still show what its labels say.

    The model would mend what is malformed, and wipe out an object that none of its prompts names.
    """
    if (scene.patches or any(t.frame for t in scene.things)) and not all(t.frame for t in scene.things):
        return 0.0
    return 0.15 if MALFORMED in kinds else 0.4


@dataclass(frozen=True)
class Pool:
    """Labelled pictures.  pictures: [N,128,128,3] uint8.  labels: see `targets`.  levels: see `most_noise`."""

    pictures: Tensor
    labels: list[Tensor]
    scenes: list[Scene]
    levels: Tensor

    @classmethod
    def drawn(cls, count: int, seed: int) -> Self:
        rng = np.random.default_rng(seed)
        pictures, labels, scenes, levels = [], [], [], []
        for _ in range(count):
            scene = with_patches(any_scene(rng), rng)
            picture, kinds = draw_with_malformed(scene, rng, 0.18)
            pictures.append(picture)
            scenes.append(scene)
            levels.append(rng.uniform(0, most_noise(scene, kinds)))
            labels.append(targets(scene, kinds))
        joined = [torch.stack(part) for part in zip(*labels, strict=True)]
        return cls(torch.from_numpy(np.stack(pictures)), joined, scenes, torch.tensor(levels, dtype=torch.float32))

    def painted_over(self, painter: Repainter, count: int) -> Self:
        """The first `count` pictures, with the same labels, as the embedded model paints them over."""
        scenes, levels = self.scenes[:count], self.levels[:count]
        pictures = painter.paint(self.pictures[:count], scenes, levels)
        return type(self)(pictures, [part[:count] for part in self.labels], scenes, levels)

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


def main() -> None:
    arguments = parser(__doc__, steps=6000, batch=32, lr=2e-3)
    arguments.add_argument("--pool", type=int, default=16_000)
    arguments.add_argument("--repaint", type=int, default=0, help="pictures that the embedded model also paints over")
    args = arguments.parse_args()
    net = ReaderNet().to(args.device, memory_format=torch.channels_last)
    if args.from_weights:
        net.load_state_dict({n: v.float() for n, v in load_file(args.from_weights / "reader.safetensors").items()})
    optimizer = torch.optim.AdamW(net.parameters(), lr=args.lr, weight_decay=1e-3)
    average = Average(net, 0.998)
    run = Run("reader", args, {"net": net, "optimizer": optimizer, "average": average})
    pools = [Pool.drawn(args.pool, args.seed + run.step)]
    if args.repaint:
        pools.append(pools[0].painted_over(Repainter(args, args.seed), args.repaint))
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
