"""What LoRA files add to one layer: y = Wx + dW x, without touching W.

Factors stay as the file has them and are cast to each input. The formulas are those of LyCORIS, as ComfyUI writes them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Convolve = Callable[[Tensor, Tensor], Tensor]  # (x, weight [O,I,*kernel]) -> out


class Delta(nn.Module):
    """dW of a linear layer or a convolution. shape: (outputs, inputs times kernel), to see whether it fits."""

    shape: tuple[int, int]

    def __init__(self, scale: float = 1.0):
        super().__init__()
        self.scale = scale

    def weight(self, like: Tensor) -> Tensor:
        """dW, in any shape that has its numbers in order, on the device and in the dtype of `like`."""
        raise NotImplementedError

    def linear(self, x: Tensor) -> Tensor:
        """[...,I] -> [...,O]"""
        return F.linear(x, self.weight(x).reshape(self.shape)) * self.scale

    def convolve(self, x: Tensor, convolve: Convolve, kernel: tuple[int, ...]) -> Tensor:
        """[B,I,*size] -> [B,O,*size]; convolve knows the stride and the like."""
        return convolve(x, self.weight(x).reshape(self.shape[0], -1, *kernel)) * self.scale


class LowRank(Delta):
    """LoRA: up [O,r] down [r,I*kernel]; with mid [r,r,*kernel] down is [r,I], as in LoCon's Tucker form."""

    def __init__(self, up: Tensor, down: Tensor, mid: Tensor | None = None, scale: float = 1.0):
        super().__init__(scale)
        self.up, self.down = _kept(up.flatten(1)), _kept(down.flatten(1))
        self.mid = None if mid is None else _kept(mid)
        self.shape = up.shape[0], self.down.shape[1] * (1 if mid is None else mid[0, 0].numel())

    def linear(self, x: Tensor) -> Tensor:
        return F.linear(F.linear(x, self.down.to(x)), self.up.to(x) * self.scale)

    def convolve(self, x: Tensor, convolve: Convolve, kernel: tuple[int, ...]) -> Tensor:
        down = self.down.to(x)
        if self.mid is None:
            hidden = convolve(x, down.reshape(len(down), -1, *kernel))
        else:
            hidden = convolve(_pointwise(x, down), self.mid.to(x))
        return _pointwise(hidden, self.up.to(x) * self.scale)


class Hadamard(Delta):
    """LoHa: the product, number by number, of two low-rank weights; Tucker forms have a core [r,r,*kernel] each."""

    def __init__(
        self, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor],
        cores: tuple[Tensor, Tensor] | None = None, scale: float = 1.0,
    ):  # fmt: skip
        super().__init__(scale)
        self.factors = nn.ParameterList(map(_kept, (*first, *second)))
        self.cores = nn.ParameterList(map(_kept, cores or ()))
        up, down = first
        kernel = cores[0][0, 0].numel() if cores else 1
        self.shape = (up.shape[1], down.shape[1] * kernel) if cores else (up.shape[0], down.flatten(1).shape[1])

    def weight(self, like: Tensor) -> Tensor:
        factors = [factor.to(like) for factor in self.factors]
        cores = [core.to(like) for core in self.cores]
        if not cores:
            return (factors[0] @ factors[1]) * (factors[2] @ factors[3])
        first, second = (_tucker(core, *pair) for core, pair in zip(cores, (factors[:2], factors[2:]), strict=True))
        return first * second


class Kronecker(Delta):
    """LoKr: the Kronecker product of a small and a larger weight, either of which may be a product of factors.

    large: one tensor, two factors, or two factors and a Tucker core.
    """

    def __init__(self, small: tuple[Tensor, ...], large: tuple[Tensor, ...], scale: float = 1.0):
        super().__init__(scale)
        self.small, self.large = nn.ParameterList(map(_kept, small)), nn.ParameterList(map(_kept, large))
        rows, columns = zip(_size(small), _size(large), strict=True)
        self.shape = math.prod(rows), math.prod(columns)

    def weight(self, like: Tensor) -> Tensor:
        small, large = self._parts(like)
        small = small.reshape(*small.shape, *(1,) * (large.ndim - 2))
        return torch.kron(small.contiguous(), large.contiguous())  # it views its inputs, and fails on a Tucker product

    def linear(self, x: Tensor) -> Tensor:
        small, large = self._parts(x)
        if large.ndim > 2:
            return super().linear(x)
        hidden = F.linear(x.unflatten(-1, (small.shape[1], large.shape[1])), large * self.scale)
        return (small @ hidden).flatten(-2)

    def _parts(self, like: Tensor) -> tuple[Tensor, Tensor]:
        small, large = ([part.to(like) for part in parts] for parts in (self.small, self.large))
        return _product(small), _product(large)


class FullDelta(Delta):
    """The whole of dW."""

    def __init__(self, full: Tensor):
        super().__init__()
        self.full, self.shape = _kept(full), (full.shape[0], full.flatten(1).shape[1])

    def weight(self, like: Tensor) -> Tensor:
        return self.full.to(like)


class BiasDelta(Delta):
    """What is added to the bias."""

    def __init__(self, bias: Tensor):
        super().__init__()
        self.bias, self.shape = _kept(bias), (len(bias), 1)

    def linear(self, x: Tensor) -> Tensor:
        return self.bias.to(x).expand(*x.shape[:-1], -1)

    def convolve(self, x: Tensor, convolve: Convolve, kernel: tuple[int, ...]) -> Tensor:
        return self.bias.to(x).reshape(-1, *(1,) * len(kernel))


def _kept(weight: Tensor) -> nn.Parameter:
    return nn.Parameter(weight, requires_grad=False)


def _pointwise(x: Tensor, weight: Tensor) -> Tensor:
    """A convolution with a kernel of 1: [B,I,*size], [O,I] -> [B,O,*size]."""
    return torch.einsum("oi,bi...->bo...", weight, x)


def _tucker(core: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return torch.einsum("ij...,jr,ip->pr...", core, down, up)


def _product(parts: list[Tensor]) -> Tensor:
    match parts:
        case [whole]:
            return whole
        case [up, down]:
            return up @ down
        case [up, down, core]:
            return _tucker(core, up, down)
    raise ValueError(f"a weight of {len(parts)} parts")


def _size(parts: tuple[Tensor, ...]) -> tuple[int, int]:
    """Rows and columns of what _product makes, kernel included."""
    if len(parts) == 1:
        return parts[0].shape[0], parts[0].flatten(1).shape[1]
    up, down, *core = parts
    return (up.shape[1], down.shape[1] * core[0][0, 0].numel()) if core else (up.shape[0], down.shape[1])
