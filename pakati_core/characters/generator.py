"""One call for one character: prompt, LoRAs, candidates, the face filter."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from ..engines import Progress
from ..engines.models import EMBEDDED, models_folder
from ..errors import IdentityError, ModelError, PakatiError, warn
from ..files import check_picture_path, check_writable, save_picture
from ..lora import EngineLoraLoader, LoRALoader, LoraRegistry
from .batches import Job, Painted
from .checker import CharacterConsistencyChecker
from .embedders import embedder_called
from .embeddings import Embeddings, read_picture
from .identity import Finding, Match, Person, Unknown, recognise
from .ports import Embedder
from .presets import Choice, Preset, choose, load_lora_registry, load_presets, load_sdxl_config
from .prompts import assemble
from .sdxl import SDXLPipelineManager

RETRIES = 3  # further pictures where the policy is to retry
OUT = Path("out/characters")


class LoraLoader(Protocol):
    """The part of the documents' LoRALoader that a character needs."""

    def load_multiple_loras(self, loras: list[dict[str, Any]], /) -> Any: ...

    def unload_all_loras(self) -> Any: ...


@dataclass(frozen=True)
class Plan:
    """What is painted for one wish, before a seed is drawn."""

    character: str
    prompt: str
    negative: str
    loras: tuple[dict[str, Any], ...]  # name, path, weight
    settings: Choice
    pose: str | Image.Image | None = None


