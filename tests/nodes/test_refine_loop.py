"""The loop on the host's real executor, in all four cache modes. Numbers in names: the criteria of the research notes.

The body is a node of this test that counts its runs and paints more or less red by its seed; all else is Pakati's.
"""

import asyncio
import json
import threading
import time
import uuid
from dataclasses import replace

import execution
import pytest
import torch
from comfy import model_management
from comfy_api.latest import io
from comfy_extras.nodes_mask import ImageCompositeMasked

import nodes as host
from pakati import comfy_entrypoint
from pakati.nodes.judge import interruptible
from pakati.nodes.tiny_model import load_tiny
from pakati.pakati_core.engines import Picture, Request
from pakati.pakati_core.geometry import Extent
from pakati.pakati_core.layout import image_to_pil, pil_to_image
from pakati.pakati_core.refine import Config, IterativeRefinementEngine, Route, seed_of
from pakati.pakati_core.regions import RegionSet

RUNS: list[tuple] = []
MODES = {
    "classic": execution.CacheType.CLASSIC, "lru": execution.CacheType.LRU, "none": execution.CacheType.NONE,
    "ram": execution.CacheType.RAM_PRESSURE,
}  # fmt: skip


class PakatiTestBody(io.ComfyNode):
    """Paints a square of red whose size follows from the seed."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs = [io.Image.Input("image"), io.Int.Input("seed"), io.String.Input("prompt"), io.Float.Input("wait")]
        return io.Schema("PakatiTestBody", category="test", inputs=inputs, outputs=[io.Image.Output()])

    @classmethod
    def execute(cls, image, seed, prompt, wait=0.0) -> io.NodeOutput:
        RUNS.append((seed, prompt))
        begun = time.monotonic()
        while time.monotonic() - begun < wait:
            time.sleep(0.02)
            model_management.throw_exception_if_processing_interrupted()
        made = torch.full((1, 32, 32, 3), 0.2)
        side = 2 + 6 * (seed % 4)
        made[:, :side, :side] = torch.tensor([0.84, 0.15, 0.15])
        return io.NodeOutput(made)


SHOWN: list[int] = []


class PakatiTestShow(io.ComfyNode):
    """An output that hangs on the body, as PreviewImage does."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema("PakatiTestShow", category="test", inputs=[io.Image.Input("image")], is_output_node=True)

    @classmethod
    def execute(cls, image) -> io.NodeOutput:
        SHOWN.append(1)
        return io.NodeOutput(ui={"shown": [len(SHOWN)]})


LOADED: list[int] = []


