"""Train a finder and an embedder of the embedded world's cartoon heads, and write the embedder as an ONNX file.

python -m tools.train.heads finder --steps 4000
python -m tools.train.heads embedder --steps 8000
python -m tools.train.heads measure              verification on identities that training never showed
python -m tools.train.heads export --to heads.onnx
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from pakati_core.characters.alignment import SIDE as FACE
from pakati_core.characters.alignment import align
from pakati_core.tiny.heads import LOOKS, Look, Pose, add_head, draw_head, is_held_out, place_of
from pakati_core.tiny.world import MATERIALS

from .onnx_writer import node, write
from .run import Run, autocast, parser

SIDE, GRID, TEMPERATURE = 128, 16, 0.07
SHOWN = tuple(look for look in LOOKS if not is_held_out(look))
HELD_OUT = tuple(look for look in LOOKS if is_held_out(look))


def block(inside: int, outside: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True)
    )


class HeadFinder(nn.Module):
    """[B,3,128,128] in [0,1] -> [B,1+10,16,16]: heat of the nose, and the marks from the cell's middle, in cells."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            block(3, 16, 2), block(16, 32, 2), block(32, 64, 2), block(64, 64, 1), block(64, 64, 1)
        )
        self.head = nn.Conv2d(64, 11, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.body(image * 2 - 1))


class HeadEmbedder(nn.Module):
    """[B,3,112,112], (RGB - 127.5) / 127.5 -> [B,64] of length 1."""

    def __init__(self):
        super().__init__()
        widths = (24, 48, 96, 128)
        self.body = nn.Sequential(
            *(block(a, b, 2) for a, b in zip((3, *widths), widths)), block(128, 128, 1), nn.Flatten()
        )
        self.head = nn.Linear(128 * 49, 64)

    def forward(self, face: Tensor) -> Tensor:
        return F.normalize(self.head(self.body(face)))


def picture(looks: list[Look], rng: np.random.Generator) -> tuple[Image.Image, list[np.ndarray]]:
    """One or two heads, and their marks [5,2] in pixels."""
    ground, marks = str(rng.choice(MATERIALS)), []
    poses = [Pose.drawn(rng)] if len(looks) == 1 else _beside(rng)
    image = draw_head(looks[0], poses[0], SIDE, ground, int(rng.integers(1 << 30)))
    for look, pose in zip(looks[1:], poses[1:]):
        image = add_head(image, look, pose)
    for pose in poses:
        marks.append(place_of(pose, SIDE).points)
    return image, marks


def _beside(rng: np.random.Generator) -> list[Pose]:
    return [
        Pose(x, rng.uniform(0.35, 0.65), rng.uniform(0.14, 0.2), rng.uniform(-15, 15), *rng.uniform(-1, 1, 2).tolist())
        for x in (rng.uniform(0.22, 0.28), rng.uniform(0.72, 0.78))
    ]


def finder_targets(marks: list[np.ndarray]) -> Tensor:
    """[11,16,16]; the marks' channels are NaN where there is no head."""
    out, grid = torch.full((11, GRID, GRID), torch.nan), np.arange(GRID) + 0.5
    out[0] = 0
    for points in marks:
        cells = (points + 0.5) * GRID / SIDE
        column, row = np.clip(cells[2].astype(int), 0, GRID - 1)
        far = (grid[None] - column - 0.5) ** 2 + (grid[:, None] - row - 0.5) ** 2
        out[0] = torch.maximum(out[0], torch.from_numpy(np.exp(-far / 1.5)).float())
        out[1:, row, column] = torch.from_numpy(cells - (column + 0.5, row + 0.5)).float().flatten()
    return out


def finder_loss(found: Tensor, wanted: Tensor) -> Tensor:
    heat, marks = found[:, :1].sigmoid().clamp(1e-4, 1 - 1e-4), found[:, 1:]
    sure = (wanted[:, :1] > 0.99).float()
    focal = -sure * (1 - heat) ** 2 * heat.log() - (1 - sure) * (1 - wanted[:, :1]) ** 4 * heat**2 * (1 - heat).log()
    known = ~wanted[:, 1:].isnan()
    return focal.sum() / sure.sum().clamp(1) + F.smooth_l1_loss(marks[known], wanted[:, 1:][known])


def face(look: Look, rng: np.random.Generator) -> Tensor:
    """[3,112,112] as recognisers take it, aligned to marks that are a little off, as a finder's are."""
    pose = Pose.drawn(rng)
    image = draw_head(look, pose, SIDE, str(rng.choice(MATERIALS)), int(rng.integers(1 << 30)))
    marks = place_of(pose, SIDE).points + rng.normal(0, 0.02 * pose.size * SIDE, (5, 2))
    pixels = np.asarray(align(image, marks), np.float32)
    return torch.from_numpy((pixels - 127.5) / 127.5).permute(2, 0, 1)


