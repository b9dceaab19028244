"""The documents' LoRALoader on a pipeline of diffusers: it mixes, takes out, and leaves the pipeline as it was."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from pakati_core.errors import PakatiError
from pakati_core.lora import LoRALoader

pytest.importorskip("peft", reason="the extra `local` is not installed: diffusers loads LoRAs by peft")
diffusers = pytest.importorskip("diffusers")

LAYER = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.{}"


@pytest.fixture
def pipeline():
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=(32,), layers_per_block=1, cross_attention_dim=16, attention_head_dim=8, sample_size=8,
        down_block_types=("CrossAttnDownBlock2D",), up_block_types=("CrossAttnUpBlock2D",),
    ).eval()  # fmt: skip
    return diffusers.StableDiffusionPipeline(
        vae=None, text_encoder=None, tokenizer=None, unet=unet, scheduler=diffusers.DDIMScheduler(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def lora(folder, name: str, seed: int, width: int = 32) -> dict:
    generator, tensors = torch.Generator().manual_seed(seed), {}
    for part in ("to_q", "to_k"):
        for side, shape in (("lora_A", (4, width)), ("lora_B", (width, 4))):
            tensors[f"unet.{LAYER.format(part)}.{side}.weight"] = torch.randn(shape, generator=generator)
    save_file(tensors, folder / name)
    return {"path": folder / name, "name": name.partition(".")[0]}


def look(pipeline) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    x, words = torch.randn(1, 4, 8, 8, generator=generator), torch.randn(1, 3, 16, generator=generator)
    with torch.no_grad():
        return pipeline.unet(x, 500, words).sample


def test_one_equals_its_numbers_written_into_the_weights(pipeline, tmp_path):
    plain = look(pipeline)
    LoRALoader(pipeline).load_lora(lora(tmp_path, "luca.safetensors", 1)["path"], "luca", 0.5)
    got = look(pipeline)
    pipeline.unload_lora_weights()
    with torch.no_grad():
        numbers = load_file(tmp_path / "luca.safetensors")
        for part in ("to_q", "to_k"):
            up, down = (numbers[f"unet.{LAYER.format(part)}.{side}.weight"] for side in ("lora_B", "lora_A"))
            pipeline.unet.get_submodule(LAYER.format(part)).weight += 0.5 * up @ down
    assert torch.allclose(got, look(pipeline), atol=1e-5)
    assert not torch.allclose(got, plain, atol=1e-3)


def test_several_mix_and_each_can_be_weighed_and_taken_out(pipeline, tmp_path):
    plain, loader = look(pipeline), LoRALoader(pipeline)
    one, two = lora(tmp_path, "one.safetensors", 1), lora(tmp_path, "two.safetensors", 2)
    loader.load_multiple_loras([one | {"weight": 0.3}, two])
    assert loader.weights == {"one": 0.3, "two": 0.8}
    both = look(pipeline)
    loader.set_lora_weight("one", 0.0)
    second = look(pipeline)
    assert not torch.allclose(both, second, atol=1e-4)
    loader.unload_lora("one")
    assert torch.allclose(look(pipeline), second, atol=1e-5)
    loader.load_lora(one["path"], "one", 0.3)
    assert torch.allclose(look(pipeline), both, atol=1e-5)
    loader.unload_all_loras()
    assert torch.equal(look(pipeline), plain)
    assert loader.weights == {}


def test_what_does_not_fit_is_named_and_leaves_nothing(pipeline, tmp_path):
    plain, loader = look(pipeline), LoRALoader(pipeline)
    wide = lora(tmp_path, "wide.safetensors", 1, width=64)
    with pytest.raises(PakatiError, match="wide.safetensors does not fit this pipeline"):
        loader.load_lora(lora_path=wide["path"], adapter_name="wide")
    good = lora(tmp_path, "good.safetensors", 1)
    with pytest.raises(PakatiError, match="'gone' is not at"):
        loader.load_multiple_loras([good, {"path": tmp_path / "gone.safetensors", "name": "gone"}])
    with pytest.raises(PakatiError, match="lacks its 'path'"):
        loader.load_multiple_loras([good, {"name": "x"}])
    assert torch.equal(look(pipeline), plain)
    with pytest.raises(PakatiError, match="'good' is not loaded; there is none"):
        loader.set_lora_weight("good", 1.0)
    with pytest.raises(PakatiError, match="a int takes no LoRAs"):
        LoRALoader(3)
