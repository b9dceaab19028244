import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pakati_core import layout
from pakati_core.errors import ShapeError


def test_a_picture_becomes_an_image_of_its_size():
    picture = Image.new("RGB", (3, 2), (255, 0, 51))
    image = layout.pil_to_image(picture)
    assert image.shape == (1, 2, 3, 3)
    assert image.dtype == torch.float32
    assert torch.allclose(image[0, 1, 2], torch.tensor([1.0, 0.0, 0.2]))


@given(st.integers(0, 255), st.integers(1, 4), st.integers(1, 4))
def test_a_picture_survives_the_round_trip(level, width, height):
    picture = Image.fromarray((np.arange(width * height * 3, dtype=np.uint8) + level).reshape(height, width, 3))
    assert layout.image_to_pil(layout.pil_to_image(picture)).tobytes() == picture.tobytes()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK", "I;16"])
def test_every_mode_becomes_three_channels(mode):
    assert layout.pil_to_image(Image.new(mode, (5, 4))).shape == (1, 4, 5, 3)


def test_values_out_of_range_are_clipped():
    image = torch.tensor([[[-1.0, 2.0, float("nan")]]])
    assert layout.image_to_pil(image).getpixel((0, 0)) == (0, 255, 0)
    assert layout.mask_to_pil(torch.tensor([[-1.0, 0.5, 7.0]])).tobytes() == bytes([0, 128, 255])


@pytest.mark.parametrize("shape", [(2, 4, 4, 3), (4, 4), (1, 3, 4, 4)], ids=["batch", "mask", "channels first"])
def test_one_picture_at_a_time(shape):
    with pytest.raises(ShapeError, match=r"\[1,H,W,3\] was wanted"):
        layout.image_to_pil(torch.zeros(shape))


def test_channels_move_and_come_back():
    image = torch.rand(2, 5, 7, 3)
    pixels = layout.image_to_bchw(image)
    assert pixels.shape == (2, 3, 5, 7)
    assert pixels[1, 2, 3, 4] == image[1, 3, 4, 2]
    assert torch.equal(layout.bchw_to_image(pixels), image)


@pytest.mark.parametrize(
    "picture, expected",
    [
        (Image.new("L", (1, 1), 51), 0.2),
        (Image.new("1", (1, 1), 1), 1.0),
        (Image.new("RGB", (1, 1), (255, 255, 255)), 1.0),
        (Image.new("RGBA", (1, 1), (0, 0, 0, 102)), 0.4),
        (Image.new("RGBA", (1, 1), (0, 0, 0, 255)), 0.0),
        (Image.new("LA", (1, 1), (255, 0)), 0.0),
    ],
    ids=["grey", "bilevel", "white", "painted on glass", "opaque black", "glass"],
)
def test_what_counts_as_painted(picture, expected):
    assert layout.pil_to_mask(picture).tolist() == [[pytest.approx(expected)]]


@pytest.mark.parametrize(
    "array, expected",
    [
        (np.array([[0, 255]], dtype=np.uint8), [[0, 1]]),
        (np.array([[False, True]]), [[0, 1]]),
        (torch.tensor([[[0.25, 1.0]]], dtype=torch.float64), [[0.25, 1]]),
        ([[0.0, 0.5]], [[0, 0.5]]),
    ],
    ids=["uint8", "bool", "batch of one", "list"],
)
def test_array_to_mask(array, expected):
    mask = layout.array_to_mask(array)
    assert mask.dtype == torch.float32
    assert mask.tolist() == expected


@pytest.mark.parametrize(
    "array, message",
    [
        (np.zeros((4, 4, 3)), r"\[4, 4, 3\] but \[H,W\]"),
        (np.zeros((0, 4)), r"\[0, 4\]"),
        (np.array([[0.0, float("nan")]]), "NaN"),
        (np.array([[0.0, 1.5]]), "outside"),
        (np.array([[0, 7]]), "int64"),
        ("mask.png", r"\[\] but|str"),
        (object(), "object"),
    ],
    ids=["channels", "no rows", "nan", "above one", "integers", "text", "object"],
)
def test_arrays_that_are_no_mask(array, message):
    with pytest.raises(ShapeError, match=message):
        layout.array_to_mask(array)
