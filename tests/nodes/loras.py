"""LoRA files with random weights, in the layouts that people's files have."""

import torch
from safetensors.torch import save_file

LAYERS = torch.nn.Linear | torch.nn.Conv2d | torch.nn.Conv3d


def layers_of(network, wanted=lambda path: True) -> dict[str, torch.Size]:
    """Path of a linear layer or convolution -> shape of its weight."""
    found = network.named_modules()
    return {path: layer.weight.shape for path, layer in found if isinstance(layer, LAYERS) and wanted(path)}


def random_lora(
    shapes: dict, seed: int = 3, rank: int = 4, size: float = 0.4, name="diffusion_model.{}".format
) -> dict:
    """LoRA tensors. shapes: path -> shape of the weight. name: path -> what the file calls the layer."""
    made, generator = {}, torch.Generator().manual_seed(seed)
    for path, (outputs, *inputs) in shapes.items():
        kernel = inputs[1:]
        made[f"{name(path)}.lora_down.weight"] = _random(generator, (rank, *inputs))
        made[f"{name(path)}.lora_up.weight"] = _random(generator, (outputs, rank, *[1] * len(kernel))) * size
        made[f"{name(path)}.alpha"] = torch.tensor(2.0 * rank)
    return made


def random_loha(shapes: dict, seed: int = 3, rank: int = 4, tucker: bool = False) -> dict:
    made, generator = {}, torch.Generator().manual_seed(seed)
    for path, (outputs, inputs, *kernel) in shapes.items():
        name = f"diffusion_model.{path}.hada_"
        cored = tucker and len(kernel)
        for side in ("w1", "w2"):
            flat = inputs if cored else inputs * torch.Size(kernel).numel()
            made[f"{name}{side}_a"] = _random(generator, (rank, outputs) if cored else (outputs, rank))
            made[f"{name}{side}_b"] = _random(generator, (rank, flat)) * 2
            if cored:
                made[f"{name}{side.replace('w', 't')}"] = _random(generator, (rank, rank, *kernel))
        made[f"diffusion_model.{path}.alpha"] = torch.tensor(float(rank))
    return made


def random_lokr(shapes: dict, seed: int = 3, rank: int = 3, low_rank: bool = False) -> dict:
    """low_rank: the large factor of linear layers is a product. Tucker's form is left out: the host fails on it."""
    made, generator = {}, torch.Generator().manual_seed(seed)
    for path, (outputs, inputs, *kernel) in shapes.items():
        name = f"diffusion_model.{path}.lokr_"
        rows, columns = (4 if size % 4 == 0 else 1 for size in (outputs, inputs))
        large = outputs // rows, inputs // columns
        made[f"{name}w1"] = torch.randn(rows, columns, generator=generator)
        if low_rank and not kernel:
            made[f"{name}w2_a"], made[f"{name}w2_b"] = (
                _random(generator, s) / 2 for s in ((large[0], rank), (rank, large[1]))
            )
        else:
            made[f"{name}w2"] = _random(generator, (*large, *kernel)) / 4
        made[f"diffusion_model.{path}.alpha"] = torch.tensor(float(rank))
    return made


def write(tensors: dict, path) -> None:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def _random(generator, shape) -> torch.Tensor:
    return torch.randn(tuple(shape), generator=generator) / max(1, torch.Size(shape[1:]).numel()) ** 0.5
