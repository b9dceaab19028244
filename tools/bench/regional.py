"""What regions cost: plain prompt, latent blending (ComfyUI's SetMask) and Pakati, side by side in one run.

    python -m tools.bench.regional                   SDXL's UNet at 1024x1024 on a GPU, a reduced one on the CPU
    python -m tools.bench.regional --strategies      also one masked call against a call for each group

Each round times all of them in turn; printed are medians of the ratios to the round's plain prompt, so that a noisy
machine disturbs all alike. Random weights have the true cost.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

import pakati_core.attention.attend as attend_module
from pakati_core.attention import Frame, RegionalText, join_prompts, make_rows
from pakati_core.engines.processor import RegionalProcessor, RegionalState, install
from pakati_core.geometry import Extent
from pakati_core.regions import Region, RegionSet
from pakati_core.shapes import BoxShape, EllipseShape

TOKENS = 77


def sdxl(device: str) -> tuple[UNet2DConditionModel, int]:
    """The UNet and its latent side: SDXL's own on a GPU, an eighth of its width and half its side on the CPU."""
    full = device.startswith("cuda")
    widths = (320, 640, 1280) if full else (64, 128, 256)
    unet = UNet2DConditionModel(
        sample_size=128, block_out_channels=widths, layers_per_block=2, use_linear_projection=True,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(5, 10, 20) if full else (1, 2, 4), transformer_layers_per_block=(1, 2, 10),
        cross_attention_dim=2048 if full else 512, addition_embed_type="text_time", addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )  # fmt: skip
    dtype = torch.float16 if full else torch.float32
    return unet.to(device, dtype).eval().requires_grad_(False), 128 if full else 64


def layout(count: int, side: int, feather: float) -> RegionSet:
    """`count` columns of boxes and ellipses over most of the canvas, soft at their edges."""
    kinds, width = (BoxShape, EllipseShape), side / count
    regions = [
        Region(f"r{i}", kinds[i % 2](i * width, side * 0.1, width, side * 0.8), "p", feather=feather)
        for i in range(count)
    ]
    return RegionSet(Extent(side, side), tuple(regions))


class Case:
    """One UNet call with guidance: a row with regions and a row without."""

    def __init__(self, unet: UNet2DConditionModel, side: int, count: int, feather: float):
        self.unet, self.side = unet, side
        self.device, self.dtype = unet.device, unet.dtype
        self.x = self.random(2, 4, side, side)
        self.context = self.random(2, TOKENS, unet.config.cross_attention_dim)
        self.layout = layout(count, side * 8, feather)
        prompts = {r.id: self.random(1, TOKENS, unet.config.cross_attention_dim) for r in self.layout.regions}
        self.text = RegionalText(self.layout, prompts)
        self.state = RegionalState(latent=(side, side))

    def random(self, *shape: int) -> Tensor:
        return torch.randn(shape, device=self.device, dtype=self.dtype)

    def call(self, x: Tensor, context: Tensor) -> Tensor:
        added = {"text_embeds": self.random(len(x), 1280), "time_ids": self.random(len(x), 6)}
        return self.unet(x, 500, context, added_cond_kwargs=added).sample

    def plain(self) -> None:
        self.call(self.x, self.context)

    def blended(self) -> None:
        """Every prompt predicts the whole canvas; the predictions are mixed by the masks."""
        rows = len(self.layout.regions) + 2
        context = self.context[:1].expand(rows, -1, -1)
        out = self.call(self.x[:1].expand(rows, -1, -1, -1), context)
        weights = self.layout.weights_on_grid(self.side, self.side).to(out)
        (out[1:] * weights[:, None]).sum(0)

    def pakati(self) -> None:
        names = tuple(region.id for region in self.layout.regions)
        frame = Frame(self.side, self.side)
        rows = [make_rows(0, 1, TOKENS, self.text, names, frame), make_rows(1, 2, TOKENS, None, (), None)]
        self.state.rows = rows
        with install(self.unet, RegionalProcessor(self.state)):
            self.call(self.x, join_prompts(self.context, rows, rows[0].prompts.total))


def clocked(job: Callable[[], None], device: str) -> float:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    start = time.perf_counter()
    job()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start


def with_dense_keys(keys: int, job: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        before = attend_module.attend.__defaults__
        attend_module.attend.__defaults__ = (keys,)
        try:
            job()
        finally:
            attend_module.attend.__defaults__ = before

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--regions", type=int, nargs="*", default=[1, 2, 4, 8])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--feather", type=float, default=16.0, help="pixels")
    parser.add_argument("--strategies", action="store_true")
    args = parser.parse_args()
    unet, side = sdxl(args.device)
    size = sum(p.numel() for p in unet.parameters()) / 1e6
    print(
        f"UNet of {size:.0f} M parameters, {side * 8}x{side * 8}, {args.device}, {unet.dtype}, rows: 1 regional, 1 not"
    )
    print(f"{'regions':>8} {'plain s':>9}  ratios to plain")
    for count in args.regions:
        case = Case(unet, side, count, args.feather)
        jobs = {"SetMask": case.blended, "Pakati": case.pakati}
        if args.strategies:
            jobs = {
                "one masked call": with_dense_keys(10**9, case.pakati),
                "by groups": with_dense_keys(0, case.pakati),
            }
        with torch.no_grad():
            for job in (case.plain, *jobs.values()):
                job()
            rounds = [[clocked(job, args.device) for job in (case.plain, *jobs.values())] for _ in range(args.rounds)]
        ratios = [statistics.median(r[i + 1] / r[0] for r in rounds) for i in range(len(jobs))]
        plain = statistics.median(r[0] for r in rounds)
        shown = "  ".join(f"{name} {ratio:.3f}" for name, ratio in zip(jobs, ratios, strict=True))
        print(f"{count:8} {plain:9.3f}  {shown}", flush=True)


if __name__ == "__main__":
    main()
