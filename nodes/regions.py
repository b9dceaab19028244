"""Nodes of the menu Pakati/regions."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum

import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..pakati_core.errors import RegionError, ShapeError
from ..pakati_core.layout import image_to_pil, pil_to_image
from ..pakati_core.overlay import draw_overlay
from ..pakati_core.regions import Overlap, RegionSet, regions_from_colour_map
from ..pakati_core.shapes import MAX_SIDE, BoxShape, EllipseShape, MaskShape, PolygonShape, Shape, Units, WholeShape
from .types import LoraStack, PakatiRegion, PakatiRegions, PlacedRegion

CATEGORY = "Pakati/regions"
ALIASES = ["regional prompting", "regional prompter", "region", "area", "mask"]
POINTS_FORM = "write them as (x1, y1), (x2, y2), (x3, y3)"


class ShapeKind(StrEnum):
    box = "box"
    ellipse = "ellipse"
    polygon = "polygon"
    whole = "whole canvas"


AS_DRAWN = "as drawn"  # in place of an overlap


class Unreachable(StrEnum):
    stop = "stop"
    blend = "blend"


class PakatiRegionMask(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PakatiRegionMask",
            display_name="Region from Shape",
            category=CATEGORY,
            description="Draws a box, an ellipse, a polygon or the whole canvas, as a region for a prompt of its own "
            "and as a stock mask.",
            search_aliases=[*ALIASES, "draw mask", "rectangle", "circle", "polygon", "solid mask", "mask rect area"],
            inputs=[
                *_canvas_inputs(),
                io.DynamicCombo.Input(
                    "shape",
                    options=[
                        io.DynamicCombo.Option(ShapeKind.box, [_by_units(_box_inputs)]),
                        io.DynamicCombo.Option(ShapeKind.ellipse, [_by_units(_box_inputs)]),
                        io.DynamicCombo.Option(ShapeKind.polygon, [_by_units(_polygon_inputs)]),
                        io.DynamicCombo.Option(ShapeKind.whole, []),
                    ],
                    tooltip="What the region looks like. An ellipse touches the four sides of its box.",
                ),
                *_edge_inputs(),
            ],
            outputs=_region_outputs(),
        )

    @classmethod
    def execute(
        cls, width: int, height: int, shape: dict, grow: float = 0.0, feather: float = 0.0, invert: bool = False
    ) -> io.NodeOutput:
        return _region(width, height, read_shape(shape), grow, feather, invert)


class PakatiRegionFromMask(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PakatiRegionFromMask",
            display_name="Region from Mask",
            category=CATEGORY,
            description="Makes a region of a painted mask, or of one that another node made. The canvas has the size "
            "of the mask.",
            search_aliases=[*ALIASES, "mask to region", "painted region", "segment to region"],
            inputs=[
                io.Mask.Input(
                    "mask", tooltip="One mask: white (1) is inside, black (0) outside, grey in part. Not a batch."
                ),
                *_edge_inputs(),
            ],
            outputs=_region_outputs(),
        )

    @classmethod
    def execute(cls, mask: Tensor, grow: float = 0.0, feather: float = 0.0, invert: bool = False) -> io.NodeOutput:
        if mask.ndim == 3 and len(mask) != 1:
            raise ShapeError(f"mask is a batch of {len(mask)} but a region is one mask; pick one of them first")
        # Other nodes' resizing overshoots a little.
        painted = MaskShape.from_array(mask.float().clamp(0, 1))
        return _region(painted.width, painted.height, painted, grow, feather, invert)


class PakatiRegionFromColour(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PakatiRegionFromColour",
            display_name="Region from Colour",
            category=CATEGORY,
            description="Makes a region of all that has one colour in a painted picture. One picture with a colour "
            "for each region, and one of these nodes for each colour, make a layout.",
            search_aliases=[*ALIASES, "color map", "colour map", "segmentation map", "color to mask", "paint"],
            inputs=[
                io.Image.Input("image", tooltip="The painted picture, one. Its size is the size of the canvas."),
                io.Color.Input("colour", default="#ff0000", tooltip="The region's colour in the picture, as #rrggbb."),
                io.Int.Input(
                    "tolerance",
                    default=16,
                    min=0,
                    max=255,
                    optional=True,
                    advanced=True,
                    tooltip="How far red, green and blue, each 0 to 255, may be off. 0 takes the exact colour only.",
                ),
                *_edge_inputs(),
            ],
            outputs=_region_outputs(),
        )

    @classmethod
    def execute(
        cls,
        image: Tensor,
        colour: str,
        tolerance: int = 16,
        grow: float = 0.0,
        feather: float = 0.0,
        invert: bool = False,
    ) -> io.NodeOutput:
        picture = image_to_pil(image[..., :3])
        (painted,) = regions_from_colour_map(picture, {colour: colour}, tolerance)
        return _region(*picture.size, painted.shape, grow, feather, invert)


class PakatiRegionalPrompt(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PakatiRegionalPrompt",
            display_name="Regional Prompt",
            category=CATEGORY,
            description="Gives a region its prompt and lays it over the regions before it. Chain one of these nodes "
            "for each region; the last one goes into Apply Regions.",
            search_aliases=[*ALIASES, "attention couple", "latent couple", "couple", "mosaic", "composition", "area"],
            inputs=[
                PakatiRegion.Input("region", tooltip="Where the prompt acts."),
                io.String.Input(
                    "prompt",
                    multiline=True,
                    dynamic_prompts=False,
                    placeholder="what is in this region",
                    tooltip="What is in this region. Taken as it is: braces and slashes have no special meaning.",
                ),
                PakatiRegions.Input(
                    "regions",
                    optional=True,
                    tooltip="The regions so far. This one is laid over them. Unconnected, it is the first.",
                ),
                io.String.Input(
                    "negative",
                    multiline=True,
                    dynamic_prompts=False,
                    optional=True,
                    placeholder="what is not in this region",
                    tooltip="What is to be kept out of this region. Empty: the base negative prompt holds here too.",
                ),
                LoraStack.Input(
                    "loras",
                    optional=True,
                    tooltip="LoRAs that act in this region only, on its words and its part of the picture: a stack, "
                    "as LoRA stack nodes make it.",
                ),
                *_effect_inputs(),
                *_name_and_feather_inputs(),
                *_sampling_inputs(),
            ],
            outputs=[PakatiRegions.Output("regions", tooltip="The regions so far, this one on top")],
        )

    @classmethod
    def execute(
        cls,
        region: PlacedRegion,
        prompt: str,
        regions: RegionSet | None = None,
        negative: str = "",
        loras: list | None = None,
        weight: float = 1.0,
        start: float = 0.0,
        end: float = 1.0,
        name: str = "",
        feather: float = 0.0,
        base: float = 0.0,
        guidance: float = 0.0,
        own_seed: int = -1,
    ) -> io.NodeOutput:
        earlier = regions or RegionSet(region.extent)
        called = name.strip() or f"region {len(earlier.regions) + 1}"
        if region.extent != earlier.extent:
            raise RegionError(
                f"region {called!r} was drawn on a {region.extent} canvas but the regions before it on "
                f"{earlier.extent}; give all of them the same width and height"
            )
        edge = {"feather": feather} if feather else {}
        asked = {"prompt": prompt, "negative": negative, "weight": weight, "start": start, "end": end}
        asked |= {"base": base, "guidance": guidance or None, "seed": own_seed if own_seed >= 0 else None}
        prompted = replace(region.region, id=called, name=called, loras=tuple(loras or ()), **asked, **edge)
        return io.NodeOutput(replace(earlier, regions=(*earlier.regions, prompted)))


class PakatiApplyRegions(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PakatiApplyRegions",
            display_name="Apply Regions",
            category=CATEGORY,
            description="Makes the model listen to each region's prompt inside that region, and to the base prompt "
            "elsewhere. Connect all three outputs to the sampler.",
            search_aliases=[*ALIASES, "attention couple", "latent couple", "regional conditioning", "attention mask"],
            inputs=[
                io.Model.Input("model", tooltip="The model to sample with. It is not changed; the output is a copy."),
                io.Clip.Input("clip", tooltip="The CLIP that encoded the base prompt. It encodes the regions' too."),
                io.Conditioning.Input("positive", tooltip="The base prompt: it holds wherever no region is."),
                io.Conditioning.Input(
                    "negative",
                    tooltip="The base negative prompt: it holds wherever no region is, and in regions without a "
                    "negative of their own.",
                ),
                PakatiRegions.Input("regions", tooltip="The regions, from the last Regional Prompt of the chain."),
                io.Combo.Input(
                    "overlap",
                    options=[AS_DRAWN, *Overlap],
                    default=AS_DRAWN,
                    optional=True,
                    advanced=True,
                    tooltip="Where regions overlap. as drawn: as their layout says, and over where it says nothing. "
                    "over: the later one hides the earlier ones. blend: they share the place evenly.",
                ),
                io.Combo.Input(
                    "unreachable",
                    options=Unreachable,
                    default=Unreachable.stop,
                    optional=True,
                    advanced=True,
                    tooltip="For a model whose attention cannot be reached. stop: say so. blend: let each prompt "
                    "predict the whole picture and blend the predictions, which takes one pass for each region.",
                ),
                io.Boolean.Input(
                    "global_layers",
                    default=False,
                    optional=True,
                    advanced=True,
                    tooltip="Some layers of the regions' LoRAs (time, modulation, pooled text) steer the picture as "
                    "one. Off: they are left out. On: they act on the whole picture.",
                ),
            ],
            outputs=[
                io.Model.Output("model", display_name="model", tooltip="The model, listening to the regions"),
                io.Conditioning.Output("positive", display_name="positive", tooltip="The base prompt and the regions'"),
                io.Conditioning.Output(
                    "negative", display_name="negative", tooltip="The base negative prompt and the regions'"
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        model,
        clip,
        positive: list,
        negative: list,
        regions: RegionSet,
        overlap: str = AS_DRAWN,
        unreachable: str = Unreachable.stop,
        global_layers: bool = False,
    ) -> io.NodeOutput:
        # Imported late: it pulls in the host's model code, which a listing of the nodes does not need.
        from .regional_attention import apply_regions

        if overlap != AS_DRAWN:
            regions = replace(regions, overlap=overlap)
        blend = unreachable == Unreachable.blend
        return io.NodeOutput(*apply_regions(model, clip, positive, negative, regions, blend, global_layers))


class PakatiRegionOverlay(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PakatiRegionOverlay",
            display_name="Show Regions",
            category=CATEGORY,
            description="Draws the regions with their names and prompts, over a picture or over squared paper.",
            search_aliases=[*ALIASES, "preview regions", "region overlay", "visualize mask", "show layout", "debug"],
            is_output_node=True,
            inputs=[
                PakatiRegions.Input("regions", tooltip="The regions to show."),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="What to draw them over, of any size: it is stretched to the canvas. Unconnected: paper.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "image",
                    tooltip="One drawing for each picture. A small canvas is drawn larger, and a legend may be added "
                    "below, so its size is not that of the canvas",
                )
            ],
        )

    @classmethod
    def execute(cls, regions: RegionSet, image: Tensor | None = None) -> io.NodeOutput:
        pictures = [None] if image is None else [image_to_pil(each[..., :3]) for each in image]
        drawn = torch.cat([pil_to_image(draw_overlay(regions, picture)) for picture in pictures])
        return io.NodeOutput(drawn, ui=ui.PreviewImage(drawn, cls=cls))


def read_shape(shape: dict) -> Shape:
    """The value of PakatiRegionMask's `shape` input.  Raises ShapeError."""
    if shape["shape"] == ShapeKind.whole:
        return WholeShape()
    place = shape["units"]
    if shape["shape"] == ShapeKind.polygon:
        return PolygonShape(read_points(place["points"]), place["units"])
    kind = BoxShape if shape["shape"] == ShapeKind.box else EllipseShape
    return kind(place["x"], place["y"], place["width"], place["height"], place["units"])


