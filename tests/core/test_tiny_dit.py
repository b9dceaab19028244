"""The embedded joint-attention model without the host: its file, and the training that made it."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pakati_core.tiny import JOINT_WEIGHTS
from pakati_core.tiny.world import Frame, Thing
from tools.train.dit import embedded_dit, one_object_scene, settled
from tools.train.flux_net import BASE_WORDS, HOST_CHANNELS, ROOM, FluxNet, host_layout, joint_bias, own_layout

MEGABYTES = 14


def test_the_file_is_small_and_of_the_host_s_sixteen_channels():
    weights = load_file(JOINT_WEIGHTS)
    assert JOINT_WEIGHTS.stat().st_size <= MEGABYTES * 1e6
    assert weights["img_in.weight"].shape[1] == weights["final_layer.linear.weight"].shape[0] == 4 * HOST_CHANNELS
    embedded_dit(own_layout(weights, 8))


def test_the_hosts_layout_and_back_is_the_same():
    weights = FluxNet(8, 128, width=128, double=1, single=1).state_dict()
    back = own_layout(host_layout(weights), 8)
    assert weights.keys() == back.keys() and all(torch.equal(weights[name], back[name]) for name in weights)


def test_words_of_a_region_are_seen_by_its_pixels_and_see_them_alone():
    weights = torch.zeros(1, 3, 4, 4)
    weights[:, 1, :, :2], weights[:, 2, :, 2:] = 1, 1
    bias = joint_bias(torch.tensor([[3, ROOM]]), weights)[0, 0]
    first, pixels = BASE_WORDS, BASE_WORDS + 2 * ROOM
    assert bias.shape == (pixels + 4, pixels + 4)
    left, right = pixels, pixels + 1
    assert bias[left, first] == bias[first, left] == 0 and bias[right, first] < -1000 and bias[first, right] < -1000
    assert bias[left, first + 2] == 0 and bias[left, first + 3] < -1000  # beyond its length
    assert (bias[pixels:, pixels:] == 0).all() and bias[left, 0] < -1000  # nobody is left to the base prompt


def test_objects_stand_in_the_middle_of_their_regions_and_fit_in():
    thing = settled(Thing("star", "red", 0.1, 0.1, 0.05, Frame(0.5, 0.25, 1.0, 1.0)))
    assert (thing.x, thing.y) == (0.75, 0.625) and thing.radius < 0.25
    rng = np.random.default_rng(2)
    for _ in range(50):
        things = one_object_scene(rng, 128).things
        assert all(thing.radius <= min(thing.x, thing.y, 1 - thing.x, 1 - thing.y) + 1e-6 for thing in things)


@pytest.mark.parametrize("seed", [0, 1])
def test_it_learns(seed):
    """Twenty steps on one batch: what a gradient that does not flow, or a block that stays shut, would not do."""
    torch.manual_seed(seed)
    net, x, wanted = FluxNet(8, 128, width=128, double=1, single=1), torch.randn(4, 8, 8, 8), torch.randn(4, 8, 8, 8)
    words, bias = torch.randn(4, BASE_WORDS, 128), joint_bias(torch.zeros(4, 0), torch.ones(4, 1, 8, 8))
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    losses = []
    for _ in range(20):
        loss = (net(x, torch.full((4,), 0.5), words, bias) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.8 * losses[0]
    still = [name for name, parameter in net.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert still == []
