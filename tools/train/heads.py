"""Train a finder and an embedder of the embedded world's cartoon heads.

python -m tools.train.heads finder --steps 1500
python -m tools.train.heads embedder --steps 3000
python -m tools.train.heads measure              verification on identities that training never showed
python -m tools.train.heads export               what Pakati ships, as safetensors
python -m tools.train.heads onnx --to heads.onnx         the embedder, for other programs

Half of all pictures went through the embedded autoencoder, with a little noise between its halves, for what the
embedded model paints looks like that.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from pakati_core.characters.alignment import SIDE as FACE
from pakati_core.characters.alignment import align
from pakati_core.characters.embeddings import Embeddings
from pakati_core.characters.heads_embedder import HeadsEmbedder
from pakati_core.tiny.cast import CAST, faces_of
from pakati_core.tiny.head_nets import HEADS, SIDE, HeadEmbedder, HeadFinder
from pakati_core.tiny.heads import LOOKS, Look, Pose, add_head, draw_head, is_held_out, place_of
from pakati_core.tiny.world import MATERIALS, draw

from .data import random_scene
from .onnx_writer import node, write
from .run import Run, autocast, parser

GRID, TEMPERATURE, VIEWS = 16, 0.07, 3  # views: pictures of one look that go through the autoencoder
REFERENCES = 8  # pictures of each of the cast
NOISE = 0.55  # at most, on latents of standard deviation 0.8
SHOWN = tuple(look for look in LOOKS if not is_held_out(look))
HELD_OUT = tuple(look for look in LOOKS if is_held_out(look))


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


class Repainted:
    """Pictures of one or two heads as the embedded autoencoder gives them back, with looks and marks.

    Noise on their latents does to them what the embedded model's mistakes do to what it paints.
    """

    def __init__(self, count: int, most: int, seed: int):
        from pakati_core.engines.diffusers import DiffusersEngine

        vae, rng = DiffusersEngine(device="cpu").parts.vae, np.random.default_rng(seed)
        self.looks, self.marks, self.images = [], [], []
        for _ in tqdm(range(0, count, 16), desc="repainting"):
            rows = [[SHOWN[i] for i in rng.integers(len(SHOWN), size=rng.integers(1, most + 1))] for _ in range(16)]
            rows = [looks for looks in rows for _ in range(VIEWS)]
            drawn = [picture(looks, rng) for looks in rows]
            pixels = torch.stack([torch.from_numpy(np.asarray(image).copy()) for image, _ in drawn])
            with torch.no_grad():
                latents = vae.encode(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1).latents
                spoilt = latents + NOISE * torch.rand(len(latents), 1, 1, 1) * torch.randn_like(latents)
                back = vae.decode(spoilt).sample
            levels = ((back.permute(0, 2, 3, 1) + 1) * 127.5).round().clamp(0, 255).byte().numpy()
            self.images += [Image.fromarray(level) for level in levels]
            self.looks += rows
            self.marks += [marks for _, marks in drawn]


def face(look: Look, rng: np.random.Generator) -> Tensor:
    """[3,112,112] as recognisers take it, aligned to marks that are a little off, as a finder's are."""
    image, marks = picture([look], rng)
    return _aligned(worn(image, rng), marks[0], rng)


def worn(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A little blurred, grainy and off in colour, as what comes out of an autoencoder is."""
    blurred = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 1.5))))
    grain = rng.normal(0, rng.uniform(0, 10), (*image.size[::-1], 3)) + rng.normal(0, 5, 3)
    return Image.fromarray((np.asarray(blurred, np.float32) + grain).clip(0, 255).astype(np.uint8))


def _aligned(image: Image.Image, marks: np.ndarray, rng: np.random.Generator) -> Tensor:
    off = rng.normal(0, 0.025 * np.linalg.norm(marks[1] - marks[0]), (5, 2))
    pixels = np.asarray(align(image, marks + off), np.float32)
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
    repainted = Repainted(args.repainted, 2 if kind == "finder" else 1, args.seed)
    for step in run:
        rng = np.random.default_rng((args.seed, step))
        with autocast(args):
            loss = (_finder_step if kind == "finder" else _embedder_step)(net, args, rng, repainted)
        run.descend(optimizer, loss, run.lr())


def _finder_step(net: nn.Module, args, rng: np.random.Generator, repainted: Repainted) -> Tensor:
    half, few = args.batch // 2, args.batch // 8
    drawn = [picture([SHOWN[i] for i in rng.integers(len(SHOWN), size=rng.integers(1, 3))], rng) for _ in range(half)]
    drawn += [(Image.fromarray(draw(random_scene(rng), SIDE)), []) for _ in range(few)]  # a sun is no head
    drawn = [(worn(image, rng), marks) for image, marks in drawn]
    drawn += [(repainted.images[i], repainted.marks[i]) for i in rng.integers(len(repainted.images), size=half - few)]
    images = torch.stack([torch.from_numpy(np.asarray(image, np.float32) / 255).permute(2, 0, 1) for image, _ in drawn])
    wanted = torch.stack([finder_targets(marks) for _, marks in drawn])
    return finder_loss(net(images.to(args.device)).float(), wanted.to(args.device))


def _embedder_step(net: nn.Module, args, rng: np.random.Generator, repainted: Repainted) -> Tensor:
    """Pairs of one look each: two drawn, two repainted, or one of each."""
    groups = rng.choice(len(repainted.images) // VIEWS, args.batch, replace=False)
    pairs = [[_view(int(group), rng, repainted) for group in groups] for _ in range(2)]
    one, two = (torch.stack(faces).to(args.device) for faces in pairs)
    return contrastive_loss(net(one).float(), net(two).float())


def _view(group: int, rng: np.random.Generator, repainted: Repainted) -> Tensor:
    number = group * VIEWS + int(rng.integers(VIEWS))
    if rng.random() < 0.5:
        return _aligned(repainted.images[number], repainted.marks[number][0], rng)
    return face(repainted.looks[number][0], rng)


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
    """Both, fp16, as `load_head_nets` reads them; and the cast's faces as they see them."""
    nets = nn.ModuleDict({kind: load(args, kind) for kind in ("finder", "embedder")})
    HEADS.parent.mkdir(exist_ok=True)
    tensors = {
        name: value.half().contiguous() for name, value in nets.state_dict().items() if value.is_floating_point()
    }
    counts = {name: value for name, value in nets.state_dict().items() if not value.is_floating_point()}
    save_file(tensors | counts, HEADS)
    print(f"{HEADS.name}: {HEADS.stat().st_size / 1e6:.2f} MB")
    rng, embedder = np.random.default_rng(900), HeadsEmbedder()
    for name, look in CAST.items():
        drawn = [picture([look], rng)[0] for _ in range(REFERENCES)]
        Embeddings.of(embedder, [(f"{name}{i}", image) for i, image in enumerate(drawn)]).save(faces_of(name))


def write_onnx(args) -> None:
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
    arguments = parser(__doc__, steps=3000, batch=64, lr=2e-3)
    arguments.add_argument("what", choices=["finder", "embedder", "measure", "export", "onnx"])
    arguments.add_argument("--to", type=Path, default=Path("heads.onnx"))
    arguments.add_argument("--repainted", type=int, default=1500, help="groups of pictures through the autoencoder")
    args = arguments.parse_args()
    if args.what in ("finder", "embedder"):
        train(args, args.what)
    else:
        {"measure": measure, "export": export, "onnx": write_onnx}[args.what](args)


if __name__ == "__main__":
    main()
