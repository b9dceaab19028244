"""The nodes of characters: faces read and filtered, prompts assembled, several characters in one picture."""

import json

import folder_paths
import pytest
import torch
from comfy_execution.graph_utils import ExecutionBlocker
from PIL import Image

from pakati.nodes import characters, face_files
from pakati.nodes.characters import (
    PakatiArcFaceFilter,
    PakatiCharacterNode,
    PakatiCharacterPrompt,
    PakatiFaceEmbedding,
    PakatiIdentityReport,
)
from pakati.pakati_core.characters import Match
from pakati.pakati_core.errors import IdentityError, ModelError
from pakati.pakati_core.layout import pil_to_image
from pakati.pakati_core.tiny.world import PAIRS, Scene, Thing, draw

STAR, HOUSE = ("star", "red"), ("house", "blue")


def picture(*things: tuple[str, str], x: float = 0.5) -> torch.Tensor:
    """IMAGE [1,128,128,3] with things side by side."""
    places = [x] if len(things) == 1 else [0.28, 0.74]
    drawn = tuple(Thing(*thing, place, 0.5, 0.2) for thing, place in zip(things, places))
    return pil_to_image(Image.fromarray(draw(Scene("grass", drawn), 128)))


def faces(thing: tuple[str, str], **more):
    references = torch.cat([picture(thing, x=x) for x in (0.4, 0.5, 0.6)])
    return PakatiFaceEmbedding.execute(references, "pakati-tiny", **more).result


@pytest.fixture(scope="module")
def star():
    return faces(STAR)[0]


@pytest.fixture(scope="module")
def house():
    return faces(HOUSE)[0]


def test_references_alone_have_their_makers_threshold():
    known, threshold, report = faces(STAR)
    assert threshold == known.embedder.threshold == 0.75
    assert "uncalibrated" in report and len(known.references) == 3


def test_other_people_calibrate_the_threshold():
    others = torch.cat([picture(pair) for pair in PAIRS[::2] if pair != STAR])
    known, threshold, report = faces(STAR, others=others, false_accepts=0.02)
    assert known.threshold.calibrated, report
    assert 0.3 < threshold < 1 and "95 %" in report


@pytest.mark.parametrize("strictness", [{"strictness": "references"}, {"strictness": "own", "threshold": 0.7}])
def test_the_filter_parts_the_candidates(star, strictness):
    candidates = torch.cat([picture(STAR, x=0.35), picture(HOUSE), picture(), picture(STAR, x=0.6)])
    kept, rejected, scores, sheet = PakatiArcFaceFilter.execute(candidates, star, strictness).result
    assert torch.equal(kept, candidates[[0, 3]]) and torch.equal(rejected, candidates[[1, 2]])
    assert scores[2] == -1 and min(scores[0], scores[3]) > 0.7 > scores[1]
    assert sheet.shape[0] == 1 and min(sheet.shape[1:3]) > 512


def test_no_face_is_kept_where_that_is_asked_for(star):
    candidates = torch.cat([picture(), picture(HOUSE)])
    kept = PakatiArcFaceFilter.execute(candidates, star, {"strictness": "documents"}, "keep").result[0]
    assert torch.equal(kept, candidates[:1])


def test_nothing_kept_goes_nowhere(star):
    kept, rejected, *_ = PakatiArcFaceFilter.execute(picture(HOUSE), star, {"strictness": "documents"}).result
    assert isinstance(kept, ExecutionBlocker) and torch.equal(rejected, picture(HOUSE))


def test_references_without_a_face_are_refused():
    with pytest.raises(IdentityError, match="reference picture 2"):
        PakatiFaceEmbedding.execute(torch.cat([picture(STAR), picture()]), "pakati-tiny")


def test_missing_weights_say_what_goes_where(monkeypatch, tmp_path):
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path))
    with pytest.raises(ModelError, match="non-commercial"):
        PakatiFaceEmbedding.execute(picture(STAR), "buffalo_l")
    with pytest.raises(ModelError, match="face_recognition_sface"):
        PakatiFaceEmbedding.execute(picture(STAR), "opencv-sface")
    with pytest.raises(IdentityError, match="path"):
        PakatiFaceEmbedding.execute(picture(STAR), "../secret.onnx")


def test_what_lies_in_the_folders_is_offered(monkeypatch, tmp_path):
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path))
    assert face_files.embedder_names() == ["pakati-tiny", "pakati-heads", "opencv-sface", "buffalo_l"]
    for place in ("insightface/models/auraface/rec.onnx", "faces/own.onnx", "faces/face_detection_yunet_2023mar.onnx"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    assert face_files.embedder_names()[4:] == ["auraface", "own.onnx"]


def test_a_character_goes_into_a_scene(star):
    loras = [("luca.safetensors", 0.8, 0.7)]
    role = PakatiCharacterNode.execute("luca", "luca, brown hair", "2d", "Luca, boy", loras, star).result[0]
    positive, negative, stack, known = PakatiCharacterPrompt.execute(role, "running", "a beach").result
    assert positive == "boy, luca, brown hair, running, a beach"
    assert (negative, stack, known) == ("2d", loras, star)
    plain = PakatiCharacterPrompt.execute(role, "running", say_triggers=False).result[0]
    assert plain == "luca, brown hair, running"


def test_a_preset_file_is_the_ground_of_a_character(monkeypatch, tmp_path):
    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path))
    preset = {"mia": {"base_prompt": "mia, red hair", "negative_prompt": "flat", "trigger_words": ["mia"]}}
    (tmp_path / "cast.yaml").write_text(json.dumps(preset))
    role = PakatiCharacterNode.execute("mia", "", "blurry", "girl", preset_file="cast.yaml").result[0]
    assert (role.preset.base_prompt, role.preset.negative_prompt) == ("mia, red hair", "blurry")
    assert role.preset.trigger_words == ["mia", "girl"]
    before = PakatiCharacterNode.fingerprint_inputs(preset_file="cast.yaml")
    (tmp_path / "cast.yaml").write_text(json.dumps(preset | {"leo": {}}))
    import os

    os.utime(tmp_path / "cast.yaml", ns=(1, 1))
    assert PakatiCharacterNode.fingerprint_inputs(preset_file="cast.yaml") != before
    for name, words in (("../cast.yaml", "input folder"), ("none.yaml", "input folder")):
        with pytest.raises(IdentityError, match=words):
            PakatiCharacterNode.execute("mia", "", preset_file=name)


def test_a_character_without_faces_lets_no_filter_run():
    role = PakatiCharacterNode.execute("luca", "luca").result[0]
    assert isinstance(PakatiCharacterPrompt.execute(role, "running").result[3], ExecutionBlocker)
    with pytest.raises(IdentityError, match="no reference faces"):
        PakatiIdentityReport.execute(picture(STAR), role)


def test_each_character_has_a_face_of_its_own(star, house):
    luca = PakatiCharacterNode.execute("luca", "", faces=star).result[0]
    casa = PakatiCharacterNode.execute("casa", "", faces=house).result[0]
    both = torch.cat([picture(STAR, HOUSE), picture(HOUSE, STAR), picture(HOUSE)])
    report, right, sheet = PakatiIdentityReport.execute(both, luca, casa).result
    lines = report.splitlines()
    assert right == 2 and len(lines) == 6
    assert lines[0].startswith("picture 1: luca: ") and lines[0].endswith("the same")
    assert "picture 3: luca: no face found" in lines and min(sheet.shape[1:3]) > 512
    assert Match.same == "same"
    assert characters.read_strictness({"strictness": "documents"}, star) == 0.65
