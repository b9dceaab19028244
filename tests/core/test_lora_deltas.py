"""What each kind of LoRA adds to a layer, against the formulas of LyCORIS written out number by number."""

from functools import partial
from itertools import product

import pytest
import torch
from torch.nn import functional as F

from pakati_core.lora import BiasDelta, FullDelta, Hadamard, Kronecker, LowRank

OUT, IN, RANK, SIDE = 6, 4, 3, 2


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tucker(core, up, down):
    """W[o,i,y,x] = sum over j, k of core[j,k,y,x] up[j,o] down[k,i]"""
    weight = torch.zeros(up.shape[1], down.shape[1], *core.shape[2:], dtype=torch.float64)
    for j, k in product(range(len(up)), range(len(down))):
        weight += core[j, k] * up[j][:, None, None, None] * down[k][None, :, None, None]
    return weight


def kron(small, large):
    """W[a * rows + b, c * columns + d] = small[a,c] large[b,d]"""
    (rows, columns), (tall, wide) = small.shape, large.shape[:2]
    weight = torch.zeros(rows * tall, columns * wide, *large.shape[2:], dtype=torch.float64)
    for a, c, b, d in product(range(rows), range(columns), range(tall), range(wide)):
        weight[a * tall + b, c * wide + d] = small[a, c] * large[b, d]
    return weight


def low_rank(kernel):
    up, down = random(OUT, RANK), random(RANK, IN, *kernel, seed=1)
    return LowRank(up, down, scale=0.5), 0.5 * torch.einsum("or,r...->o...", up, down)


def low_rank_with_core(kernel):
    up, down, mid = random(OUT, RANK), random(RANK, IN, seed=1), random(RANK, RANK, *kernel, seed=2)
    delta = LowRank(up[..., None, None], down[..., None, None], mid, 2.0)
    return delta, 2.0 * tucker(mid, up.T, down)


def hadamard(kernel):
    a, b = (random(OUT, RANK, seed=seed) @ random(RANK, IN, seed=seed + 1) for seed in (0, 2))
    first, second = ((random(OUT, RANK, seed=seed), random(RANK, IN, seed=seed + 1)) for seed in (0, 2))
    return Hadamard(first, second, scale=0.5), 0.5 * a * b


def hadamard_with_cores(kernel):
    one, other = ((random(RANK, OUT, seed=seed), random(RANK, IN, seed=seed + 1)) for seed in (0, 2))
    cores = random(RANK, RANK, *kernel, seed=4), random(RANK, RANK, *kernel, seed=5)
    return Hadamard(one, other, cores, 0.5), 0.5 * tucker(cores[0], *one) * tucker(cores[1], *other)


def kronecker(kernel):
    small, large = random(2, 2), random(OUT // 2, IN // 2, *kernel, seed=1)
    return Kronecker((small,), (large,)), kron(small, large)


def kronecker_of_products(kernel):
    small, large = (random(2, 1), random(1, 2, seed=1)), (random(OUT // 2, RANK, seed=2), random(RANK, IN // 2, seed=3))
    return Kronecker(small, large, 0.5), 0.5 * kron(small[0] @ small[1], large[0] @ large[1])


def kronecker_with_core(kernel):
    small, core = random(2, 2), random(RANK, RANK, *kernel, seed=4)
    up, down = random(RANK, OUT // 2, seed=2), random(RANK, IN // 2, seed=3)
    return Kronecker((small,), (up, down, core), 0.5), 0.5 * kron(small, tucker(core, up, down))


def full(kernel):
    weight = random(OUT, IN, *kernel)
    return FullDelta(weight), weight


@pytest.mark.parametrize("make", [low_rank, hadamard, kronecker, kronecker_of_products, full])
def test_on_a_linear_layer(make):
    delta, weight = make(())
    x = random(5, 3, IN, seed=9)
    assert delta.shape == (OUT, IN)
    assert torch.allclose(delta.linear(x), x @ weight.T)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    "make", [low_rank, low_rank_with_core, hadamard_with_cores, kronecker, kronecker_with_core, full]
)
def test_on_a_convolution(make, stride):
    delta, weight = make((SIDE, SIDE))
    x = random(2, IN, 7, 8, seed=9)
    assert delta.shape == (OUT, IN * SIDE * SIDE)
    got = delta.convolve(x, partial(F.conv2d, stride=stride), (SIDE, SIDE))
    assert torch.allclose(got, F.conv2d(x, weight, stride=stride))


def test_a_bias_does_not_ask_what_the_input_is():
    bias = random(OUT)
    delta = BiasDelta(bias)
    assert torch.equal(delta.linear(random(2, 5, IN)), bias.expand(2, 5, OUT))
    assert torch.equal(delta.convolve(random(1, IN, 4, 4), F.conv2d, (1, 1)).squeeze(), bias)
    assert delta.shape == (OUT, 1)


@pytest.mark.parametrize("make", [low_rank, kronecker, full])
def test_factors_keep_their_dtype_and_follow_the_input(make):
    delta = make(())[0].half()
    assert delta.linear(torch.ones(2, IN)).dtype == torch.float32
    assert {parameter.dtype for parameter in delta.parameters()} == {torch.float16}
    assert not any(parameter.requires_grad for parameter in delta.parameters())