def contrastive_loss(one: Tensor, two: Tensor) -> Tensor:
    """Each face finds its other picture among all others' (InfoNCE, both ways)."""
    cosines = one @ two.T / TEMPERATURE
    own = torch.arange(len(one), device=one.device)
    return (F.cross_entropy(cosines, own) + F.cross_entropy(cosines.T, own)) / 2


def train(args, kind: str) -> None:
    net = (HeadFinder() if kind == "finder" else HeadEmbedder()).to(args.device).train()
    optimizer = torch.optim.AdamW(net.parameters(), args.lr, weight_decay=0.01)
    run = Run(f"heads_{kind}", args, {"net": net, "optimizer": optimizer})
    for step in run:
        rng = np.random.default_rng((args.seed, step))
        with autocast(args):
            loss = _finder_step(net, args, rng) if kind == "finder" else _embedder_step(net, args, rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.log(loss=loss.item())


def _finder_step(net: nn.Module, args, rng: np.random.Generator) -> Tensor:
    drawn = [
        picture([SHOWN[i] for i in rng.integers(len(SHOWN), size=rng.integers(1, 3))], rng) for _ in range(args.batch)
    ]
    images = torch.stack([torch.from_numpy(np.asarray(image, np.float32) / 255).permute(2, 0, 1) for image, _ in drawn])
    wanted = torch.stack([finder_targets(marks) for _, marks in drawn])
    return finder_loss(net(images.to(args.device)).float(), wanted.to(args.device))


def _embedder_step(net: nn.Module, args, rng: np.random.Generator) -> Tensor:
    looks = [SHOWN[i] for i in rng.choice(len(SHOWN), args.batch, replace=False)]
    one, two = (torch.stack([face(look, rng) for look in looks]).to(args.device) for _ in range(2))
    return contrastive_loss(net(one).float(), net(two).float())


def load(args, kind: str) -> nn.Module:
    net = HeadFinder() if kind == "finder" else HeadEmbedder()
    state = torch.load(args.folder / f"heads_{kind}.pt", map_location="cpu", weights_only=True)
    net.load_state_dict(state["net"])
    return net.eval()


@torch.no_grad()
def measure(args) -> float:
    """Area under the curve of same against different, over pairs of held-out identities."""
    net, rng = load(args, "embedder"), np.random.default_rng(7)
    one, two = (net(torch.stack([face(look, rng) for look in HELD_OUT])) for _ in range(2))
    cosines = one @ two.T
    own = cosines.diagonal()
    others = cosines[~torch.eye(len(HELD_OUT), dtype=torch.bool)]
    ranks = torch.searchsorted(others.sort().values, own.contiguous()).double()
    area = float((ranks / len(others)).mean())
    print(f"verification AUC {area:.5f} on {len(HELD_OUT)} held-out identities, {len(others)} different pairs")
    return area


def export(args) -> None:
    """As an ONNX file, with the normalisation of batches folded into the convolutions."""
    net, nodes, weights, before = load(args, "embedder"), [], {}, "face"
    for i, layer in enumerate(net.body[:-1]):
        convolution = torch.nn.utils.fuse_conv_bn_eval(layer[0], layer[1])
        weights |= {f"w{i}": convolution.weight.detach().numpy(), f"b{i}": convolution.bias.detach().numpy()}
        how = {"kernel_shape": [3, 3], "strides": list(convolution.stride), "pads": [1, 1, 1, 1]}
        nodes += [node("Conv", [before, f"w{i}", f"b{i}"], [f"c{i}"], **how), node("Relu", [f"c{i}"], [f"r{i}"])]
        before = f"r{i}"
    weights |= {"w": net.head.weight.detach().numpy().T.copy(), "b": net.head.bias.detach().numpy()}
    nodes += [node("Flatten", [before], ["row"], axis=1), node("MatMul", ["row", "w"], ["raw"])]
    nodes += [node("Add", ["raw", "b"], ["sum"]), node("LpNormalization", ["sum"], ["vector"], axis=1, p=2)]
    write(args.to, nodes, weights, {"face": [1, 3, FACE, FACE]}, {"vector": [1, 64]})
    print(f"{args.to}: {args.to.stat().st_size / 1e6:.2f} MB")


def main() -> None:
    arguments = parser(__doc__, steps=6000, batch=64, lr=2e-3)
    arguments.add_argument("what", choices=["finder", "embedder", "measure", "export"])
    arguments.add_argument("--to", type=Path, default=Path("heads.onnx"))
    args = arguments.parse_args()
    if args.what in ("finder", "embedder"):
        train(args, args.what)
    else:
        {"measure": measure, "export": export}[args.what](args)


if __name__ == "__main__":
    main()
