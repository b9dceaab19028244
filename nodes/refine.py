"""Nodes of the menu Pakati/refine: a loop around the user's own nodes, the same loop in one node, and its report."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import torch
from comfy_api.latest import io, ui
from comfy_execution.graph_utils import GraphBuilder, is_link
from PIL import Image
from torch import Tensor

from ..pakati_core.errors import RefineError
from ..pakati_core.geometry import Extent
from ..pakati_core.judge import picture_digest
from ..pakati_core.layout import image_to_pil, pil_to_image
from ..pakati_core.refine import (
    Config,
    RefinementStrategy,
    Route,
    State,
    advance,
    clarify,
    decide,
    draw_report,
    repaint_mask,
)
from ..pakati_core.regions import RegionSet
from .judge import judge_input, make_questions
from .loop import Carry, Loop, Refined, unrolled
from .types import PakatiLoop, PakatiQuestions, PakatiRegions, PakatiState, PakatiVerdict

CATEGORY = "Pakati/refine"
ALIASES = ["loop", "refine", "iterate", "feedback", "improve", "retry", "emage"]


class PakatiRefineStart(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PakatiRefineStart",
            display_name="Refine: Start",
            category=CATEGORY,
            description="Where each round of a refinement begins. Put your own nodes between it and Refine: End; they "
            "run once for each round, with the picture, mask, seed, denoise and prompt that the round needs.",
            search_aliases=[*ALIASES, "loop start", "for loop", "while loop"],
            inputs=[
                io.String.Input(
                    "prompt", multiline=True, optional=True, default="", tooltip="What the picture should show."
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**63 - 1,
                    optional=True,
                    tooltip="Of the first round; later ones draw their own.",
                ),
                io.Int.Input(
                    "width",
                    default=512,
                    min=16,
                    max=16384,
                    step=8,
                    optional=True,
                    tooltip="Pixels, where no image is connected.",
                ),
                io.Int.Input(
                    "height",
                    default=512,
                    min=16,
                    max=16384,
                    step=8,
                    optional=True,
                    tooltip="Pixels, where no image is connected.",
                ),
                io.Image.Input("image", optional=True, tooltip="The picture to begin from, where there is one."),
                PakatiRegions.Input(
                    "regions", optional=True, tooltip="Then a round repaints only the regions that failed."
                ),
                io.Custom("PAKATI_CARRY").Input(
                    "carry", optional=True, advanced=True, tooltip="Set by the loop itself: leave it open."
                ),
            ],
            outputs=[
                PakatiLoop.Output("loop", tooltip="To Refine: End."),
                io.Image.Output(
                    "image", tooltip="What this round begins from: the best picture so far, or an empty canvas."
                ),
                io.Mask.Output(
                    "mask", tooltip="What to repaint: 1 inside. All of it in a round that begins from noise."
                ),
                io.Int.Output("seed", tooltip="For the sampler of this round."),
                io.Float.Output("denoise", tooltip="For the sampler: 1 begins from noise."),
                io.String.Output("prompt", tooltip="For the text encoder of this round."),
                io.Int.Output("round", tooltip="0 for the first one."),
            ],
        )

    @classmethod
    def execute(
        cls,
        prompt: str = "",
        seed: int = 0,
        width: int = 512,
        height: int = 512,
        image: Tensor | None = None,
        regions=None,
        carry=None,
    ) -> io.NodeOutput:
        loop = carry.value if carry is not None else begin(prompt, seed, width, height, image, regions)
        attempt, picture = loop.state.attempt, _begun(loop)
        whole = attempt.parent is None or not loop.images
        mask = torch.ones(picture.height, picture.width) if whole else _mask(loop, picture)
        denoise = attempt.strength if loop.images or loop.image is None else min(1.0, attempt.strength)
        row = loop, pil_to_image(picture), mask[None], attempt.seed, denoise, loop.said, attempt.index
        return io.NodeOutput(*row)


def begin(prompt: str, seed: int, width: int, height: int, image: Tensor | None, regions: RegionSet | None) -> Loop:
    picture = None if image is None else image_to_pil(image)
    width, height = picture.size if picture else (width, height)
    return Loop(State.begin(Config(seed=seed)), (), prompt, picture, width, height, regions, prompt)


def _begun(loop: Loop) -> Image.Image:
    parent = loop.state.attempt.parent
    if parent is not None and loop.images:
        return loop.images[parent]
    return loop.image or Image.new("RGB", (loop.width, loop.height), (128, 128, 128))


def _mask(loop: Loop, picture: Image.Image) -> Tensor:
    layout = loop.regions or RegionSet(Extent(*picture.size))
    return repaint_mask(picture, layout, loop.state.attempt.regions)


class PakatiRefineEnd(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PakatiRefineEnd",
            display_name="Refine: End",
            category=CATEGORY,
            description="Decides after each round: stop, or run the nodes since Refine: Start once more. Gives the "
            "best picture that it saw, the first one included. Rounds that are done stay in the cache: more rounds or "
            "another target repaint nothing.",
            search_aliases=[*ALIASES, "loop end", "for loop", "while loop", "best of"],
            inputs=[
                PakatiLoop.Input("loop", tooltip="From Refine: Start."),
                io.Image.Input("image", tooltip="The picture of this round."),
                PakatiVerdict.Input("verdict", tooltip="What a judge said about it."),
                PakatiQuestions.Input(
                    "questions",
                    optional=True,
                    tooltip="What the judge was asked; lets a round say in the prompt what failed.",
                ),
                io.String.Input(
                    "words",
                    optional=True,
                    force_input=True,
                    tooltip="What this picture lacks, from Compare with Reference: added to the prompt while it is the "
                    "best.",
                ),
                *limit_inputs(),
            ],
            outputs=_result_outputs(),
            hidden=[io.Hidden.dynprompt, io.Hidden.unique_id],
            enable_expand=True,
        )

    @classmethod
    def execute(
        cls,
        loop,
        image: Tensor,
        verdict,
        questions=None,
        words: str = "",
        rounds: int = 5,
        target: float = 0.9,
        patience: int = 2,
        strategy: str = RefinementStrategy.ADAPTIVE,
    ) -> io.NodeOutput:
        picture = image_to_pil(image)
        # Without questions no round could say what failed, and the same words on the same noise paint the same.
        routes = Config().routes if questions is not None else (Route.inpaint, Route.resample)
        config = Config(rounds, target, patience, seed=loop.state.config.seed, strategy=strategy, routes=routes)
        before = replace(loop.state, config=config)
        state = advance(before, verdict, picture_digest(picture), loop.said)
        images, decision = (*loop.images, picture), decide(state)
        if decision.stops:
            return io.NodeOutput(*results(Refined(state, images, decision)))
        loop = loop._replace(state=state, images=images, words=(*loop.words, words))
        following = loop._replace(said=_said(loop, questions))
        dynprompt, own = cls.hidden.dynprompt, cls.hidden.unique_id
        start = dynprompt.get_node(own)["inputs"]["loop"][0]
        graph, end = unrolled(dynprompt, own, start, carry_of(following))
        return io.NodeOutput(*(end.out(i) for i in range(5)), expand=graph)


def limit_inputs() -> list:
    return [
        io.Int.Input(
            "rounds", default=5, min=1, max=64, optional=True, tooltip="Pictures at most, the first one included."
        ),
        io.Float.Input(
            "target", default=0.9, min=0.0, max=1.0, step=0.01, optional=True, tooltip="Score from which it is content."
        ),
        io.Int.Input(
            "patience",
            default=2,
            min=1,
            max=64,
            optional=True,
            tooltip="Rounds without a better picture until it stops.",
        ),
        io.Combo.Input(
            "strategy",
            options=[s.value for s in RefinementStrategy],
            default="adaptive",
            optional=True,
            advanced=True,
            tooltip="What is tried first: the gravest fault decides, or the prompt, or the image, or both in turn.",
        ),
    ]


def _result_outputs() -> list:
    return [
        io.Image.Output("best", tooltip="The best picture of all rounds, the first one included."),
        io.Image.Output("last", tooltip="The picture of the last round."),
        PakatiState.Output("state", tooltip="The history, for Refine: Report."),
        io.Float.Output("score", tooltip="Of the best picture, 0 to 1; -1 where no judge could answer."),
        io.String.Output("prompt", tooltip="That the best picture was painted with."),
    ]


def results(refined: Refined) -> tuple:
    state, images, _ = refined
    best = state.passes[state.best_index]
    shown = [pil_to_image(images[i]) for i in (state.best_index, len(images) - 1)]
    return *shown, refined, -1.0 if best.score is None else best.score, best.prompt


def _said(loop: Loop, questions) -> str:
    attempt, lacking = loop.state.attempt, loop.words[loop.state.best_index]
    checks = attempt.checks if attempt.route == Route.prompt else ()
    bare = RegionSet(Extent(loop.width, loop.height), (), loop.prompt)
    return clarify(bare, questions or (), checks, [lacking] if lacking else []).prompt


def carry_of(loop: Loop) -> Carry:
    """Named by all that the next round depends on, and by nothing that only limits how many there are."""
    rows = [
        [picture_digest(image) for image in loop.images],
        [made.to_dict() for made in loop.state.passes],
        str(loop.state.attempt),
        [loop.prompt, loop.said, loop.width, loop.height, *loop.words],
        picture_digest(loop.image) if loop.image else None,
        loop.regions.to_dict() if loop.regions else None,
    ]
    text = json.dumps(rows, sort_keys=True)
    return Carry("pakati " + hashlib.blake2b(text.encode(), digest_size=16).hexdigest(), loop)


class PakatiRefine(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        lazily = {"lazy": True}
        return io.Schema(
            node_id="PakatiRefine",
            display_name="Refine",
            category=CATEGORY,
            description="Paints, judges and repairs until the judge is content: Refine: Start, sampler, judge and "
            "Refine: End in one node.",
            search_aliases=[*ALIASES, "auto retry", "best of n", "self correct"],
            inputs=[
                io.Model.Input("model", tooltip="What paints.", **lazily),
                io.Clip.Input("clip", tooltip="What reads the prompt.", **lazily),
                io.Vae.Input("vae", tooltip="Between pixels and latents.", **lazily),
                io.String.Input("prompt", multiline=True, tooltip="What the picture should show."),
                io.String.Input("negative", multiline=True, default="", tooltip="What it should not show."),
                io.Int.Input("width", default=512, min=16, max=16384, step=8, tooltip="Pixels."),
                io.Int.Input("height", default=512, min=16, max=16384, step=8, tooltip="Pixels."),
                io.Int.Input(
                    "seed", default=0, min=0, max=2**63 - 1, control_after_generate=True, tooltip="Of the first round."
                ),
                io.Int.Input("steps", default=20, min=1, max=1000, tooltip="Denoising steps of a round."),
                io.Float.Input("cfg", default=4.0, min=0.0, max=100.0, step=0.1, tooltip="Guidance scale."),
                io.String.Input(
                    "sampler", default="euler", advanced=True, optional=True, tooltip="As KSampler names it."
                ),
                io.String.Input(
                    "scheduler", default="simple", advanced=True, optional=True, tooltip="As KSampler names it."
                ),
                judge_input(),
                *limit_inputs(),
                io.Boolean.Input(
                    "enabled",
                    default=True,
                    optional=True,
                    advanced=True,
                    tooltip="Off: nothing is loaded or painted, the image goes through.",
                ),
                PakatiRegions.Input(
                    "regions",
                    optional=True,
                    tooltip="Prompts for parts of the picture; what fails there is repainted there.",
                ),
                io.Image.Input("image", optional=True, tooltip="The picture to begin from; without one, from noise."),
            ],
            outputs=_result_outputs(),
            hidden=[io.Hidden.dynprompt, io.Hidden.unique_id],
            enable_expand=True,
        )

    @classmethod
    def check_lazy_status(cls, **_inputs) -> list[str]:
        """None: models are handed on as links to the nodes that use them."""
        return []

    @classmethod
    def execute(
        cls,
        prompt: str,
        negative: str,
        width: int,
        height: int,
        seed: int,
        steps: int,
        cfg: float,
        judge: dict,
        model=None,
        clip=None,
        vae=None,
        sampler: str = "euler",
        scheduler: str = "simple",
        rounds: int = 5,
        target: float = 0.9,
        patience: int = 2,
        strategy: str = RefinementStrategy.ADAPTIVE,
        enabled: bool = True,
        regions=None,
        image: Tensor | None = None,
    ) -> io.NodeOutput:
        if not enabled:
            if image is None:
                raise RefineError("Refine is off and no image is connected; connect the image that should go through")
            return io.NodeOutput(image, image, None, -1.0, prompt)
        make_questions(prompt, regions)  # what cannot be asked about is said before anything is painted
        given = cls.hidden.dynprompt.get_node(cls.hidden.unique_id)["inputs"]
        links = {name: given[name] for name in ("model", "clip", "vae", "regions", "image") if is_link(given.get(name))}
        limits = {"rounds": rounds, "target": target, "patience": patience, "strategy": strategy}
        sampling = {"steps": steps, "cfg": cfg, "sampler_name": sampler, "scheduler": scheduler}
        base = {"prompt": prompt, "seed": seed, "width": width, "height": height}
        graph, end = one_node_loop(links, base, negative, sampling, _flat("judge", judge), limits)
        return io.NodeOutput(*(end.out(i) for i in range(5)), expand=graph.finalize())


def _flat(name: str, value: dict) -> dict:
    """A dynamic combo's value as a graph writes it: judge, judge.model, judge.address."""
    return {name: value[name], **{f"{name}.{key}": part for key, part in value.items() if key != name}}


