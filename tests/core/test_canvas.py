"""PakatiCanvas as the documents use it."""

import numpy as np
import pytest

from pakati_core import PakatiCanvas
from pakati_core.engines.models import find_model
from pakati_core.errors import PakatiWarning, RegionError

SQUARE = [(0, 0), (32, 0), (32, 32), (0, 32)]
OTHER = [(32, 32), (64, 32), (64, 64), (32, 64)]


@pytest.fixture(autouse=True)
def no_models(monkeypatch, tmp_path):
    monkeypatch.setenv("PAKATI_MODELS", str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def pixels(image):
    return np.asarray(image, np.int16)


def test_the_documents_first_example_runs_on_the_embedded_model(tmp_path):
    """000 and 001, with the import line changed: an installed model or not, it ends with a picture."""
    canvas = PakatiCanvas(width=1024, height=1024)
    region1 = canvas.create_region([(100, 100), (300, 100), (300, 300), (100, 300)])
    region2 = canvas.create_region([(400, 400), (600, 400), (600, 600), (400, 600)])
    canvas.apply_to_region(region1, prompt="a majestic lion", model="stable-diffusion-xl")
    canvas.apply_to_region(region2, prompt="a serene lake with mountains", model="dalle-3")
    with pytest.warns(PakatiWarning) as said:
        result = canvas.generate(seed=42)
    result.save(tmp_path / "composite_image.png")
    assert result.size == (1024, 1024)
    messages = [str(warning.message) for warning in said]
    assert any("'stable-diffusion-xl' is not in" in message for message in messages)
    assert any("'dalle-3' was retired on 2026-05-12" in message for message in messages)
    assert any("majestic" in message for message in messages)


def test_the_documents_seeds_match():
    canvas = PakatiCanvas(64, 64, prompt="grass")
    region = canvas.create_region(SQUARE)
    canvas.apply_to_region(canvas.create_region(OTHER), prompt="sand")
    result1 = canvas.apply_to_region(region, prompt="a red circle", seed=42)
    result2 = canvas.apply_to_region(region, prompt="a red circle", seed=123)
    result3 = canvas.apply_to_region(region, prompt="a red circle", seed=42)
    assert np.array_equal(pixels(result1.image), pixels(result3.image))
    assert not np.array_equal(pixels(result1.image), pixels(result2.image))


def test_the_same_canvas_and_seed_give_the_same_bytes():
    def painted(seed):
        canvas = PakatiCanvas(64, 64, prompt="grass")
        canvas.apply_to_region(canvas.create_region(SQUARE), prompt="sand")
        return pixels(canvas.generate(seed=seed, steps=3))

    assert np.array_equal(painted(1), painted(1))
    assert not np.array_equal(painted(1), painted(2))


def test_a_result_is_painted_as_the_canvas_was(tmp_path):
    canvas = PakatiCanvas(64, 64, prompt="grass")
    region = canvas.create_region(SQUARE)
    before = canvas.apply_to_region(region, prompt="sand")
    canvas.apply_to_region(region, prompt="night")
    assert [r.prompt for r in before.request.regions.regions] == ["sand"]
    before.save(tmp_path / "before.png")
    assert (tmp_path / "before.png").exists()


def test_regions_keep_the_order_in_which_they_were_made():
    canvas = PakatiCanvas(64, 64)
    first, second = canvas.create_region(SQUARE, "first"), canvas.create_region(name="second")
    canvas.apply_to_region(second, prompt="sand")
    canvas.apply_to_region(first, prompt="sea")
    assert [region.id for region in canvas.regions.regions] == ["first", "second"]


@pytest.mark.parametrize(
    "act, words",
    [
        (lambda canvas: canvas.create_region([(0, 0), (9, 9)]), "three"),
        (lambda canvas: canvas.create_region([(200, 200), (300, 200), (300, 300)]), "region 1"),
        (lambda canvas: canvas.apply_to_region("nobody", prompt="sand"), "nobody"),
    ],
    ids=["two points", "outside", "unknown region"],
)
def test_mistakes_are_named_at_once(act, words):
    with pytest.raises(RegionError, match=words):
        act(PakatiCanvas(64, 64))


def test_installed_models_are_found_by_the_names_people_write(no_models):
    (no_models / "sd_xl_base_1.0.safetensors").write_bytes(b"")
    assert find_model("stable-diffusion-xl") == no_models / "sd_xl_base_1.0.safetensors"
    assert find_model("stable-diffusion") is None
    assert find_model("pakati-tiny") == "pakati-tiny"
