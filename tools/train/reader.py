"""Train the reader on drawn pictures, on malformed objects, and on both as the embedded model would paint them.

python -m tools.train.reader --steps 6000
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFilter
from safetensors.torch import load_file
from torch import Tensor

from pakati_core.tiny.reader import _SPLIT, GRID, MALFORMED, READ_KINDS, SIDE, ReaderNet
from pakati_core.tiny.world import (
    COLOURS,
    KINDS,
    MATERIALS,
    PAIRS,
    TEXTURES,
    Frame,
    Patch,
    Scene,
    Thing,
    draw,
    draw_thing,
)

from .autoencoder import step
from .data import plain_scene, regional_scene
from .repaint import Repainter
from .run import Average, Run, autocast, parser

BY_HAND = 0.5  # share of the objects that are drawn less exactly than the world draws them


def waved(picture: Image.Image, rng: np.random.Generator, height: float, frequency: float) -> Image.Image:
    """A square picture with waves of that height (fraction of its side) through its rows and columns."""
    side = picture.width
    y, x = np.mgrid[0:side, 0:side] / side
    phases = rng.uniform(0, 6, 2)
    dx, dy = (height * np.sin(frequency * along + phase) for along, phase in ((y, phases[0]), (x, phases[1])))
    rows, columns = (((a + d).clip(0, 0.999) * side).astype(int) for a, d in ((y, dy), (x, dx)))
    return Image.fromarray(np.asarray(picture)[rows, columns])


def stretched(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Other proportions: some rows and columns of a square picture become wider than others, in the same order."""

    def order() -> np.ndarray:
        knots = np.concatenate([[0], np.cumsum(rng.uniform(0.7, 1.3, 5))])
        along = np.interp(np.arange(picture.width) / picture.width, knots / knots[-1], np.linspace(0, 1, 6))
        return (along * picture.width).astype(int)

    return Image.fromarray(np.asarray(picture)[np.ix_(order(), order())])


def by_hand(kind: str, colour: tuple[int, int, int], side: int, rng: np.random.Generator) -> Image.Image:
    """An object as a painter draws it: a little wavy, tilted, soft, of other proportions, and still what it is."""
    object_ = stretched(draw_thing(kind, colour, 2 * side), rng)
    object_ = waved(object_, rng, rng.uniform(0, 0.03), rng.uniform(3, 8)).convert("RGBa")
    object_ = object_.rotate(rng.uniform(-7, 7), Image.Resampling.BILINEAR)
    object_ = object_.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.06) * side))
    size = (max(4, round(side * rng.uniform(0.8, 1))), max(4, round(side * rng.uniform(0.8, 1))))
    return object_.resize(size, Image.Resampling.BOX).convert("RGBA")


def malformed_picture(rng: np.random.Generator, colour: tuple[int, int, int], side: int) -> Image.Image:
    """An object that is none: two halves that do not fit, a bitten shape, a blob, or a thing torn by waves."""
    kinds = [KINDS[i] for i in rng.choice(len(KINDS), 2, replace=False)]
    first, second = (draw_thing(kind, colour, side) for kind in kinds)
    way = rng.integers(4)
    if way == 1 and kinds[0] in ("circle", "moon"):
        way = 3  # a bitten circle is a moon
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
        first = waved(first, rng, rng.uniform(0.09, 0.15), rng.uniform(8, 14))
    return first


def draw_with_malformed(scene: Scene, rng: np.random.Generator, share: float) -> tuple[np.ndarray, list[str]]:
    """The picture, and the kind that the reader should name for each of the scene's things."""
    ways = [rng.random() for _ in scene.things]
    drawn = tuple(thing for thing, way in zip(scene.things, ways, strict=True) if way >= share + BY_HAND)
    picture = Image.fromarray(draw(replace(scene, things=drawn), SIDE))
    for thing, way in zip(scene.things, ways, strict=True):
        side, colour = max(8, round(2 * thing.radius * SIDE)), COLOURS[thing.colour]
        if way < share:
            _put(picture, malformed_picture(rng, colour, side), thing)
        elif way < share + BY_HAND:
            _put(picture, by_hand(thing.kind, colour, side, rng), thing)
    kinds = [MALFORMED if way < share else thing.kind for thing, way in zip(scene.things, ways, strict=True)]
    return np.asarray(picture), kinds


def _put(picture: Image.Image, object_: Image.Image, thing: Thing) -> None:
    corner = round(thing.x * SIDE - object_.width / 2), round(thing.y * SIDE - object_.height / 2)
    picture.paste(object_, corner, object_)


def any_scene(rng: np.random.Generator) -> Scene:
    """A tenth with one object that is larger than the world draws it: the model's sizes are not exact either."""
    way = rng.random()
    if way < 0.1:
        scene, radius = plain_scene(rng, PAIRS, count=1), rng.uniform(0.3, 0.42)
        x, y = rng.uniform(radius, 1 - radius, 2)
        return scene.with_things(*(replace(t, x=float(x), y=float(y), radius=radius) for t in scene.things))
    return plain_scene(rng, PAIRS) if way < 0.6 else regional_scene(rng, PAIRS)


def with_patches(scene: Scene, rng: np.random.Generator) -> Scene:
    """More round patches, and small free ones beside the objects: what a region without an object looks like.

    Only of textures: a round patch of a plain colour is a circle.
    """
    patches = [replace(p, round=p.round or (p.material in TEXTURES and rng.random() < 0.3)) for p in scene.patches]
    if not patches and rng.random() < 0.3:
        half = rng.uniform(0.08, 0.22)
        x, y = rng.uniform(half, 1 - half, 2)
        if all((x - t.x) ** 2 + (y - t.y) ** 2 > (1.4 * half + t.radius) ** 2 for t in scene.things):
            frame = Frame(x - half, y - half, x + half, y + half)
            patches.append(Patch(str(rng.choice(TEXTURES)), frame, round=rng.random() < 0.7))
    return replace(scene, patches=tuple(patches))


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


class Pool:
    """Labelled pictures as uint8."""

    def __init__(self, count: int, seed: int):
        rng, self.pictures, self.scenes, self.levels, labels = np.random.default_rng(seed), [], [], [], []
        for _ in range(count):
            scene = with_patches(any_scene(rng), rng)
            picture, kinds = draw_with_malformed(scene, rng, 0.18)
            self.pictures.append(picture)
            self.scenes.append(scene)
            self.levels.append(rng.uniform(0, most_noise(scene, kinds)))
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


def painted_over(pool: Pool, args, count: int) -> Pool:
    """The first `count` pictures, with the same labels, as the embedded model paints them over."""
    copy = object.__new__(Pool)
    copy.labels = [part[:count] for part in pool.labels]
    levels = torch.tensor(pool.levels[:count], dtype=torch.float32)
    copy.pictures = Repainter(args, args.seed).paint(pool.pictures[:count], pool.scenes[:count], levels)
    return copy


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
    pools = [Pool(args.pool, args.seed + run.step)]
    if args.repaint:
        pools.append(painted_over(pools[0], args, args.repaint))
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
