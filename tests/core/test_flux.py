"""Flux's family on small random weights in its own classes and folders: each member paints, one is loaded at a time."""

# diffusers annotates every tuple as having one member
# pyright: reportArgumentType=false

import socket
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxControlPipeline,
    FluxFillPipeline,
    FluxPipeline,
    FluxTransformer2DModel,
)
from PIL import Image, ImageDraw
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPTextModel,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTImageProcessor,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from pakati_core.engines import Request
from pakati_core.engines.conditions import DepthEstimator, edges
from pakati_core.engines.diffusers import DiffusersEngine
from pakati_core.engines.flux import MEMBERS, FluxFamily
from pakati_core.errors import ModelError, PakatiWarning, ShapeError
from pakati_core.geometry import Extent
from pakati_core.judge import ReplayJudge, Verdict
from pakati_core.refine import FluxVLMPipeline, Route
from pakati_core.regions import Region, RegionSet
from pakati_core.shapes import BoxShape
from tests.core.families import _text_config, _tokenizer

SIDE, WIDTH = 64, 32
CHANNELS = {"base": 64, "canny": 128, "depth": 128, "fill": 384}  # of latents, with what a member is shown beside them
CLASSES = {"base": FluxPipeline, "canny": FluxControlPipeline, "depth": FluxControlPipeline, "fill": FluxFillPipeline}
REQUEST = Request(
    RegionSet(Extent(SIDE, SIDE), (Region("left", BoxShape(0, 0, 32, 64), "a red circle"),), "sand"), seed=3, steps=2
)


def _t5_tokenizer() -> PreTrainedTokenizerFast:
    words = {"<pad>": 0, "</s>": 1, "<unk>": 2} | {
        letter: 3 + i for i, letter in enumerate("abcdefghijklmnopqrstuvwxyz")
    }
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )


def member(name: str, folder: Path) -> Path:
    torch.manual_seed(0)
    transformer = FluxTransformer2DModel(
        in_channels=CHANNELS[name], out_channels=64, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=WIDTH, pooled_projection_dim=WIDTH, guidance_embeds=True,
        axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 4, latent_channels=16,
        up_block_types=("UpDecoderBlock2D",) * 4, norm_num_groups=4, sample_size=SIDE, scaling_factor=0.3611,
        shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False,
    )  # fmt: skip
    t5 = T5EncoderModel(T5Config(vocab_size=40, d_model=WIDTH, d_kv=8, d_ff=48, num_layers=1, num_heads=2))
    pipe = CLASSES[name](
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True), vae=vae, text_encoder_2=t5,
        text_encoder=CLIPTextModel(_text_config()), tokenizer=_tokenizer(folder / "letters"), transformer=transformer,
        tokenizer_2=_t5_tokenizer(),
    )  # fmt: skip
    pipe.save_pretrained(folder / MEMBERS[name].folder)
    return folder / MEMBERS[name].folder


def depth_model(folder: Path) -> Path:
    backbone = Dinov2Config(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, patch_size=14, image_size=56,
        reshape_hidden_states=False,
    )  # fmt: skip
    backbone.out_features = ["stage1", "stage2"]  # type: ignore[attr-defined]
    config = DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=24, patch_size=14, reassemble_factors=[2, 1],
        neck_hidden_sizes=[8, 8], fusion_hidden_size=8, head_hidden_size=8,
    )  # fmt: skip
    DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    DPTImageProcessor(size={"height": 56, "width": 56}, ensure_multiple_of=14).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("flux")
    for name in CHANNELS:
        member(name, made)
    depth_model(made / "depth")
    return made


@pytest.fixture
def flux(folder, monkeypatch) -> FluxFamily:
    monkeypatch.setenv("PAKATI_MODELS", str(folder))
    return FluxFamily(depth=DepthEstimator(folder / "depth"))


def noise(seed: int = 1) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8))


def test_each_member_paints_and_only_one_is_loaded(flux):
    image, mask = noise(), torch.zeros(SIDE, SIDE)
    mask[:, :32] = 1
    ways = {
        "base": lambda: flux.generate(REQUEST), "fill": lambda: flux.edit(REQUEST, image, mask),
        "canny": lambda: flux.keep_edges(REQUEST, image), "depth": lambda: flux.keep_depth(REQUEST, image),
    }  # fmt: skip
    pictures = {}
    for name, way in ways.items():
        made = way()
        assert (flux.loaded, made.model) == (name, MEMBERS[name].folder)
        assert made.image.size == (SIDE, SIDE) and made.notes
        pictures[name] = np.asarray(made.image)
        assert np.array_equal(pictures[name], np.asarray(way().image)), "equal requests, equal pictures"
    assert np.array_equal(pictures["fill"][:, 32:], np.asarray(image)[:, 32:])
    assert not np.array_equal(pictures["fill"][:, :32], np.asarray(image)[:, :32])
    assert not np.array_equal(pictures["canny"], pictures["depth"])
    assert 0 < flux.capabilities().megabytes < 5
    flux.unload()
    assert flux.loaded is None and flux.capabilities().megabytes == 0


