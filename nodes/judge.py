"""Nodes of the menu Pakati/judge."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import folder_paths
from comfy import model_management
from comfy_api.latest import io, ui
from torch import Tensor

from ..pakati_core.errors import JudgeError
from ..pakati_core.judge import (
    MetricsJudge,
    NoVerdict,
    QuestionSet,
    ReaderJudge,
    Verdict,
    instruction,
    questions_from_prompt,
    questions_from_regions,
    verdict_from_text,
)
from ..pakati_core.judge.questions import Question
from ..pakati_core.layout import image_to_pil
from ..pakati_core.reference import Reference, suggest
from ..pakati_core.reference.actions import Memory
from ..pakati_core.refine import reference_checks
from .types import PakatiQuestions as Questions
from .types import PakatiReference as ReferenceType
from .types import PakatiRegions
from .types import PakatiVerdict as VerdictType

CATEGORY = "Pakati/judge"
ALIASES = ["judge", "evaluate", "score", "vlm", "quality", "check"]
POLL_S = 0.1  # how often a waiting judge looks whether it was cancelled
KEY_FILE = "pakati.env"
REMOTE = {  # wire format -> the model that is proposed
    "openai": "gpt-5-mini",
    "ollama": "qwen3-vl",
    "gemini": "gemini-2.5-flash",
    "anthropic": "claude-haiku-4-5",
}


class PakatiQuestions(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PakatiQuestions",
            display_name="Questions for a Judge",
            category=CATEGORY,
            description="Turns a prompt, and the prompts of regions, into questions that yes or no answers: what is "
            "there, how many, which colour, where. By rules, without a model. Make them once, before a loop.",
            search_aliases=[*ALIASES, "checklist", "questions", "rubric"],
            inputs=[
                io.String.Input(
                    "prompt",
                    multiline=True,
                    tooltip="What the picture should show. Empty: only the regions are asked about.",
                ),
                PakatiRegions.Input("regions", optional=True, tooltip="Each region is asked about in its own place."),
                io.String.Input(
                    "more",
                    default="",
                    multiline=True,
                    optional=True,
                    advanced=True,
                    tooltip="Further questions, one on each line, to be answered yes in a good picture. The embedded "
                    "reader cannot answer these.",
                ),
                io.Boolean.Input(
                    "flaws",
                    default=True,
                    optional=True,
                    advanced=True,
                    tooltip="Also ask whether everything is well formed.",
                ),
            ],
            outputs=[
                Questions.Output("questions", tooltip="The questions, for Judge a Picture and Verdict from Text."),
                io.String.Output("instruction", tooltip="The same as text, for any node that asks a vision model."),
            ],
        )

    @classmethod
    def execute(cls, prompt: str, regions=None, more: str = "", flaws: bool = True) -> io.NodeOutput:
        questions = make_questions(prompt, regions, more, flaws)
        return io.NodeOutput(questions, instruction(questions))


def make_questions(prompt: str, regions=None, more: str = "", flaws: bool = True) -> QuestionSet:
    own = [line.strip() for line in more.splitlines() if line.strip()]
    added = tuple(Question(f"own{i}", text, "style") for i, text in enumerate(own, start=1))
    if regions is not None:
        regions = replace(regions, prompt=prompt)
        made = questions_from_regions(regions, flaws)
    elif not prompt.strip() and added:
        return QuestionSet(added)
    else:
        made = questions_from_prompt(prompt, flaws)
    return QuestionSet((*made.questions, *added), made.prompt, made.regions)


class PakatiVlmEvaluate(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PakatiVlmEvaluate",
            display_name="Judge a Picture",
            category=CATEGORY,
            description="Answers every question about a picture. The embedded reader and the measurements work "
            "offline; a vision model is asked over HTTP, with a key from the environment. Where no answer comes there "
            "is no verdict, and never a made-up score.",
            search_aliases=[*ALIASES, "gemini", "openai", "ollama", "claude", "vision model", "llm"],
            inputs=[
                io.Image.Input("image", tooltip="The picture to judge, one."),
                Questions.Input("questions", tooltip="What to ask, from Questions for a Judge."),
                judge_input(),
                ReferenceType.Input(
                    "reference",
                    optional=True,
                    tooltip="Counts as one more question: 0.5 where the difference is plain to see, 1 for none.",
                ),
                io.Int.Input(
                    "judge_seed",
                    default=0,
                    min=0,
                    max=2**31 - 1,
                    optional=True,
                    advanced=True,
                    tooltip="Change it to have the same picture judged anew; else an answer is never asked for twice.",
                ),
            ],
            outputs=verdict_outputs(),
        )

    @classmethod
    async def execute(cls, image: Tensor, questions, judge: dict, reference=None, judge_seed: int = 0) -> io.NodeOutput:
        if reference is not None and reference.region is not None:
            raise JudgeError(f"the reference is for the region {reference.region!r}; leave its region empty here")
        verdict = await judged(image, questions, judge)
        if reference is not None and isinstance(verdict, Verdict):
            more = reference_checks([reference], image_to_pil(image), None)
            verdict = replace(verdict, checks=(*verdict.checks, *more))
        return io.NodeOutput(verdict, score_of(verdict), tell(verdict), ui=ui.PreviewImage(image, cls=cls))


def judge_input() -> io.DynamicCombo.Input:
    options = [io.DynamicCombo.Option("embedded reader", []), io.DynamicCombo.Option("measurements", [])]
    for wire, model in REMOTE.items():
        options.append(io.DynamicCombo.Option(wire, [_model_input(model), _address_input()]))
    return io.DynamicCombo.Input(
        "judge",
        options=options,
        tooltip="Who answers. The embedded reader knows only what the embedded model paints. Keys are read from the "
        f"environment or from {KEY_FILE} in the system folder below ComfyUI's user folder, never from a widget.",
    )


def _model_input(model: str) -> io.String.Input:
    return io.String.Input("model", default=model, tooltip="The model's name, as the service knows it.")


def _address_input() -> io.String.Input:
    return io.String.Input(
        "address", default="", tooltip="Base URL of another server that speaks this format; empty: the service's own."
    )


async def judged(image: Tensor, questions: QuestionSet, judge: dict) -> Verdict | NoVerdict:
    picture, kind = image_to_pil(image), judge["judge"]
    if kind not in REMOTE:
        return (ReaderJudge() if kind == "embedded reader" else MetricsJudge()).judge(picture, questions)
    from ..pakati_core.judge import RemoteJudge

    files = [Path(folder_paths.get_system_user_directory()) / KEY_FILE]
    remote = RemoteJudge(kind, judge["model"], judge["address"], key_files=files)
    return await interruptible(remote.judge_async(picture, questions))


async def interruptible(work):
    """While an asynchronous node waits, the host only waits with it: so look whether the user has cancelled."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait([task], timeout=POLL_S)
            if model_management.processing_interrupted():
                task.cancel()
                await asyncio.wait([task], timeout=1)
                model_management.throw_exception_if_processing_interrupted()
        return task.result()
    finally:
        task.cancel()


