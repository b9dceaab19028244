"""Characters end to end on the embedded model, and the documents' examples on it and on a reduced random SDXL."""

import asyncio
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pakati_core.characters import (
    BatchGenerator,
    CharacterConsistencyChecker,
    CharacterGenerator,
    ControlNetGenerator,
    Preset,
    SDXLPipelineManager,
    Unknown,
    jobs_for,
)
from pakati_core.characters.presets import ControlnetConfig
from pakati_core.cli import main
from pakati_core.errors import IdentityError, ModelError, PakatiError, PakatiWarning
from pakati_core.lora import LoraRegistry
from pakati_core.tiny.world import Scene, Thing, draw
from tests.core import families
from tests.core.tiny_loras import lora

FAST = {"steps": 3, "cfg_scale": 3.0, "size": [64, 64]}


@pytest.fixture(scope="module")
def manager() -> SDXLPipelineManager:
    return SDXLPipelineManager("pakati-tiny", "cpu")


@pytest.fixture
def reference(tmp_path) -> Path:
    path = tmp_path / "rocco.png"
    Image.fromarray(draw(Scene("grass", (Thing("house", "red", 0.5, 0.5, 0.3),)), 128)).save(path)
    return path


def rocco(reference: Path, **changes) -> dict[str, Preset]:
    given = {"base_prompt": "a red house", "embedder": "pakati-tiny", "reference_images": [str(reference)]}
    return {"rocco": Preset.model_validate({**given, "generation_params": FAST, **changes})}


def test_a_character_is_painted_checked_and_saved(manager, reference, tmp_path):
    settings = {"steps": 20, "cfg_scale": 4.0, "size": [128, 128]}
    generator = CharacterGenerator(manager, presets=rocco(reference, generation_params=settings))
    result = asyncio.run(
        generator.generate_character("rocco", "snow", num_candidates=2, output_path=tmp_path / "out.png", seed=1)
    )
    assert set(result) >= {"image_path", "prompt_used", "loras_used", "consistency_score", "generation_time"}
    assert Image.open(result["image_path"]).size == (128, 128)
    assert result["prompt_used"] == "a red house, snow"
    assert (result["loras_used"], result["candidates"]) == ([], 2)
    assert result["is_match"] and result["consistency_score"] > 0.75, result


def test_painting_does_not_hold_up_the_event_loop(manager, reference, tmp_path):
    generator = CharacterGenerator(manager, presets=rocco(reference))

    async def both() -> int:
        ticks, painting = (
            0,
            asyncio.ensure_future(generator.generate_character("rocco", "on sand", output_path=tmp_path / "out.png")),
        )
        while not painting.done():
            await asyncio.sleep(0.001)
            ticks += 1
        await painting
        return ticks

    assert asyncio.run(both()) > 3


