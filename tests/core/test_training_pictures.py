"""The pictures that the reader is trained on show what their labels say."""

import argparse

import numpy as np
import pytest
import torch

from pakati_core.tiny import WEIGHTS
from pakati_core.tiny.reader import MALFORMED, Reader
from pakati_core.tiny.world import TEXTURES, Frame, Patch, Scene, Thing, draw
from tools.train.data import any_scene, with_patches
from tools.train.misdrawn import draw_with_malformed
from tools.train.reader import Pool, most_noise
from tools.train.repaint import Repainter

STAR = Scene("grass", (Thing("star", "red", 0.5, 0.5, 0.3),), (), 3)


@pytest.fixture(scope="module")
def painter(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return Repainter(argparse.Namespace(device="cpu", folder=folder, from_weights=WEIGHTS, bfloat16=False), 1)


def painted(painter: Repainter, level: float) -> tuple[np.ndarray, np.ndarray]:
    torch.manual_seed(1)
    drawn = draw(STAR, 128)
    over = painter.paint(torch.from_numpy(drawn.copy())[None], [STAR], torch.tensor([level]))
    return drawn.astype(float), over[0].numpy().astype(float)


def seen(picture: np.ndarray) -> list[tuple[str, str]]:
    reading = Reader().read(torch.from_numpy(picture)[None].float() / 255)[0]
    return [(found.kind, found.colour) for found in reading.findings]


def test_without_noise_painting_over_is_the_autoencoders_round_trip(painter):
    drawn, over = painted(painter, 0.0)
    assert np.abs(drawn - over).mean() < 6


def test_with_noise_the_picture_is_another_one_that_shows_the_same(painter):
    drawn, over = painted(painter, 0.3)
    _, back = painted(painter, 0.0)
    assert np.abs(over - back).mean() > 2
    assert seen(drawn) == seen(over) == [("star", "red")]


def test_a_pool_that_is_painted_over_keeps_its_labels_and_nothing_of_its_pictures(painter):
    pool = Pool.drawn(6, seed=5)
    over = pool.painted_over(painter, 4)
    assert over.pictures.shape == (4, 128, 128, 3) and all(
        torch.equal(mine, theirs[:4]) for mine, theirs in zip(over.labels, pool.labels, strict=True)
    )
    assert not any(torch.equal(mine, theirs) for mine, theirs in zip(over.pictures, pool.pictures, strict=False))


def test_what_the_model_would_mend_or_wipe_out_is_hardly_painted_over():
    framed = STAR.with_things(Thing("star", "red", 0.5, 0.5, 0.3, Frame(0, 0, 1, 1)))
    beside = Scene("grass", STAR.things, (Patch("brick", Frame(0, 0, 0.2, 0.2)),))
    assert most_noise(STAR, ["star"]) == most_noise(framed, ["star"]) == 0.4
    assert most_noise(STAR, [MALFORMED]) == 0.15
    assert most_noise(beside, ["star"]) == 0.0


def test_objects_drawn_by_hand_are_still_read_and_malformed_ones_are_named_so(monkeypatch):
    monkeypatch.setattr("tools.train.misdrawn.BY_HAND", 1.0)
    rng = np.random.default_rng(4)
    for kind in ("star", "house", "ring") * 3:
        scene = Scene("snow", (Thing(kind, "purple", 0.5, 0.5, 0.3),), (), 1)
        by_hand, kinds = draw_with_malformed(scene, rng, 0.0)
        assert kinds == [kind] and not np.array_equal(by_hand, draw(scene, 128))
        assert (kind, "purple") in seen(by_hand.copy())
        assert draw_with_malformed(scene, rng, 1.0)[1] == [MALFORMED]


def test_free_patches_are_of_textures_for_a_round_plain_one_is_a_circle():
    rng, free, round_ = np.random.default_rng(6), 0, 0
    for _ in range(300):
        scene = any_scene(rng)
        patched = with_patches(scene, rng)
        free += len(patched.patches) - len(scene.patches)
        for patch, before in zip(patched.patches, (*scene.patches, None), strict=False):
            if before is None or patch.round != before.round:
                round_ += patch.round
                assert patch.material in TEXTURES
    assert free > 5 and round_ > 20


def test_a_tenth_of_the_scenes_has_one_object_larger_than_the_world_draws_them():
    rng = np.random.default_rng(7)
    scenes = [any_scene(rng) for _ in range(400)]
    large = [scene for scene in scenes if any(thing.radius > 0.35 for thing in scene.things)]
    assert 8 < len(large) < 60 and all(len(scene.things) == 1 for scene in large)