def read_points(text: str) -> list[tuple[float, float]]:
    """`(x1, y1), (x2, y2), ...`, or the same in square brackets.  Raises ShapeError for any other text."""
    number = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
    pair = re.compile(rf"[(\[]\s*{number}\s*,\s*{number}\s*[)\]]")
    points = [(float(x), float(y)) for x, y in pair.findall(text)]
    rest = pair.sub("", text).strip(" \t\r\n,;()[]")
    if rest or not points:
        raise ShapeError(f"polygon has the points {rest or text!r}, which were not understood; {POINTS_FORM}")
    return points


def _region(width: int, height: int, shape: Shape, grow: float, feather: float, invert: bool) -> io.NodeOutput:
    region = PlacedRegion.unnamed(width, height, shape, grow=grow, feather=feather, invert=invert)
    return io.NodeOutput(region, region.mask())


def _region_outputs() -> list[io.Output]:
    return [
        PakatiRegion.Output("region", display_name="region", tooltip="For a Regional Prompt"),
        io.Mask.Output("mask", display_name="mask", tooltip="The same as a stock mask, [1,H,W], feathered"),
    ]


def _canvas_inputs() -> list[io.Input]:
    return [
        io.Int.Input(
            side,
            default=1024,
            min=16,
            max=MAX_SIDE,
            step=8,
            tooltip=f"The {side} of the canvas in pixels; the same for all regions. Use that of the picture. Where "
            "the picture has another size, the regions are stretched to it.",
        )
        for side in ("width", "height")
    ]


