"""The loop on a real engine: paint, judge, decide, and keep every pass. What it returns is the best picture it saw."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from ..canvas import paint_enlarged
from ..engines import Engine, Picture, Progress, Request
from ..errors import RefineError
from ..files import check_writable, save_picture, save_text
from ..judge import (
    Check,
    Judge,
    NoVerdict,
    QuestionSet,
    Verdict,
    picture_digest,
    questions_from_prompt,
    questions_from_regions,
)
from ..reference import Memory, Reference, suggest
from ..regions import RegionSet
from .masks import repaint_mask
from .prompts import clarify
from .state import Attempt, Config, Pass, Route, State
from .step import Decision, advance, decide, is_better

HISTORY = "history.json"
PARTS = {"composition": "position"}  # aspect of a reference -> kind of its check; the others are matters of style


class Repair(Protocol):
    """Paints on the ways that an engine alone cannot: by depth or by edges. See Config.routes."""

    def __call__(self, request: Request, image: Image.Image) -> Picture: ...


@dataclass(frozen=True)
class Result:
    """Everything that a refinement leaves behind."""

    final_image: Image.Image
    final_prompt: str
    satisfaction_score: float | None  # of the final image; None where no judge could answer
    history: tuple[Pass, ...]
    state: State
    decision: Decision
    images: tuple[Image.Image, ...]

    def __getitem__(self, name: str) -> Any:
        """results["final_image"], as the documents write it."""
        return getattr(self, name)


OnPass = Callable[[State, Image.Image, Decision], None]


class IterativeRefinementEngine:
    """engine paints, judge answers; references are measured beside the judge and answered by words in the prompt.

    repairs: Route.structure and Route.style, where there is something that can take them. Only one of the painters is
    kept loaded at a time.  pairwise: ask the judge, where it can, in both orders before a best picture is replaced.
    """

    def __init__(self, engine: Engine, judge: Judge, references: Iterable[Reference] = (),
                 repairs: Mapping[str, Repair] | None = None, pairwise: bool = False):  # fmt: skip
        self.engine, self.judge, self.references = engine, judge, tuple(references)
        self.repairs, self.pairwise, self.memory = dict(repairs or {}), pairwise, Memory()
        self._loaded: object = engine

    def refine(self, request: Request, questions: QuestionSet | None = None, config: Config | None = None,
               folder: str | Path | None = None, on_pass: OnPass | None = None,
               progress: Progress | None = None) -> Result:  # fmt: skip
        """folder: every pass is written there, and a refinement that was cut off there is taken up again."""
        config = config or Config(seed=request.seed)
        config = replace(config, routes=self._routes(config.routes))
        questions = questions or ask_about(request.regions)
        store = _Store(Path(folder), request, questions, config) if folder is not None else None
        state, images = store.load() if store else (State.begin(config, questions.digest), [])
        self.memory, begun = Memory(), time.monotonic()
        while not (decision := decide(state, time.monotonic() - begun)).stops:
            assert decision.attempt is not None
            painted = self._painted(decision.attempt, request, questions, state, images)
            image = self._paint(decision.attempt, painted, images, progress)
            state = self._judged(state, image, questions, request, images, painted)
            images.append(image)
            if store:
                store.save(state, image)
            if on_pass:
                on_pass(state, image, decide(state))
        return _result(state, images, decision)

    def _routes(self, routes: tuple[str, ...]) -> tuple[str, ...]:
        more = [*self.repairs, *([Route.detail] if Route.inpaint in routes else [])]
        return (*routes, *(route for route in more if route not in routes))

    def _painted(self, attempt: Attempt, request: Request, questions: QuestionSet, state: State,
                 images: list[Image.Image]) -> Request:  # fmt: skip
        regions, extra = request.regions, self._words(request.regions, images[state.best_index]) if images else []
        if attempt.route in (Route.prompt, Route.resample) or extra:
            said = attempt.checks if attempt.route == Route.prompt else ()
            regions = clarify(regions, questions, said, extra)
        guidance = None if request.guidance is None else request.guidance * attempt.guidance
        return replace(request, regions=regions, seed=attempt.seed, strength=attempt.strength, guidance=guidance)

    def _words(self, regions: RegionSet, image: Image.Image) -> list[str]:
        """What the references say should be otherwise, in words for the prompt."""
        actions = []
        for reference in self.references:
            delta = reference.delta(image, regions)
            actions += suggest(delta, reference.aspect, reference.description, reference.region, self.memory)[:2]
        return list(dict.fromkeys(action.phrase for action in actions if action.phrase))

    def _paint(self, attempt: Attempt, request: Request, images: list[Image.Image],
               progress: Progress | None) -> Image.Image:  # fmt: skip
        if attempt.parent is None:
            self._use(self.engine)
            return self.engine.generate(request, progress).image
        parent = images[attempt.parent]
        if attempt.route in self.repairs:
            repair = self.repairs[attempt.route]
            self._use(repair)
            return repair(request, parent).image
        self._use(self.engine)
        if attempt.route == Route.detail:
            return paint_enlarged(self.engine, parent, request, attempt.regions[0], progress)
        mask = repaint_mask(parent, request.regions, attempt.regions)
        return self.engine.edit(request, parent, mask, progress).image

    def _use(self, painter: object) -> None:
        """One large model at a time: the painter before gives its memory back."""
        unload = getattr(self._loaded, "unload", None)
        if painter is not self._loaded and unload:
            unload()
        self._loaded = painter

    def _judged(self, state: State, image: Image.Image, questions: QuestionSet, request: Request,
                images: list[Image.Image], painted: Request) -> State:  # fmt: skip
        verdict = self.judge.judge(image, questions)
        if isinstance(verdict, Verdict) and self.references:
            verdict = replace(
                verdict, checks=(*verdict.checks, *reference_checks(self.references, image, request.regions))
            )
        best, wins = state.best, None
        prefers = getattr(self.judge, "prefers", None)
        if self.pairwise and prefers and best and is_better(verdict, best.verdict, state.config.eps):
            wins = prefers(image, images[state.best_index], questions)
        return advance(state, verdict, picture_digest(image), spoken(painted.regions), wins)


def reference_checks(references: Iterable[Reference], image: Image.Image, regions: RegionSet | None) -> list[Check]:
    """A reference is met (0.5) at a difference that is plain to see, and fully (1) at none."""
    found = []
    for number, reference in enumerate(references, start=1):
        far = reference.delta(image, regions).distance(reference.aspect)
        kind = PARTS.get(reference.aspect, "style")
        text = f"Is the {reference.aspect} that of {reference.description}?"
        told = f"{far:.2f} off"
        found.append(Check(f"reference{number}", text, kind, reference.region, 1 / (1 + far), 1.0, told))
    return found


def ask_about(regions: RegionSet) -> QuestionSet:
    return questions_from_regions(regions) if regions.regions else questions_from_prompt(regions.prompt)


def spoken(regions: RegionSet) -> str:
    """All prompts in one line."""
    return " | ".join([regions.prompt, *(region.prompt for region in regions.regions)]).strip(" |")


def _result(state: State, images: list[Image.Image], decision: Decision) -> Result:
    best = state.passes[state.best_index]
    return Result(images[state.best_index], best.prompt, best.score, state.passes, state, decision, tuple(images))


class _Store:
    """A folder with a refinement: each picture is written before the history names it, so a crash loses one at most."""

    def __init__(self, folder: Path, request: Request, questions: QuestionSet, config: Config):
        self.folder, self.config, self.questions = check_writable(folder), config, questions
        self.asked = {"request": request.to_dict(), "config": _plain(config.identity())}

    def load(self) -> tuple[State, list[Image.Image]]:
        path = self.folder / HISTORY
        if not path.is_file():
            return State.begin(self.config, self.questions.digest), []
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as exc:
            raise RefineError(f"{path} cannot be read ({exc}); delete it, or choose another folder") from exc
        old = State.from_dict(data)
        if data.get("asked") != json.loads(json.dumps(self.asked)) or old.questions != self.questions.digest:
            raise RefineError(f"{self.folder} holds the refinement of something else; choose another folder")
        return self._replayed(old)

    def _replayed(self, old: State) -> tuple[State, list[Image.Image]]:
        """Under today's limits: the pictures stay, what to do next is decided anew."""
        images = [self._image(made) for made in old.passes]
        state = replace(old, config=self.config)
        if old.passes:
            before = replace(state, passes=old.passes[:-1], attempt=old.passes[-1].attempt)
            last = old.passes[-1]
            state = advance(before, last.verdict, last.digest, last.prompt, None if last.accepted else False)
        return state, images

    def _image(self, made: Pass) -> Image.Image:
        path = self.folder / name_of(made.attempt.index)
        try:
            image = Image.open(path).convert("RGB")
        except OSError as exc:
            raise RefineError(f"{path} is missing or damaged; begin again in another folder") from exc
        if picture_digest(image) != made.digest:
            raise RefineError(f"{path} is not the picture that was judged; begin again in another folder")
        return image

    def save(self, state: State, image: Image.Image) -> None:
        save_picture(image, self.folder / name_of(len(state.passes) - 1))
        text = json.dumps(state.to_dict() | {"asked": self.asked}, indent=1, sort_keys=True, ensure_ascii=False)
        save_text(text + "\n", self.folder / HISTORY)


def name_of(index: int) -> str:
    return f"pass_{index:02}.png"


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def as_dict(result: Result) -> dict[str, Any]:
    """What the documents' pipeline returns."""
    history = [made.to_dict() for made in result.history]
    names = ("final_image", "final_prompt", "satisfaction_score")
    return {**{name: result[name] for name in names}, "history": history, "images": list(result.images)}


__all__ = ["HISTORY", "IterativeRefinementEngine", "NoVerdict", "OnPass", "Repair", "Result", "as_dict", "ask_about",
           "reference_checks"]  # fmt: skip
