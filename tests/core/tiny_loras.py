"""LoRA files for the embedded model, of random numbers."""

import torch
from safetensors.torch import save_file

LAYERS = (
    "mid_block.attentions.0.proj_in",
    "up_blocks.2.attentions.0.transformer_blocks.0.ff.net.2",
    "down_blocks.1.resnets.0.conv1",
    "down_blocks.0.downsamplers.0.conv",
)


def factors(engine, seed: int) -> dict[str, torch.Tensor]:
    generator, tensors = torch.Generator().manual_seed(seed), {}
    for name in LAYERS:
        outputs, *inputs = engine.parts.unet.get_submodule(name).weight.shape
        up = torch.randn(outputs, 4, *(1 for _ in inputs[1:]), generator=generator)
        tensors[f"unet.{name}.lora_A.weight"] = torch.randn(4, *inputs, generator=generator) / 8
        tensors[f"unet.{name}.lora_B.weight"] = up / 8
    return tensors


def lora(folder, engine, seed: int, name: str = "", **more) -> dict:
    name = name or f"lora{seed}"
    path = folder / f"{name}.safetensors"
    save_file(factors(engine, seed), path)
    return {"name": name, "path": path, **more}
