"""The documents' YAML files load unchanged and lose nothing; prompts say nothing twice. Criterion 34."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pakati_core.characters import presets
from pakati_core.characters.presets import Choice, ControlnetConfig, Preset, SdxlConfig, load_presets
from pakati_core.characters.prompts import assemble
from pakati_core.errors import IdentityError

DOCUMENTS = Path(__file__).parents[1] / "data" / "documents"


def plain(name: str) -> dict:
    return yaml.safe_load((DOCUMENTS / name).read_text())


def test_criterion_34_the_documents_characters_survive_loading_and_saving(tmp_path):
    cast = load_presets(DOCUMENTS / "character_presets.yaml")
    assert list(cast) == ["luca", "alberto"]
    assert cast["luca"].generation_params.size == [1024, 1024]
    assert cast["luca"].consistency_threshold == 0.65 and len(cast["luca"].reference_embeddings) == 2
    presets.save_presets(cast, tmp_path / "again.yaml")
    assert yaml.safe_load((tmp_path / "again.yaml").read_text()) == plain("character_presets.yaml")
    assert load_presets(tmp_path / "again.yaml") == cast


@pytest.mark.parametrize(
    "name, kind, load",
    [
        ("sdxl_config.yaml", SdxlConfig, presets.load_sdxl_config),
        ("controlnet_config.yaml", ControlnetConfig, presets.load_controlnet_config),
    ],
    ids=["sdxl", "controlnet"],
)
def test_criterion_34_the_other_documents_keep_every_key(name, kind, load):
    loaded = load(DOCUMENTS / name)
    assert isinstance(loaded, kind)
    assert loaded.to_dict() == plain(name)


def test_files_beside_the_presets_are_found_from_anywhere(tmp_path, monkeypatch):
    for name in ("face.png", "face.safetensors", "mia.safetensors"):
        (tmp_path / name).touch()
    entry = {
        "reference_images": ["face.png", "elsewhere.png"],
        "reference_embeddings": ["face.safetensors"],
        "loras": [{"path": "mia.safetensors", "name": "mia"}, {"name": "in the registry"}],
    }
    (tmp_path / "cast.yaml").write_text(yaml.safe_dump({"mia": entry}))
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    mia = load_presets(tmp_path / "cast.yaml")["mia"]
    assert mia.reference_images == [str(tmp_path / "face.png"), "elsewhere.png"]
    assert mia.reference_embeddings == [str(tmp_path / "face.safetensors")]
    assert [row.get("path") for row in mia.loras] == [str(tmp_path / "mia.safetensors"), None]


def test_unknown_keys_are_kept_at_every_depth(tmp_path):
    path = tmp_path / "cast.yaml"
    data = {
        "mia": {
            "base_prompt": "mia",
            "voice": "alto",
            "generation_params": {"steps": 5, "eta": 0.3},
            "deep": [{"x": 1}],
        }
    }
    path.write_text(yaml.safe_dump(data))
    presets.save_presets(load_presets(path), path)
    assert yaml.safe_load(path.read_text()) == data


def test_without_a_file_there_are_the_characters_of_the_embedded_world(monkeypatch, tmp_path):
    monkeypatch.setenv("PAKATI_CONFIGS", str(tmp_path))
    assert {"rocco", "nina"} <= set(load_presets())
    (tmp_path / "character_presets.yaml").write_text("mia: {base_prompt: mia}")
    assert list(load_presets()) == ["mia"]


@pytest.mark.parametrize(
    "text, words",
    [
        ("mia: {lora_weight: much}", ["mia.lora_weight", "number"]),
        ("mia: {generation_params: {steps: 0}}", ["mia.generation_params.steps"]),
        ("mia: {consistency_threshold: 2}", ["mia.consistency_threshold"]),
        ("mia: 3", ["mia"]),
        ("- mia", ["list", "names"]),
        ("mia: [", ["YAML"]),
        ("mia: !!python/object/apply:os.getcwd []", ["YAML"]),
        (None, ["YAML"]),
    ],
    ids=["type", "steps", "threshold", "no preset", "list", "syntax", "python object", "missing"],
)
def test_a_mistake_names_file_and_key(tmp_path, text, words):
    path = tmp_path / "cast.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(IdentityError) as caught:
        load_presets(path)
    assert all(word in str(caught.value) for word in ["cast.yaml", *words])


@pytest.mark.parametrize("attention", [{"enable_xformers": True}, {"backend": "xformers"}])
def test_xformers_is_refused(tmp_path, attention):
    path = tmp_path / "sdxl.yaml"
    path.write_text(yaml.safe_dump({"attention": attention}))
    with pytest.raises(IdentityError, match="attention"):
        presets.load_sdxl_config(path)


def test_a_quality_comes_before_the_presets_own_steps():
    preset, config = (
        load_presets(DOCUMENTS / "character_presets.yaml")["luca"],
        presets.load_sdxl_config(DOCUMENTS / "sdxl_config.yaml"),
    )
    assert Choice.of(preset, config, "draft").steps == 20
    assert Choice.of(preset, config, None).steps == 35
    assert Choice.of(Preset(), config, "high").size == [1024, 1024]
    with pytest.raises(IdentityError, match="draft, standard, high"):
        Choice.of(preset, config, "ultra")


def test_trigger_words_are_said_once_and_first():
    text = assemble(["Luca", "brown hair", "sandals"], "luca, boy, brown hair", "running on the beach", "Boy")
    assert text == "sandals, luca, boy, brown hair, running on the beach"


phrases = st.lists(st.sampled_from(["a", "A", " b", "c d", "C  D", "", "e,f"]), max_size=6)


@given(phrases, phrases)
def test_no_phrase_is_said_twice_and_none_is_lost(triggers, parts):
    said = [phrase for phrase in assemble(triggers, *parts).split(", ") if phrase]
    plain_said = [" ".join(phrase.lower().split()) for phrase in said]
    assert len(set(plain_said)) == len(plain_said)
    asked = {" ".join(word.lower().split()) for text in (*triggers, *parts) for word in text.split(",") if word.strip()}
    assert set(plain_said) == asked