def test_only_prompts_under_the_mask_are_read_in_an_edit(flux, monkeypatch):
    said = []
    pipe = flux._use("fill")
    monkeypatch.setattr(pipe, "encode_prompt", lambda prompt, **more: said.append(prompt) or _stop())
    for left, right in ((1, 0), (0, 1)):
        mask = torch.zeros(SIDE, SIDE)
        mask[:, :32], mask[:, 32:] = left, right
        with pytest.raises(StopIteration):
            flux.edit(REQUEST, noise(), mask)
    assert said == ["a red circle", "sand"]


def _stop():
    raise StopIteration


def test_what_is_missing_is_named(tmp_path, monkeypatch, flux):
    with pytest.raises(ShapeError, match="divide by 16"):
        flux.generate(Request(RegionSet(Extent(72, 64), (), "sand")))
    with pytest.raises(ShapeError, match="make them equal"):
        flux.keep_edges(REQUEST, Image.new("RGB", (32, 32)))
    monkeypatch.setenv("PAKATI_MODELS", str(tmp_path))
    bare = FluxFamily()
    assert not any(bare.has(name) for name in MEMBERS)
    with pytest.raises(ModelError, match="FLUX.1-dev is not in"):
        bare.generate(REQUEST)
    with pytest.raises(ModelError, match="DepthEstimator"):
        bare.keep_depth(REQUEST, noise())
    with pytest.raises(ModelError, match="no member"):
        FluxFamily({"redux": tmp_path})
    (tmp_path / "FLUX.1-dev").mkdir()
    with pytest.raises(ModelError, match="cannot be read as FLUX.1-dev"):
        FluxFamily().generate(REQUEST)


def test_criterion_33_missing_weights_are_named_at_once_and_no_socket_is_opened(tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("a socket was opened")

    monkeypatch.setenv("PAKATI_MODELS", str(tmp_path))
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    missing = {
        "Flux": lambda: FluxFamily().generate(REQUEST), "depth": lambda: DepthEstimator(tmp_path / "depth"),
        "SDXL": lambda: DiffusersEngine(tmp_path / "sdxl").generate(REQUEST),
    }  # fmt: skip
    for paint in missing.values():
        begun = time.process_time()
        with pytest.raises(ModelError, match="there is no|is not in"):
            paint()
        assert time.process_time() - begun < 1


class Scripted:
    """Answers as told, so that the loop has a reason for each of its ways."""

    name = "scripted"

    def __init__(self, *failing: str):
        self.failing = list(failing)

    def judge(self, image, questions):
        from pakati_core.judge import Check

        kind = self.failing.pop(0)
        rest = [Check(f"q{i}", "?", "object", None, 0.9) for i in range(4)]
        return Verdict((Check("wrong", "?", kind, None, 0.1 + 0.1 * (3 - len(self.failing))), *rest))


def test_emage_takes_the_way_that_the_fault_asks_for(flux):
    emage = FluxVLMPipeline(flux, Scripted("style", "relation", "attribute", "object"))
    results = emage.generate_and_evaluate(
        prompt="a red circle left of a blue star", num_iterations=4, num_inference_steps=2, seed=42, width=SIDE,
        height=SIDE,
    )  # fmt: skip
    routes = [made["attempt"]["route"] for made in results["history"]]
    assert routes == ["first", "style", "structure", "inpaint"]
    assert len({image.tobytes() for image in results["images"]}) == 4
    assert results["final_image"] is results["images"][3] and results["satisfaction_score"] > 0.5


def test_emage_without_flux_says_what_paints_instead(tmp_path, monkeypatch):
    monkeypatch.setenv("PAKATI_MODELS", str(tmp_path))
    with pytest.warns(PakatiWarning, match="FLUX.1-dev.* is not in .*pakati-tiny paints instead"):
        emage = FluxVLMPipeline(judge=ReplayJudge(tmp_path))
    assert emage.engine.capabilities().model == "pakati-tiny" and not emage.repairs


def test_without_fill_and_control_the_loop_paints_anew(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("PAKATI_MODELS", str(tmp_path))
    emage = FluxVLMPipeline(FluxFamily({"base": folder / "FLUX.1-dev"}), Scripted("style", "attribute", "object"))
    results = emage.generate_and_evaluate("sand", 3, num_inference_steps=1, width=SIDE, height=SIDE)
    assert {made["attempt"]["route"] for made in results["history"]} <= {Route.first, Route.prompt, Route.resample}


def test_edges_are_thin_and_where_they_should_be():
    image = Image.new("RGB", (80, 60), "white")
    ImageDraw.Draw(image).rectangle((20, 15, 59, 44), fill="black")
    found = np.asarray(edges(image))[..., 0]
    assert set(np.unique(found)) == {0, 255}
    rows, columns = np.nonzero(found)
    near = np.minimum.reduce([abs(columns - 19.5), abs(columns - 59.5), abs(rows - 14.5), abs(rows - 44.5)])
    assert near.max() <= 1.5
    assert 0.8 * 140 <= len(rows) <= 1.3 * 140
    assert not np.asarray(edges(Image.new("RGB", (30, 30), "grey"))).any()


def test_depth_is_grey_and_as_large_as_the_picture(folder):
    made = np.asarray(DepthEstimator(folder / "depth")(noise().resize((90, 70))))
    assert made.shape == (70, 90, 3) and (made[..., 0] == made[..., 1]).all() and made.max() > made.min()
    with pytest.raises(ModelError, match="no depth model"):
        DepthEstimator(folder / "nowhere")
