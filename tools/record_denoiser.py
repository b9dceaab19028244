"""Record what the headless engine's denoiser says, for the test that ComfyUI's says the same.

python tools/record_denoiser.py     after the embedded model's weights have changed
"""

from pathlib import Path

import torch
from safetensors.torch import save_file

from pakati_core.engines import Request
from pakati_core.engines.denoising import denoised_at
from pakati_core.engines.diffusers import DiffusersEngine
from pakati_core.geometry import Extent
from pakati_core.regions import RegionSet

TARGET = Path(__file__).parents[1] / "tests" / "data" / "denoiser.safetensors"
LAYOUT = Path(__file__).parents[1] / "tests" / "data" / "denoiser_layout.json"
SIGMAS = (1.0, 0.55, 0.1)
SIZES = ((128, 128), (72, 104))  # the second leaves odd sizes at every level of the UNet


def record() -> dict[str, torch.Tensor]:
    layout, engine, tensors = RegionSet.load(LAYOUT), DiffusersEngine("pakati-tiny", "cpu"), {}
    for width, height in SIZES:
        request = Request(layout.at_extent(Extent(width, height)), guidance=3.0)
        latents = torch.randn(1, 8, height // 8, width // 8, generator=torch.Generator().manual_seed(3))
        tensors[f"latents {width}x{height}"] = latents
        for sigma in SIGMAS:
            tensors[f"denoised {width}x{height} {sigma}"] = denoised_at(engine.parts, request, latents, sigma)
    return tensors


if __name__ == "__main__":
    save_file(record(), TARGET)
    print(f"{TARGET.name}: {TARGET.stat().st_size} bytes")
