"""LoRAs that act in one region: what they add to a layer is added to that region's words and image tokens only.

The MODEL holds what the LoRA files say; which region uses them, and how strongly, is said by the conditioning that the
region rides in. So a conditioning from elsewhere is left alone.
Layers get a forward hook for as long as the host has the clone loaded; no weight is touched, so a LoRA underneath,
offloading and quantised weights stay the host's business.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import comfy.model_patcher
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor, nn
from torch.nn import functional as F

from ..pakati_core.attention import Gate, Rows, Window, image_window
from ..pakati_core.errors import PakatiError
from .architectures import architecture_of
from .lora_files import NETWORK, Part, parts_of
from .regional_call import CALL, RegionalCall, Stream
from .thin_lora import add_thin, thin_parts

KEY = "pakati_loras"
CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
Used = list[tuple[str, Part, float]]  # name of a LoRA, what it adds, how strongly
Use = tuple[Rows, int, Used]  # a conditioning, a prompt of its, and what acts there


def with_loras(model, loras: dict[str, dict], global_layers: bool = False):
    """A clone of the MODEL with the LoRAs ready for the regions that use them.

    loras: as read_loras gives them. global_layers: layers without tokens act on the whole picture, not nowhere.
    """
    network = model.get_model_object(NETWORK.removesuffix("."))
    layers: dict[str, dict[str, list[Part]]] = {}
    for name, patches in loras.items():
        for path, parts in parts_of(name, patches, network).items():
            layers.setdefault(path, {})[name] = parts
    if not layers:
        return model
    family = architecture_of(network)
    if family.join is not None:
        raise PakatiError(
            f"LoRAs of a region do not reach {family.name}, which keeps a prompt's words in several places; load the "
            "LoRA before Apply Regions, where it acts on the whole picture"
        )
    model, report = model.clone(), Report(tuple(loras), global_layers)
    for path, parts in layers.items():
        _hook(model, path, RegionalLayer(path, family.stream(network, path), parts, report))
    _count_memory(model, layers)
    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, report)
    return model


def _hook(model, path: str, hook: RegionalLayer) -> None:
    """As an object patch, so that the host takes it off again, to the last trace."""
    place = f"{NETWORK}{path}._forward_hooks"
    present = model.get_model_object(place)
    if KEY in present:
        hook.parts = {**present[KEY].parts, **hook.parts}
    model.add_object_patch(place, OrderedDict({**present, KEY: hook}))


def _count_memory(model, layers: dict[str, dict[str, list[Part]]]) -> None:
    """Let the host load and count the LoRAs' weights beside the model's."""
    deltas = nn.ModuleList(part.delta for loras in layers.values() for parts in loras.values() for part in parts)
    weights = comfy.model_patcher.CoreModelPatcher(deltas, model.load_device, model.offload_device)
    model.set_additional_models(KEY, [*model.get_additional_models_with_key(KEY), weights])


@dataclass
class Report:
    """Says once which layers no region could claim; a wrapper around the model, to know when all have been asked."""

    names: tuple[str, ...]
    global_layers: bool
    skipped: set[str] = field(default_factory=set)
    said: bool = False

    def __call__(self, executor, *args, **kwargs):
        out = executor(*args, **kwargs)
        if self.skipped and not self.said:
            self.said = True
            logging.warning(
                "Pakati: %d layers of the regions' LoRAs (%s) have no tokens that a region could claim (time, "
                "modulation, pooled text) and are left out; turn on global_layers to let them act on the whole picture",
                len(self.skipped), ", ".join(self.names),
            )  # fmt: skip
        return out


@dataclass(eq=False)
class RegionalLayer:
    """Forward hook of one layer. parts: name of a LoRA -> what it adds here."""

    path: str
    stream: Stream
    parts: dict[str, list[Part]]
    report: Report

    @torch.compiler.disable
    def __call__(self, layer: nn.Module, args: tuple, out: Tensor) -> Tensor | None:
        call = CALL.get()
        uses = [] if call is None else list(_uses(call.rows, self.parts))
        if not uses:
            return None
        add = _add_to_tokens if isinstance(layer, nn.Linear) else _add_to_image
        done = add(self, layer, args[0], out, call, uses)
        if done is None and self.report.global_layers and len(out) == call.batch:
            return _add_to_all(layer, args[0], out, uses)
        if done is None:
            self.report.skipped.add(self.path)
        return done


def _uses(rows: list[Rows], parts: dict[str, list[Part]]) -> Iterator[Use]:
    for row in rows:
        loras = {region.id: region.loras for region in row.text.regions.regions} if row.text else {}
        for number, region in enumerate(row.active, start=1):
            acting = [(name, strength) for name, strength, _ in loras[region] if strength]
            used = [(name, part, strength) for name, strength in acting for part in parts.get(name, ())]
            if used:
                yield row, number, used


def _add_to_tokens(
    hook: RegionalLayer, layer: nn.Linear, x: Tensor, out: Tensor, call: RegionalCall, uses: list[Use]
) -> Tensor | None:
    """None where these are no tokens."""
    stream = hook.stream
    tokens, added = _tokens(x, call, stream), _tokens(out, call, stream)
    shared = stream == Stream.words and call.joined is None
    if tokens is None or added is None or not (shared or call.sequence(stream, tokens.shape[1])):
        return None
    acting = dict.fromkeys(name for _, _, used in uses for name, _, _ in used)
    if thin := thin_parts(hook.parts, acting) if tokens.ndim == 3 else {}:
        add_thin(tokens, added, thin, call, stream)
    rest = [(row, number, [each for each in used if each[0] not in thin]) for row, number, used in uses]
    rest = [use for use in rest if use[2]]
    if shared:
        _add_to_shared_words(tokens, added, call, rest)
    else:
        _add_to_gathered(tokens, added, call, stream, rest)
    return added.reshape(out.shape)


def _add_to_gathered(tokens: Tensor, added: Tensor, call: RegionalCall, stream: Stream, uses: list[Use]) -> None:
    for row, number, used in uses:
        gate = call.gate(stream, row, number, tokens.shape[1], tokens.device)
        if gate is not None:
            mine, theirs = tokens[row.start : row.stop], added[row.start : row.stop]
            mine = mine[:, gate.tokens] if isinstance(gate.tokens, slice) else mine.index_select(1, gate.tokens)
            _add_parts(mine, theirs, gate, used)


def _add_to_shared_words(tokens: Tensor, added: Tensor, call: RegionalCall, uses: list[Use]) -> None:
    count, held, all_added = tokens.shape[1], tokens.flatten(0, 1), added.view(1, -1, *added.shape[2:])
    for row, number, used in uses:
        at = call.shared_words(row, number, count).to(tokens.device)
        _add_parts(held.index_select(0, at)[None], all_added, Gate(at, None), used)


def _add_parts(mine: Tensor, theirs: Tensor, gate: Gate, used: Used) -> None:
    for _, part, strength in used:
        delta = part.delta.linear(_narrowed(mine, -1, part.inputs)) * strength
        _add(_narrowed(theirs, -1, part.outputs), gate, delta)


def _tokens(x: Tensor, call: RegionalCall, stream: Stream) -> Tensor | None:
    """[B,tokens,...,C]: pixels may lie in rows, and each word in a batch of its own. None: one vector for a picture."""
    if stream == Stream.words and len(x) == call.batch * call.words:
        return x.unflatten(0, (call.batch, call.words))
    if stream == Stream.none or len(x) != call.batch or x.ndim < 3:
        return None
    return x if stream == Stream.words else x.flatten(1, -2)


def _add(out: Tensor, gate: Gate, delta: Tensor) -> None:
    """In place. out: [B,tokens,...,C]; delta: [B,gated tokens,...,C]."""
    if gate.share is not None:
        delta = delta * gate.share.to(delta).reshape(-1, *(1,) * (delta.ndim - 2))
    if isinstance(gate.tokens, slice):
        out[:, gate.tokens] += delta
    else:
        out.index_add_(1, gate.tokens, delta.to(out))


def _add_to_image(
    hook: RegionalLayer, layer: nn.Module, x: Tensor, out: Tensor, call: RegionalCall, uses: list[Use]
) -> Tensor | None:
    """None where a convolution's image is not the model's."""
    grid = tuple(out.shape[-2:])
    if len(x) != call.batch or x.ndim < 4 or grid not in call.grids or hook.stream != Stream.image:
        return None
    for row, number, used in uses:
        plan = row.text.plan(row.active, row.frame, grid, x.device)
        window = image_window(plan, number, grid)
        if window is not None:
            _add_to_window(layer, x[row.start : row.stop], out[row.start : row.stop], window, used)
    return out


def _add_to_window(layer, x: Tensor, out: Tensor, window: Window, used: Used) -> None:
    """In place."""
    box = [(0, size) for size in out.shape[2:-2]] + [window.rows, window.columns]
    for dim, (first, last) in enumerate(box, start=2):
        out = out.narrow(dim, first, last - first)
    mine, share = _reached(x, layer, box), 1.0 if window.share is None else window.share.to(out)
    for _, part, strength in used:
        _narrowed(out, 1, part.outputs).add_(_convolved(layer, part, mine) * (share * strength))


def _reached(x: Tensor, layer, box: list[tuple[int, int]]) -> Tensor:
    """What a convolution reads for the outputs in the box, with the zeros around the image where it reads those."""
    beyond: list[int] = []
    sides = zip(box, layer.kernel_size, layer.stride, layer.padding, layer.dilation, strict=True)
    for dim, ((first, last), kernel, stride, padding, dilation) in enumerate(sides, start=2):
        low, high = first * stride - padding, (last - 1) * stride - padding + (kernel - 1) * dilation + 1
        start, stop = max(low, 0), min(high, x.shape[dim])
        x, beyond = x.narrow(dim, start, stop - start), [start - low, high - stop, *beyond]
    return F.pad(x, beyond) if any(beyond) else x


def _convolved(layer, part: Part, x: Tensor) -> Tensor:
    convolution = CONVOLUTIONS[len(layer.kernel_size)]
    convolve = partial(convolution, stride=layer.stride, dilation=layer.dilation, groups=layer.groups)
    return part.delta.convolve(_narrowed(x, 1, part.inputs), convolve, layer.kernel_size)


def _add_to_all(layer: nn.Module, x: Tensor, out: Tensor, uses: list[Use]) -> Tensor:
    """For layers that speak of the whole picture: all of a conditioning that has the region."""
    channels = -1 if isinstance(layer, nn.Linear) else 1
    for row, _, used in uses:
        for _, part, strength in used:
            mine = x[row.start : row.stop]
            if isinstance(layer, nn.Linear):
                delta = part.delta.linear(_narrowed(mine, -1, part.inputs))
            else:
                delta = _convolved(layer, part, _reached(mine, layer, [(0, size) for size in out.shape[2:]]))
            _narrowed(out[row.start : row.stop], channels, part.outputs).add_(delta * strength)
    return out


def _narrowed(x: Tensor, dim: int, place: tuple[int, int] | None) -> Tensor:
    return x if place is None else x.narrow(dim, *place)