def _edge_inputs() -> list[io.Input]:
    return [
        io.Float.Input(
            "grow",
            default=0.0,
            min=-1024.0,
            max=1024.0,
            step=1.0,
            optional=True,
            advanced=True,
            tooltip="How far the edge moves outwards, in canvas pixels; below 0 it moves inwards.",
        ),
        io.Float.Input(
            "feather",
            default=0.0,
            min=0.0,
            max=1024.0,
            step=1.0,
            optional=True,
            advanced=True,
            tooltip="How far the edge is soft to either side, in canvas pixels. Grow by as much to soften outwards "
            "only. 0 is a hard edge.",
        ),
        io.Boolean.Input(
            "invert",
            default=False,
            optional=True,
            advanced=True,
            tooltip="Take what lies outside the shape, once it has grown, instead of what lies inside.",
        ),
    ]


def _by_units(inputs: Callable[[Units], list[io.Input]]) -> io.DynamicCombo.Input:
    return io.DynamicCombo.Input(
        "units",
        options=[io.DynamicCombo.Option(units, inputs(units)) for units in Units],
        tooltip="How the place is given. pixels: of the canvas. fraction: 0 is the left or top edge of the canvas, "
        "1 the right or bottom edge, so that the shape follows the canvas to another size.",
    )


def _box_inputs(units: Units) -> list[io.Input]:
    tooltips = {
        "x": "Left edge of the shape",
        "y": "Top edge of the shape",
        "width": "Width of the shape",
        "height": "Height of the shape",
    }
    if units == Units.pixels:
        return [
            io.Int.Input(
                name,
                default=512 if name in ("width", "height") else 0,
                min=1 if name in ("width", "height") else -MAX_SIDE,
                max=MAX_SIDE,
                tooltip=f"{tooltip} in canvas pixels.",
            )
            for name, tooltip in tooltips.items()
        ]
    return [
        io.Float.Input(
            name,
            default=0.5 if name in ("width", "height") else 0.0,
            min=0.001 if name in ("width", "height") else -10.0,
            max=10.0,
            step=0.005,  # the editor keeps as many digits as this has
            tooltip=f"{tooltip} as a fraction of the canvas's {'width' if name in ('x', 'width') else 'height'}.",
        )
        for name, tooltip in tooltips.items()
    ]


