"""Calls the models: a whole picture, or an edit of some regions that leaves every other pixel as it was."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..engines import Engine, Progress, Request
from ..engines.models import EMBEDDED, Registry
from ..errors import CanvasError
from ..geometry import Box, Extent
from ..masks import bounds_of
from ..regions import RegionSet
from .crop import (
    CropMode,
    CropPlan,
    cut_image,
    cut_mask,
    cut_regions,
    detail_scale,
    fitted,
    paste,
    plan_crop,
)
from .history import Stroke
from .passes import BASE, Pass, order_passes
from .seams import Blend, Seam, solve_seam

EMBEDDED_SIDE = 256  # the embedded model paints a larger canvas at this size and enlarges it: it knows no finer detail


@dataclass(frozen=True)
class Manner:
    """How to paint. context, band: pixels; None is a share of the canvas's shorter side."""

    seed: int = 0
    steps: int | None = None
    guidance: float | None = None
    strength: float = 1.0
    mode: str = CropMode.native
    blend: str = Blend.best
    soft: bool = False
    context: float | None = None
    band: float | None = None

    def __post_init__(self):
        for name, choices in (("mode", CropMode), ("blend", Blend)):
            if getattr(self, name) not in tuple(choices):
                raise CanvasError(f"{name} is {getattr(self, name)!r}; give {' or '.join(choices)}")
        if not 0 < self.strength <= 1:
            raise CanvasError(f"strength is {self.strength}; give a number above 0 and up to 1, which paints anew")

    def request(self, regions: RegionSet) -> Request:
        # The engine is told only what to paint; which model does it was settled before.
        painted = tuple(replace(region, model=None) for region in regions.regions)
        return Request(
            replace(regions, regions=painted), self.seed, self.steps, self.guidance, self.strength, self.soft
        )

    def to_dict(self) -> dict:
        return {name: value for name, value in vars(self).items() if value != getattr(type(self), name)}


class Painted(NamedTuple):
    image: Image.Image
    strokes: tuple[Stroke, ...]


class Layers:
    """Who owns which pixels of a layout."""

    def __init__(self, layout: RegionSet):
        self.layout = layout
        self.ids = [BASE, *(region.id for region in layout.regions)]

    @cached_property
    def shares(self) -> dict[str, Tensor]:
        """float32 [H,W] of each id; they sum to 1."""
        return dict(zip(self.ids, (self.layout.base_coverage(), *self.layout.coverage())))

    @cached_property
    def locked(self) -> Tensor:
        """bool [H,W]: pixels of which a locked region owns some."""
        locked = [self.shares[region.id] > 0 for region in self.layout.regions if region.locked]
        empty = torch.zeros(self.layout.extent.height, self.layout.extent.width, dtype=torch.bool)
        return torch.stack([empty, *locked]).any(0)

    def mask(self, ids: tuple[str, ...]) -> Tensor:
        """float32 [H,W]: what an edit of these may change."""
        total = sum((self.shares[id] for id in ids), torch.zeros_like(self.shares[BASE])).clamp(max=1)
        return torch.where(self.locked, 0.0, total)


def paint_whole(layout: RegionSet, model: str | None, manner: Manner, registry: Registry,
                progress: Progress | None = None) -> Painted:  # fmt: skip
    """The main model paints all that it can in one pass; regions of other models are edited into it.

    A main model that gives no region a prompt of its own paints the base, and the regions as edits.
    """
    layout = replace(layout, regions=tuple(replace(region, locked=False) for region in layout.regions))
    main = main_model(layout, model, registry)
    models, engine = _models(layout, main, registry), registry.engine(main)
    at_once = engine.capabilities().regional
    others = [region.id for region in layout.regions if not at_once or models[region.id] != main]
    editors = _editors(others, layout, models, registry)
    registry.engine(main, size=_whole_size(engine, layout.extent))
    picture, stroke = _whole(engine, layout if at_once else replace(layout, regions=()), manner, progress)
    return _edits(picture, Layers(layout), others, editors, manner, registry, progress, (stroke,))


