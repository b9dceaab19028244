"""What the region editor saves. The same golden layouts are read by the editor's own tests in tests/web/js."""

import json
from pathlib import Path

import pytest
import torch

from pakati_core.editing import read_edited
from pakati_core.errors import LayoutFileError, PakatiError
from pakati_core.geometry import Extent
from pakati_core.regions import RegionSet

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "layouts.json").read_text(encoding="utf-8"))
EDITED = [case for case in GOLDEN if case["usable"]]
AS_SAVED = [case for case in EDITED if case["value"] and not case["notes"]]
pytestmark = pytest.mark.filterwarnings("ignore::pakati_core.errors.PakatiWarning")


def named(cases: list[dict]):
    return pytest.mark.parametrize("case", cases, ids=lambda case: case["what"])


def core_part(data: dict) -> dict:
    return {key: part for key, part in data.items() if key != "editor"}


@named(EDITED)
def test_what_the_editor_writes_is_the_cores_own_form(case):
    written = core_part(case["written"])
    assert RegionSet.from_dict(written).to_dict() == written
    read_edited(json.dumps(case["written"])).masks()  # raises where a region cannot be drawn


@named(AS_SAVED)
def test_the_editor_understands_a_layout_as_the_core_does(case):
    if "editor" in case["value"] and not isinstance(case["value"]["editor"].get("muted", []), list):
        with pytest.raises(LayoutFileError, match="muted"):
            read_edited(case["value"])
        return
    saved, written = read_edited(case["value"]), read_edited(case["written"])
    assert [region.id for region in saved.regions] == [region.id for region in written.regions]
    assert torch.equal(saved.masks(), written.masks())
    assert [region.loras for region in saved.regions] == [region.loras for region in written.regions]


def box(id: str) -> dict:
    return {"id": id, "box": [0, 0, 8, 8], "prompt": id}


@pytest.mark.parametrize(
    "editor, heard",
    [
        ({}, "abc"),
        ({"muted": ["a"]}, "bc"),
        ({"solo": ["b", "c"]}, "bc"),
        ({"solo": ["b"], "muted": ["b"]}, "b"),
        ({"muted": ["gone"], "solo": ["gone"]}, "abc"),
        ({"muted": ["a", "b", "c"]}, ""),
        ({"colours": 5, "background": "x", "later": []}, "abc"),
    ],
    ids=["none", "muted", "solo", "solo wins", "ids of regions that are gone", "all muted", "the editor's own"],
)
def test_who_takes_part(editor, heard):
    layout = {"pakati": "regions", "version": 1, "width": 16, "height": 16, "regions": [box("a"), box("b"), box("c")]}
    assert "".join(region.id for region in read_edited({**layout, "editor": editor}).regions) == heard


def test_nothing_is_an_empty_canvas():
    assert read_edited(" ") == RegionSet(Extent(1024, 1024))


HEAD = '{"pakati": "regions", "version": 1, "width": 8, "height": 8, "regions": '


@pytest.mark.parametrize(
    "value, named",
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("5", "JSON object"),
        ("[]", "JSON object"),
        ('{"nodes": []}', "region layout"),
        ('{"pakati": "regions", "version": 2}', "update Pakati"),
        (HEAD + '[], "editor": 5}', '"editor"'),
        (HEAD + '[], "editor": {"solo": [5]}}', '"solo"'),
        (HEAD + '[{"id": "a", "box": [9, 9, 1, 1]}]}', "'a'"),
    ],
)
def test_a_mistake_is_one_sentence(value, named):
    with pytest.raises(PakatiError, match=named) as raised:
        read_edited(value)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 300