def _polygon_inputs(units: Units) -> list[io.Input]:
    default = "(512, 96), (928, 832), (96, 832)" if units == Units.pixels else "(0.5, 0.1), (0.9, 0.8), (0.1, 0.8)"
    return [
        io.String.Input(
            "points",
            multiline=True,
            dynamic_prompts=False,
            default=default,
            tooltip="The corners in order, either way round: (x1, y1), (x2, y2), (x3, y3), ... At least three; the "
            "outline must not cross itself.",
        )
    ]


def _effect_inputs() -> list[io.Input]:
    """How strongly a prompt acts, and when."""
    return [
        io.Float.Input(
            "weight",
            default=1.0,
            min=0.0,
            max=10.0,
            step=0.05,
            optional=True,
            advanced=True,
            tooltip="How strongly the prompt acts in its region, as a factor: 1 is as it is, 0 not at all. "
            "The region stays as large.",
        ),
        io.Float.Input(
            "start",
            default=0.0,
            min=0.0,
            max=1.0,
            step=0.01,
            optional=True,
            advanced=True,
            tooltip="From here on the prompt acts, as a fraction of sampling: 0 is the first step.",
        ),
        io.Float.Input(
            "end",
            default=1.0,
            min=0.0,
            max=1.0,
            step=0.01,
            optional=True,
            advanced=True,
            tooltip="Up to here the prompt acts, as a fraction of sampling: 1 is the last step. Afterwards the "
            "area belongs to what lies under the region.",
        ),
    ]