def paint_edit(image: Image.Image, layout: RegionSet, ids: list[str], model: str | None, manner: Manner,
               registry: Registry, progress: Progress | None = None) -> Painted:  # fmt: skip
    """Repaint these regions, BASE for what none covers. Every pixel that they own no part of stays as it was."""
    models = _models(layout, main_model(layout, model, registry), registry)
    editors = _editors(ids, layout, models, registry)
    return _edits(image, Layers(layout), ids, editors, manner, registry, progress, ())


def paint_enlarged(engine: Engine, image: Image.Image, request: Request, id: str,
                   progress: Progress | None = None) -> Image.Image:  # fmt: skip
    """Repaint one region of the request's layout, cut out and scaled up to the size at which the engine is best.

    A region that others hide leaves the picture as it is.
    """
    manner = Manner(request.seed, request.steps, request.guidance, request.strength, CropMode.detail, soft=request.soft)
    layout = request.regions.at_extent(Extent(*image.size))
    layers = Layers(replace(layout, regions=tuple(replace(region, locked=False) for region in layout.regions)))
    return _edit(engine, image, layers, (id,), manner, progress)[0] if bool(layers.mask((id,)).any()) else image


def main_model(layout: RegionSet, model: str | None, registry: Registry) -> str:
    """The canvas's own model; where it has none, the first that a region names and that is installed."""
    names = [model] if model else [region.model for region in layout.regions if region.model]
    installed = [name for name in names if registry.known(name)]
    return registry.choose((installed or names or [EMBEDDED])[0])


def _models(layout: RegionSet, main: str, registry: Registry) -> dict[str, str]:
    named = {name: registry.choose(name, main) for name in {r.model: None for r in layout.regions if r.model}}
    return {BASE: main} | {region.id: named[region.model] if region.model else main for region in layout.regions}


def _editors(ids: list[str], layout: RegionSet, models: dict[str, str], registry: Registry) -> dict[str, str]:
    """The models with which to edit these.  Raises ModelError, before anything is painted, where one cannot edit.

    What names no model leaves the choice open: where the main model cannot edit, another one does.
    """
    bound = {region.id for region in layout.regions if region.model}
    for id in bound.intersection(ids):
        registry.engine(models[id], ["inpaint"])
    return {**models, **{id: registry.able(models[id], ["inpaint"]) for id in ids if id not in bound}}


def _edits(image, layers: Layers, ids: list[str], models: dict[str, str], manner: Manner, registry: Registry,
           progress: Progress | None, strokes: tuple[Stroke, ...]) -> Painted:  # fmt: skip
    ordered = [id for id in layers.ids if id in ids]
    reach = {id: layers.mask((id,)) > 0 for id in ordered}
    visible = [id for id in ordered if bool(reach[id].any())]
    for one in order_passes(visible, reach, models.__getitem__):
        engine = registry.engine(one.model, ["inpaint"])
        for group in _together(one, layers, engine, manner):
            image, stroke = _edit(engine, image, layers, group, manner, progress)
            strokes = (*strokes, stroke)
    return Painted(image, strokes)


def _whole(engine: Engine, layout: RegionSet, manner: Manner, progress: Progress | None):
    start, extent, size = time.perf_counter(), layout.extent, _whole_size(engine, layout.extent)
    picture = engine.generate(manner.request(layout.at_extent(size)), progress)
    image = picture.image if size == extent else picture.image.resize(extent, Image.Resampling.LANCZOS)
    ids = tuple(region.id for region in layout.regions)
    seconds = round(time.perf_counter() - start, 3)
    return image.convert("RGB"), Stroke(picture.model, (BASE, *ids), seconds, size, None, picture.notes)


def _whole_size(engine: Engine, extent: Extent) -> Extent:
    scale = working_scale(engine, extent)
    return extent if scale == 1 else Extent(*(max(64, round(side * scale / 8) * 8) for side in extent))


