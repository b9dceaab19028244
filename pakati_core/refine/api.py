"""The documents' names for the one loop of this package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from PIL import Image

from ..canvas import Manner, PakatiCanvas, main_model
from ..engines import Engine, Progress, Request
from ..engines.flux import MEMBERS, FluxFamily
from ..engines.models import EMBEDDED, Registry
from ..errors import LayoutFileError, RefineError
from ..files import save_text
from ..geometry import Extent
from ..judge import Judge, ReaderJudge
from ..reference import Reference
from ..regions import RegionSet
from .run import IterativeRefinementEngine, Repair, Result, as_dict
from .state import Config, RefinementStrategy, Route

LARGE, SIDE = 512, 256  # the embedded model paints larger canvases at this size


class FluxVLMPipeline:
    """EMage's pipeline: a prompt is painted, judged and repaired.

    engine: Flux's family where its base model is installed, else the embedded model, with a warning. judge: the
    embedded reader if none is given, and it knows little: give RemoteJudge("gemini", ...) or another beside Flux.
    """

    def __init__(self, engine: Engine | None = None, judge: Judge | None = None,
                 repairs: Mapping[str, Repair] | None = None):  # fmt: skip
        self.engine = engine or _flux_or_embedded()
        self.judge, self.repairs = judge or ReaderJudge(), repairs
        if repairs is None and isinstance(self.engine, FluxFamily):
            self.repairs = flux_repairs(self.engine)

    def generate_and_evaluate(
        self, prompt: str, num_iterations: int = 3, guidance_scale: float | None = None,
        num_inference_steps: int | None = None, seed: int = 0, width: int = 1024, height: int = 1024,
        target: float = 0.8, strategy: str = RefinementStrategy.ADAPTIVE, folder: str | Path | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """final_image, final_prompt, satisfaction_score, history and images. The best picture, never just the last."""
        request = Request(RegionSet(Extent(width, height), (), prompt), seed, num_inference_steps, guidance_scale)
        routes = Config().routes
        if isinstance(self.engine, FluxFamily) and not self.engine.has("fill"):
            routes = tuple(route for route in routes if route != Route.inpaint)
        config = Config(num_iterations, target, seed=seed, strategy=strategy, routes=routes)
        loop = IterativeRefinementEngine(self.engine, self.judge, (), self.repairs)
        return as_dict(loop.refine(request, config=config, folder=folder))


def _flux_or_embedded() -> Engine:
    flux = FluxFamily()
    if flux.has("base"):
        return flux
    registry = Registry()
    return registry.engine(registry.choose(MEMBERS["base"].folder))


def flux_repairs(flux: FluxFamily) -> dict[str, Repair]:
    """The ways that the installed control models open: depth for matters of place, edges for matters of style."""
    ways = {"depth": (Route.structure, flux.keep_depth), "canny": (Route.style, flux.keep_edges)}
    return {route: repair for member, (route, repair) in ways.items() if flux.has(member)}


class EnhancedPakatiCanvas(PakatiCanvas):
    """A canvas that refines itself against what was asked and against annotated reference pictures."""

    def __init__(self, width: int, height: int, prompt: str = "", negative: str = "", model: str = EMBEDDED,
                 judge: Judge | None = None):  # fmt: skip
        super().__init__(width, height, prompt, negative, model)
        self.judge: Judge = judge or ReaderJudge()
        self.references: list[Reference] = []
        self.last: Result | None = None

    def set_goal(self, goal: str) -> None:
        """What the whole picture shows: the base prompt."""
        self.regions = replace(self.regions, prompt=goal)

    def add_reference_image(self, image: str | Path | Image.Image, description: str, aspect: str = "general",
                            region: str | None = None) -> Reference:  # fmt: skip
        reference = Reference(_opened(image), description, aspect, region)
        self.references.append(reference)
        return reference

    def apply_to_region_with_references(self, region: str, prompt: str, reference_descriptions: list[str] | None = None,
                                        **settings: Any):  # fmt: skip
        """As apply_to_region; the references with these descriptions are for this region."""
        known = {reference.description for reference in self.references}
        if lost := set(reference_descriptions or ()) - known:
            raise RefineError(f"there is no reference {sorted(lost)}; give descriptions from {sorted(known)}")
        wanted = set(reference_descriptions or ())
        self.references = [replace(r, region=region) if r.description in wanted else r for r in self.references]
        return self.apply_to_region(region, prompt, **settings)

    def generate_with_refinement(
        self, max_passes: int = 5, target_quality: float = 0.85, strategy: str = RefinementStrategy.ADAPTIVE,
        seed: int = 0, steps: int | None = None, guidance: float | None = None, folder: str | Path | None = None,
        progress: Progress | None = None,
    ) -> Image.Image:  # fmt: skip
        """The best picture; `self.last` has the rest."""
        engine = self.registry.engine(main_model(self.regions, self.model, self.registry))
        request = Manner(seed, steps, guidance).request(self.regions)
        extent = request.regions.extent
        if engine.capabilities().model == EMBEDDED and max(extent) > LARGE:
            request = replace(request, regions=request.regions.at_extent(_smaller(extent)))
        config = Config(max_passes, target_quality, seed=seed, strategy=strategy)
        loop = IterativeRefinementEngine(engine, self.judge, self.references)
        self.last = loop.refine(request, config=config, folder=folder, progress=progress)
        image = self.last.final_image
        return image if image.size == extent else image.resize(extent, Image.Resampling.LANCZOS)

    def save_template(self, name: str, path: str | Path) -> None:
        """Regions, what references are for, and the settings of the last refinement; not the pictures themselves."""
        rows = [{"description": r.description, "aspect": r.aspect, "region": r.region} for r in self.references]
        config = self.last.state.config if self.last else Config()
        settings = {f.name: getattr(config, f.name) for f in fields(config) if f.name != "seed"}
        data = {"pakati": "template", "version": 1, "name": name, "regions": self.regions.to_dict(Path(path).parent)}
        save_text(json.dumps(data | {"references": rows, "settings": settings}, indent=1) + "\n", path)

    @classmethod
    def load_template(cls, path: str | Path, references: Mapping[str, str | Path | Image.Image] | None = None,
                      **settings: Any) -> EnhancedPakatiCanvas:  # fmt: skip
        """references: description -> picture, for those that the template asks for."""
        data = _template(Path(path))
        regions = RegionSet.from_dict(data["regions"], Path(path).parent)
        canvas = cls(*regions.extent, **settings)
        canvas.regions = regions
        canvas._shapes = {region.id: region.shape for region in regions.regions}
        for row in data["references"]:
            if row["description"] in (references or {}):
                canvas.add_reference_image((references or {})[row["description"]], **row)
        return canvas


def _template(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise LayoutFileError(f"{path} cannot be read as a template ({exc}); give what save_template wrote") from exc
    if not isinstance(data, dict) or data.get("pakati") != "template" or not {"regions", "references"} <= set(data):
        raise LayoutFileError(f"{path} is no template; give what save_template wrote")
    return data


def _opened(image: str | Path | Image.Image) -> Image.Image:
    if isinstance(image, Image.Image):
        return image
    try:
        return Image.open(image).convert("RGB")
    except OSError as exc:
        raise LayoutFileError(f"{image} is not a picture that can be read; give a PNG, JPEG or WebP") from exc


def _smaller(extent: Extent) -> Extent:
    scale = SIDE / max(extent)
    return Extent(*(max(64, round(side * scale / 8) * 8) for side in extent))
