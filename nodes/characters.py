"""Nodes of the menu Pakati/characters."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import torch
from comfy_api.latest import io, ui
from comfy_execution.graph_utils import ExecutionBlocker
from PIL import Image
from torch import Tensor

from ..pakati_core.characters import (
    DOCUMENTS_THRESHOLD,
    TINY,
    Aggregate,
    Candidate,
    Embedder,
    Embeddings,
    Finding,
    Match,
    Person,
    Preset,
    Threshold,
    Unknown,
    assemble,
    calibrate,
    draw_sheet,
    load_presets,
    recognise,
    recognise_all,
    split,
)
from ..pakati_core.characters.presets import choose
from ..pakati_core.errors import IdentityError
from ..pakati_core.layout import image_to_pil, pil_to_image
from .face_files import embedder, embedder_names, input_file
from .types import LoraStack, PakatiCharacter, PakatiFaces

CATEGORY = "Pakati/characters"
ALIASES = ["character", "consistent character", "face", "identity", "arcface", "insightface"]


class Strictness(StrEnum):
    references = "references"  # what PakatiFaceEmbedding found out, else the embedder's makers' value
    documents = "documents"
    own = "own"


class NodePolicy(StrEnum):
    """A node cannot paint another picture, so there is no `retry`."""

    drop = "drop"
    keep = "keep"


class KnownFace(NamedTuple):
    """References, what embeds a face to compare with them, and from which similarity on it is the same one."""

    references: Embeddings
    embedder: Embedder
    threshold: Threshold
    how: Aggregate


class Role(NamedTuple):
    """A character on a wire. loras: as on a LORA_STACK."""

    name: str
    preset: Preset
    loras: tuple[tuple[str, float, float], ...] = ()
    faces: KnownFace | None = None


class PakatiFaceEmbedding(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PakatiFaceEmbedding",
            display_name="Reference Faces",
            category=CATEGORY,
            description="Reads a character's face from one or more pictures, and finds out from which similarity on "
            "another face is the same one.",
            search_aliases=[*ALIASES, "face embedding", "face analysis", "reference", "face embeds", "calibrate"],
            inputs=[
                io.Image.Input(
                    "images",
                    tooltip="Pictures of the character, a batch. The largest face of each is taken; three or more "
                    "pictures allow the threshold to be measured.",
                ),
                io.Combo.Input(
                    "embedder",
                    options=embedder_names(),
                    default=TINY,
                    tooltip="What reads faces. pakati-tiny: objects of the embedded world. pakati-heads: its cartoon "
                    "heads. opencv-sface: free models in models/faces. A pack such as buffalo_l: in "
                    "models/insightface, not for commercial use. Or an ONNX file of models/faces. "
                    "Nothing is downloaded.",
                ),
                io.Image.Input(
                    "others",
                    optional=True,
                    tooltip="Pictures of other people in the same style, a batch, the more the better. With them the "
                    "threshold is measured; without, it is the one that the embedder's makers advise.",
                ),
                io.Float.Input(
                    "false_accepts",
                    default=0.01,
                    min=0.0,
                    max=0.5,
                    step=0.001,
                    optional=True,
                    advanced=True,
                    tooltip="Share of the others that may pass for the character when the threshold is measured, 0 to "
                    "1.",
                ),
                io.Combo.Input(
                    "combine",
                    options=Aggregate,
                    default=Aggregate.top2,
                    optional=True,
                    advanced=True,
                    tooltip="How several references judge one face. top2: the mean of the two most similar. best: the "
                    "most similar alone.",
                ),
            ],
            outputs=[
                PakatiFaces.Output("faces", display_name="faces", tooltip="The character's face, for the face filter"),
                io.Float.Output("threshold", tooltip="Similarity from which on a face is the same, -1 to 1"),
                io.String.Output("report", tooltip="Whether the threshold was measured, and how sure that is"),
            ],
        )

    @classmethod
    def execute(
        cls,
        images: Tensor,
        embedder: str,
        others: Tensor | None = None,
        false_accepts: float = 0.01,
        combine: str = Aggregate.top2,
    ) -> io.NodeOutput:
        known, how = named_embedder(embedder), Aggregate(combine)
        named = [(f"reference picture {i}", picture) for i, picture in enumerate(pictures(images), 1)]
        references = Embeddings.of(known, named)
        vectors = None
        if others is not None:
            faces = [face for picture in pictures(others) for face in known.embed(picture)]
            vectors = torch.tensor([face.vector.tolist() for face in faces]).reshape(len(faces), -1).numpy()
        threshold = calibrate(references, vectors, known.threshold, false_accepts, how)
        report = f"{known.id}: threshold {threshold.value:.3f}; {threshold.reason}"
        return io.NodeOutput(KnownFace(references, known, threshold, how), threshold.value, report)


class PakatiArcFaceFilter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PakatiArcFaceFilter",
            display_name="Filter by Face",
            category=CATEGORY,
            description="Keeps the pictures that show the same face as the references.",
            search_aliases=[*ALIASES, "face filter", "face similarity", "candidates", "pick best", "face compare"],
            is_output_node=True,
            inputs=[
                io.Image.Input("images", tooltip="The candidates, a batch."),
                PakatiFaces.Input("faces", tooltip="The character's face, from Reference Faces."),
                io.DynamicCombo.Input(
                    "strictness",
                    options=[
                        io.DynamicCombo.Option(Strictness.references, []),
                        io.DynamicCombo.Option(Strictness.documents, []),
                        io.DynamicCombo.Option(Strictness.own, [_threshold_input()]),
                    ],
                    tooltip="How similar a face must be. references: as Reference Faces measured it, or as the "
                    "embedder's makers advise. documents: 0.65. own: a number.",
                ),
                io.Combo.Input(
                    "no_face",
                    options=NodePolicy,
                    default=NodePolicy.drop,
                    optional=True,
                    tooltip="What becomes of a picture in which no face is found, such as one seen from behind: drop "
                    "puts it among the rejected, keep among the kept.",
                ),
            ],
            outputs=[
                io.Image.Output("kept", display_name="kept", tooltip="Those with the character. None: nothing goes on"),
                io.Image.Output("rejected", display_name="rejected", tooltip="The others. None: nothing goes on"),
                io.Float.Output(
                    "scores", is_output_list=True, tooltip="Similarity of each candidate, in order; -1 without a face"
                ),
                io.Image.Output("sheet", tooltip="All candidates side by side, with their similarities"),
            ],
        )

    @classmethod
    def execute(
        cls, images: Tensor, faces: KnownFace, strictness: dict, no_face: str = NodePolicy.drop
    ) -> io.NodeOutput:
        threshold = read_strictness(strictness, faces)
        person = Person("the character", faces.references, threshold, faces.how)
        candidates = pictures(images)
        findings = [recognise(picture, person, faces.embedder) for picture in candidates]
        policy = Unknown(no_face)
        kept, rejected = split(findings, policy)
        sheet = pil_to_image(
            draw_sheet(
                _shown(candidates, findings, policy), f"{len(kept)} of {len(findings)} kept from {threshold:.2f}"
            )
        )
        scores = [-1.0 if finding.score is None else finding.score for finding in findings]
        return io.NodeOutput(
            _picked(images, kept), _picked(images, rejected), scores, sheet, ui=ui.PreviewImage(sheet, cls=cls)
        )


class PakatiCharacterNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PakatiCharacter",
            display_name="Character",
            category=CATEGORY,
            description="Binds what makes a character: its prompt, trigger words, LoRAs and reference faces.",
            search_aliases=[*ALIASES, "character preset", "persona", "character sheet", "oc"],
            inputs=[
                io.String.Input("name", default="luca", tooltip="What people call the character."),
                io.String.Input(
                    "prompt",
                    multiline=True,
                    dynamic_prompts=False,
                    placeholder="what the character looks like",
                    tooltip="Who it is, in every picture. Phrases between commas.",
                ),
                io.String.Input(
                    "negative",
                    multiline=True,
                    dynamic_prompts=False,
                    optional=True,
                    placeholder="what it never is",
                    tooltip="What is kept out of every picture of the character.",
                ),
                io.String.Input(
                    "trigger_words",
                    dynamic_prompts=False,
                    optional=True,
                    tooltip="Words that wake the character's LoRAs, between commas. Those that the prompt already "
                    "says are not said again.",
                ),
                LoraStack.Input("loras", optional=True, tooltip="The character's LoRAs, as a stack."),
                PakatiFaces.Input("faces", optional=True, tooltip="The character's face, from Reference Faces."),
                io.String.Input(
                    "preset_file",
                    dynamic_prompts=False,
                    optional=True,
                    advanced=True,
                    tooltip="A YAML or JSON file of characters in ComfyUI's input folder. The character of this name "
                    "in it is the ground on which the other inputs are laid.",
                ),
            ],
            outputs=[PakatiCharacter.Output("character", tooltip="The character, for Character Prompt")],
        )

    @classmethod
    def execute(
        cls,
        name: str,
        prompt: str,
        negative: str = "",
        trigger_words: str = "",
        loras: list | None = None,
        faces: KnownFace | None = None,
        preset_file: str = "",
    ) -> io.NodeOutput:
        preset = Preset()
        if preset_file.strip():
            preset = choose(load_presets(input_file(preset_file.strip())), name.strip(), "character")
        words = [*preset.trigger_words, *(word.strip() for word in trigger_words.split(",") if word.strip())]
        own = {"base_prompt": prompt, "negative_prompt": negative}
        own = {key: text for key, text in own.items() if text.strip()}
        preset = preset.model_copy(update={**own, "trigger_words": words})
        return io.NodeOutput(Role(name.strip(), preset, tuple(tuple(row) for row in loras or ()), faces))

    @classmethod
    def fingerprint_inputs(cls, preset_file: str = "", **_) -> str:
        """Read the file again when it has changed."""
        path = input_file(preset_file.strip()) if preset_file and preset_file.strip() else None
        return f"{preset_file}:{path.stat().st_mtime_ns if path else ''}"


class PakatiCharacterPrompt(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PakatiCharacterPrompt",
            display_name="Character Prompt",
            category=CATEGORY,
            description="Puts the character into a scene: one prompt with trigger words, character, scene and "
            "background, in which nothing is said twice.",
            search_aliases=[*ALIASES, "prompt builder", "scene", "prompt assembly"],
            inputs=[
                PakatiCharacter.Input("character", tooltip="The character, from Character."),
                io.String.Input(
                    "scene",
                    multiline=True,
                    dynamic_prompts=False,
                    placeholder="running on the beach",
                    tooltip="What the character does. Taken as it is: braces and slashes have no special meaning.",
                ),
                io.String.Input(
                    "background", dynamic_prompts=False, optional=True, tooltip="Where it is. Empty: the scene says it."
                ),
                io.Boolean.Input(
                    "say_triggers",
                    default=True,
                    optional=True,
                    advanced=True,
                    tooltip="Off: leave the LoRAs' trigger words out.",
                ),
            ],
            outputs=[
                io.String.Output("positive", display_name="positive", tooltip="The prompt, for CLIP Text Encode"),
                io.String.Output("negative", display_name="negative", tooltip="The negative prompt"),
                LoraStack.Output("loras", display_name="loras", tooltip="The character's LoRAs"),
                PakatiFaces.Output("faces", display_name="faces", tooltip="The character's face, for the face filter"),
            ],
        )

    @classmethod
    def execute(cls, character: Role, scene: str, background: str = "", say_triggers: bool = True) -> io.NodeOutput:
        triggers = character.preset.trigger_words if say_triggers else []
        positive = assemble(triggers, character.preset.base_prompt, scene, background)
        faces = character.faces or ExecutionBlocker(None)
        return io.NodeOutput(positive, character.preset.negative_prompt, list(character.loras), faces)


class PakatiIdentityReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PakatiIdentityReport",
            display_name="Who Is in the Picture",
            category=CATEGORY,
            description="Finds several characters in each picture: every character gets the face that is most like "
            "it, and no face goes to two.",
            search_aliases=[*ALIASES, "face report", "who is who", "several characters", "assignment"],
            is_output_node=True,
            inputs=[
                io.Image.Input("images", tooltip="The pictures, a batch."),
                *(
                    PakatiCharacter.Input(
                        f"character_{number}",
                        optional=number > 1,
                        tooltip="One of the characters to look for. It needs reference faces.",
                    )
                    for number in range(1, 5)
                ),
            ],
            outputs=[
                io.String.Output("report", display_name="report", tooltip="A line for each character and picture"),
                io.Int.Output("right", display_name="right", tooltip="Pictures in which all of the characters are"),
                io.Image.Output("sheet", tooltip="Each picture with each character's face framed"),
            ],
        )

    @classmethod
    def execute(
        cls,
        images: Tensor,
        character_1: Role,
        character_2: Role | None = None,
        character_3: Role | None = None,
        character_4: Role | None = None,
    ) -> io.NodeOutput:
        cast = [role for role in (character_1, character_2, character_3, character_4) if role is not None]
        known = [_face_of(role) for role in cast]
        people = [Person(role.name, face.references, face.threshold.value, face.how) for role, face in zip(cast, known)]
        shown, lines, right = [], [], 0
        for number, picture in enumerate(pictures(images), 1):
            findings = recognise_all(picture, people, known[0].embedder)
            right += all(finding.match == Match.same for finding in findings)
            lines += [f"picture {number}: {finding.person}: {finding.text}" for finding in findings]
            shown += _reported(picture, number, findings)
        sheet = pil_to_image(draw_sheet(shown, f"{right} of {len(images)} pictures with all of the characters"))
        return io.NodeOutput("\n".join(lines), right, sheet, ui=ui.PreviewImage(sheet, cls=cls))


def _threshold_input() -> io.Float.Input:
    return io.Float.Input(
        "threshold",
        default=DOCUMENTS_THRESHOLD,
        min=-1.0,
        max=1.0,
        step=0.01,
        tooltip="Similarity from which on a face is the same, -1 to 1. Each embedder has a scale of its own.",
    )


def read_strictness(strictness: dict, faces: KnownFace) -> float:
    """The value of PakatiArcFaceFilter's `strictness` input."""
    match strictness["strictness"]:
        case Strictness.documents:
            return DOCUMENTS_THRESHOLD
        case Strictness.own:
            return float(strictness["threshold"])
    return faces.threshold.value


