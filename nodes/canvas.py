"""Nodes of the menu Pakati/canvas."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..pakati_core.errors import CanvasError, PakatiError, ProjectError, ShapeError
from ..pakati_core.geometry import Extent
from ..pakati_core.layout import image_to_pil, pil_to_image
from ..pakati_core.masks import bounds_of
from ..pakati_core.regions import RegionSet
from .types import CutOut, PakatiCanvas, PakatiCrop, PakatiRegions, SavedCanvas

CATEGORY = "Pakati/canvas"
ALIASES = ["inpaint", "edit region", "persistent", "keep the rest", "crop and stitch"]
MODES = ["native", "detail"]  # those of the core's CropMode, which is imported late
BLENDS = ["best", "feather", "poisson"]  # those of Blend
FOLDER = "pakati"  # within the output folder
NAME = re.compile(r"[\w][\w .-]{0,99}")


class PakatiRegionCrop(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PakatiRegionCrop",
            display_name="Crop Region",
            category=CATEGORY,
            description="Cuts the part of a picture that a mask marks, with some of what is around it, at a size that "
            "the model likes. Paint the crop with any sampler and put it back with Paste Region.",
            search_aliases=[*ALIASES, "inpaint crop", "crop by mask", "bounding box", "zoom in", "only masked"],
            inputs=[
                io.Image.Input("image", tooltip="The picture, or a batch that shares the mask."),
                io.Mask.Input("mask", tooltip="White (1) is to be painted anew. One mask, of the picture's size."),
                *_crop_inputs(),
            ],
            outputs=[
                io.Image.Output("image", display_name="image", tooltip="The crop, at the size to paint it at"),
                io.Mask.Output("mask", display_name="mask", tooltip="The same part of the mask"),
                PakatiCrop.Output("crop", display_name="crop", tooltip="Where it was cut; for Paste Region"),
            ],
        )

    @classmethod
    def execute(
        cls,
        image: Tensor,
        mask: Tensor,
        mode: str = "native",
        context: float = 32.0,
        best: int = 1024,
        smallest: int = 384,
        multiple_of: int = 8,
    ) -> io.NodeOutput:
        from ..pakati_core.canvas.crop import cut_image, cut_mask, detail_scale, plan_crop

        mask = _one_mask(mask, image)
        window, extent = bounds_of(mask.numpy() > 0), Extent(image.shape[2], image.shape[1])
        scale = detail_scale(window, extent, context, best) if mode == "detail" else 1.0
        plan = plan_crop(window, extent, context, multiple_of, min(smallest, best), 16384, scale)
        cut = torch.cat([pil_to_image(cut_image(image_to_pil(each[..., :3]), plan)) for each in image])
        return io.NodeOutput(cut, cut_mask(mask, plan)[None], CutOut(plan, image[..., :3], mask))


class PakatiRegionPaste(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PakatiRegionPaste",
            display_name="Paste Region",
            category=CATEGORY,
            description="Puts a painted crop back. Every pixel that the mask left black stays exactly as it was; "
            "where the two meet, the cut and the blend that show least are found by solving for them.",
            search_aliases=[*ALIASES, "stitch", "uncrop", "blend", "seamless", "poisson", "feather", "colour match"],
            inputs=[
                PakatiCrop.Input("crop", tooltip="From Crop Region."),
                io.Image.Input("image", tooltip="The painted crop, of the size that Crop Region gave it."),
                *_blend_inputs(),
            ],
            outputs=[
                io.Image.Output("image", display_name="image", tooltip="The whole picture"),
                io.Mask.Output("mask", display_name="mask", tooltip="How much of the new picture each pixel took"),
                io.String.Output("seam", display_name="seam", tooltip="How it was joined, and the seam's energy"),
            ],
        )

    @classmethod
    def execute(cls, crop: CutOut, image: Tensor, blend: str = "best", band: float = 0.0) -> io.NodeOutput:
        pairs = _pairs(crop.image, image)
        pasted = [_pasted(crop, old, new[..., :3], blend, band) for old, new in pairs]
        images, masks, told = zip(*pasted, strict=True)
        return io.NodeOutput(torch.stack(images), torch.stack(masks), "\n".join(told))


class PakatiRegionEdit(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PakatiRegionEdit",
            display_name="Edit Region",
            category=CATEGORY,
            description="Paints one part of a picture anew and leaves every other pixel exactly as it was: crop, "
            "sample inside the mask, paste. For plain models and for inpainting models alike.",
            search_aliases=[*ALIASES, "inpainting", "detailer", "differential diffusion", "noise mask", "repaint"],
            enable_expand=True,
            inputs=[
                io.Model.Input("model", tooltip="Any model: a plain one, or one made for inpainting."),
                io.Conditioning.Input("positive", tooltip="What the region is to show."),
                io.Conditioning.Input("negative", tooltip="What it is not to show."),
                io.Vae.Input("vae", tooltip="The model's VAE."),
                io.Image.Input("image", tooltip="The picture."),
                io.Mask.Input("mask", tooltip="White (1) is to be painted anew. One mask, of the picture's size."),
                _seed_input(),
                io.Int.Input("steps", default=20, min=1, max=1000, tooltip="Steps of the sampler."),
                io.Float.Input(
                    "cfg", default=7.0, min=0.0, max=100.0, step=0.1, tooltip="Guidance scale of the sampler."
                ),
                io.Combo.Input("sampler_name", options=_samplers(), default="euler", tooltip="As in KSampler."),
                io.Combo.Input("scheduler", options=_schedulers(), default="normal", tooltip="As in KSampler."),
                io.Float.Input(
                    "denoise",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="1 paints from pure noise; less keeps more of what is there.",
                ),
                *_crop_inputs(),
                io.Boolean.Input(
                    "soft",
                    default=True,
                    optional=True,
                    advanced=True,
                    tooltip="Grey parts of the mask join late, in the manner of Differential Diffusion. Off: they are "
                    "mixed at each step.",
                ),
                *_blend_inputs(),
            ],
            outputs=[
                io.Image.Output("image", display_name="image", tooltip="The whole picture"),
                io.Mask.Output("mask", display_name="mask", tooltip="How much of the new picture each pixel took"),
            ],
        )

    @classmethod
    def execute(
        cls,
        model,
        positive: list,
        negative: list,
        vae,
        image: Tensor,
        mask: Tensor,
        seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        denoise: float,
        mode: str = "native",
        context: float = 32.0,
        best: int = 1024,
        smallest: int = 384,
        multiple_of: int = 8,
        soft: bool = True,
        blend: str = "best",
        band: float = 0.0,
    ) -> io.NodeOutput:
        from comfy_execution.graph_utils import GraphBuilder

        graph = GraphBuilder()
        crop = graph.node(
            "PakatiRegionCrop", image=image, mask=mask, mode=mode, context=context, best=best, smallest=smallest,
            multiple_of=multiple_of,
        )  # fmt: skip
        text = graph.node(
            "InpaintModelConditioning", positive=positive, negative=negative, vae=vae, pixels=crop.out(0),
            mask=crop.out(1), noise_mask=True,
        )  # fmt: skip
        used = graph.node("DifferentialDiffusion", model=model, strength=1.0).out(0) if soft else model
        latents = graph.node(
            "KSampler", model=used, positive=text.out(0), negative=text.out(1), latent_image=text.out(2), seed=seed,
            steps=steps, cfg=cfg, sampler_name=sampler_name, scheduler=scheduler, denoise=denoise,
        )  # fmt: skip
        painted = graph.node("VAEDecode", samples=latents.out(0), vae=vae)
        paste = graph.node("PakatiRegionPaste", crop=crop.out(2), image=painted.out(0), blend=blend, band=band)
        return io.NodeOutput(paste.out(0), paste.out(1), expand=graph.finalize())


class PakatiFluxFillInpaint(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PakatiFluxFillInpaint",
            display_name="Flux Fill",
            category=CATEGORY,
            description="Paints the white part of a mask with Flux.1 Fill, by the recipe that ComfyUI ships: guidance "
            "30, cfg 1, Differential Diffusion. Between Crop Region and Paste Region the rest stays bit for bit.",
            search_aliases=[*ALIASES, "flux fill", "flux inpaint", "outpaint", "fill dev"],
            enable_expand=True,
            inputs=[
                io.Model.Input("model", tooltip="Flux.1 Fill."),
                io.Clip.Input("clip", tooltip="Flux's text encoders: CLIP-L and T5-XXL."),
                io.Vae.Input("vae", tooltip="Flux's VAE."),
                io.Image.Input("image", tooltip="The picture, or the crop of Crop Region. Sides that divide by 16."),
                io.Mask.Input("mask", tooltip="White (1) is to be painted."),
                io.String.Input(
                    "prompt",
                    multiline=True,
                    dynamic_prompts=False,
                    placeholder="what is to be there",
                    tooltip="What the white part is to show. Taken as it is.",
                ),
                _seed_input(),
                io.Int.Input("steps", default=20, min=1, max=1000, tooltip="Steps of the sampler; the recipe has 20."),
                io.Float.Input(
                    "guidance",
                    default=30.0,
                    min=0.0,
                    max=100.0,
                    step=0.5,
                    optional=True,
                    advanced=True,
                    tooltip="Flux guidance. Fill was made for about 30; Flux dev's 3.5 is far too low for it.",
                ),
                io.Float.Input(
                    "denoise",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    optional=True,
                    advanced=True,
                    tooltip="1 paints from pure noise; less keeps more of what is there.",
                ),
            ],
            outputs=[io.Image.Output("image", display_name="image", tooltip="The painted picture")],
        )

    @classmethod
    def execute(
        cls,
        model,
        clip,
        vae,
        image: Tensor,
        mask: Tensor,
        prompt: str,
        seed: int,
        steps: int,
        guidance: float = 30.0,
        denoise: float = 1.0,
    ) -> io.NodeOutput:
        from comfy_execution.graph_utils import GraphBuilder

        graph = GraphBuilder()
        text = graph.node("CLIPTextEncode", clip=clip, text=prompt)
        wanted = graph.node("FluxGuidance", conditioning=text.out(0), guidance=guidance)
        unwanted = graph.node("ConditioningZeroOut", conditioning=text.out(0))
        filled = graph.node(
            "InpaintModelConditioning", positive=wanted.out(0), negative=unwanted.out(0), vae=vae, pixels=image,
            mask=mask, noise_mask=True,
        )  # fmt: skip
        latents = graph.node(
            "KSampler", model=graph.node("DifferentialDiffusion", model=model, strength=1.0).out(0),
            positive=filled.out(0), negative=filled.out(1), latent_image=filled.out(2), seed=seed, steps=steps, cfg=1.0,
            sampler_name="euler", scheduler="normal", denoise=denoise,
        )  # fmt: skip
        painted = graph.node("VAEDecode", samples=latents.out(0), vae=vae)
        return io.NodeOutput(painted.out(0), expand=graph.finalize())


class PakatiCanvasSave(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PakatiCanvasSave",
            display_name="Save Canvas",
            category=CATEGORY,
            description="Keeps a picture, and the regions that it was made of, as the next step of a canvas: one "
            ".pakati file in the output folder, with all steps before it. Nothing in it is ever overwritten.",
            search_aliases=[*ALIASES, "project", "history", "autosave", "versions", "save image", "checkpoint state"],
            is_output_node=True,
            inputs=[
                io.Image.Input("image", tooltip="The picture, one."),
                io.String.Input(
                    "name",
                    default="canvas",
                    tooltip="Name of the file in output/pakati, without an ending. Letters, digits, spaces and . - _",
                ),
                PakatiCanvas.Input(
                    "canvas",
                    optional=True,
                    tooltip="The step that this one follows. Unconnected, it begins a line of steps of its own.",
                ),
                PakatiRegions.Input(
                    "regions",
                    optional=True,
                    tooltip="The regions that the picture was made of. Unconnected: those of the step before.",
                ),
                io.String.Input(
                    "title",
                    default="",
                    optional=True,
                    tooltip="What was done in this step, for the history.",
                ),
            ],
            outputs=[PakatiCanvas.Output("canvas", display_name="canvas", tooltip="The canvas at this step")],
        )

    @classmethod
    def execute(
        cls,
        image: Tensor,
        name: str,
        canvas: SavedCanvas | None = None,
        regions: RegionSet | None = None,
        title: str = "",
    ) -> io.NodeOutput:
        saved = _add_step(_project_path(name), image, canvas, regions, title or "picture")
        return io.NodeOutput(saved, ui=ui.PreviewText(f"{saved.path.name}: step {saved.step}"))


class PakatiCanvasLoad(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PakatiCanvasLoad",
            display_name="Load Canvas",
            category=CATEGORY,
            description="Opens a step of a canvas that Save Canvas, or the pakati command, has kept.",
            search_aliases=[*ALIASES, "project", "undo", "go back", "load image", "history"],
            inputs=[
                io.String.Input("name", default="canvas", tooltip="Name of the file in output/pakati, without ending."),
                io.Int.Input(
                    "step",
                    default=0,
                    min=0,
                    max=1_000_000,
                    tooltip="Number of the step, as Canvas History shows it. 0 is the one that was saved last.",
                ),
            ],
            outputs=[
                io.Image.Output("image", display_name="image", tooltip="The picture of that step"),
                PakatiRegions.Output("regions", display_name="regions", tooltip="The regions that it was made of"),
                PakatiCanvas.Output("canvas", display_name="canvas", tooltip="The canvas at that step"),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, name: str, step: int):
        from ..pakati_core.canvas.project import Stamp

        return str(Stamp.of(_project_path(name)))

    @classmethod
    def execute(cls, name: str, step: int) -> io.NodeOutput:
        from ..pakati_core.canvas import load_project

        path = _project_path(name)
        history = load_project(path)[0].history
        state = history.state(step) if step else history.current
        if state is None:
            raise CanvasError(f"{path.name} has no picture yet; save one with Save Canvas")
        return io.NodeOutput(pil_to_image(state.image), state.regions, SavedCanvas(path, state.id))


class PakatiCanvasHistory(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PakatiCanvasHistory",
            display_name="Canvas History",
            category=CATEGORY,
            description="Shows the steps of a canvas side by side, and lists what each of them was.",
            search_aliases=[*ALIASES, "strip", "timeline", "versions", "undo", "compare", "contact sheet"],
            is_output_node=True,
            inputs=[
                PakatiCanvas.Input("canvas", tooltip="From Save Canvas or Load Canvas."),
                io.Int.Input(
                    "last",
                    default=12,
                    min=1,
                    max=1000,
                    optional=True,
                    advanced=True,
                    tooltip="How many of the latest steps are drawn.",
                ),
            ],
            outputs=[
                io.Image.Output("image", display_name="image", tooltip="The strip of steps"),
                io.String.Output("text", display_name="text", tooltip="One line for each step"),
            ],
        )

    @classmethod
    def execute(cls, canvas: SavedCanvas, last: int = 12) -> io.NodeOutput:
        from ..pakati_core.canvas import describe, draw_strip, load_project

        history = load_project(canvas.path)[0].history
        history.go(canvas.step)
        strip = pil_to_image(draw_strip(history, last))
        return io.NodeOutput(strip, "\n".join(describe(history)), ui=ui.PreviewImage(strip, cls=cls))


def _one_mask(mask: Tensor, image: Tensor) -> Tensor:
    """[H,W] in [0,1] on the CPU.  Raises ShapeError where it does not fit the picture."""
    mask = mask[None] if mask.ndim == 2 else mask
    if len(mask) != 1:
        raise ShapeError(f"mask is a batch of {len(mask)} but one was wanted; pick one of them first")
    if mask.shape[1:] != image.shape[1:3]:
        sizes = f"{mask.shape[2]}x{mask.shape[1]} but image is {image.shape[2]}x{image.shape[1]}"
        raise ShapeError(f"mask is {sizes}; resize the mask or connect the image that it was drawn on")
    return mask[0].detach().float().cpu().clamp(0, 1)


def _pairs(before: Tensor, painted: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Each painted crop with its picture; one picture serves a whole batch of crops."""
    if len(before) not in (1, len(painted)):
        raise ShapeError(f"image is a batch of {len(painted)} but {len(before)} were cut; paste as many as were cut")
    return [(before[i if len(before) > 1 else 0], painted[i]) for i in range(len(painted))]