def test_a_batch_of_a_character_is_the_same_when_it_goes_on(manager, reference, tmp_path):
    generator, jobs = CharacterGenerator(manager, presets=rocco(reference)), jobs_for("rocco", "on snow", 3)

    def stop(done: int, _total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        BatchGenerator(generator.paint, tmp_path / "one").run(jobs, stop)
    one = BatchGenerator(generator.paint, tmp_path / "one").run()
    two = BatchGenerator(generator.paint, tmp_path / "two").run(jobs)
    assert (one.made_now, two.made_now) == (2, 3)
    assert [path.read_bytes() for path in one.pictures] == [path.read_bytes() for path in two.pictures]
    assert len({path.read_bytes() for path in one.pictures}) == 3
    assert one.records == two.records


def test_retry_paints_again_while_no_face_is_found(manager, reference, tmp_path):
    """Three steps at 64 pixels leave nothing that the reader finds; keep and drop take that as it comes."""
    generator = CharacterGenerator(manager, presets=rocco(reference, base_prompt="", consistency_threshold=0.99))
    (job,) = jobs_for("rocco", "sky", 1, seed=8)
    once, again = generator.paint(job), generator.paint(job | {"unknown": Unknown.retry})
    kept = generator.paint(job | {"unknown": Unknown.keep})
    assert once.facts["score"] is None and once.kept is False and kept.kept is True
    assert (once.facts["seed"], kept.facts["seed"]) == (8, 8) and again.facts["seed"] in (9, 10, 11)


def test_without_references_nothing_is_filtered_and_that_is_said(manager, reference):
    generator = CharacterGenerator(manager, presets=rocco(reference, reference_images=["nowhere.png"]))
    with pytest.warns(PakatiWarning, match="nowhere.png"):
        painted = generator.paint(jobs_for("rocco", "sky", 1)[0])
    assert painted.kept is None and painted.facts["score"] is None


def test_loras_of_character_and_background_are_loaded_and_let_go(manager, reference, tmp_path):
    files = {
        name: str(lora(tmp_path, manager.load_pipeline(), i, name)["path"]) for i, name in enumerate(("luca", "porto"))
    }
    book = LoraRegistry.model_validate(
        {
            "characters": {"luca": {"lora_path": files["luca"], "trigger_words": ["luca", "boy"]}},
            "backgrounds": {"porto": {"lora_path": files["porto"], "default_weight": 0.6}},
        }
    )
    painted = {}
    for name, more in (("plain", {}), ("with", {"lora_name": "luca", "lora_weight": 0.85}), ("after", {})):
        presets = rocco(reference, base_prompt="luca, boy, a red house", **more)
        generator = CharacterGenerator(manager, presets=presets, lora_registry=book)
        place, out = "porto" if more else None, tmp_path / f"{name}.png"
        result = generator.generate("rocco", "sky", background=place, output_path=out, seed=1, filter_consistency=False)
        painted[name] = result["loras_used"], out.read_bytes()
    assert painted["with"][0] == ["luca", "porto"] and painted["plain"][0] == []
    assert painted["with"][1] != painted["plain"][1] == painted["after"][1]
    generator = CharacterGenerator(manager, presets=rocco(reference, lora_name="luca"), lora_registry=book)
    assert generator.plan("rocco", "sky").prompt == "luca, boy, a red house, sky"


def test_a_lora_file_that_is_missing_is_said_and_an_unknown_name_refused(manager, reference):
    book = LoraRegistry.model_validate({"characters": {"luca": {"lora_path": "/nowhere/luca.safetensors"}}})
    with pytest.warns(PakatiWarning, match="/nowhere"):
        assert (
            CharacterGenerator(manager, presets=rocco(reference, lora_name="luca"), lora_registry=book)
            .plan("rocco", "sky")
            .loras
            == ()
        )
    with pytest.raises(IdentityError, match="lora_registry"):
        CharacterGenerator(manager, presets=rocco(reference, lora_name="nobody")).plan("rocco", "sky")
    with pytest.raises(IdentityError, match="there is rocco"):
        CharacterGenerator(manager, presets=rocco(reference)).plan("luca", "sky")


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command_paints_candidates_and_goes_on(reference, tmp_path, capsys):
    presets = tmp_path / "cast.json"
    presets.write_text(json.dumps({name: preset.to_dict() for name, preset in rocco(reference).items()}))
    call = ["character", "rocco", "on grass", "--candidates", "2", "--presets", str(presets), "--out"]
    code = main([*call, str(tmp_path / "out"), "--no-face", "keep", "--model", "pakati-tiny"])
    said = capsys.readouterr().out
    assert code in (0, 1) and "2 painted now" in said and "00002.png" in said
    main([*call, str(tmp_path / "out"), "--no-face", "keep", "--model", "pakati-tiny"])
    assert "0 painted now" in capsys.readouterr().out
    assert len(list((tmp_path / "out" / "pictures").iterdir())) == 2


def test_without_a_folder_each_wish_has_its_own_and_goes_on_there(reference, tmp_path, monkeypatch, capsys):
    presets = tmp_path / "cast.json"
    presets.write_text(json.dumps({name: preset.to_dict() for name, preset in rocco(reference).items()}))
    monkeypatch.chdir(tmp_path)
    told = []
    for scene in ("on grass", "on sand", "on grass"):
        main(["character", "rocco", scene, "--presets", str(presets), "--no-face", "keep", "--model", "pakati-tiny"])
        told.append(capsys.readouterr().out.splitlines()[-1])
    folder = str(Path("out/characters/rocco"))
    assert [line.split(":")[0] for line in told] == [folder, f"{folder}-2", folder]
    assert ["1 painted now" in line for line in told] == [True, True, False]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["nobody", "sky"], "rocco, nina"),
        (["rocco", "sky", "--candidates", "0"], "at least 1"),
        (["rocco", "sky", "--presets", "nowhere.yaml"], "nowhere.yaml"),
        (["rocco", "sky", "--model", "nowhere"], "nowhere"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_sentence(monkeypatch, tmp_path, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert main(["character", *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1
    assert list(tmp_path.rglob("*.png")) == []


# --- the documents' examples ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """The models folder of a machine with a reduced random SDXL and two random ControlNets for it."""
    from diffusers import ControlNetModel

    folder = tmp_path_factory.mktemp("models")
    families.sdxl_folder(folder).rename(folder / "stable-diffusion-xl-base-1.0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        manager = SDXLPipelineManager(folder / "stable-diffusion-xl-base-1.0", "cpu")
        unet = manager.load_pipeline().unet
    for seed, name in enumerate(("controlnet-openpose-sdxl-1.0", "controlnet-canny-sdxl-1.0")):
        torch.manual_seed(seed)
        net: Any = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 8, 8, 8))
        for layer in (*net.controlnet_down_blocks, net.controlnet_mid_block):
            torch.nn.init.normal_(layer.weight, std=0.5)
        torch.nn.init.normal_(net.controlnet_cond_embedding.conv_out.weight, std=0.5)
        net.save_pretrained(folder / "controlnet" / name)
    return folder


@pytest.fixture
def sdxl(models, monkeypatch) -> SDXLPipelineManager:
    monkeypatch.setenv("PAKATI_MODELS", str(models))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PakatiWarning)
        return SDXLPipelineManager("stabilityai/stable-diffusion-xl-base-1.0", "cuda", torch.float16)


def small(**more) -> dict:
    return {"num_steps": 2, "width": 64, "height": 64, "seed": 3, **more}


def test_basic_sdxl_generation_as_in_the_documents(sdxl):
    pipeline = sdxl.load_pipeline()
    assert type(pipeline).__name__ == "StableDiffusionXLPipeline"
    assert {type(processor).__name__ for processor in pipeline.unet.attn_processors.values()} == {"AttnProcessor2_0"}
    one = sdxl.generate("pixar style 3d animation, boy", "2d, flat", cfg_scale=7.5, **small())
    two = sdxl.generate("pixar style 3d animation, boy", "2d, flat", cfg_scale=7.5, **small())
    assert one.size == (64, 64) and np.array_equal(np.asarray(one), np.asarray(two))
    assert sdxl.get_vram_usage() == 0 or torch.cuda.is_available()
    sdxl.unload_pipeline()
    assert np.array_equal(
        np.asarray(sdxl.generate("pixar style 3d animation, boy", "2d, flat", **small())), np.asarray(one)
    )


def test_progress_of_sdxl_counts_steps(sdxl):
    seen = []
    sdxl.generate("boy", progress=lambda done, total: seen.append((done, total)), **small())
    assert seen == [(1, 2), (2, 2)]


def test_every_scheduler_of_the_documents_is_known(models, monkeypatch):
    monkeypatch.setenv("PAKATI_MODELS", str(models))
    manager = SDXLPipelineManager("stable-diffusion-xl-base-1.0", "cpu", scheduler="DPMSolverMultistepScheduler")
    assert type(manager.load_pipeline().scheduler).__name__ == "DPMSolverMultistepScheduler"
    with pytest.raises(ModelError, match="no scheduler"):
        SDXLPipelineManager("stable-diffusion-xl-base-1.0", "cpu", scheduler="FastScheduler").load_pipeline()


def test_the_wrong_model_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("PAKATI_MODELS", str(tmp_path))
    with pytest.raises(ModelError, match="downloads nothing"):
        SDXLPipelineManager("stabilityai/stable-diffusion-xl-base-1.0", "cpu").generate("boy")
    with pytest.raises(ModelError, match="own attention"):
        SDXLPipelineManager("pakati-tiny", "cpu", use_sdpa=False)


CONFIG = ControlnetConfig.model_validate(
    {
        "controlnets": {
            "openpose": {"model": "thibaud/controlnet-openpose-sdxl-1.0", "default_strength": 1.0},
            "canny": {"model": "diffusers/controlnet-canny-sdxl-1.0", "default_strength": 0.7},
            "depth": {"model": "diffusers/controlnet-depth-sdxl-1.0"},
        },
        "preprocessing": {"canny": {"low_threshold": 100, "high_threshold": 200}},
    }
)


def difference(one: Image.Image, two: Image.Image) -> float:
    return float(np.abs(np.asarray(one, np.float32) - np.asarray(two, np.float32)).mean())


def test_controlnets_as_in_the_documents(sdxl, reference):
    plain = sdxl.generate("luca, boy", **small())
    generator = ControlNetGenerator(sdxl.load_pipeline(), CONFIG)
    posed = generator.generate_with_pose(
        str(reference), "luca, boy", preprocess="as is", controlnet_strength=1.0, **small()
    )
    edged = generator.generate_with_canny(reference, "luca, boy", **small())
    none = generator.generate_with_canny(reference, "luca, boy", controlnet_strength=0.0, **small())
    both = generator.generate_multi_controlnet(
        [
            {"type": "pose", "image": str(reference), "strength": 0.8, "preprocess": "as is"},
            {"type": "canny", "image": str(reference), "end": 0.5},
        ],
        "luca, boy",
        **small(),
    )
    assert difference(none, plain) == 0
    assert (
        min(difference(posed, plain), difference(edged, plain), difference(both, posed), difference(both, edged)) > 0.5
    )


def test_controls_that_cannot_be_used_say_why(sdxl, reference):
    generator = ControlNetGenerator(sdxl.load_pipeline(), CONFIG)
    with pytest.raises(PakatiError, match="drawn pose"):
        generator.generate_with_pose(reference, "luca", **small())
    with pytest.raises(ModelError, match="depth-sdxl.*downloads nothing"):
        generator.generate_with_depth(reference, "luca", preprocess="as is", **small())
    with pytest.raises(PakatiError, match="pose, depth, canny"):
        generator.generate_multi_controlnet([{"type": "mood", "image": reference}], "luca", **small())
    with pytest.raises(PakatiError, match="start < end"):
        generator.generate_with_canny(reference, "luca", start=0.7, end=0.2, **small())
    with pytest.raises(PakatiError, match="is not at luca"):
        generator.generate_with_canny(reference, "luca", character_lora="luca", **small())
    with pytest.raises(PakatiError, match="at least one"):
        generator.generate_multi_controlnet([], "luca", **small())
    with pytest.raises(ModelError, match="SDXL pipeline"):
        ControlNetGenerator(object())


@pytest.mark.parametrize("model", ["pakati-tiny", "stabilityai/stable-diffusion-xl-base-1.0"])
def test_candidates_and_filter_as_in_the_documents(model, models, monkeypatch, reference, tmp_path):
    """The fourth example, word for word but for the reference picture and its number of candidates."""
    configs = tmp_path / "configs" / "generation"
    configs.mkdir(parents=True)
    preset = {"base_prompt": "a red house", "generation_params": FAST}
    (configs / "character_presets.yaml").write_text(json.dumps({"luca": preset}))
    quality = {"standard": {"steps": 2, "cfg_scale": 3.0}}
    config = {"model": {"base_model": model}, "generation": {"quality_presets": quality}}
    (configs / "sdxl_config.yaml").write_text(json.dumps(config))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PAKATI_MODELS", str(models))
    monkeypatch.setenv("PAKATI_EMBEDDER", "pakati-tiny")

    async def example() -> tuple[list[str], list[str]]:
        generator = CharacterGenerator()
        checker = CharacterConsistencyChecker()
        candidates = []
        for _i in range(2):
            result = await generator.generate_character(
                character="luca",
                scene_description="smiling, looking at camera",
                quality="standard",
                filter_consistency=False,
            )
            candidates.append(result["image_path"])
        consistent_images = checker.filter_consistent_images(
            reference_image=str(reference), generated_images=candidates, threshold=0.65
        )
        return candidates, consistent_images

    candidates, kept = asyncio.run(example())
    assert len({Path(path).read_bytes() for path in candidates}) == 2
    assert set(kept) <= set(candidates)
