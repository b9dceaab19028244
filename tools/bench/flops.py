"""The arithmetic of one step, from torch's counter, on models at their full size that hold no numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode

SIGMA = 0.5  # what a model reads where it asks for a number that does not exist


class _NoNumbers(TorchDispatchMode):
    """Lets plans with real numbers meet tensors on the device `meta`, which have shapes alone."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = []
        tree_map_only(Tensor, tensors.append, (args, kwargs))
        if any(tensor.is_meta for tensor in tensors):
            if func is torch.ops.aten._local_scalar_dense.default:
                return SIGMA
            args, kwargs = tree_map_only(Tensor, lambda t: t if t.is_meta else t.to("meta"), (args, kwargs))
            if kwargs.get("device") is not None:
                kwargs["device"] = torch.device("meta")
        return func(*args, **kwargs)


@contextmanager
def _without_numbers() -> Iterator[None]:
    """Plans stay on the CPU, where they have numbers, and memory is no obstacle."""
    from comfy.model_patcher import ModelPatcher

    from pakati.pakati_core.attention import RegionalText

    plan, memory = RegionalText.plan, ModelPatcher.get_free_memory
    RegionalText.plan = lambda self, active, frame, grid, device: plan(self, active, frame, grid, torch.device("cpu"))
    ModelPatcher.get_free_memory = lambda self, device: 1 << 60
    try:
        yield
    finally:
        RegionalText.plan, ModelPatcher.get_free_memory = plan, memory


def _added_in_place(_: tuple, first: tuple[int, int], second: tuple[int, int], *, out_shape: tuple, **__) -> int:
    return 2 * first[0] * first[1] * second[1]


def count_flops(step: Callable[[], Tensor]) -> int:
    """Multiplications and additions of a step whose tensors are all on `meta`."""
    known = {torch.ops.aten.addmm_: _added_in_place}  # which the counter leaves out
    with _without_numbers(), FlopCounterMode(display=False, custom_mapping=known) as counter, _NoNumbers():
        step()
    return counter.get_total_flops()
