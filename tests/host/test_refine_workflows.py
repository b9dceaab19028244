"""The workflows of refinement on a real server: as many rounds as decided, and the best of them comes out."""

import copy
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.host.flux_small import write_flux, write_taesd

ROOT = Path(__file__).parents[2]
LIMIT_S = 600
TEXT = 128  # channels of the embedded text encoder
ROUNDS = 3
NEVER = {"rounds": ROUNDS, "target": 1.0, "patience": 9}


def workflow(name: str, **changes) -> dict:
    """changes: inputs by class of node."""
    prompt = json.loads((ROOT / "workflows" / "api" / f"{name}.json").read_text(encoding="utf-8"))
    for node in prompt.values():
        node["inputs"] |= copy.deepcopy(changes.get(node["class_type"], {}))
    return prompt


def pictures(server, entries: list[dict]) -> list[np.ndarray]:
    return [np.asarray(Image.open(io.BytesIO(server.image(entry))).convert("RGB")) for entry in entries]


def check_rounds(server, prompt: dict) -> list[np.ndarray]:
    """Run it; the rounds' pictures. Each round was shown, they differ, and the best one is among them."""
    prompt["40"] = {"class_type": "PreviewImage", "inputs": {"images": ["31", 1]}}
    outputs = server.run(prompt, LIMIT_S)
    rounds = pictures(server, outputs["40"]["images"])
    assert len(rounds) == ROUNDS and len({image.tobytes() for image in rounds}) > 1
    (best,) = pictures(server, outputs["30"]["images"])
    assert any(np.array_equal(best, image) for image in rounds)
    (sheet,) = pictures(server, outputs["31"]["images"])
    assert sheet.shape[1] > 600
    return rounds


def test_the_quickstart_refines_offline_and_more_rounds_repaint_nothing(server):
    few = {"PakatiRefineEnd": NEVER, "KSampler": {"steps": 4}}
    rounds = check_rounds(server, workflow("refine_quickstart", **few))
    more = workflow("refine_quickstart", **few)
    more["21"]["inputs"]["rounds"] = ROUNDS - 1
    more["40"] = {"class_type": "PreviewImage", "inputs": {"images": ["31", 1]}}
    again = pictures(server, server.run(more, LIMIT_S)["40"]["images"])
    assert all(np.array_equal(one, other) for one, other in zip(again, rounds)) and len(again) == ROUNDS - 1


def test_the_quickstart_as_shipped_shows_a_repair_that_succeeds(server):
    prompt = workflow("refine_quickstart")
    prompt["41"] = {"class_type": "PreviewAny", "inputs": {"source": ["31", 2]}}
    (told,) = server.run(prompt, LIMIT_S)["41"]["text"]
    scores = [made["score"] for made in json.loads(told)["passes"]]
    assert len(scores) > 1 and scores[-1] > 0.9 > max(scores[:-1]), "a loop that has nothing to do shows nothing"


def test_a_reference_is_one_more_question(server):
    prompt = workflow("reference_refinement", PakatiRefineEnd=NEVER, KSampler={"steps": 4})
    check_rounds(server, prompt)
    prompt["41"] = {"class_type": "PreviewAny", "inputs": {"source": ["31", 2]}}
    (told,) = server.run(prompt, LIMIT_S)["41"]["text"]
    passes = json.loads(told)["passes"]
    asked = [check["id"] for made in passes for check in made["verdict"]["checks"]]
    assert asked.count("reference1") == ROUNDS


@pytest.mark.parametrize("answer, judged", [('Sure! {"answers": []}', False), (None, True)], ids=["empty", "all yes"])
def test_what_any_language_model_says_is_the_verdict(server, answer, judged):
    """The model's node is replaced by what it might say: the answer to the instruction that it was given."""
    prompt = workflow("judge_with_any_llm", PakatiRefineEnd=NEVER, KSampler={"steps": 2})
    said = [{"id": f"q{i}", "answer": "yes", "certainty": "likely", "evidence": "seen"} for i in (1, 2, 3)]
    text = answer or json.dumps({"answers": said})
    del prompt["18"]
    prompt["19"] = {"class_type": "PrimitiveStringMultiline", "inputs": {"value": text}}
    prompt["41"] = {"class_type": "PreviewAny", "inputs": {"source": ["20", 1]}}
    (score,) = server.run(prompt, LIMIT_S)["41"]["text"]
    assert (float(score) > 0.5) is judged and (float(score) == -1) is not judged


def test_emage_runs_on_small_flux_weights(server):
    """Text by the embedded encoder and the embedded reader as judge: neither T5 nor a service is here."""
    for folder in ("models/diffusion_models", "models/vae"):
        (server.folder / folder).mkdir(parents=True, exist_ok=True)
    write_flux(server.folder / "models/diffusion_models/flux1-dev.safetensors", TEXT, TEXT)
    write_taesd(server.folder / "models/vae/ae.safetensors")
    prompt = workflow("emage_flux_loop", KSampler={"steps": 2}, PakatiRefineStart={"width": 64, "height": 64})
    prompt["3"] = {"class_type": "PakatiTinyLoader", "inputs": {}}
    prompt["6"]["inputs"]["clip"] = ["3", 1]
    for node in ("4", "5"):
        prompt[node]["inputs"]["prompt"] = "a red circle on sand"
    judged = {name: value for name, value in prompt["20"]["inputs"].items() if not name.startswith("judge.")}
    prompt["20"]["inputs"] = judged | {"judge": "embedded reader"}
    prompt["21"]["inputs"] |= NEVER
    assert check_rounds(server, prompt)[0].shape == (64, 64, 3)