def one_node_loop(links: dict, base: dict, negative: str, sampling: dict, judge: dict, limits: dict):
    """The graph that a user would wire: the same nodes, the same ids' order, the same caching."""
    graph = GraphBuilder()
    optional = {name: links[name] for name in ("regions", "image") if name in links}
    asked = {"prompt": base["prompt"], **({"regions": links["regions"]} if "regions" in links else {})}
    questions = graph.node("PakatiQuestions", "questions", **asked)
    start = graph.node("PakatiRefineStart", "start", **base, **optional)
    positive = graph.node("CLIPTextEncode", "positive", text=start.out(5), clip=links["clip"]).out(0)
    unwanted = graph.node("CLIPTextEncode", "negative", text=negative, clip=links["clip"]).out(0)
    model = links["model"]
    if "regions" in links:
        applied = graph.node(
            "PakatiApplyRegions",
            "regions",
            model=model,
            clip=links["clip"],
            positive=positive,
            negative=unwanted,
            regions=links["regions"],
            overlap="over",
        )
        model, positive, unwanted = (applied.out(i) for i in range(3))
    latent = graph.node("VAEEncode", "encode", pixels=start.out(1), vae=links["vae"])
    masked = graph.node("SetLatentNoiseMask", "masked", samples=latent.out(0), mask=start.out(2))
    painted = graph.node(
        "KSampler",
        "sampler",
        model=model,
        positive=positive,
        negative=unwanted,
        latent_image=masked.out(0),
        seed=start.out(3),
        denoise=start.out(4),
        **sampling,
    )
    decoded = graph.node("VAEDecode", "decode", samples=painted.out(0), vae=links["vae"])
    whole = graph.node(
        "ImageCompositeMasked",
        "kept",
        destination=start.out(1),
        source=decoded.out(0),
        mask=start.out(2),
        x=0,
        y=0,
        resize_source=False,
    )
    verdict = graph.node("PakatiVlmEvaluate", "judge", image=whole.out(0), questions=questions.out(0), **judge)
    end = graph.node(
        "PakatiRefineEnd",
        "end",
        loop=start.out(0),
        image=whole.out(0),
        verdict=verdict.out(0),
        questions=questions.out(0),
        **limits,
    )
    return graph, end


class PakatiRefineReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PakatiRefineReport",
            display_name="Refine: Report",
            category=CATEGORY,
            description="Shows every round of a refinement with its score, the best one framed, the curve of the "
            "scores, and which question was right in which round.",
            search_aliases=[*ALIASES, "history", "chart", "gallery"],
            inputs=[PakatiState.Input("state", tooltip="From Refine: End or Refine.")],
            outputs=[
                io.Image.Output("report", tooltip="The sheet as a picture."),
                io.Image.Output("rounds", tooltip="The pictures of all rounds, as a batch."),
                io.String.Output("history", tooltip="Everything that happened, as JSON."),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, state) -> io.NodeOutput:
        sheet = pil_to_image(draw_report(state.state, state.images))
        pictures = torch.cat([pil_to_image(image.resize(state.images[0].size)) for image in state.images])
        return io.NodeOutput(sheet, pictures, state.state.to_json(), ui=ui.PreviewImage(sheet, cls=cls))


NODES = [PakatiRefineStart, PakatiRefineEnd, PakatiRefine, PakatiRefineReport]