def _edit(engine: Engine, image: Image.Image, layers: Layers, ids: tuple[str, ...], manner: Manner,
          progress: Progress | None) -> tuple[Image.Image, Stroke]:  # fmt: skip
    start, mask = time.perf_counter(), layers.mask(ids)
    support = (mask > 0).numpy()
    plan = plan_edit(bounds_of(support), layers.layout.extent, engine, manner)
    regional = engine.capabilities().regional
    asked = manner.request(cut_regions(layers.layout, plan)) if regional else alone(layers.layout, ids[0], plan, manner)
    shown = cut_mask(mask if manner.soft else (mask > 0).float(), plan)
    picture = engine.edit(asked, cut_image(image, plan), shown, progress)
    new = fitted(picture.unblended or picture.image, plan)
    seam = join(image, np.asarray(new), support, plan, manner)
    edited = paste(image, plan, Image.fromarray(seam.painted), seam.alpha)
    told = (seam.how, round(seam.before, 1), round(seam.after, 1))
    seconds = round(time.perf_counter() - start, 3)
    return edited, Stroke(picture.model, ids, seconds, plan.size, plan.whole_box, picture.notes, told)


def alone(layout: RegionSet, id: str, plan: CropPlan, manner: Manner) -> Request:
    """What a model without regional prompts is told: this one region's prompt, and its seed and guidance."""
    base = replace(layout, extent=plan.size, regions=())
    own = next((region for region in layout.regions if region.id == id), None)
    if own is None:
        return manner.request(base)
    asked = manner.request(replace(base, prompt=own.prompt, negative=own.negative or layout.negative))
    seed, guidance = ((b if a is None else a) for a, b in ((own.seed, asked.seed), (own.guidance, asked.guidance)))
    return replace(asked, seed=seed, guidance=guidance)


def join(image: Image.Image, new: np.ndarray, support: np.ndarray, plan: CropPlan, manner: Manner) -> Seam:
    old, window = np.asarray(image.convert("RGB")), plan.inner.slices
    band = min(plan.extent) / 32 if manner.band is None else manner.band
    return solve_seam(old[window], new, support[window], band, manner.blend)


def plan_edit(window: Box, extent: Extent, engine: Engine, manner: Manner) -> CropPlan:
    able, scale = engine.capabilities(), working_scale(engine, extent)
    context = min(extent) / CONTEXT[CropMode(manner.mode)] if manner.context is None else manner.context
    if manner.mode == CropMode.detail:
        scale = max(scale, detail_scale(window, extent, context, able.best))
    smallest = able.good if manner.mode == CropMode.native else able.best
    return plan_crop(window, extent, context, able.multiple_of, min(smallest, able.best), able.largest, scale)


def working_scale(engine: Engine, extent: Extent) -> float:
    """Model pixels to a canvas pixel when the whole canvas is painted."""
    embedded = engine.capabilities().model == EMBEDDED and max(extent) > 2 * EMBEDDED_SIDE
    return EMBEDDED_SIDE / max(extent) if embedded else 1.0


def _together(one: Pass, layers: Layers, engine: Engine, manner: Manner) -> list[tuple[str, ...]]:
    """Regions whose common crop costs no more than their own ones are painted at once, if the model can."""
    if not engine.capabilities().regional:
        return [(id,) for id in one.regions]

    def share(ids: tuple[str, ...]) -> float:
        window = bounds_of((layers.mask(ids) > 0).numpy())
        return plan_edit(window, layers.layout.extent, engine, manner).share

    groups: list[tuple[str, ...]] = []
    for id in one.regions:
        for i, group in enumerate(groups):
            if share((*group, id)) <= share(group) + share((id,)):
                groups[i] = (*group, id)
                break
        else:
            groups.append((id,))
    return groups


CONTEXT = {CropMode.native: 32, CropMode.detail: 8}  # the share of the canvas's shorter side that an edit sees around