class CharacterGenerator:
    """Whatever is not given is found in the configs folder and the models folder; see presets.py.

    On a fresh machine that is the embedded model, with a warning where a configuration asks for another one.
    """

    def __init__(
        self,
        sdxl_manager: SDXLPipelineManager | None = None,
        lora_loader: LoraLoader | None = None,
        consistency_checker: CharacterConsistencyChecker | None = None,
        presets: dict[str, Preset] | None = None,
        lora_registry: LoraRegistry | None = None,
    ):
        self.config = load_sdxl_config()
        self.presets = load_presets() if presets is None else presets
        self.registry = lora_registry or load_lora_registry()
        self.manager = sdxl_manager or _default_manager(self.config)
        self.lora_loader, self._checker = lora_loader, consistency_checker
        self._people: dict[str, tuple[Person, Embedder] | None] = {}

    async def generate_character(
        self,
        character: str,
        scene_description: str,
        background: str | None = None,
        pose_reference: str | Image.Image | None = None,
        quality: str | None = "high",
        num_candidates: int = 1,
        filter_consistency: bool = True,
        output_path: str | Path | None = None,
        seed: int | None = None,
        unknown: Unknown = Unknown.drop,
    ) -> dict[str, Any]:
        """The best of the candidates, saved.

        Returns image_path, prompt_used, loras_used, consistency_score (None where nothing could be measured) and
        generation_time in seconds; beside them seed, is_match, unknown and candidates.
        Other tasks of the event loop go on while it paints.
        """
        return await asyncio.to_thread(
            self.generate, character, scene_description, background, pose_reference, quality, num_candidates,
            filter_consistency, output_path, seed, unknown,
        )  # fmt: skip

    def generate(
        self, character: str, scene_description: str, background: str | None = None,
        pose_reference: str | Image.Image | None = None, quality: str | None = "high", num_candidates: int = 1,
        filter_consistency: bool = True, output_path: str | Path | None = None, seed: int | None = None,
        unknown: Unknown = Unknown.drop, progress: Progress | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """generate_character for callers without an event loop."""
        start, seed = time.perf_counter(), secrets.randbelow(2**31) if seed is None else seed
        if num_candidates < 1:
            raise PakatiError(f"num_candidates is {num_candidates}; ask for at least 1")
        path = Path(output_path) if output_path else check_writable(OUT) / f"{character}-{seed}.png"
        check_picture_path(path)
        plan = self.plan(character, scene_description, background, quality, pose_reference)
        person = self.person(character) if filter_consistency else None
        candidates: list[tuple[Image.Image, Finding | None, int]] = []
        with self._loras(plan):
            for i in range(num_candidates):
                candidates.append(self._candidate(plan, person, seed + i * (RETRIES + 1), unknown, progress))
        image, finding, used = max(candidates, key=lambda row: _rank(row[1]))
        save_picture(image, path)
        return {
            "image_path": str(path),
            "prompt_used": plan.prompt,
            "loras_used": [lora["name"] for lora in plan.loras],
            "consistency_score": finding.score if finding else None,
            "generation_time": time.perf_counter() - start,
            "seed": used,
            "is_match": finding.match == Match.same if finding else None,
            "unknown": finding.match == Match.unknown if finding else None,
            "candidates": len(candidates),
        }

    def plan(
        self, character: str, scene: str, background: str | None = None, quality: str | None = None,
        pose: str | Image.Image | None = None,
    ) -> Plan:  # fmt: skip
        """The prompt and the settings, without painting."""
        preset = choose(self.presets, character, "character")
        loras, triggers = _loras_of(preset, background, self.registry)
        place = "" if background is None or self.registry.find(background) else background
        prompt = assemble(triggers, preset.base_prompt, scene, place)
        settings = Choice.of(preset, self.config, None if self.manager.is_tiny else quality)
        return Plan(character, prompt, preset.negative_prompt, tuple(loras), settings, pose)

    def person(self, character: str) -> tuple[Person, Embedder] | None:
        """Whom the faces are compared with, and by what; None, with a warning, where there are no references."""
        if character not in self._people:
            self._people[character] = self._person(choose(self.presets, character, "character"), character)
        return self._people[character]

    def paint(self, job: Job) -> Painted:
        """One picture of a batch; see jobs_for."""
        plan = self.plan(job["character"], job["scene"], job.get("background"), job.get("quality"))
        person = self.person(job["character"]) if job.get("filter", True) else None
        unknown = Unknown(job.get("unknown", Unknown.drop))
        with self._loras(plan):
            image, finding, seed = self._candidate(plan, person, job["seed"], unknown, None)
        facts = {"seed": seed, "prompt": plan.prompt, "score": finding.score if finding else None}
        kept = finding.is_kept(unknown) if finding else None
        return Painted(image, kept, finding.text if finding else "", facts)

    def _candidate(
        self, plan: Plan, person: tuple[Person, Embedder] | None, seed: int, unknown: Unknown,
        progress: Progress | None,
    ) -> tuple[Image.Image, Finding | None, int]:  # fmt: skip
        """A picture, what was found in it, and its seed. `retry` takes further seeds while no face is found."""
        left = RETRIES if unknown == Unknown.retry and person else 0
        while True:
            image = self._paint(plan, seed, progress)
            finding = recognise(image, *person) if person else None
            if finding is None or finding.match != Match.unknown or not left:
                return image, finding, seed
            seed, left = seed + 1, left - 1

    def _paint(self, plan: Plan, seed: int, progress: Progress | None) -> Image.Image:
        width, height = plan.settings.size or (None, None)
        common: dict[str, Any] = {
            "negative_prompt": plan.negative, "num_steps": plan.settings.steps, "cfg_scale": plan.settings.cfg_scale,
            "width": width, "height": height, "seed": seed, "progress": progress,
        }  # fmt: skip
        if plan.pose is None:
            return self.manager.generate(plan.prompt, **common)
        if self.manager.is_tiny:
            raise ModelError("the embedded model has no ControlNets; use an SDXL model, or leave pose_reference out")
        from .control import AS_IS, ControlNetGenerator

        generator = ControlNetGenerator(self.manager.load_pipeline())
        return generator.generate_with_pose(plan.pose, plan.prompt, preprocess=AS_IS, **common)

    @contextmanager
    def _loras(self, plan: Plan):
        if not plan.loras:
            yield
            return
        if self.lora_loader is None:
            kind = EngineLoraLoader if self.manager.is_tiny else LoRALoader
            self.lora_loader = kind(self.manager.load_pipeline())
        self.lora_loader.load_multiple_loras(list(plan.loras))
        try:
            yield
        finally:
            self.lora_loader.unload_all_loras()

    def _person(self, preset: Preset, character: str) -> tuple[Person, Embedder] | None:
        files = [Path(path) for path in (*preset.reference_embeddings, *preset.reference_images)]
        there = [path for path in files if path.is_file()]
        for path in files:
            if path not in there:
                warn(f"the reference {path} of {character} is not there; it goes on without")
        if not there:
            warn(f"{character} has no reference face; its pictures are not filtered")
            return None
        embedder = self._checker.embedder if self._checker else _embedder(preset)
        references = [_reference(path, path.name in _names(preset.reference_embeddings), embedder) for path in there]
        threshold = preset.consistency_threshold
        joined = references[0]
        for more in references[1:]:
            joined = joined.joined(more)
        return Person(character, joined, embedder.threshold if threshold is None else threshold), embedder


def jobs_for(
    character: str, scene: str, count: int, seed: int = 0, background: str | None = None, quality: str | None = "high",
    unknown: Unknown = Unknown.drop,
) -> list[Job]:  # fmt: skip
    """Jobs for CharacterGenerator.paint, each with seeds of its own."""
    return [
        {
            "character": character, "scene": scene, "background": background, "quality": quality,
            "unknown": str(unknown), "seed": seed + i * (RETRIES + 1),
        }
        for i in range(count)
    ]  # fmt: skip


def _default_manager(config: Any) -> SDXLPipelineManager:
    wanted, device = config.model.base_model, _any_device(config)
    try:
        return SDXLPipelineManager(wanted, device, scheduler=config.generation.scheduler)
    except ModelError as exc:
        warn(f"{exc}; the embedded model paints instead")
        return SDXLPipelineManager(EMBEDDED, device)


def _any_device(config: Any) -> str:
    import torch

    return config.hardware.device if torch.cuda.is_available() else "cpu"


def _loras_of(preset: Preset, background: str | None, registry: LoraRegistry) -> tuple[list[dict[str, Any]], list[str]]:
    """LoRAs to load, and the words that wake them, those of the registry before the preset's own."""
    wanted: list[dict[str, Any]] = []
    if preset.lora_name:
        wanted.append({"name": preset.lora_name, "weight": preset.lora_weight})
    wanted += preset.loras
    if background and (entry := registry.find(background)):
        wanted.append({"name": background, "weight": entry.default_weight})
    loras, triggers = [], []
    for row in wanted:
        name = str(row.get("name") or row.get("path"))
        path = _lora_file(name, row.get("path"), registry)
        triggers += registry.words_of(path if path and not registry.find(name) else name)
        if path:
            loras.append({"name": name, "path": str(path), "weight": row.get("weight", 0.8)})
    return loras, [*triggers, *preset.trigger_words]


def _lora_file(name: str, path: str | None, registry: LoraRegistry) -> Path | None:
    """None, with a warning, where a LoRA that is known has no file here."""
    if path is None and registry.find(name) is None:
        raise IdentityError(f"the LoRA {name!r} is not in lora_registry.yaml; enter it there, or give its path")
    try:
        if path is None:
            return registry.locate(name, [models_folder() / "loras"])
        if Path(path).is_file():
            return Path(path)
        reason = f"the LoRA {name!r} is not at {path}"
    except PakatiError as exc:
        reason = str(exc)
    warn(f"{reason}; it goes on without, with its trigger words")
    return None


def _names(files: Sequence[str]) -> set[str]:
    return {Path(file).name for file in files}


def _reference(path: Path, is_embedding: bool, embedder: Embedder) -> Embeddings:
    return Embeddings.load(path) if is_embedding else Embeddings.of(embedder, [(path.name, read_picture(path))])


def _embedder(preset: Preset) -> Embedder:
    return embedder_called(preset.embedder) if preset.embedder else CharacterConsistencyChecker().embedder


def _rank(finding: Finding | None) -> tuple[int, float]:
    """A match before another face before none; the more similar first."""
    if finding is None or finding.score is None:
        return 0, 0.0
    return (2 if finding.match == Match.same else 1), finding.score