def _pasted(crop: CutOut, old: Tensor, new: Tensor, blend: str, band: float) -> tuple[Tensor, Tensor, str]:
    """The picture's own numbers wherever nothing of the crop lies: not even their rounding changes."""
    from ..pakati_core.canvas.crop import fitted
    from ..pakati_core.canvas.seams import solve_seam

    plan, window = crop.plan, crop.plan.inner.slices
    before = np.asarray(image_to_pil(old[window]))
    painted = np.asarray(fitted(image_to_pil(new), plan))
    seam = solve_seam(before, painted, crop.mask[window].numpy() > 0, band or min(plan.extent) / 32, blend)
    alpha = torch.zeros(plan.extent.height, plan.extent.width)
    alpha[window] = seam.alpha
    out, share = old.clone(), seam.alpha[..., None].to(old)
    joined = old[window] * (1 - share) + pil_to_image(_picture(seam.painted))[0].to(old) * share
    out[window] = torch.where(share > 0, joined, old[window])
    return out, alpha, f"{seam.how}; energy {seam.before:.0f} with plain feathering, {seam.after:.0f} now"


def _picture(pixels: np.ndarray):
    from PIL import Image

    return Image.fromarray(pixels)


def _project_path(name: str) -> Path:
    """Within the host's output folder, whatever the name says.  Raises ProjectError for a name that is a path."""
    import folder_paths

    name = name.strip().removesuffix(".pakati")
    if not NAME.fullmatch(name):
        raise ProjectError(f"name is {name!r}; give letters, digits, spaces and . - _ and no folder")
    return Path(folder_paths.get_output_directory()) / FOLDER / f"{name}.pakati"