class PakatiTestLoader(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        outputs = [io.Model.Output(), io.Clip.Output(), io.Vae.Output()]
        return io.Schema("PakatiTestLoader", category="test", outputs=outputs)

    @classmethod
    def execute(cls) -> io.NodeOutput:
        LOADED.append(1)
        return io.NodeOutput(*load_tiny())


class PakatiTestTwo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema("PakatiTestTwo", category="test", outputs=[io.Int.Output(is_output_list=True)])

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput([3, 4])


@pytest.fixture(scope="module", autouse=True)
def registered():
    ours = asyncio.run(comfy_entrypoint().get_node_list())
    for node in (
        *ours,
        ImageCompositeMasked,
        PakatiTestBody,
        PakatiTestShow,
        PakatiTestLoader,
        PakatiTestTwo,
        PakatiTestCatch,
    ):
        node.GET_SCHEMA()
        host.NODE_CLASS_MAPPINGS[node.define_schema().node_id] = node
    yield


class Listener:
    """The little of the server that the executor talks to."""

    client_id = "test"
    last_node_id = None

    def __init__(self):
        self.said: list[tuple[str, dict]] = []

    def send_sync(self, event, data, sid=None):
        self.said.append((event, data))

    def send_progress_text(self, *_):
        pass

    def queue_updated(self):
        pass


class Session:
    """One executor with its caches, over several runs."""

    def __init__(self, mode: str):
        args = {"lru": 200, "ram": 1.0, "ram_inactive": 1.0}
        self.server = Listener()
        self.executor = execution.PromptExecutor(self.server, cache_type=MODES[mode], cache_args=args)

    def run(self, prompt: dict) -> dict:
        RUNS.clear()
        SHOWN.clear()
        self.server.said.clear()
        outputs = [name for name, node in prompt.items() if _is_output(node)]
        self.executor.execute(json.loads(json.dumps(prompt)), str(uuid.uuid4()), {"client_id": "test"}, outputs)
        return self.executor.history_result

    def events(self, name: str) -> list[dict]:
        return [data for event, data in self.executor.status_messages + self.server.said if event == name]


def _is_output(node: dict) -> bool:
    return bool(getattr(host.NODE_CLASS_MAPPINGS[node["class_type"]], "OUTPUT_NODE", False))


def loop(prompt="a red wall", seed=1, wait=0.0, show=False, **limits) -> dict:
    made = {
        "1": {"class_type": "PakatiRefineStart", "inputs": {"prompt": prompt, "seed": seed, "width": 32, "height": 32}},
        "2": {"class_type": "PakatiTestBody",
              "inputs": {"image": ["1", 1], "seed": ["1", 3], "prompt": ["1", 5], "wait": wait}},
        "4": {"class_type": "PakatiTestJudge", "inputs": {"image": ["2", 0]}},
        "5": {"class_type": "PakatiRefineEnd",
              "inputs": {"loop": ["1", 0], "image": ["2", 0], "verdict": ["4", 0], "patience": 64, "target": 1.0}},
        "6": {"class_type": "PakatiRefineReport", "inputs": {"state": ["5", 2]}},
    }  # fmt: skip
    made["5"]["inputs"] |= limits
    if show:
        made["7"] = {"class_type": "PakatiTestShow", "inputs": {"image": ["2", 0]}}
    return made


JUDGED: list[float] = []


class PakatiTestJudge(io.ComfyNode):
    """The measurements' judge, asked whether there is red: the share of it makes the score."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        verdict = io.Custom("PAKATI_VERDICT").Output()
        return io.Schema("PakatiTestJudge", category="test", inputs=[io.Image.Input("image")], outputs=[verdict])

    @classmethod
    def execute(cls, image) -> io.NodeOutput:
        from pakati.pakati_core.judge import MetricsJudge, Question, QuestionSet

        JUDGED.append(1)
        questions = QuestionSet((Question("red", "Is it red?", "attribute", thing="wall", value="red"),))
        return io.NodeOutput(MetricsJudge().judge(image_to_pil(image), questions))


@pytest.fixture(autouse=True)
def judge_registered(registered):
    PakatiTestJudge.GET_SCHEMA()
    host.NODE_CLASS_MAPPINGS["PakatiTestJudge"] = PakatiTestJudge


every_mode = pytest.mark.parametrize("mode", MODES)


@every_mode
@pytest.mark.parametrize("rounds", [1, 5])
def test_criterion_9_n_rounds_run_the_body_n_times(mode, rounds):
    session = Session(mode)
    session.run(loop(rounds=rounds))
    assert session.events("execution_error") == []
    assert len(RUNS) == rounds and len({seed for seed, _ in RUNS}) == rounds


@every_mode
def test_criterion_9_an_early_stop_runs_it_no_more(mode):
    seeds = [1, *(seed_of(1, index) for index in range(1, 12))]
    first_large = next(index for index, seed in enumerate(seeds) if seed % 4 == 3)
    session = Session(mode)
    session.run(loop(rounds=12, target=0.9))
    assert session.events("execution_error") == []
    assert len(RUNS) == first_large + 1 < 12


@pytest.mark.parametrize("mode", ["classic", "lru", "ram"])
def test_criterion_10_only_what_is_new_runs(mode):
    session, counted = Session(mode), []
    for changes in ({"rounds": 5}, {"rounds": 5}, {"rounds": 7}, {"rounds": 4}, {"rounds": 7, "target": 0.5},
                    {"rounds": 7, "patience": 9}, {"rounds": 7, "prompt": "a red door"}):  # fmt: skip
        JUDGED.clear()
        session.run(loop(**changes))
        assert session.events("execution_error") == []
        counted.append((len(RUNS), len(JUDGED)))
    assert counted == [(5, 5), (0, 0), (2, 2), (0, 0), (0, 0), (0, 0), (7, 7)]


def test_criterion_10_without_a_cache_each_run_makes_its_rounds_once():
    session, counted = Session("none"), []
    for changes in ({"rounds": 5}, {"rounds": 7}, {"rounds": 4}, {"rounds": 7, "prompt": "a red door"}):
        JUDGED.clear()
        session.run(loop(**changes))
        assert session.events("execution_error") == []
        counted.append((len(RUNS), len(JUDGED)))
    assert counted == [(5, 5), (7, 7), (4, 4), (7, 7)]


@every_mode
def test_criterion_11_an_output_in_the_body_fires_each_round_on_its_own_node(mode):
    session = Session(mode)
    session.run(loop(rounds=4, show=True))
    fired = [data["display_node"] for data in session.events("executed") if "shown" in (data["output"] or {})]
    assert len(SHOWN) == 4 and fired == ["7"] * 4


@every_mode
def test_criterion_11_a_loop_in_a_loop(mode):
    prompt = loop(rounds=2)
    inner = {
        "11": {"class_type": "PakatiRefineStart", "inputs": {"prompt": "b", "seed": ["1", 3], "image": ["1", 1]}},
        "12": {"class_type": "PakatiTestBody",
               "inputs": {"image": ["11", 1], "seed": ["11", 3], "prompt": ["11", 5], "wait": 0.0}},
        "14": {"class_type": "PakatiTestJudge", "inputs": {"image": ["12", 0]}},
        "15": {"class_type": "PakatiRefineEnd",
               "inputs": {"loop": ["11", 0], "image": ["12", 0], "verdict": ["14", 0], "patience": 64, "target": 1.0,
                          "rounds": 3}},
        "17": {"class_type": "PakatiTestShow", "inputs": {"image": ["12", 0]}},
    }  # fmt: skip
    prompt |= inner
    del prompt["2"]
    for name in ("4", "5"):
        prompt[name]["inputs"]["image"] = ["15", 0]
    session = Session(mode)
    session.run(prompt)
    assert session.events("execution_error") == []
    assert (len(RUNS), len(SHOWN)) == (6, 6)


def test_criterion_15_two_loops_do_not_mix_and_a_list_makes_two():
    one, two = loop(rounds=3), loop(seed=77, rounds=2)
    other = {f"9{name}": json.loads(json.dumps(node)) for name, node in two.items()}
    for node in other.values():
        node["inputs"] = {k: [f"9{v[0]}", v[1]] if isinstance(v, list) else v for k, v in node["inputs"].items()}
    session = Session("classic")
    session.run(one | other)
    assert session.events("execution_error") == [] and len(RUNS) == 5
    listed = loop(rounds=3)
    listed["8"] = {"class_type": "PakatiTestTwo", "inputs": {}}
    listed["1"]["inputs"]["seed"] = ["8", 0]
    session.run(listed)
    assert session.events("execution_error") == [] and len(RUNS) == 6


def interrupt_after(seconds: float) -> threading.Timer:
    timer = threading.Timer(seconds, lambda: model_management.interrupt_current_processing(True))
    timer.start()
    return timer


def test_criterion_13_a_cancel_ends_it_within_a_second_and_done_rounds_stay():
    session = Session("classic")
    prompt, asked = loop(rounds=6, wait=0.6), time.monotonic()
    timer = interrupt_after(1.5)
    session.run(prompt)
    timer.join()
    assert session.events("execution_interrupted") and not session.events("execution_error")
    assert time.monotonic() - asked < 1.5 + 1.5
    done = len(RUNS) - 1
    assert 0 < done < 6
    session.run(prompt)
    assert len(RUNS) == 6 - done


def test_criterion_13_a_cancel_ends_a_waiting_judge():
    async def wait() -> None:
        await interruptible(asyncio.sleep(30))

    timer, asked = interrupt_after(0.3), time.monotonic()
    with pytest.raises(model_management.InterruptProcessingException):
        asyncio.run(wait())
    timer.join()
    assert time.monotonic() - asked < 0.3 + 1


def test_criterion_14_a_cached_run_still_shows_the_report():
    session = Session("classic")
    first = session.run(loop(rounds=3))
    again = session.run(loop(rounds=3))
    assert RUNS == [] and first["outputs"]["6"]["images"] and again["outputs"]["6"]["images"]


def one_node(**changes) -> dict:
    inputs = {
        "model": ["1", 0], "clip": ["1", 1], "vae": ["1", 2], "prompt": "a red circle on sand", "negative": "",
        "width": 64, "height": 64, "seed": 5, "steps": 2, "cfg": 4.0, "judge": "embedded reader", "rounds": 2,
        "target": 1.0, "patience": 9, "strategy": "adaptive", "enabled": True,
    }  # fmt: skip
    return {
        "1": {"class_type": "PakatiTestLoader", "inputs": {}},
        "2": {"class_type": "PakatiRefine", "inputs": inputs | changes},
        "3": {"class_type": "PakatiRefineReport", "inputs": {"state": ["2", 2]}},
        "4": {"class_type": "PakatiTestShow", "inputs": {"image": ["2", 0]}},
    }


CAUGHT: list = []


class PakatiTestCatch(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs = [io.Custom("PAKATI_STATE").Input("state")]
        return io.Schema("PakatiTestCatch", category="test", inputs=inputs, is_output_node=True)

    @classmethod
    def execute(cls, state) -> io.NodeOutput:
        CAUGHT.append(state)
        return io.NodeOutput()


def by_hand() -> dict:
    """The loop of one_node(), as a user would wire it."""
    text = {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": ""}}
    prompt = "a red circle on sand"
    sampling = {"steps": 2, "cfg": 4.0, "sampler_name": "euler", "scheduler": "simple"}
    begin = {"prompt": prompt, "seed": 5, "width": 64, "height": 64}
    return {
        "1": {"class_type": "PakatiTestLoader", "inputs": {}},
        "5": {"class_type": "PakatiQuestions", "inputs": {"prompt": prompt}},
        "6": {"class_type": "PakatiRefineStart", "inputs": begin},
        "7": text | {"inputs": {"clip": ["1", 1], "text": ["6", 5]}},
        "8": text,
        "9": {"class_type": "VAEEncode", "inputs": {"pixels": ["6", 1], "vae": ["1", 2]}},
        "10": {"class_type": "SetLatentNoiseMask", "inputs": {"samples": ["9", 0], "mask": ["6", 2]}},
        "11": {"class_type": "KSampler",
               "inputs": {"model": ["1", 0], "positive": ["7", 0], "negative": ["8", 0], "latent_image": ["10", 0],
                          "seed": ["6", 3], "denoise": ["6", 4], **sampling}},
        "12": {"class_type": "VAEDecode", "inputs": {"samples": ["11", 0], "vae": ["1", 2]}},
        "13": {"class_type": "ImageCompositeMasked",
               "inputs": {"destination": ["6", 1], "source": ["12", 0], "mask": ["6", 2], "x": 0, "y": 0,
                          "resize_source": False}},
        "14": {"class_type": "PakatiVlmEvaluate",
               "inputs": {"image": ["13", 0], "questions": ["5", 0], "judge": "embedded reader"}},
        "15": {"class_type": "PakatiRefineEnd",
               "inputs": {"loop": ["6", 0], "image": ["13", 0], "verdict": ["14", 0], "questions": ["5", 0],
                          "rounds": 2, "target": 1.0, "patience": 9}},
        "2": {"class_type": "PakatiTestCatch", "inputs": {"state": ["15", 2]}},
    }  # fmt: skip


def test_criterion_15_one_node_is_the_same_loop():
    session = Session("classic")
    session.run(by_hand())
    assert session.events("execution_error") == []
    prompt = one_node()
    prompt["5"] = {"class_type": "PakatiTestCatch", "inputs": {"state": ["2", 2]}}
    shown = session.run(prompt)["outputs"]
    assert session.events("execution_error") == [] and shown["3"]["images"]
    hand, one = CAUGHT[-2:]
    assert hand.state.to_json() == one.state.to_json() and len(one.images) == 2
    assert [image.tobytes() for image in hand.images] == [image.tobytes() for image in one.images]
    judged = [d for d in session.events("executed") if d["display_node"] == "2"]
    assert len(judged) >= 2, "each round is shown on the user's own node"


def test_criterion_16_switched_off_it_loads_nothing():
    LOADED.clear()
    prompt = one_node(enabled=False, image=["9", 0])
    prompt["9"] = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}}
    del prompt["3"]
    session = Session("classic")
    session.run(prompt)
    assert session.events("execution_error") == [] and LOADED == [] and len(SHOWN) == 1


class BodyPainter:
    """The tests' body as a headless engine."""

    def generate(self, request, progress=None):
        seen = PakatiTestBody.execute(torch.zeros(1, 32, 32, 3), request.seed, "").args[0]
        return Picture(image_to_pil(seen), request, "body", 0.0)

    def edit(self, request, image, mask, progress=None):
        return self.generate(request)


class BodyJudge:
    def judge(self, image, questions):
        return PakatiTestJudge.execute(pil_to_image(image)).args[0]


def test_criterion_16_headless_and_nodes_make_the_same_history():
    prompt = loop(rounds=5, target=0.99)
    prompt["8"] = {"class_type": "PakatiTestCatch", "inputs": {"state": ["5", 2]}}
    session = Session("classic")
    session.run(prompt)
    assert session.events("execution_error") == []
    request = Request(RegionSet(Extent(32, 32), (), "a red wall"), seed=1)
    config = Config(5, 0.99, 64, seed=1, routes=(Route.inpaint, Route.resample))
    headless = IterativeRefinementEngine(BodyPainter(), BodyJudge()).refine(request, config=config)
    made = [replace(one, attempt=replace(one.attempt, checks=())) for one in CAUGHT[-1].state.passes]
    wanted = [replace(one, attempt=replace(one.attempt, checks=())) for one in headless.history]
    assert len(made) == 5 and [one.to_dict() for one in made] == [one.to_dict() for one in wanted]
    assert CAUGHT[-1].state.best_index == headless.state.best_index


def test_words_of_a_comparison_are_said_in_the_next_round():
    prompt = loop(rounds=2)
    prompt["5"]["inputs"]["words"] = ["8", 0]
    prompt["8"] = {"class_type": "StringConcatenate", "inputs": {"string_a": "warmer", "string_b": "colours",
                                                                 "delimiter": " "}}  # fmt: skip
    from comfy_extras.nodes_string import StringConcatenate

    StringConcatenate.GET_SCHEMA()
    host.NODE_CLASS_MAPPINGS["StringConcatenate"] = StringConcatenate
    session = Session("classic")
    session.run(prompt)
    assert session.events("execution_error") == []
    assert [said for _, said in RUNS] == ["a red wall", "a red wall, warmer colours"]


def test_criterion_17_what_the_editor_is_told_holds_no_key(monkeypatch):
    canary = "sk-canary-5d1c"
    for name in ("OPENAI_API_KEY", "GEMINI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, canary)
    ours = asyncio.run(comfy_entrypoint().get_node_list())
    told = "".join(str(node.GET_NODE_INFO_V1()) for node in ours)
    assert "Judge a Picture" in told and canary not in told


def test_criterion_17_ids_do_not_collide_and_no_widget_holds_a_key():
    taken = {"StartLoop", "EndLoop", "LoopIteration", "LoopProgress", "LoopResult"}
    ours = asyncio.run(comfy_entrypoint().get_node_list())
    assert not taken & {node.define_schema().node_id for node in ours}
    names = {entry.id for node in ours for entry in node.define_schema().inputs}
    assert not {name for name in names if "key" in name or "token" in name}
