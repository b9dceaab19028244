"""The node behind the region editor."""

import json

import pytest
import torch

from pakati.nodes.editor import PakatiRegionEditor
from pakati.pakati_core.errors import PakatiError


def layout(**more) -> str:
    regions = [
        {"id": "left", "box": [0, 0, 32, 48], "prompt": "a cat"},
        {"id": "right", "box": [32, 0, 32, 48], "prompt": "a dog"},
    ]
    return json.dumps({"pakati": "regions", "version": 1, "width": 64, "height": 48, "regions": regions, **more})


def test_regions_masks_and_overlay():
    regions, masks, overlay = PakatiRegionEditor.execute(layout()).result
    assert [region.prompt for region in regions.regions] == ["a cat", "a dog"]
    assert masks.shape == (2, 48, 64) and masks.sum(0).eq(1).all()
    assert overlay.ndim == 4 and overlay.shape[-1] == 3 and overlay.std() > 0.05


def test_a_muted_region_comes_out_of_no_output():
    regions, masks, _ = PakatiRegionEditor.execute(layout(editor={"muted": ["left"]})).result
    assert [region.id for region in regions.regions] == ["right"]
    assert masks.shape == (1, 48, 64) and masks[0, 0, 0] == 0 and masks[0, 0, 63] == 1


def test_no_regions_are_one_black_mask():
    regions, masks, _ = PakatiRegionEditor.execute("").result
    assert regions.regions == () and masks.shape == (1, 1024, 1024) and not masks.any()


def test_the_default_is_an_empty_canvas():
    (entry,) = [entry for entry in PakatiRegionEditor.define_schema().inputs if entry.id == "layout"]
    assert PakatiRegionEditor.execute(entry.default).result[0] == PakatiRegionEditor.execute("").result[0]


@pytest.mark.parametrize("value", ["{", "5", '{"pakati": "regions", "version": 2}', layout(width=0)])
def test_a_mistake_is_one_sentence(value):
    with pytest.raises(PakatiError) as raised:
        PakatiRegionEditor.execute(value)
    assert "\n" not in str(raised.value)


def test_the_overlay_lies_over_the_picture(monkeypatch):
    monkeypatch.setattr("pakati.nodes.editor.ui.PreviewImage", lambda image, cls: type("Saved", (), {"values": ["x"]}))
    dark = PakatiRegionEditor.execute(layout(), torch.zeros(1, 48, 64, 3))
    light = PakatiRegionEditor.execute(layout(), torch.ones(1, 48, 64, 3))
    assert light.result[2].mean() - dark.result[2].mean() > 0.3
    assert light.ui == {"pakati_background": ["x"]}
