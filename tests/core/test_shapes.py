import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from pakati_core.errors import ShapeError
from pakati_core.geometry import Box, Extent
from pakati_core.shapes import (
    PNG_PREFIX,
    BoxShape,
    EllipseShape,
    MaskFolder,
    MaskShape,
    PolygonShape,
    Units,
    WholeShape,
    frozen,
    is_number,
    shape_from_json,
)

TINY = Extent(4, 2)
CHESS = np.array([[0, 255, 0, 255], [255, 0, 51, 0]], dtype=np.uint8)

SHAPES = {
    "box": (BoxShape(0, 0, 2, 2), {"box": [0, 0, 2, 2]}),
    "box in fractions": (BoxShape(0, 0, 0.5, 1, "fraction"), {"box": [0, 0, 0.5, 1], "units": "fraction"}),
    "polygon": (PolygonShape([(0, 0), (2, 0), (2, 2), (0, 2)]), {"polygon": [[0, 0], [2, 0], [2, 2], [0, 2]]}),
    "polygon in fractions": (
        PolygonShape([(0, 0), (0.5, 0), (0.5, 1), (0, 1)], Units.fraction),
        {"polygon": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]], "units": "fraction"},
    ),
    "mask": (MaskShape.from_array(np.array([[1.0, 1, 0, 0]] * 2)), None),
    "mask in fractions": (MaskShape.from_array(np.array([[1.0, 0]]), Units.fraction), None),
}


@pytest.fixture
def folder(tmp_path):
    Image.fromarray(CHESS).save(tmp_path / "chess.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing more")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "inside").mkdir()
    return tmp_path


@pytest.mark.parametrize("shape, data", SHAPES.values(), ids=SHAPES)
def test_all_ways_to_say_the_left_half(shape, data):
    shape.check()
    shape.check_on(TINY)
    assert shape.mask(TINY).tolist() == [[1, 1, 0, 0], [1, 1, 0, 0]]
    assert shape_from_json(shape.to_json()) == shape
    assert data is None or shape.to_json() == data


@pytest.mark.parametrize("shape", [shape for shape, _ in SHAPES.values()], ids=SHAPES)
def test_a_shape_follows_the_canvas(shape):
    assert shape.scaled(3, 5).mask(Extent(12, 10)).tolist() == [[1.0] * 6 + [0.0] * 6] * 10


@pytest.mark.parametrize("kind", ["box", "polygon", "ellipse", "mask", "mask in fractions", "whole"])
def test_a_part_of_the_canvas_is_drawn_alike(kind):
    extent, window = Extent(19, 15), Box(3, 2, 11, 9)
    noise = np.random.default_rng(5).random((15, 19))
    shape = {
        "box": BoxShape(2.5, 3.5, 9, 20),
        "polygon": PolygonShape([(-3, 1), (17.5, 4), (8, 25)]),
        "ellipse": EllipseShape(0, 1, 12.5, 11),
        "mask": MaskShape.from_array(noise),
        "mask in fractions": MaskShape.from_array(noise[:8, :6], Units.fraction),
        "whole": WholeShape(),
    }[kind]
    part = shape.draw(extent, window)
    assert torch.allclose(part, shape.mask(extent)[window.slices], atol=1e-6)
    outside = shape.mask(extent)
    outside[shape.bounds(extent).rounded_out().intersect(extent.box).slices] = 0
    assert not outside.any()


def test_the_bounds_of_a_shrunk_mask_hold_it():
    # Five pixels to two: cells of four, the last one cut short, so pixel 3 goes to the left.
    shape, extent = MaskShape.from_array(np.array([[0.0, 0, 0, 1, 0]]), Units.fraction), Extent(2, 1)
    assert shape.mask(extent).tolist() == [[0.25, 0]]
    assert shape.bounds(extent).rounded_out().contains(Box(0, 0, 1, 1))


def test_the_whole_canvas():
    assert WholeShape().mask(TINY).tolist() == [[1] * 4] * 2
    assert WholeShape().to_json() == {"whole": True}


def test_an_ellipse_fills_its_box():
    mask = EllipseShape(0, 0, 1, 1, "fraction").mask(Extent(40, 20))
    assert mask.sum().item() == pytest.approx(np.pi * 20 * 10, rel=1e-5)


def test_a_mask_keeps_256_levels():
    mask = MaskShape.from_array(np.array([[0.0, 1 / 255, 0.2, 1.0]]))
    assert mask.mask(Extent(4, 1)).tolist() == [[0, pytest.approx(1 / 255), pytest.approx(0.2), 1]]


def test_a_mask_comes_from_a_file(folder):
    shape = shape_from_json({"mask": "chess.png"}, MaskFolder(folder))
    assert torch.equal(shape.mask(TINY), torch.from_numpy(CHESS).float() / 255)
    assert shape == MaskShape.from_array(CHESS)


def test_a_mask_file_is_named_while_it_holds_the_mask(folder):
    shape = shape_from_json({"mask": "chess.png"}, MaskFolder(folder))
    assert shape.to_json(folder) == {"mask": "chess.png"}
    assert shape.to_json()["mask"].startswith(PNG_PREFIX)
    assert shape.to_json(folder / "inside")["mask"].startswith(PNG_PREFIX)
    Image.fromarray(255 - CHESS).save(folder / "chess.png")
    assert shape.to_json(folder)["mask"].startswith(PNG_PREFIX)
    assert shape_from_json(shape.to_json(folder)) == shape