def pictures(images: Tensor) -> list[Image.Image]:
    """[B,H,W,C] to B pictures."""
    return [image_to_pil(image[..., :3]) for image in images]


def named_embedder(name: str) -> Embedder:
    return embedder(name)


def _picked(images: Tensor, places: list[int]) -> Tensor | ExecutionBlocker:
    """An empty batch would fail wherever it went."""
    return images[places] if places else ExecutionBlocker(None)


def _shown(candidates: list[Image.Image], findings: list[Finding], policy: Unknown) -> list[Candidate]:
    return [
        Candidate(picture, f"candidate {number}", finding.text, finding.is_kept(policy), finding.box)
        for number, (picture, finding) in enumerate(zip(candidates, findings), 1)
    ]


def _reported(picture: Image.Image, number: int, findings: list[Finding]) -> list[Candidate]:
    return [
        Candidate(picture, f"{number}: {finding.person}", finding.text, finding.match == Match.same, finding.box)
        for finding in findings
    ]


def _face_of(role: Role) -> KnownFace:
    if role.faces is None:
        raise IdentityError(f"{role.name!r} has no reference faces; connect Reference Faces to its Character node")
    return role.faces


NODES = [PakatiFaceEmbedding, PakatiArcFaceFilter, PakatiCharacterNode, PakatiCharacterPrompt, PakatiIdentityReport]
