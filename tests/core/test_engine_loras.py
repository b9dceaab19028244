"""LoRAs on the headless engine: equal to their numbers in the weights, all or none, and no trace afterwards."""

import pytest
import torch
from safetensors.torch import save_file

from pakati_core.engines import Request
from pakati_core.engines.diffusers import DiffusersEngine
from pakati_core.errors import PakatiError
from pakati_core.geometry import Extent
from pakati_core.lora import EngineLoraLoader
from pakati_core.regions import RegionSet
from tests.core.tiny_loras import LAYERS, factors, lora

REQUEST = Request(RegionSet(Extent(64, 64), (), "a red circle on sand"), seed=3, steps=2)


@pytest.fixture
def engine():
    return DiffusersEngine("pakati-tiny", device="cpu")


def look(engine) -> torch.Tensor:
    x = torch.randn(1, 8, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return engine.parts.unet(x, 500, engine.parts.encode("a red circle on sand").tokens).sample


def test_one_equals_its_numbers_written_into_the_weights(engine, tmp_path):
    plain = look(engine)
    loader = EngineLoraLoader(engine)
    loader.load_lora(lora(tmp_path, engine, 1)["path"], "luca", 0.5)
    got = look(engine)
    loader.unload_all_loras()
    assert torch.equal(look(engine), plain)
    numbers = factors(engine, 1)
    with torch.no_grad():
        for name in LAYERS:
            up, down = numbers[f"unet.{name}.lora_B.weight"], numbers[f"unet.{name}.lora_A.weight"]
            weight = engine.parts.unet.get_submodule(name).weight
            weight += 0.5 * (up.flatten(1) @ down.flatten(1)).reshape(weight.shape)
    assert torch.allclose(got, look(engine), atol=1e-5) and not torch.allclose(got, plain, atol=1e-3)


def test_kohyas_layout_is_the_same_with_its_alpha(engine, tmp_path):
    loader = EngineLoraLoader(engine)
    loader.load_lora(lora(tmp_path, engine, 1)["path"], "one", 0.5)
    expected, tensors = look(engine), {}
    for key, value in factors(engine, 1).items():
        layer, part = key.removeprefix("unet.").replace(".weight", "").rsplit(".", 1)
        name = f"lora_unet_{layer.replace('.', '_')}"
        tensors[f"{name}.{'lora_down' if part == 'lora_A' else 'lora_up'}.weight"] = value
        tensors[f"{name}.alpha"] = torch.tensor(2.0)  # of rank 4: at half the strength
    save_file(tensors, tmp_path / "kohya.safetensors")
    loader.load_lora(tmp_path / "kohya.safetensors", "one", 1.0)
    assert torch.allclose(look(engine), expected, atol=1e-5)


def test_several_add_up_and_a_name_is_loaded_anew(engine, tmp_path):
    first, second = lora(tmp_path, engine, 1, weight=0.4), lora(tmp_path, engine, 2)
    loader = EngineLoraLoader(engine)
    loader.load_multiple_loras([first, second])
    both = look(engine)
    assert loader.weights == {"lora1": 0.4, "lora2": 0.8}
    loader.load_lora(first["path"], "lora1", 0.4)
    assert torch.allclose(look(engine), both, atol=1e-5)
    loader.unload_lora("lora2")
    assert not torch.allclose(look(engine), both, atol=1e-3) and list(loader.weights) == ["lora1"]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: {k.replace("mid_block", "nowhere"): v for k, v in t.items()}, "does not fit this model at unet.now"),
        (lambda t: {k: v[:, :-1] if "lora_A" in k else v for k, v in t.items()}, "does not fit"),
        (lambda t: {k: v for k, v in t.items() if "lora_B" not in k}, "does not fit"),
        (lambda t: {"lora_unet_mid.lora_down.weight": torch.ones(2, 2)}, "does not fit this model at lora_unet_mid"),
        (lambda t: {"lora_te_mid.weight": torch.ones(2, 2)}, "has no layer of this model"),
    ],
    ids=["another model", "another width", "half of it", "kohya's of another model", "other names"],
)
def test_what_does_not_fit_is_named_and_leaves_nothing(engine, tmp_path, change, message):
    plain, good = look(engine), lora(tmp_path, engine, 1)
    bad = tmp_path / "bad.safetensors"
    save_file({name: value.contiguous() for name, value in change(factors(engine, 2)).items()}, bad)
    loader = EngineLoraLoader(engine)
    with pytest.raises(PakatiError, match=rf"bad\.safetensors {message}"):
        loader.load_multiple_loras([good, {"name": "bad", "path": bad}])
    assert torch.equal(look(engine), plain) and loader.weights == {}


def test_a_row_without_a_path_is_refused_and_nothing_stays(engine, tmp_path):
    loader = EngineLoraLoader(engine)
    with pytest.raises(PakatiError, match="lacks its 'path'"):
        loader.load_multiple_loras([lora(tmp_path, engine, 1), {"name": "two"}])
    assert loader.weights == {}


def test_a_damaged_file_is_one_sentence(engine, tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"junk")
    with pytest.raises(PakatiError, match="cannot be read"):
        EngineLoraLoader(engine).load_lora(tmp_path / "a.safetensors", "a")


def test_a_picture_with_it_differs_and_without_it_is_the_same_again(engine, tmp_path):
    before = engine.generate(REQUEST).image.tobytes()
    loader = EngineLoraLoader(engine)
    loader.load_lora(lora(tmp_path, engine, 1)["path"], "one", 1.0)
    assert engine.generate(REQUEST).image.tobytes() != before
    loader.unload_all_loras()
    assert engine.generate(REQUEST).image.tobytes() == before
