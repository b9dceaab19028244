"""Muon for matrices and convolutions, AdamW for the rest, in one optimizer.

Orthogonalised momentum (https://kellerjordan.github.io/posts/muon/), scaled so that its updates have AdamW's size
and one learning rate serves both (https://arxiv.org/abs/2502.16982). On these small models it needs about half the
samples of AdamW.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

FAST = torch.cuda.is_available() or torch.cpu._is_amx_tile_supported()  # matrix units for bfloat16


A, B, C = 3.4445, -4.7750, 2.0315  # of the quintic Newton-Schulz iteration


def orthogonalised(matrices: Tensor, steps: int = 5) -> Tensor:
    """[N,rows,columns] -> the nearest semi-orthogonal matrices, roughly, by a quintic Newton-Schulz iteration."""
    x = matrices / (matrices.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = _in_bfloat16(x, steps) if FAST else _by_gram(x, steps)
    return x.mT if tall else x


def _by_gram(x: Tensor, steps: int) -> Tensor:
    """Iterated on the small Gram matrices: all factors are polynomials of the first one and commute, so the large
    matrices are touched only twice. In bfloat16 it would drift where the rank is low."""
    gram = x @ x.mT
    eye = torch.eye(gram.shape[1], device=x.device, dtype=x.dtype)
    total = eye.expand_as(gram)
    for _ in range(steps):
        factor = A * eye + B * gram + C * gram @ gram
        total, gram = factor @ total, factor @ gram @ factor
    return total @ x


def _in_bfloat16(x: Tensor, steps: int) -> Tensor:
    dtype, x = x.dtype, x.bfloat16()
    for _ in range(steps):
        gram = x @ x.mT
        x = A * x + (B * gram + C * gram @ gram) @ x
    return x.to(dtype)


class Muon(torch.optim.Optimizer):
    def __init__(self, module: nn.Module, lr: float, weight_decay: float = 0.02):
        matrices, others = [], []
        for name, parameter in module.named_parameters():
            is_matrix = parameter.ndim >= 2 and min(parameter.shape[0], parameter[0].numel()) >= 8
            (matrices if is_matrix and "embedding" not in name else others).append(parameter)
        groups = [{"params": matrices, "muon": True}, {"params": others, "muon": False}]
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        turned: dict[tuple[int, int], list[Tensor]] = {}
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if group["muon"]:
                    turned.setdefault((len(parameter), parameter[0].numel()), []).append(parameter)
                else:
                    self._adam(parameter, group)
        for parameters in turned.values():
            self._turn(parameters, self.param_groups[0])

    def _turn(self, parameters: list[Tensor], group: dict) -> None:
        """All matrices of one shape at once: one by one, the calls would cost more than their arithmetic."""
        grads = [parameter.grad for parameter in parameters]
        moments = [self.state[p].setdefault("momentum", torch.zeros_like(p)) for p in parameters]
        torch._foreach_lerp_(moments, grads, 0.05)
        ahead = torch.stack([part.flatten(1) for part in torch._foreach_lerp(grads, moments, 0.95)])
        updates = orthogonalised(ahead) * (0.2 * max(ahead.shape[1:]) ** 0.5)
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        shaped = [update.reshape(p.shape) for update, p in zip(updates, parameters, strict=True)]
        torch._foreach_add_(parameters, shaped, alpha=-group["lr"])

    def _adam(self, parameter: Tensor, group: dict) -> None:
        state = self.state[parameter]
        state["step"] = state.get("step", 0) + 1
        first = state.setdefault("first", torch.zeros_like(parameter)).lerp_(parameter.grad, 0.1)
        second = state.setdefault("second", torch.zeros_like(parameter)).lerp_(parameter.grad.square(), 0.02)
        size = group["lr"] * (1 - 0.98 ** state["step"]) ** 0.5 / (1 - 0.9 ** state["step"])
        parameter.addcdiv_(first, second.sqrt().add_(1e-10), value=-size)