def score_of(verdict: Verdict | NoVerdict) -> float:
    return verdict.geometric if isinstance(verdict, Verdict) else -1.0


def tell(verdict: Verdict | NoVerdict) -> str:
    if isinstance(verdict, NoVerdict):
        return f"no verdict: {verdict.reason}"
    rows = [f"{verdict.effective[c.id]:.2f}  {c.question}  ({c.evidence})" for c in verdict.checks]
    return "\n".join([f"score {verdict.geometric:.2f}, mean {verdict.arithmetic:.2f}", *rows])


class PakatiVerdictFromText(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PakatiVerdictFromText",
            display_name="Verdict from Text",
            category=CATEGORY,
            description="Reads the answers that any language model gave as text: so the LLM node that you like becomes "
            "the judge. Give that node the instruction of Questions for a Judge and the picture.",
            search_aliases=[*ALIASES, "llm to verdict", "parse json", "text to score"],
            inputs=[
                io.String.Input(
                    "text", force_input=True, tooltip="What the model said: JSON, with or without words around."
                ),
                Questions.Input("questions", tooltip="The questions that it was asked."),
            ],
            outputs=verdict_outputs(),
        )

    @classmethod
    def execute(cls, text: str, questions) -> io.NodeOutput:
        verdict = verdict_from_text(text, questions)
        return io.NodeOutput(verdict, score_of(verdict), tell(verdict))


class PakatiReference(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PakatiReference",
            display_name="Reference Picture",
            category="Pakati/reference",
            description="A picture, what is meant by it, and which aspect of it to take.",
            search_aliases=["reference image", "style reference", "palette", "annotated reference"],
            inputs=[
                io.Image.Input("image", tooltip="The reference, one picture of any size."),
                io.String.Input("description", tooltip="In words what is meant: warm golden light."),
                io.Combo.Input(
                    "aspect",
                    options=["general", "colour", "texture", "composition", "lighting", "style"],
                    tooltip="What to take from it.",
                ),
                io.String.Input(
                    "region",
                    default="",
                    optional=True,
                    tooltip="Name of the region it is for; empty: the whole canvas.",
                ),
            ],
            outputs=[ReferenceType.Output("reference", tooltip="For Compare with Reference.")],
        )

    @classmethod
    def execute(cls, image: Tensor, description: str, aspect: str, region: str = "") -> io.NodeOutput:
        return io.NodeOutput(Reference(image_to_pil(image), description, aspect, region.strip() or None))


class PakatiDelta(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PakatiDelta",
            display_name="Compare with Reference",
            category="Pakati/reference",
            description="Measures how a picture differs from a reference, with signs: too cold, too dark, too smooth, "
            "too far left. No model, no network.",
            search_aliases=["delta", "difference", "ciede2000", "palette distance", "ssim", "image metrics"],
            inputs=[
                io.Image.Input("image", tooltip="The picture to measure, one."),
                ReferenceType.Input("reference", tooltip="From Reference Picture."),
                PakatiRegions.Input("regions", optional=True, tooltip="Needed where the reference is for one region."),
            ],
            outputs=[
                io.Float.Output("distance", tooltip="In the reference's aspect: 0 is none, 1 is plain to see."),
                io.String.Output("words", tooltip="What would bring the picture nearer, for a prompt."),
                io.String.Output("report", tooltip="Every measure, picture minus reference, as JSON."),
            ],
        )

    @classmethod
    def execute(cls, image: Tensor, reference, regions=None) -> io.NodeOutput:
        if reference.region is not None and regions is None:
            raise JudgeError(f"the reference is for the region {reference.region!r}; connect the regions")
        delta = reference.delta(image_to_pil(image), regions)
        actions = suggest(delta, reference.aspect, reference.description, reference.region, Memory())
        words = ", ".join(dict.fromkeys(action.phrase for action in actions if action.phrase))
        return io.NodeOutput(delta.distance(reference.aspect), words, json.dumps(delta.to_dict(), indent=1))


def verdict_outputs() -> list:
    return [
        VerdictType.Output("verdict", tooltip="All answers, or the reason why there is none."),
        io.Float.Output("score", tooltip="Geometric mean of the answers, 0 to 1; -1 where there is no verdict."),
        io.String.Output("report", tooltip="Answers and evidence, to read."),
    ]


NODES = [PakatiQuestions, PakatiVlmEvaluate, PakatiVerdictFromText, PakatiReference, PakatiDelta]
