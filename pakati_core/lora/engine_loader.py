"""LoRAs on the headless engine's own UNet, by hooks: no PEFT, and nothing is written into the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import PakatiError
from .deltas import LowRank
from .loader import AllOrNone

DOWN_UP = ((".lora_A.weight", ".lora_B.weight"), (".lora_down.weight", ".lora_up.weight"))


class _Loaded(NamedTuple):
    weight: float
    handles: list[Any]


class EngineLoraLoader(AllOrNone):
    """The methods of LoRALoader that a character needs.

    For diffusers' names (unet.LAYER.lora_A.weight) and kohya's (lora_unet_LAYER.lora_down.weight, with alpha).
    """

    def __init__(self, engine: Any):
        """engine: a DiffusersEngine."""
        self.engine, self._loaded = engine, dict[str, _Loaded]()

    @property
    def weights(self) -> dict[str, float]:
        return {name: loaded.weight for name, loaded in self._loaded.items()}

    def load_lora(self, lora_path: str | Path, adapter_name: str, weight: float = 0.8) -> None:
        """A name that is taken is loaded anew.  Raises PakatiError where the file does not fit, and changes nothing."""
        deltas = _read(Path(lora_path), dict(self.engine.parts.unet.named_modules()), weight)
        self.unload_lora(adapter_name)
        self._loaded[adapter_name] = _Loaded(
            weight, [layer.register_forward_hook(_adding(delta)) for layer, delta in deltas]
        )

    def unload_lora(self, adapter_name: str) -> None:
        if adapter_name in self._loaded:
            for handle in self._loaded.pop(adapter_name).handles:
                handle.remove()

    def unload_all_loras(self) -> None:
        for name in list(self._loaded):
            self.unload_lora(name)


def _read(path: Path, layers: Mapping[str, nn.Module], weight: float) -> list[tuple[nn.Module, LowRank]]:
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as exc:
        reason = str(exc).splitlines()[0]
        raise PakatiError(f"the LoRA {path} cannot be read ({reason}); give a .safetensors file") from exc
    found, called = [], _names(layers)
    for name, down, up in _pairs(tensors):
        layer = called.get(name)
        if layer is None or up is None or not _fits(layer, up, down):
            raise PakatiError(f"the LoRA {path} does not fit this model at {name}; pick one of its family")
        alpha = tensors.get(f"{name}.alpha")
        scale = 1.0 if alpha is None else float(alpha) / len(down)
        found.append((layer, LowRank(up, down, scale=weight * scale)))
    if not found:
        raise PakatiError(f"the LoRA {path} has no layer of this model; give one with diffusers' or kohya's names")
    return found


def _names(layers: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    kohyas = {f"lora_unet_{name.replace('.', '_')}": layer for name, layer in layers.items()}
    return {f"unet.{name}": layer for name, layer in layers.items()} | kohyas


def _pairs(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor, Tensor | None]]:
    for key, down in tensors.items():
        for low, high in DOWN_UP:
            if key.endswith(low):
                name = key.removesuffix(low)
                yield name, down, tensors.get(name + high)


def _fits(layer: nn.Module, up: Tensor, down: Tensor) -> bool:
    if not isinstance(layer, nn.Linear | nn.Conv2d):
        return False
    return len(up) == layer.weight.shape[0] and down.shape[1:] == layer.weight.shape[1:]


def _adding(delta: LowRank):
    def add(layer: nn.Linear | nn.Conv2d, args: tuple[Tensor], out: Tensor) -> Tensor:
        if isinstance(layer, nn.Linear):
            return out + delta.linear(args[0])
        return out + delta.convolve(args[0], lambda x, weight: layer._conv_forward(x, weight, None), layer.kernel_size)

    return add
