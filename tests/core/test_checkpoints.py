"""Single-file checkpoints: what their shapes say, and that they load with no network at all."""

import json
import socket
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from pakati_core.engines.checkpoints import Shapes, write_configs
from pakati_core.engines.diffusers import DiffusersEngine
from pakati_core.errors import ModelError
from tests.core import original
from tests.core.original import SDXL, SMALL_SD15, SMALL_SDXL

FULL = {"sd15": original.SD15, "sdxl": SDXL}
# The sizes and settings that their makers published.
MILLIONS = {
    "sd15": {"unet": 859.520964, "vae": 83.653863, "text_encoder": 123.060480},
    "sdxl": {"unet": 2567.463684, "vae": 83.653863, "text_encoder": 123.060480, "text_encoder_2": 694.659840},
}
PUBLISHED = {
    "sd15": {"attention_head_dim": 8, "cross_attention_dim": 768, "use_linear_projection": False, "sample_size": 64},
    "sdxl": {
        "attention_head_dim": [5, 10, 20], "cross_attention_dim": 2048, "use_linear_projection": True,
        "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816, "sample_size": 128,
        "transformer_layers_per_block": [1, 2, 10],
    },
}  # fmt: skip


@pytest.fixture(params=FULL)
def family(request) -> str:
    return request.param


@pytest.fixture
def configs(family, tmp_path) -> Path:
    assert write_configs(Shapes(original.checkpoint(FULL[family])), tmp_path) == family
    return tmp_path


def test_full_size_shapes_give_the_published_model(family, configs):
    kinds = {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel}
    if family == "sdxl":
        kinds["text_encoder_2"] = CLIPTextModelWithProjection
    for part, kind in kinds.items():
        config = json.loads((configs / part / "config.json").read_text())
        with torch.device("meta"):
            made = kind(CLIPTextConfig(**config)) if part.startswith("text") else kind.from_config(config)
        assert sum(p.numel() for p in made.parameters()) / 1e6 == MILLIONS[family][part], part


def test_what_shapes_do_not_say_is_the_familys(family, configs):
    unet = json.loads((configs / "unet" / "config.json").read_text())
    assert {name: unet[name] for name in PUBLISHED[family]} == PUBLISHED[family]
    first = json.loads((configs / "text_encoder" / "config.json").read_text())
    assert (first["num_attention_heads"], first["hidden_act"]) == (12, "quick_gelu")
    vae = json.loads((configs / "vae" / "config.json").read_text())
    assert vae["scaling_factor"] == {"sd15": 0.18215, "sdxl": 0.13025}[family]
    if family == "sdxl":
        second = json.loads((configs / "text_encoder_2" / "config.json").read_text())
        assert (second["num_attention_heads"], second["hidden_act"]) == (20, "gelu")


def test_words_become_clips_own_numbers(family, configs):
    tokens = CLIPTokenizer.from_pretrained(configs / "tokenizer")("A photo of a cat, café!")["input_ids"]
    assert tokens == [49406, 320, 1125, 539, 320, 2368, 267, 15304, 256, 49407]
    if family == "sdxl":
        second = CLIPTokenizer.from_pretrained(configs / "tokenizer_2")
        assert second("cat", padding="max_length")["input_ids"] == [49406, 2368, 49407, *[0] * 74]


@pytest.mark.parametrize("size", [SMALL_SD15, SMALL_SDXL], ids=["sd15", "sdxl"])
def test_no_network_is_asked(tmp_path, monkeypatch, size):
    def refuse(*_):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    parts = DiffusersEngine(original.write(tmp_path / "a.safetensors", size), device="cpu").parts
    assert parts.encode("a red circle").tokens.isfinite().all()


def test_velocity_is_seen_in_the_file(tmp_path):
    path = original.write(tmp_path / "a.safetensors", SMALL_SD15, extra=("v_pred",))
    assert DiffusersEngine(path, device="cpu").parts.scheduler().config.prediction_type == "v_prediction"


@pytest.mark.parametrize(
    "size, change, message",
    [
        (SMALL_SD15, {"without": "cond_stage_model."}, "neither SD1.5 nor SDXL"),
        (SMALL_SD15, {"without": "first_stage_model."}, "has no first_stage_model"),
        (SMALL_SD15, {"without": "model."}, "has no model.diffusion_model"),
        (SMALL_SD15, {"without": "model.diffusion_model.output_blocks.1."}, r"numbers below model\.diffusion_model"),
        (SMALL_SDXL, {"without": "conditioner.embedders.1."}, "has no conditioner.embedders.1"),
        (SMALL_SD15._replace(inputs=9), {}, "9 channels, as inpainting models do"),
        (SMALL_SD15, {"extra": ("edm_mean",)}, "EDM"),
    ],
    ids=["no text encoder", "no VAE", "no UNet", "half a UNet", "one of two", "inpainting", "other training"],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path, size, change, message):
    path = original.write(tmp_path / "mine.safetensors", size, **change)
    with pytest.raises(ModelError, match=rf"mine\.safetensors.*{message}.*; g(ive|et) ") as caught:
        DiffusersEngine(path, device="cpu").capabilities()
    assert "\n" not in str(caught.value)


def test_a_cut_file_is_one_sentence(tmp_path):
    path = original.write(tmp_path / "mine.safetensors", SMALL_SD15)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="mine.safetensors is damaged"):
        DiffusersEngine(path, device="cpu").capabilities()
