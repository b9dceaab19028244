"""PakatiCanvas: several prompts on one picture, each in its own region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from PIL import Image

from ..engines import Engine, Picture, Progress, Request
from ..engines.models import EMBEDDED, engine_for
from ..errors import RegionError
from ..files import save_picture
from ..geometry import Extent
from ..regions import Region, RegionSet
from ..shapes import PolygonShape, Shape, WholeShape

EMBEDDED_SIDE = 256  # the embedded model paints a larger canvas at this size and enlarges it: it knows no finer detail


class RegionResult:
    """The canvas as it was when a prompt was applied. It is painted when it is first looked at."""

    def __init__(self, canvas: PakatiCanvas, request: Request, models: list[str]):
        self._canvas, self.request, self._models = canvas, request, models

    @cached_property
    def picture(self) -> Picture:
        return self._canvas.paint(self.request, self._models)

    @property
    def image(self) -> Image.Image:
        return self.picture.image

    def save(self, path: str | Path) -> None:
        save_picture(self.image, path)


class PakatiCanvas:
    """One canvas of width x height pixels.

    prompt, negative: of what no region covers.  model: for regions that name none.
    """

    def __init__(self, width: int, height: int, prompt: str = "", negative: str = "", model: str = EMBEDDED):
        self.regions = RegionSet(Extent(width, height), (), prompt, negative)
        self.model = model
        self._shapes: dict[str, Shape] = {}
        self._engines: dict[str, Engine] = {}

    def create_region(self, shape: Sequence[tuple[float, float]] | Shape | None = None, name: str = "") -> str:
        """A polygon's vertices in pixels, or any shape; None: the whole canvas. Returns the region's id."""
        made = WholeShape() if shape is None else shape if isinstance(shape, Shape) else PolygonShape(tuple(shape))
        number = len(self._shapes) + 1
        identity = name or f"region {number}"
        if identity in self._shapes:
            raise RegionError(f"region {identity!r} is there already; give the new one another name")
        RegionSet(self.regions.extent, (Region(identity, made, "-"),))  # refuses a shape that cannot be used
        self._shapes[identity] = made
        return identity

    def apply_to_region(self, region: str, prompt: str, model: str | None = None, seed: int | None = None,
                        **settings) -> RegionResult:  # fmt: skip
        """Say what a region shows. settings: further fields of Region, such as negative, feather or weight.

        A region with a seed draws its own noise: the same region, prompt and seed give the same result.
        """
        if region not in self._shapes:
            raise RegionError(f"there is no region {region!r}; create_region returned {list(self._shapes)}")
        new = Region(region, self._shapes[region], prompt, model=model, seed=seed, **settings)
        others = [old for old in self.regions.regions if old.id != region]
        order = list(self._shapes)
        painted = sorted([*others, new], key=lambda r: order.index(r.id))
        self.regions = replace(self.regions, regions=tuple(painted))
        return RegionResult(self, self._request(), self._models())

    def generate(self, seed: int = 0, steps: int | None = None, guidance: float | None = None,
                 progress: Progress | None = None) -> Image.Image:  # fmt: skip
        """Paint all regions in one pass. Same canvas, same seed: the same bytes."""
        return self.paint(
            replace(self._request(), seed=seed, steps=steps, guidance=guidance), self._models(), progress
        ).image

    def paint(self, request: Request, models: list[str], progress: Progress | None = None) -> Picture:
        engine = engine_for(models, self._engines)
        extent = request.regions.extent
        if engine.capabilities().model != EMBEDDED or max(extent) <= 2 * EMBEDDED_SIDE:
            return engine.generate(request, progress)
        small = _smaller(extent)
        picture = engine.generate(replace(request, regions=request.regions.at_extent(small)), progress)
        enlarged = picture.image.resize(extent, Image.Resampling.LANCZOS)
        return replace(picture, image=enlarged, request=request)

    def _request(self) -> Request:
        # The engine is told only what to paint; which model does it was settled here.
        painted = tuple(replace(region, model=None) for region in self.regions.regions)
        return Request(replace(self.regions, regions=painted))

    def _models(self) -> list[str]:
        return list(dict.fromkeys(region.model or self.model for region in self.regions.regions)) or [self.model]


def _smaller(extent: Extent) -> Extent:
    """The same proportions with a longer side of EMBEDDED_SIDE, both sides dividing by 8."""
    scale = EMBEDDED_SIDE / max(extent)
    return Extent(*(max(64, round(side * scale / 8) * 8) for side in extent))
