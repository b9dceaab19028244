"""LoRA stacks: lists of LoRAs that packs share, and their trigger words."""

import folder_paths
from comfy_api.latest import io

from ..pakati_core.lora import LoraRow, inject
from .types import LoraStack

CATEGORY = "Pakati/characters"
ALIASES = ["lora", "lora stack", "lora stacker", "multi lora", "power lora loader", "load lora", "trigger words"]
NONE = "none"


class PakatiLoraStack(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PakatiLoraStack",
            display_name="LoRA Stack",
            category=CATEGORY,
            description="A list of LoRAs with their strengths, for Apply LoRA Stack or for one region of a Regional "
            "Prompt, and the prompt with the words that wake them. Nothing is loaded yet.",
            search_aliases=ALIASES,
            inputs=[*_row_inputs(), *_stack_inputs()],
            outputs=[
                LoraStack.Output(
                    "loras", display_name="loras", tooltip="The stack: name, strength on the model and on the CLIP each"
                ),
                io.String.Output(
                    "prompt",
                    display_name="prompt",
                    tooltip="The prompt, with the trigger words that it lacked in front",
                ),
                io.String.Output(
                    "words", display_name="trigger words", tooltip="All trigger words of this node's LoRAs, with commas"
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        lora: str,
        strength_model: float = 1.0,
        strength_clip: float = 1.0,
        enabled: bool = True,
        trigger_words: bool = True,
        more: str = "",
        loras: list | None = None,
        prompt: str = "",
    ) -> io.NodeOutput:
        # Imported late, as all that reads files.
        from .lora_stacks import read_stack, words_of

        first = LoraRow(lora, strength_model, strength_clip, enabled, trigger_words)
        rows = read_stack([] if lora == NONE else [first], more)
        stack = [*(loras or []), *(tuple(row[:3]) for row in rows)]
        words = [word for row in rows if row.triggers for word in words_of(row.name)]
        return io.NodeOutput(stack, inject(prompt, words), inject("", words))


class PakatiApplyLoraStack(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PakatiApplyLoraStack",
            display_name="Apply LoRA Stack",
            category=CATEGORY,
            description="Loads all LoRAs of a stack onto the model and the CLIP: the same as one Load LoRA after the "
            "other, which is what it becomes when it runs.",
            search_aliases=[*ALIASES, "apply lora stack", "lora loader"],
            inputs=[
                io.Model.Input(
                    "model", tooltip="The model to load them onto. It is not changed; the output is a copy."
                ),
                LoraStack.Input("loras", tooltip="The stack, from LoRA Stack or from another pack's node."),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="The CLIP to load them onto. Unconnected: only the model has them, and no CLIP comes out.",
                ),
            ],
            outputs=[
                io.Model.Output("model", display_name="model", tooltip="The model with the LoRAs"),
                io.Clip.Output(
                    "clip", display_name="clip", tooltip="The CLIP with the LoRAs; encode the prompts with it"
                ),
            ],
            enable_expand=True,
        )

    @classmethod
    def execute(cls, model, loras: list, clip=None) -> io.NodeOutput:
        from .lora_stacks import apply_stack

        return apply_stack(model, clip, loras)


def _row_inputs() -> list[io.Input]:
    strength = {"default": 1.0, "min": -100.0, "max": 100.0, "step": 0.05}
    return [
        io.Combo.Input(
            "lora",
            options=[NONE, *folder_paths.get_filename_list("loras")],
            tooltip="The first LoRA, from the models/loras folder. none: only those of `more`.",
        ),
        io.Float.Input(
            "strength_model", **strength, optional=True, tooltip="How strongly it acts on the model, as a factor."
        ),
        io.Float.Input(
            "strength_clip", **strength, optional=True, tooltip="How strongly it acts on the CLIP, as a factor."
        ),
        io.Boolean.Input("enabled", default=True, optional=True, tooltip="Off: this LoRA is left out of the stack."),
        io.Boolean.Input(
            "trigger_words",
            default=True,
            optional=True,
            tooltip="On: its trigger words are put into the prompt, unless they stand there. They are read from "
            "lora_registry.yaml in the folder of LoRAs, from the info files beside the LoRA, or from its header.",
        ),
    ]


def _stack_inputs() -> list[io.Input]:
    return [
        io.String.Input(
            "more",
            multiline=True,
            dynamic_prompts=False,
            optional=True,
            placeholder="style.safetensors 0.7 0.5\n# not_now.safetensors 0.6\nno_words.safetensors 1 silent",
            tooltip="Further LoRAs, one on each line: name, strength on the model, strength on the CLIP. Without the "
            "last it is the same, without both 1 or the registry's weight. # before it turns a line off; silent after "
            "it keeps its trigger words out.",
        ),
        LoraStack.Input("loras", optional=True, tooltip="A stack that these are added to, from any pack."),
        io.String.Input(
            "prompt",
            multiline=True,
            dynamic_prompts=False,
            optional=True,
            tooltip="A prompt to put the trigger words into; chained, each stack adds its own, and none twice.",
        ),
    ]


NODES = [PakatiLoraStack, PakatiApplyLoraStack]
