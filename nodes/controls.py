"""ControlNets, several in one node and each in its own part of the picture."""

from __future__ import annotations

from enum import StrEnum

from comfy_api.latest import io
from torch import Tensor

from ..pakati_core.errors import PakatiError, ShapeError

MOST = 4
ALIASES = ["controlnet", "multi controlnet", "control net stack", "regional controlnet", "pose", "depth", "canny"]


class Preprocess(StrEnum):
    as_is = "as is"
    canny = "canny"


class PakatiControlNetApply(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        counts = [
            io.DynamicCombo.Option(str(count), [row for number in range(1, count + 1) for row in _control(number)])
            for count in range(1, MOST + 1)
        ]
        return io.Schema(
            node_id="PakatiControlNetApply",
            display_name="Apply ControlNets",
            category="Pakati/characters",
            description="Steers the picture by up to four ControlNets at once, each over its own part of sampling and, "
            "with a mask, in its own part of the picture.",
            search_aliases=ALIASES,
            inputs=[
                io.Conditioning.Input("positive", tooltip="The prompt, on which the controls are laid."),
                io.Conditioning.Input("negative", tooltip="The negative prompt. The same controls act on it."),
                io.DynamicCombo.Input("controls", options=counts, tooltip="How many ControlNets."),
                io.Vae.Input(
                    "vae", optional=True, tooltip="Needed by ControlNets that read latents, as SD3's and Flux's do."
                ),
            ],
            outputs=[
                io.Conditioning.Output("positive", display_name="positive", tooltip="The prompt with the controls"),
                io.Conditioning.Output("negative", display_name="negative", tooltip="The negative with the controls"),
                io.Image.Output("hint", display_name="hint", tooltip="What the first ControlNet sees"),
            ],
        )

    @classmethod
    def execute(cls, positive: list, negative: list, controls: dict, vae=None) -> io.NodeOutput:
        # Imported late: they pull in the host's model code, which a listing of the nodes does not need.
        from .masked_control import apply_control

        first = None
        for number in range(1, int(controls["controls"]) + 1):
            hint = _hint(controls[f"image_{number}"], controls[f"preprocess_{number}"], number)
            first = hint if first is None else first
            strength, start, end = (controls[f"{name}_{number}"] for name in ("strength", "start", "end"))
            if start >= end:
                raise PakatiError(f"start_{number} is {start} but end_{number} is {end}; let it start before it ends")
            net, mask = controls[f"control_net_{number}"], controls.get(f"mask_{number}")
            positive, negative = apply_control(positive, negative, net, hint, (strength, start, end), vae, mask)
        return io.NodeOutput(positive, negative, first)


def _control(number: int) -> list:
    return [
        io.ControlNet.Input(f"control_net_{number}", tooltip="The ControlNet, for the same family as the model."),
        io.Image.Input(
            f"image_{number}",
            tooltip="What it is steered by: a drawn pose, a depth map, lines, or with canny any picture.",
        ),
        io.DynamicCombo.Input(
            f"preprocess_{number}",
            options=[
                io.DynamicCombo.Option(Preprocess.as_is, []),
                io.DynamicCombo.Option(Preprocess.canny, _thresholds(number)),
            ],
            tooltip="as is: the picture is what the ControlNet wants; ComfyUI's own pose and depth nodes make such "
            "pictures. canny: its edges are found first.",
        ),
        _fraction(f"strength_{number}", 1.0, 10.0, "How strongly it steers. 0 leaves it out."),
        _fraction(f"start_{number}", 0.0, 1.0, "Fraction of sampling from which on it steers."),
        _fraction(f"end_{number}", 1.0, 1.0, "Fraction of sampling up to which it steers."),
        io.Mask.Input(
            f"mask_{number}",
            optional=True,
            tooltip="Where it steers: white (1) fully, black (0) not at all. Unconnected: everywhere.",
        ),
    ]


def _thresholds(number: int) -> list:
    low = "Change of brightness that counts as an edge beside another edge. OpenCV's 100 is 0.39."
    high = "Change of brightness that is an edge by itself. OpenCV's 200 is 0.78."
    return [
        io.Float.Input(f"low_{number}", default=0.4, min=0.01, max=0.99, step=0.01, tooltip=low),
        io.Float.Input(f"high_{number}", default=0.8, min=0.01, max=0.99, step=0.01, tooltip=high),
    ]


def _fraction(name: str, default: float, most: float, tooltip: str) -> io.Float.Input:
    return io.Float.Input(name, default=default, min=0.0, max=most, step=0.01, tooltip=tooltip)


def _hint(image: Tensor, preprocess: dict, number: int) -> Tensor:
    """[B,H,W,3] of what the ControlNet sees."""
    if preprocess[f"preprocess_{number}"] == Preprocess.as_is:
        return image[..., :3]
    low, high = preprocess[f"low_{number}"], preprocess[f"high_{number}"]
    if low > high:
        raise ShapeError(f"low_{number} is {low} but high_{number} is {high}; give the smaller one to low")
    from comfy_extras.nodes_canny import Canny

    return Canny.execute(image[..., :3], low, high).result[0]


NODES = [PakatiControlNetApply]
