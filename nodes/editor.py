"""The node of the region editor; the editor itself is web/js."""

from __future__ import annotations

import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..pakati_core.editing import EMPTY, read_edited
from ..pakati_core.layout import image_to_pil, pil_to_image
from ..pakati_core.overlay import draw_overlay
from .regions import ALIASES, CATEGORY
from .types import PakatiRegions


class PakatiRegionEditor(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PakatiRegionEditor",
            display_name="Region Editor",
            category=CATEGORY,
            description="Draw regions by hand over a picture, and give each one a prompt of its own. Connect regions "
            "to Apply Regions.",
            has_intermediate_output=True,
            search_aliases=[*ALIASES, "draw regions", "region editor", "lasso", "paint mask", "layout", "polygon"],
            inputs=[
                io.String.Input(
                    "layout",
                    default=EMPTY,
                    dynamic_prompts=False,
                    extra_dict={"widgetType": "PAKATI_LAYOUT"},
                    tooltip="The drawn regions, as the JSON text of a Pakati layout.",
                ),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="A picture to draw on. It lies behind the regions and in the overlay; the canvas keeps its "
                    "own size until you take over the picture's.",
                ),
            ],
            outputs=[
                PakatiRegions.Output(
                    "regions", display_name="regions", tooltip="All regions that are not muted, for Apply Regions"
                ),
                io.Mask.Output(
                    "masks",
                    display_name="masks",
                    tooltip="One mask for each of them, in painting order; one that is black where there are none",
                ),
                io.Image.Output(
                    "overlay",
                    display_name="overlay",
                    tooltip="The regions with names and prompts over the picture; small canvases are drawn larger",
                ),
            ],
        )

    @classmethod
    def execute(cls, layout: str, image: Tensor | None = None) -> io.NodeOutput:
        regions = read_edited(layout)
        masks = regions.masks() if regions.regions else torch.zeros(1, regions.extent.height, regions.extent.width)
        picture = None if image is None else image_to_pil(image[:1, ..., :3])
        overlay = pil_to_image(draw_overlay(regions, picture))
        shown = {} if image is None else {"pakati_background": ui.PreviewImage(image[:1, ..., :3], cls=cls).values}
        return io.NodeOutput(regions, masks, overlay, ui=shown)


NODES = [PakatiRegionEditor]
