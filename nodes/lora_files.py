"""LoRA files, read with ComfyUI's own loader, and what they add to the layers of one model."""

from __future__ import annotations

import logging
import math
from typing import NamedTuple

import comfy.lora
import comfy.lora_convert
import comfy.utils
import folder_paths
from comfy.weight_adapter import LoHaAdapter, LoKrAdapter, LoRAAdapter
from torch import Tensor, nn

from ..pakati_core.errors import PakatiError
from ..pakati_core.lora import BiasDelta, Delta, FullDelta, Hadamard, Kronecker, LowRank
from ..pakati_core.regions import RegionSet

NETWORK = "diffusion_model."
LAYERS = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


class Part(NamedTuple):
    """What a LoRA adds to one layer. outputs, inputs: the slice (start, length) that it is about; None: all."""

    delta: Delta
    outputs: tuple[int, int] | None = None
    inputs: tuple[int, int] | None = None


def read_loras(model, clip, regions: RegionSet) -> dict[str, dict]:
    """Name of a LoRA -> the host's patches, for the model and for the CLIP, of all that the regions use."""
    names = dict.fromkeys(name for region in regions.regions for name, *strengths in region.loras if any(strengths))
    if not names:
        return {}
    keys = comfy.lora.model_lora_keys_unet(model.model, {})
    keys = comfy.lora.model_lora_keys_clip(clip.cond_stage_model, keys)
    return {name: _read(name, keys, model) for name in names}


def _read(name: str, keys: dict, model) -> dict:
    path = folder_paths.get_full_path("loras", name)
    if path is None:
        raise PakatiError(f"LoRA {name!r} is not in the models/loras folder; put it there or pick another one")
    try:
        weights = comfy.utils.load_torch_file(path, safe_load=True)
    except Exception as exc:  # safetensors, pickle and the file system raise without a common class
        raise PakatiError(f"LoRA {name!r} cannot be read ({exc}); download it again") from exc
    patches = comfy.lora.load_lora(comfy.lora_convert.convert_lora(weights), keys)
    if not patches:
        family = type(model.model).__name__
        raise PakatiError(f"LoRA {name!r} has no layer of this {family} model; pick one made for its family")
    return patches


def clips_of(clip, regions: RegionSet, loras: dict[str, dict]) -> dict:
    """Id of a region with LoRAs -> a CLIP that has them at their strengths."""
    clips = {}
    for region in regions.regions:
        used = [(name, text) for name, _, text in region.loras if name in loras]
        if used:
            clips[region.id] = clip.clone()
        for name, strength in used:
            if strength:
                clips[region.id].add_patches(loras[name], strength)
    return clips


def parts_of(name: str, patches: dict, network: nn.Module) -> dict[str, list[Part]]:
    """Path of a linear layer or convolution -> what the LoRA adds there; the rest is named in the log."""
    layers, parts, left = dict(network.named_modules()), {}, {}
    for key, patch in patches.items():
        path, outputs, inputs, whole = _place(key)
        if not path.startswith(NETWORK):
            continue
        path, _, kind = path.removeprefix(NETWORK).rpartition(".")
        layer = layers.get(path)
        delta = _delta(patch, kind) if whole and isinstance(layer, LAYERS) else None
        if delta is None:
            left[path] = _kind(patch, layer, whole)
        else:
            _check(name, path, layer, Part(delta, outputs, inputs), kind)
            parts.setdefault(path, []).append(Part(delta, outputs, inputs))
    _report(name, left)
    return parts


def _report(name: str, left: dict[str, str]) -> None:
    if left:
        logging.warning(
            "Pakati: %d layers of LoRA %r hold %s, which no region can confine; they are left out",
            len(left), name, ", ".join(sorted(set(left.values()))),
        )  # fmt: skip


def _place(key: str | tuple) -> tuple[str, tuple[int, int] | None, tuple[int, int] | None, bool]:
    """Path, outputs, inputs, and whether that is all that the key says."""
    if isinstance(key, str):
        return key, None, None, True
    path, offset, *function = key
    dim, *place = offset or (0, None)
    slices = [None, None]
    slices[dim] = tuple(place) if offset else None
    return path, *slices, dim < 2 and not any(function)


def _delta(patch, kind: str) -> Delta | None:
    """None for what is not an addition to the layer's output."""
    if isinstance(patch, LoRAAdapter):
        return _low_rank(*patch.weights)
    if isinstance(patch, LoHaAdapter):
        return _hadamard(*patch.weights)
    if isinstance(patch, LoKrAdapter):
        return _kronecker(*patch.weights)
    if isinstance(patch, tuple) and patch[0] == "diff" and len(patch[1]) == 1:
        return BiasDelta(patch[1][0]) if kind == "bias" else FullDelta(patch[1][0])
    return None


def _low_rank(up, down, alpha, mid, decomposed, reshaped) -> Delta | None:
    if decomposed is not None or reshaped is not None:
        return None
    return LowRank(up, down, mid, _scale(alpha, down))


def _hadamard(up, down, alpha, up2, down2, core, core2, decomposed) -> Delta | None:
    if decomposed is not None:
        return None
    cores = None if core is None else (core, core2)
    return Hadamard((up, down), (up2, down2), cores, _scale(alpha, down))


def _kronecker(small, large, alpha, up, down, up2, down2, core, decomposed) -> Delta | None:
    if decomposed is not None:
        return None
    factors = (up2, down2) if core is None else (up2, down2, core)
    ranked = down2 if large is None else down if small is None else None
    return Kronecker(
        (up, down) if small is None else (small,), factors if large is None else (large,), _scale(alpha, ranked)
    )


def _scale(alpha: float | None, down: Tensor | None) -> float:
    return 1.0 if alpha is None or down is None else alpha / down.shape[0]


def _kind(patch, layer: nn.Module | None, whole: bool) -> str:
    """What it is that could not be used."""
    if not isinstance(layer, LAYERS):
        return "norms or other vectors"
    if not whole:
        return "weights in another order"
    if isinstance(patch, LoRAAdapter | LoHaAdapter | LoKrAdapter):
        return "DoRA or weights of another size"
    return "whole weights" if isinstance(patch, tuple) else patch.name.upper()


def _check(name: str, path: str, layer: nn.Module, part: Part, kind: str) -> None:
    """A LoRA of a sister family has the same layers in other sizes."""
    outputs, inputs = _sizes(layer)
    wanted = part.outputs[1] if part.outputs else outputs, part.inputs[1] if part.inputs else inputs
    wanted = (outputs, 1) if kind == "bias" else wanted
    if part.delta.shape != wanted:
        given = "x".join(map(str, part.delta.shape))
        raise PakatiError(
            f"LoRA {name!r} is {given} at {path} but this model has {'x'.join(map(str, wanted))} there; "
            "pick one made for this model's family"
        )


def _sizes(layer: nn.Module) -> tuple[int, int]:
    """Outputs, and inputs times kernel."""
    if isinstance(layer, nn.Linear):
        return layer.out_features, layer.in_features
    return layer.out_channels, layer.in_channels // layer.groups * math.prod(layer.kernel_size)