def _add_step(path: Path, image: Tensor, after: SavedCanvas | None, regions: RegionSet | None,
              title: str) -> SavedCanvas:  # fmt: skip
    from ..pakati_core.canvas import PakatiCanvas as Canvas
    from ..pakati_core.files import check_writable

    if len(image) != 1:
        raise PakatiError(f"image is a batch of {len(image)} but a step is one picture; pick one of them first")
    picture = image_to_pil(image[..., :3])
    extent = Extent(*picture.size)
    if after is not None and after.path != path:
        raise CanvasError(f"canvas is a step of {after.path.stem!r} but name is {path.stem!r}; give both the same")
    check_writable(path.parent)
    canvas = Canvas.open(path) if path.exists() else Canvas(*extent)
    if canvas.regions.extent != extent:
        raise CanvasError(f"{path.name} holds {canvas.regions.extent} pictures, not {extent}; give another name")
    before = RegionSet(extent) if after is None else canvas.history.state(after.step).regions
    layout = before if regions is None else regions.at_extent(extent)
    step = canvas.continue_with(picture, layout, title, None if after is None else after.step)
    canvas.save(path)
    return SavedCanvas(path, step)


def _seed_input() -> io.Input:
    return io.Int.Input(
        "seed",
        default=0,
        min=0,
        max=0xFFFFFFFFFFFFFFFF,
        control_after_generate=True,
        tooltip="Of the noise: the same seed paints the same.",
    )


