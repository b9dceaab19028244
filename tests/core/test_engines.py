"""The local engine on the embedded model and on reduced random SD1.5 and SDXL, folder and file: one test for all."""

import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from pakati_core.engines import Request
from pakati_core.engines.denoising import Denoising, denoised_at
from pakati_core.engines.diffusers import DiffusersEngine
from pakati_core.errors import ModelError, PakatiError, PakatiWarning, ShapeError
from pakati_core.geometry import Extent
from pakati_core.regions import Region, RegionSet
from pakati_core.shapes import BoxShape, WholeShape
from pakati_core.tiny import WEIGHTS
from tests.core.families import sd15_file, sd15_folder, sdxl_file, sdxl_folder

DATA = Path(__file__).parents[1] / "data"
LEFT, RIGHT = BoxShape(0, 0, 32, 64), BoxShape(32, 0, 32, 64)
FAMILIES = {
    "pakati-tiny": lambda folder: "pakati-tiny",
    "sd15": sd15_folder,
    "sdxl": sdxl_folder,
    "sd15 file": sd15_file,
    "sdxl file": sdxl_file,
}


@pytest.fixture(scope="module", params=FAMILIES)
def engine(request, tmp_path_factory):
    return DiffusersEngine(FAMILIES[request.param](tmp_path_factory.mktemp(request.param)), device="cpu")


@pytest.fixture(scope="module")
def tiny():
    return DiffusersEngine("pakati-tiny", device="cpu")


def asked(*regions, prompt="grass", seed=5, **more):
    return Request(RegionSet(Extent(64, 64), regions, prompt), seed=seed, steps=2, **more)


def pixels(picture):
    return np.asarray(picture.image, np.int16)


TWO = (Region("left", LEFT, "a red circle"), Region("right", RIGHT, "brick", negative="snow"))


def test_the_same_request_gives_the_same_bytes(engine):
    assert np.array_equal(pixels(engine.generate(asked(*TWO))), pixels(engine.generate(asked(*TWO))))


def test_another_seed_gives_another_picture(engine):
    assert not np.array_equal(pixels(engine.generate(asked(*TWO))), pixels(engine.generate(asked(*TWO, seed=6))))


def test_regions_leave_no_trace_in_the_model(engine):
    before = pixels(engine.generate(asked()))
    assert not np.array_equal(pixels(engine.generate(asked(*TWO))), before)
    assert np.array_equal(pixels(engine.generate(asked())), before)


def test_a_region_over_the_whole_canvas_is_its_plain_prompt(engine):
    # SDXL's pooled text is one for the whole picture: the base prompt's.
    base = "a red circle on sand" if engine.parts.wants_size else "grass"
    whole = pixels(engine.generate(asked(Region("all", WholeShape(), "a red circle on sand"), prompt=base)))
    plain = pixels(engine.generate(asked(prompt="a red circle on sand")))
    assert np.abs(whole - plain).max() <= 1


def test_the_order_of_disjoint_regions_changes_nothing(engine):
    one, other = (pixels(engine.generate(asked(*regions))) for regions in (TWO, TWO[::-1]))
    assert np.abs(one - other).max() <= 1


def test_an_edit_keeps_every_pixel_outside_its_mask(engine):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    mask = torch.zeros(64, 64)
    mask[8:40, 8:40] = 1
    edited = pixels(engine.edit(asked(prompt="brick"), image, mask))
    outside = mask.numpy() == 0
    assert np.array_equal(edited[outside], np.asarray(image)[outside])
    assert not np.array_equal(edited[~outside], np.asarray(image)[~outside])


def test_a_soft_mask_joins_late_and_a_hard_one_at_once(engine):
    """A tenth of the mask is held until the last of four steps when it is soft, and not at all when it is hard."""
    image = Image.fromarray(np.full((64, 64, 3), 128, np.uint8))
    mask = torch.full((64, 64), 0.1)
    mask[:, :24], mask[:, 56:] = 0, 1
    still = np.asarray(engine.edit(asked(prompt="brick"), image, torch.zeros(64, 64)).unblended, np.int16)
    hard, soft = (
        engine.edit(replace(asked(prompt="brick"), steps=4, soft=soft), image, mask) for soft in (False, True)
    )
    away = [np.abs(np.asarray(p.unblended, np.int16) - still)[:, 32:48].mean() for p in (hard, soft)]
    assert away[1] < 0.9 * away[0]
    for picture in (hard, soft):
        assert np.array_equal(pixels(picture)[:, :24], np.asarray(image)[:, :24])


def test_the_held_part_of_an_edit_is_the_autoencoders_own_copy(tiny):
    """Far from the mask the model's own result is what encoding and decoding make of the picture: nothing drifted."""
    drawn = tiny.generate(Request(RegionSet(Extent(128, 64), (), "a red circle on sand"), seed=3, steps=8)).image
    mask = torch.zeros(64, 128)
    mask[:, :16] = 1
    request = Request(RegionSet(Extent(128, 64), (), "brick"), seed=4, steps=4)
    run = Denoising(tiny.parts, request)
    still = run.repaint(drawn, torch.zeros(64, 128), None)
    edited = tiny.edit(request, drawn, mask).unblended
    apart = np.abs(np.asarray(edited, np.int16) - np.asarray(still, np.int16))
    assert apart[:, 80:].max() <= 1
    assert apart[:, :16].mean() > 3


