"""The tiny cast: what finds its heads and tells them apart, and the LoRAs that paint them."""

import numpy as np
import pytest
from PIL import Image

from pakati_core.characters import (
    CharacterGenerator,
    Match,
    Person,
    SDXLPipelineManager,
    embedder_called,
    recognise,
    recognise_all,
)
from pakati_core.characters.embeddings import Embeddings
from pakati_core.characters.heads_embedder import HeadsFinder
from pakati_core.engines import Request
from pakati_core.engines.diffusers import DiffusersEngine
from pakati_core.errors import ModelError
from pakati_core.geometry import Extent
from pakati_core.lora import EngineLoraLoader
from pakati_core.regions import RegionSet
from pakati_core.tiny.cast import CAST, lora_of
from pakati_core.tiny.head_nets import load_head_nets
from pakati_core.tiny.heads import LOOKS, Pose, add_head, draw_head, is_held_out, place_of

HELD_OUT = [look for look in LOOKS if is_held_out(look)]
embedder = embedder_called("pakati-heads")


def poses(count: int, seed: int = 0) -> list[Pose]:
    rng = np.random.default_rng(seed)
    return [Pose.drawn(rng) for _ in range(count)]


def person(name: str) -> Person:
    references = [(f"{name}{i}", draw_head(CAST[name], pose, 128, "grass", i)) for i, pose in enumerate(poses(6))]
    return Person(name, Embeddings.of(embedder, references), embedder.threshold)


@pytest.mark.parametrize("size", [(128, 128), (320, 320), (300, 180)])
def test_marks_lie_within_a_tenth_of_a_head(size):
    for number, pose in enumerate(poses(12, seed=3)):
        image = add_head(Image.new("RGB", size, (90, 160, 90)), HELD_OUT[number * 7], pose)
        (found,) = HeadsFinder().find(image)
        wanted = place_of(pose, *size)
        assert np.linalg.norm(found.points - wanted.points, axis=1).max() < 0.1 * wanted.box[2]
        assert abs(found.box.x + found.box.width / 2 - wanted.box[0] - wanted.box[2] / 2) < 0.1 * wanted.box[2]


def test_no_head_no_face():
    image = Image.new("RGB", (128, 128), (40, 90, 200))
    assert embedder.embed(image) == []
    assert recognise(image, person("luca"), embedder).match == Match.unknown


def test_held_out_identities_are_told_apart():
    """The figure over all of them is the benchmark's; here every sixteenth."""
    looks, vectors = HELD_OUT[::16], []
    for number, look in enumerate(looks):
        pair = [embedder.embed(draw_head(look, pose, 128, "sand", 1)) for pose in poses(2, seed=number)]
        vectors.append([faces[0].vector for faces in pair])
    one, two = np.stack(vectors).transpose(1, 0, 2)
    cosines = one @ two.T
    own, others = cosines.diagonal(), np.sort(cosines[~np.eye(len(looks), dtype=bool)])
    assert np.searchsorted(others, own).mean() / len(others) >= 0.99


def test_two_heads_in_one_picture_are_assigned():
    image = draw_head(CAST["mia"], Pose(x=0.27, size=0.18), 256, "snow")
    image = add_head(image, CAST["luca"], Pose(x=0.73, size=0.18))
    luca, mia = recognise_all(image, [person("luca"), person("mia")], embedder)
    assert luca.match == mia.match == Match.same
    assert luca.box and mia.box and mia.box.x < 128 < luca.box.x + luca.box.width / 2


def test_a_damaged_file_is_one_sentence(tmp_path):
    (tmp_path / "heads.safetensors").write_bytes(b"junk")
    with pytest.raises(ModelError, match="damaged or missing"):
        load_head_nets(tmp_path / "heads.safetensors")


@pytest.mark.parametrize("name", CAST)
def test_the_cast_comes_with_all_that_a_character_needs(name, tmp_path):
    """Preset, LoRA, reference faces and recogniser, found without a file of the user's."""
    generator = CharacterGenerator(SDXLPipelineManager("pakati-tiny", "cpu"))
    made = generator.generate(name, "on sand", num_candidates=3, output_path=tmp_path / "a.png", seed=1)
    assert made["is_match"] and made["loras_used"] == [name]


@pytest.mark.parametrize("name, other", [("luca", "mia"), ("mia", "luca")])
def test_a_lora_paints_its_own_person(name, other):
    engine = DiffusersEngine("pakati-tiny", device="cpu")
    EngineLoraLoader(engine).load_lora(lora_of(name), name, 1.0)
    people, found = [person(name), person(other)], []
    for seed, ground in enumerate(("sand", "plain yellow", "sky", "grass")):
        image = engine.generate(Request(RegionSet(Extent(128, 128), (), f"on {ground}"), seed=seed)).image
        found.append([recognise(image, who, embedder).match == Match.same for who in people])
    assert sum(own for own, _ in found) >= 3 and not any(strange for _, strange in found)