def _samplers() -> list[str]:
    from comfy.samplers import KSampler

    return KSampler.SAMPLERS


def _schedulers() -> list[str]:
    from comfy.samplers import KSampler

    return KSampler.SCHEDULERS


def _crop_inputs() -> list[io.Input]:
    return [
        io.Combo.Input(
            "mode",
            options=MODES,
            default="native",
            optional=True,
            tooltip="native: at its own size, which is cheap. detail: scaled up to the model's best size, which shows "
            "more of a small region.",
        ),
        io.Float.Input(
            "context",
            default=32.0,
            min=0.0,
            max=4096.0,
            step=8.0,
            optional=True,
            tooltip="How much of the picture around the mask is seen too, in pixels.",
        ),
        io.Int.Input(
            "best",
            default=1024,
            min=64,
            max=8192,
            step=8,
            optional=True,
            advanced=True,
            tooltip="Side at which the model is best, in pixels: SDXL and Flux 1024, SD 1.5 512, the embedded model "
            "128. The mode detail scales the crop's longer side up to it.",
        ),
        io.Int.Input(
            "smallest",
            default=384,
            min=16,
            max=8192,
            step=8,
            optional=True,
            advanced=True,
            tooltip="Smallest side at which the model still paints well, in pixels; a smaller crop takes in more of "
            "the picture. SDXL about 384, SD 1.5 256, the embedded model 64.",
        ),
        io.Int.Input(
            "multiple_of",
            default=8,
            min=1,
            max=256,
            optional=True,
            advanced=True,
            tooltip="Sides of the crop divide by it. 8 for most models, 16 for Flux.",
        ),
    ]


def _blend_inputs() -> list[io.Input]:
    return [
        io.Combo.Input(
            "blend",
            options=BLENDS,
            default="best",
            optional=True,
            advanced=True,
            tooltip="best: a cut or a feather, with or without a colour match, whichever shows least. feather: a plain "
            "ramp. poisson: keeps the new picture's details and moves its colours to meet the old one.",
        ),
        io.Float.Input(
            "band",
            default=0.0,
            min=0.0,
            max=512.0,
            step=1.0,
            optional=True,
            advanced=True,
            tooltip="How far inside the mask the join may lie, in pixels. 0 takes a 32nd of the shorter side.",
        ),
    ]


NODES = [
    PakatiRegionCrop,
    PakatiRegionPaste,
    PakatiRegionEdit,
    PakatiFluxFillInpaint,
    PakatiCanvasSave,
    PakatiCanvasLoad,
    PakatiCanvasHistory,
]