@pytest.mark.parametrize("name", ["../chess.png", "deep/../../chess.png", "{absolute}", "C:\\chess.png", "link.png"])
def test_a_confined_mask_file_stays_in_its_folder(folder, name):
    (folder / "inside" / "link.png").symlink_to(folder / "chess.png")
    name = name.format(absolute=folder / "chess.png")
    with pytest.raises(ShapeError, match="outside the folder"):
        shape_from_json({"mask": name}, MaskFolder(folder / "inside"))


def test_a_mask_file_may_lie_anywhere_if_allowed(folder):
    anywhere = MaskFolder(folder / "inside", confine=False)
    for name in ("../chess.png", str(folder / "chess.png")):
        assert shape_from_json({"mask": name}, anywhere) == MaskShape.from_array(CHESS)


def png(array) -> str:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return PNG_PREFIX + base64.b64encode(file.getvalue()).decode()


BAD = {
    "two points": ({"polygon": [[0, 0], [4, 2]]}, "2 different points; draw at least three"),
    "one point thrice": ({"polygon": [[1, 1], [1, 1], [1, 1]]}, "1 different points"),
    "no points": ({"polygon": []}, "0 different points"),
    "bow tie": ({"polygon": [[0, 0], [4, 2], [4, 0], [0, 2]]}, "crosses itself"),
    "points on a line": ({"polygon": [[0, 0], [1, 1], [3, 3]]}, "no area"),
    "nan in a polygon": ({"polygon": [[0, 0], [4, float("nan")], [4, 2]]}, "coordinate nan"),
    "infinity in a box": ({"box": [0, 0, float("inf"), 2]}, "coordinate inf"),
    "huge integer": ({"box": [0, 0, 10**400, 2]}, "finite"),
    "far away": ({"box": [0, 0, 1e9, 2]}, "far off the canvas"),
    "far away in fractions": ({"box": [0, 0, 400, 2], "units": "fraction"}, "far off the canvas"),
    "text in a box": ({"box": [0, 0, "4", 2]}, "coordinate '4'"),
    "truth in a box": ({"box": [0, 0, True, 2]}, "coordinate True"),
    "list in a box": ({"box": [0, 0, [4], 2]}, "finite numbers"),
    "three numbers": ({"box": [0, 0, 4]}, "x, y, width, height"),
    "box as text": ({"box": "all"}, "x, y, width, height"),
    "no width": ({"box": [0, 0, 0, 2]}, "0 wide and 2 high"),
    "negative height": ({"ellipse": [0, 0, 2, -2]}, "-2 high"),
    "polygon as text": ({"polygon": "abc"}, "polygon is 'abc'"),
    "point as number": ({"polygon": [1, 2, 3]}, "the point 1"),
    "point with three numbers": ({"polygon": [[1, 2, 3], [4, 5, 6], [7, 8, 9]]}, "every point as"),
    "box off the canvas": ({"box": [4, 0, 4, 2]}, "nothing inside the 4x2 canvas"),
    "polygon off the canvas": ({"polygon": [[-1, 0], [-5, 0], [-5, 2]]}, "nothing inside"),
    "polygon around a corner": ({"polygon": [[3, -9], [9, -9], [9, 3], [8, -8]]}, "nothing inside"),
    "ellipse past a corner": ({"ellipse": [3.9, 1.9, 50, 50]}, "nothing inside"),
    "unknown units": ({"box": [0, 0, 1, 1], "units": "percent"}, "pixels or fraction"),
    "units of a list": ({"box": [0, 0, 1, 1], "units": []}, "pixels or fraction"),
    "two shapes": ({"box": [0, 0, 1, 1], "whole": True}, "box and whole; give exactly one"),
    "no shape": ({}, "no shape"),
    "half whole": ({"whole": "yes"}, "true"),
    "missing file": ({"mask": "nowhere.png"}, "'nowhere.png' cannot be read"),
    "file without a picture": ({"mask": "notes.txt"}, "'notes.txt' cannot be read"),
    "damaged file": ({"mask": "broken.png"}, "cannot be read"),
    "folder as file": ({"mask": "inside"}, "cannot be read"),
    "no file name": ({"mask": "chess\0.png"}, "is no path|cannot be read"),
    "mask as number": ({"mask": 7}, "give the name"),
    "mask of another size": ({"mask": png(np.full((3, 4), 255, np.uint8))}, "mask is 4x3 but the canvas is 4x2"),
    "black mask": ({"mask": png(np.zeros((2, 4), np.uint8))}, "black all over"),
    "no base64": ({"mask": PNG_PREFIX + "%%%"}, "not base64"),
    "no picture in it": ({"mask": PNG_PREFIX + "AAAA"}, "cannot be read"),
}


@pytest.mark.parametrize("data, message", BAD.values(), ids=BAD)
def test_shapes_that_cannot_be_drawn(folder, data, message):
    with pytest.raises(ShapeError, match=message) as caught:
        shape = shape_from_json(data, MaskFolder(folder))
        shape.check()
        shape.check_on(TINY)
    assert str(folder) not in str(caught.value)


def test_a_mask_file_needs_a_folder():
    with pytest.raises(ShapeError, match="no folder"):
        shape_from_json({"mask": "chess.png"})


@pytest.mark.parametrize(
    "value, expected",
    [
        ([[0, 1], [2.5, 3]], ((0, 1), (2.5, 3))),
        (np.array([[0, 1]]), ((0, 1),)),
        (np.float32(0.5), 0.5),
        (torch.tensor([1, 2]), (1, 2)),
        ("text", "text"),
    ],
    ids=["lists", "array", "numpy scalar", "tensor", "text"],
)
def test_frozen(value, expected):
    assert frozen(value) == expected
    hash(frozen(value))


def test_is_number():
    assert all(map(is_number, [0, -1.5, 10**200]))
    assert not any(map(is_number, [True, float("nan"), float("-inf"), 10**400, "1", None, []]))