def _name_and_feather_inputs() -> list[io.Input]:
    """What a prompt may change about its region."""
    return [
        io.String.Input(
            "name",
            optional=True,
            advanced=True,
            tooltip="What the region is called in messages and in the overlay. Empty: region 1, region 2, ... "
            "in the order of the chain. No two regions share a name.",
        ),
        io.Float.Input(
            "feather",
            default=0.0,
            min=0.0,
            max=float(MAX_SIDE),
            step=0.5,
            optional=True,
            advanced=True,
            tooltip="How far the region's edge is soft to both sides for this prompt, in canvas pixels. 0 "
            "keeps the edge that the region came with.",
        ),
    ]


def _sampling_inputs() -> list[io.Input]:
    """What differs from the base prompt and from the sampler inside a region."""
    return [
        io.Float.Input(
            "base",
            default=0.0,
            min=0.0,
            max=1.0,
            step=0.05,
            optional=True,
            advanced=True,
            tooltip="How much of the base prompt also holds in this region, as a share: 0 is none, 0.3 mixes a little "
            "of it in, 1 leaves nothing but the base prompt.",
        ),
        io.Float.Input(
            "guidance",
            default=0.0,
            min=0.0,
            max=100.0,
            step=0.1,
            optional=True,
            advanced=True,
            tooltip="The cfg scale inside this region. 0 is the sampler's. A sampler at cfg 1 becomes slower with it, "
            "for the negative prompt is then computed too. It is not the guidance of FluxGuidance.",
        ),
        io.Int.Input(
            "own_seed",
            default=-1,
            min=-1,
            max=2**53 - 1,
            optional=True,
            advanced=True,
            tooltip="A seed for this region's noise, so that it can change without the others. -1: none of its own.",
        ),
    ]


NODES = [
    PakatiRegionMask,
    PakatiRegionFromMask,
    PakatiRegionFromColour,
    PakatiRegionalPrompt,
    PakatiApplyRegions,
    PakatiRegionOverlay,
]