def test_guidance_of_one_needs_no_negative(engine):
    assert pixels(engine.generate(asked(*TWO, guidance=1.0))).shape == (64, 64, 3)


def test_progress_counts_steps_and_can_cancel(engine):
    seen = []
    engine.generate(asked(*TWO), lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.generate(asked(*TWO), stop)
    assert not any("Regional" in type(p).__name__ for p in engine.parts.unet.attn_processors.values())


def test_unload_gives_the_model_back_and_the_next_call_loads_it(engine):
    before = pixels(engine.generate(asked(*TWO)))
    assert engine.capabilities().megabytes > 0
    engine.unload()
    assert np.array_equal(pixels(engine.generate(asked(*TWO))), before)


def test_a_canvas_that_does_not_divide_is_refused_with_its_size(engine):
    with pytest.raises(ShapeError, match="60x64"):
        engine.generate(Request(RegionSet(Extent(60, 64), (), "grass")))


@pytest.mark.parametrize("make", [sd15_file, sdxl_file, sdxl_folder], ids=["sd15 file", "sdxl file", "sdxl folder"])
def test_half_precision_keeps_sdxls_autoencoder_whole(tmp_path, make):
    engine = DiffusersEngine(make(tmp_path), device="cpu", dtype=torch.bfloat16)
    assert engine.parts.unet.dtype == torch.bfloat16
    assert engine.parts.vae.dtype == (torch.float32 if engine.parts.wants_size else torch.bfloat16)
    image = engine.generate(asked(*TWO)).image
    edited = pixels(engine.edit(asked(prompt="brick"), image, torch.ones(64, 64)))
    assert np.ptp(np.asarray(image)) and np.ptp(edited), "neither is one flat colour"


def test_the_denoiser_says_what_was_recorded(tiny):
    """The same file binds the host's denoiser: tests/nodes/test_regional_attention.py."""
    golden = load_file(DATA / "denoiser.safetensors")
    layout = RegionSet.load(DATA / "denoiser_layout.json")
    checked = 0
    for name, expected in golden.items():
        if name.startswith("denoised"):
            _, size, sigma = name.split(" ")
            width, height = map(int, size.split("x"))
            request = Request(layout.at_extent(Extent(width, height)), guidance=3.0)
            got = denoised_at(tiny.parts, request, golden[f"latents {size}"], float(sigma))
            assert (got - expected).abs().max() < 1e-4
            checked += 1
    assert checked == 6


def test_no_region_in_its_time_is_the_plain_denoiser_bit_for_bit(tiny):
    latents = torch.randn(1, 8, 8, 8)
    late = asked(Region("late", LEFT, "brick", start=0.9))
    for sigma, is_active in ((0.6, False), (0.05, True)):
        regional, plain = (denoised_at(tiny.parts, request, latents, sigma) for request in (late, asked()))
        assert torch.equal(regional, plain) != is_active


def test_a_regions_own_seed_moves_its_own_noise_only(tiny):
    def noise(seed):
        return Denoising(tiny.parts, asked(replace(TWO[0], seed=seed), TWO[1])).noise()

    one, other = noise(1), noise(2)
    assert torch.equal(one[..., 4:], other[..., 4:])
    assert not torch.equal(one[..., :4], other[..., :4])
    assert torch.equal(noise(1), one)


def test_a_regions_own_guidance_acts_in_its_place(tiny):
    x = torch.randn(1, 8, 8, 8)
    plain, strong = (
        denoised_at(tiny.parts, asked(replace(TWO[0], guidance=scale), guidance=2.0), x, 0.7) for scale in (None, 9.0)
    )
    change = (plain - strong).abs().mean((0, 1))
    assert change[:, :4].min() > 0
    assert change[:, 4:].max() == 0


def test_unknown_words_are_reported(tiny):
    with pytest.warns(PakatiWarning, match="lion"):
        picture = tiny.generate(asked(prompt="a lion on grass"))
    assert picture.notes == ("pakati-tiny does not know 'lion'",)


def test_what_the_engine_does_not_do_is_said(tiny):
    with pytest.warns(PakatiWarning, match="loras"):
        tiny.generate(asked(replace(TWO[0], loras=(("style", 1.0, 1.0),))))


def test_requests_round_trip_through_json():
    request = asked(*TWO, seed=9, guidance=3.5, strength=0.4)
    assert Request.from_dict(json.loads(json.dumps(request.to_dict()))) == request


@pytest.mark.parametrize("breakage", ["cut", "missing", "text", "config"])
def test_a_damaged_model_is_one_sentence(tmp_path, breakage):
    folder = tmp_path / "model"
    shutil.copytree(WEIGHTS, folder)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    match breakage:
        case "cut":
            weights.write_bytes(weights.read_bytes()[:1000])
        case "missing":
            weights.unlink()
        case "text":
            weights.write_text("not a tensor")
        case "config":
            (folder / "unet" / "config.json").write_text("{")
    with pytest.raises(ModelError, match="model at .* is damaged") as caught:
        DiffusersEngine(folder, device="cpu").generate(asked())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["nowhere", "model.ckpt"])
def test_a_model_that_cannot_be_used_is_named(tmp_path, name):
    path = tmp_path / name
    if path.suffix:
        path.write_bytes(b"pickle")
    with pytest.raises(PakatiError, match=name):
        DiffusersEngine(path, device="cpu").generate(asked())


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield
