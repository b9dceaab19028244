"""LoRA stacks in the host: the same bits as its own nodes, names and words as its folder has them."""

import importlib

import folder_paths
import pytest
import torch
from comfy.lora import calculate_weight

from pakati.nodes.loras import PakatiApplyLoraStack, PakatiLoraStack
from pakati.nodes.tiny_model import load_tiny
from pakati.pakati_core.errors import PakatiError
from tests.nodes.loras import layers_of, random_lora, write

stock = importlib.import_module("nodes")  # the host's; ours is pakati.nodes
NAMES = [f"lora {i}.safetensors" for i in range(8)]
STACK = [(name, 0.1 * i - 0.2, 0.3 - 0.1 * (i % 4)) for i, name in enumerate(NAMES)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The embedded model, and a folder with eight LoRAs for its UNet and its text encoder."""
    model, clip, _ = load_tiny()
    folder = tmp_path_factory.mktemp("stack")
    words = layers_of(clip.cond_stage_model, lambda path: path.endswith("_proj"))
    for seed, name in enumerate(NAMES):
        unet = random_lora(layers_of(model.model.diffusion_model), seed=seed, rank=2)
        write(unet | random_lora(words, seed=seed, rank=2, name="text_encoders.{}".format), folder / name)
    (folder / "lora 1.civitai.info").write_text('{"trainedWords": ["sun", "yellow"]}')
    registry = "characters: {moon: {lora_path: /x/lora 2.safetensors, default_weight: 0.6, trigger_words: [moon]}}"
    (folder / "lora_registry.yaml").write_text(registry)
    folder_paths.add_model_folder_path("loras", str(folder), is_default=True)
    return model, clip


def run(output):
    """The expanded graph, node by node, with the host's own classes."""
    made = {}
    for key, node in output.expand.items():
        inputs = {name: resolve(value, made) for name, value in node["inputs"].items()}
        method = stock.NODE_CLASS_MAPPINGS[node["class_type"]]
        made[key] = getattr(method(), method.FUNCTION)(**inputs)
    return [resolve(value, made) for value in output.result]


def resolve(value, made: dict):
    linked = isinstance(value, list) and len(value) == 2 and value[0] in made
    return made[value[0]][value[1]] if linked else value


def weights(patcher) -> dict:
    """All weights with their patches, as the host works them out where the model runs."""
    found = {name: weight.float() for name, weight in patcher.model.state_dict().items() if name in patcher.patches}
    return {name: calculate_weight(patcher.patches[name], weight.clone(), name) for name, weight in found.items()}


def test_a_stack_of_eight_is_eight_stock_loaders_bit_for_bit(tiny):
    model, clip = tiny
    for name, on_model, on_clip in STACK:
        model, clip = stock.LoraLoader().load_lora(model, clip, name, on_model, on_clip)
    got_model, got_clip = run(PakatiApplyLoraStack.execute(tiny[0], STACK, tiny[1]))
    for got, wanted in ((got_model, model), (got_clip.patcher, clip.patcher)):
        ours, theirs, plain = weights(got), weights(wanted), wanted.model.state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        assert len(ours) >= 8
        assert not any(torch.equal(ours[name], plain[name].float()) for name in ours)


def test_without_a_clip_the_model_alone_gets_them(tiny):
    output = PakatiApplyLoraStack.execute(tiny[0], STACK[:4])
    assert {node["class_type"] for node in output.expand.values()} == {"LoraLoaderModelOnly"}
    model, clip = run(output)
    expected = tiny[0]
    for name, on_model, _ in STACK[:4]:
        expected = stock.LoraLoader().load_lora(expected, None, name, on_model, 0.0)[0]
    assert clip is None
    ours, theirs = weights(model), weights(expected)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_strength_0_leaves_the_very_model(tiny):
    output = PakatiApplyLoraStack.execute(tiny[0], [(NAMES[0], 0.0, 0.0)], tiny[1])
    assert output.expand == {}
    assert output.result == (tiny[0], tiny[1])


@pytest.mark.parametrize(
    "row, message",
    [(("nowhere.safetensors", 1.0, 1.0), "'nowhere.safetensors' is not in"), (("a", 1.0), "row 1 of the LoRA stack")],
)  # fmt: skip
def test_rows_that_cannot_be_used(tiny, row, message):
    with pytest.raises(PakatiError, match=message):
        PakatiApplyLoraStack.execute(tiny[0], [row], tiny[1])


def test_rows_from_widgets_lines_and_other_packs(tiny):
    more = "lora 1 0.5 0.25\n# lora 3 1\nLORA 4.safetensors 0.2 silent\nmoon\nlora 5 0 0"
    stack, prompt, words = PakatiLoraStack.execute(
        NAMES[0], 0.9, 0.8, more=more, loras=[("theirs.safetensors", 1.0, 1.0)], prompt="a yellow field"
    ).result
    assert stack == [
        ("theirs.safetensors", 1.0, 1.0), (NAMES[0], 0.9, 0.8), (NAMES[1], 0.5, 0.25), (NAMES[4], 0.2, 0.2),
        (NAMES[2], 0.6, 0.6),
    ]  # fmt: skip
    assert prompt == "sun, moon, a yellow field"
    assert words == "sun, yellow, moon"
    again = PakatiLoraStack.execute("none", more="moon 1", loras=stack, prompt=prompt).result
    assert again[1] == prompt


@pytest.mark.parametrize("switches", [{"enabled": False}, {"strength_model": 0.0, "strength_clip": 0.0}])
def test_a_row_that_is_off_gives_nothing(tiny, switches):
    assert PakatiLoraStack.execute(NAMES[1], prompt="grass", **switches).result == ([], "grass", "")


def test_words_can_stay_out(tiny):
    assert PakatiLoraStack.execute(NAMES[1], trigger_words=False, prompt="grass").result[1:] == ("grass", "")
