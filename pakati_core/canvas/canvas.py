"""PakatiCanvas: several prompts on one picture, each in its own region, and edits that leave the rest alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Self

from PIL import Image

from ..engines import Engine, Picture, Progress
from ..engines.models import Registry
from ..errors import CanvasError, RegionError, warn
from ..files import save_picture
from ..geometry import Extent
from ..regions import Region, RegionSet
from ..shapes import PolygonShape, Shape, WholeShape
from .crop import CropMode
from .history import Comparison, History, State, compare
from .painter import Manner, Painted, paint_edit, paint_whole
from .passes import BASE
from .project import Project, Stamp, load_project, save_project
from .seams import Blend


class RegionResult:
    """The canvas as it was when a prompt was applied. It is painted when it is first looked at."""

    def __init__(self, canvas: PakatiCanvas, layout: RegionSet):
        self._canvas, self._layout = canvas, layout
        self.request = Manner().request(layout)

    @cached_property
    def picture(self) -> Picture:
        painted = paint_whole(self._layout, self._canvas.model, Manner(), self._canvas.registry)
        notes = tuple(note for stroke in painted.strokes for note in stroke.notes)
        seconds = sum(stroke.seconds for stroke in painted.strokes)
        return Picture(painted.image, self.request, painted.strokes[0].model, seconds, notes)

    @property
    def image(self) -> Image.Image:
        return self.picture.image

    def save(self, path: str | Path) -> None:
        save_picture(self.image, path)


class PakatiCanvas:
    """One canvas of width x height pixels: regions that are clean, dirty or locked, and the steps that made it.

    prompt, negative: of what no region covers.  model: for regions that name none; where it is not given, the first
    that a region names, else the embedded one.  engines: your own, by the names that regions use.
    autosave: a project file that is written after each step.
    """

    def __init__(self, width: int, height: int, prompt: str = "", negative: str = "", model: str | None = None,
                 engines: dict[str, Engine] | None = None, autosave: str | Path | None = None):  # fmt: skip
        self.regions = RegionSet(Extent(width, height), (), prompt, negative)
        self.model, self.registry, self.history = model, Registry(engines), History()
        self.autosave = None if autosave is None else Path(autosave)
        self._shapes: dict[str, Shape] = {}
        self._dirty: set[str] = {BASE}
        self._stamps: dict[Path, Stamp | None] = {}

    @classmethod
    def of(cls, layout: RegionSet, model: str | None = None, engines: dict[str, Engine] | None = None) -> Self:
        """A canvas with the regions of a layout, all of them to be painted."""
        canvas = cls(*layout.extent, model=model, engines=engines)
        canvas.regions, canvas._shapes = layout, {region.id: region.shape for region in layout.regions}
        canvas._dirty = {BASE, *canvas._shapes}
        return canvas

    # --- regions ----------------------------------------------------------------------------------------------------

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
        """Say what a region shows, and so make it dirty. settings: further fields of Region, such as negative.

        A region with a seed draws its own noise: the same region, prompt and seed give the same result.
        """
        old = self._find(region)
        if old is not None and old.locked:
            raise CanvasError(f"region {region!r} is locked; unlock it first")
        self._place(Region(region, self._shapes[region], prompt, model=model, seed=seed, **settings))
        self._dirty.add(region)
        return RegionResult(self, self.regions)

    def set_base(self, prompt: str, negative: str = "") -> None:
        """Say what lies where no region is, and so make that dirty."""
        self.regions = replace(self.regions, prompt=prompt, negative=negative)
        self._dirty.add(BASE)

    def lock(self, region: str, locked: bool = True) -> None:
        """Keep every pixel of a region, down to its softest edge, until it is unlocked."""
        self._place(replace(self._prompted(region), locked=locked))

    def unlock(self, region: str) -> None:
        self.lock(region, False)

    def mark_dirty(self, *regions: str) -> None:
        """Have these painted again, although nothing about them changed; BASE ("") for what none covers. None: all."""
        for region in regions:
            if region != BASE:
                self._prompted(region)
        self._dirty |= set(regions or (BASE, *(region.id for region in self.regions.regions)))

    @property
    def dirty(self) -> tuple[str, ...]:
        """Regions to be painted, in painting order; BASE ("") is what no region covers. Locked ones never are."""
        ids = [BASE, *(region.id for region in self.regions.regions if not region.locked)]
        return tuple(id for id in ids if id in self._dirty)

    # --- painting ---------------------------------------------------------------------------------------------------

    @property
    def step(self) -> State:
        """Where the canvas stands in its history. Raises CanvasError before the first picture."""
        if self.history.current is None:
            raise CanvasError("there is no picture yet; call generate first")
        return self.history.current

    @property
    def image(self) -> Image.Image:
        """The picture as it is. Raises CanvasError before the first one."""
        return self.step.image

    def generate(self, seed: int = 0, steps: int | None = None, guidance: float | None = None,
                 progress: Progress | None = None, mode: str = CropMode.native, blend: str = Blend.best,
                 **manner) -> Image.Image:  # fmt: skip
        """Paint what is dirty; every other pixel stays as it is. All of it at first, in one pass for each model.

        Same canvas, same seed: the same bytes.  manner: further fields of Manner, such as strength or soft.
        """
        return self._paint(self.dirty, Manner(seed, steps, guidance, mode=mode, blend=blend, **manner), progress)

    def edit(self, region: str, prompt: str | None = None, seed: int = 0, progress: Progress | None = None,
             title: str = "", model: str | None = None, **manner) -> Image.Image:  # fmt: skip
        """Paint one region anew, with another prompt or model if one is given. Others that are dirty stay so."""
        old = self._prompted(region)
        _ = self.step  # nothing is changed where there is no picture yet
        if old.locked:
            raise CanvasError(f"region {region!r} is locked; unlock it first")
        wanted = replace(old, prompt=old.prompt if prompt is None else prompt, model=model or old.model)
        if wanted != old:
            self._place(wanted)
        self._dirty.add(region)
        return self._paint((region,), Manner(seed, **manner), progress, title)

    def add_picture(self, image: Image.Image, title: str = "picture") -> None:
        """Take a picture that was made elsewhere as the next step; afterwards nothing is dirty."""
        if image.size != self.regions.extent:
            size = f"{image.width}x{image.height}"
            raise CanvasError(f"the picture is {size} but the canvas is {self.regions.extent}; resize it")
        self._commit(title, Painted(image.convert("RGB"), ()), (), {})

    def continue_with(self, image: Image.Image, layout: RegionSet, title: str, after: int | None) -> int:
        """A picture and its regions as a step after another one, or, after None, as the first of a new line.

        Where that very step is there already it is gone to: saying it twice changes nothing. Returns its number.
        """
        self._keep_changes()
        if after is None:
            self.history.leave()
        else:
            self.history.go(after)
        pixels = image.convert("RGB").tobytes()
        twins = (state for state in self.history if (state.parent, state.regions) == (after, layout))
        twin = next((state for state in twins if state.image.tobytes() == pixels), None)
        self.regions, self._dirty = layout, set()
        self._shapes |= {region.id: region.shape for region in layout.regions}
        if twin is not None:
            self.history.go(twin.id)
            return twin.id
        self._commit(title, Painted(image.convert("RGB"), ()), (), {})
        return self.step.id

    # --- history ----------------------------------------------------------------------------------------------------

    def undo(self) -> Image.Image:
        """Back to the picture and the regions of the step before, byte for byte."""
        return self._travel(self.history.undo)

    def redo(self) -> Image.Image:
        return self._travel(self.history.redo)

    def go(self, step: int) -> Image.Image:
        """To any step of the history."""
        self.history.state(step)
        return self._travel(lambda: self.history.go(step))

    def compare(self, first: int, second: int) -> Comparison:
        return self.history.compare(first, second)

    # --- files ------------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """The whole canvas with its history as one .pakati file: written whole, or not at all."""
        path = Path(path)
        project = Project(self.regions, self.model, dict(self._shapes), self.dirty, self.history)
        self._stamps[path.absolute()] = save_project(project, path, self._stamp(path))

    @classmethod
    def open(cls, path: str | Path, engines: dict[str, Engine] | None = None, autosave: bool = False) -> Self:
        """autosave: write every further step back into this file."""
        path = Path(path)
        project, stamp = load_project(path)
        canvas = cls(*project.layout.extent, model=project.model, engines=engines)
        canvas.regions, canvas._shapes, canvas.history = project.layout, project.shapes, project.history
        canvas._dirty, canvas._stamps[path.absolute()] = set(project.dirty), stamp
        canvas.autosave = path if autosave else None
        return canvas

    # ----------------------------------------------------------------------------------------------------------------

    def _paint(self, ids: tuple[str, ...], manner: Manner, progress: Progress | None, title: str = "") -> Image.Image:
        image = None if self.history.current is None else self.image
        if image is not None and not ids:
            warn("nothing is dirty, so the picture stays as it is; mark_dirty() has it painted again")
            return image
        if image is None or self._is_all(ids):
            painted = paint_whole(self.regions, self.model, manner, self.registry, progress)
            ids = (BASE, *(region.id for region in self.regions.regions))
        else:
            painted = paint_edit(image, self.regions, list(ids), self.model, manner, self.registry, progress)
        named = [id or "base" for id in ids]
        self._commit(
            title or f"{'paint' if image is None else 'edit'} {', '.join(named)}", painted, ids, manner.to_dict()
        )
        return painted.image

    def _is_all(self, ids: tuple[str, ...]) -> bool:
        return set(ids) == {BASE, *(region.id for region in self.regions.regions)}

    def _commit(self, title: str, painted: Painted, ids: tuple[str, ...], request: dict) -> None:
        self._dirty = self._dirty - set(ids) if ids else set()
        self.history.add(title, painted.image, self.regions, self.dirty, request, painted.strokes)
        self._autosave()

    def _travel(self, go) -> Image.Image:
        self._keep_changes()
        state: State = go()
        self.regions, self._dirty = state.regions, set(state.dirty)
        self._autosave()
        return state.image

    def _keep_changes(self) -> None:
        """Prompts that were set since the last step become a step, so that going elsewhere does not lose them."""
        now = self.history.current
        if now is not None and (now.regions, set(now.dirty)) != (self.regions, set(self.dirty)):
            self.history.add("change the regions", now.png, self.regions, self.dirty)

    def _autosave(self) -> None:
        if self.autosave is not None:
            self.save(self.autosave)

    def _stamp(self, path: Path) -> Stamp | None:
        """Of the file that this canvas read or wrote there; a file that it never saw is not overwritten."""
        return self._stamps.get(path.absolute())

    def _find(self, region: str) -> Region | None:
        if region not in self._shapes:
            raise RegionError(f"there is no region {region!r}; create_region returned {list(self._shapes)}")
        return next((old for old in self.regions.regions if old.id == region), None)

    def _prompted(self, region: str) -> Region:
        found = self._find(region)
        if found is None:
            raise RegionError(f"region {region!r} has no prompt yet; call apply_to_region first")
        return found

    def _place(self, new: Region) -> None:
        others = [old for old in self.regions.regions if old.id != new.id]
        order = list(self._shapes)
        painted = sorted([*others, new], key=lambda r: order.index(r.id))
        self.regions = replace(self.regions, regions=tuple(painted))


__all__ = ["PakatiCanvas", "RegionResult", "compare"]
