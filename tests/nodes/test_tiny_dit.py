"""The embedded joint-attention model: read by the stock loader, and regional as its training saw regions."""

import comfy.sd
import pytest
import torch
from comfy.ldm.flux.model import Flux

from pakati.nodes import tiny_dit
from pakati.nodes.regional_attention import apply_regions
from pakati.nodes.tiny_dit import FORMAT, ROW, JointClip, JointTokenizers, load_tiny_dit
from pakati.nodes.tiny_model import load_clip
from pakati.pakati_core.errors import ModelError
from pakati.pakati_core.geometry import Extent
from pakati.pakati_core.regions import Region, RegionSet
from pakati.pakati_core.shapes import BoxShape
from tests.nodes.sampling import denoise
from tools.train.flux_net import BASE_WORDS, HOST_CHANNELS, ROOM, FluxNet, host_layout, joint_bias

LEFT, RIGHT = Region("a", BoxShape(0, 0, 60, 128), "a red circle"), Region("b", BoxShape(60, 0, 50, 128), "snow")


@pytest.fixture(scope="module")
def net():
    """Every weight is drawn: those that start at zero would hide what they multiply."""
    torch.manual_seed(4)
    net = FluxNet(8, 128, width=256, double=1, single=2).eval().requires_grad_(False)
    for parameter in net.parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.06 + (parameter.ndim == 1))
    return net


@pytest.fixture(scope="module")
def model(net):
    return comfy.sd.load_diffusion_model_state_dict(host_layout(net.state_dict()), {"dtype": torch.float32})


@pytest.fixture(scope="module")
def clip():
    return load_clip(JointTokenizers, JointClip)


def encode(clip, text):
    return clip.encode_from_tokens_scheduled(clip.tokenize(text))


def words_of(clip, text):
    return clip.encode_from_tokens(clip.tokenize(text), return_pooled=True, return_dict=True)["cond"]


def test_the_stock_loader_knows_it_by_its_shapes(model):
    network = model.get_model_object("diffusion_model")
    assert type(network) is Flux and (network.params.depth, network.params.depth_single_blocks) == (1, 2)
    assert (network.params.hidden_size, network.params.num_heads, network.params.guidance_embed) == (256, 2, False)


@pytest.mark.parametrize("regions", [(), (LEFT,), (LEFT, RIGHT)], ids=["none", "one", "two"])
@pytest.mark.parametrize("sigma", [1.0, 0.35])
def test_the_host_says_what_its_training_says(net, model, clip, regions, sigma):
    assert ROW == BASE_WORDS
    layout = RegionSet(Extent(128, 128), regions)
    x = torch.randn(1, HOST_CHANNELS, 16, 16, generator=torch.Generator().manual_seed(2))
    own = torch.cat([words_of(clip, "grass"), *(padded(words_of(clip, region.prompt)) for region in regions)], 1)
    lengths = torch.tensor([[len(region.prompt.split()) + 1 for region in regions]]).view(1, -1)
    bias = joint_bias(lengths, layout.weights_on_grid(16, 16)[None].float())
    velocity = net(x[:, :8], torch.tensor([sigma]), own, bias)
    patched, positive, negative = apply_regions(model, clip, encode(clip, "grass"), encode(clip, ""), layout)
    got = denoise(patched, positive, negative, x, sigma, cfg=1.0)
    assert (got[:, :8] - (x[:, :8] - sigma * velocity)).abs().max() < 2e-4 * velocity.abs().max()
    assert torch.equal(got[:, 8:], x[:, 8:])


def padded(words):
    return torch.nn.functional.pad(words[:, :ROOM], (0, 0, 0, max(0, ROOM - words.shape[1])))


def test_a_region_has_its_words_and_no_padding(clip, model):
    layout = RegionSet(Extent(128, 128), (LEFT,))
    _, positive, _ = apply_regions(model, clip, encode(clip, "grass"), encode(clip, ""), layout)
    regional = next(value for value in positive[0][1].values() if hasattr(value, "prompts"))
    assert regional.prompts["a"].shape == (1, len(["<start>", "a", "red", "circle"]), 128)
    assert positive[0][0].shape == (1, ROW, 128)


def test_pictures_survive_the_sixteen_channels():
    vae = tiny_dit._load_vae()
    picture = torch.full((1, 128, 128, 3), 0.2)
    picture[:, 32:96, 32:96, 0] = 0.9
    latents = vae.encode(picture)
    assert latents.shape == (1, 16, 16, 16)
    assert (vae.decode(latents) - picture).abs().mean() < 0.05
    inner = FORMAT.process_in(latents.detach())
    assert abs(float(inner[:, :8].std()) - 1) < 0.6 and float(inner[:, 8:].abs().max()) < 1e-5


def test_a_damaged_file_is_named(tmp_path, monkeypatch):
    path = tmp_path / "pakati-tiny-dit.safetensors"
    path.write_bytes(b"none")
    monkeypatch.setattr(tiny_dit, "JOINT_WEIGHTS", path)
    with pytest.raises(ModelError, match="pakati-tiny-dit.*missing or damaged.*install Pakati again"):
        load_tiny_dit()
