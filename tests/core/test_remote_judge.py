"""Judges over HTTP against a service on loopback: four wire formats, every fault, no key in any text."""

import asyncio
import importlib
import importlib.util
import json
import logging
import subprocess
import sys
import time

import pytest
from PIL import Image

from pakati_core.errors import JudgeError
from pakati_core.judge import Budget, NoVerdict, RemoteJudge, Verdict, questions_from_prompt
from pakati_core.judge.answers import SCHEMA
from tests.core.fake_service import FakeService, answer, broken_off, drip, flood, page, says, silence, status

QUESTIONS = questions_from_prompt("a red dog on a sofa", artefacts=False)
YES = json.dumps(
    {"answers": [{"id": q.id, "answer": "yes", "certainty": "certain", "evidence": "seen"} for q in QUESTIONS]}
)
KEY = "canary-4f8a2b61"
WIRES = ("openai", "ollama", "gemini", "anthropic")
every_wire = pytest.mark.parametrize("wire", WIRES)


@pytest.fixture
def service():
    made = FakeService().start()
    yield made
    made.stop()


@pytest.fixture
def judge(service, monkeypatch):
    def make(wire="openai", script=(), **more):
        service.script[:] = script or [says(YES)]
        port = service.url.rsplit(":", 1)[1]
        monkeypatch.setenv(f"PAKATI_KEY_127_0_0_1_{port}", KEY)
        return RemoteJudge(wire, "seer", service.base(wire), **{"limit_s": 5, "retries": 2, "pause_s": 0.05, **more})

    return make


PICTURE = Image.new("RGB", (64, 48), "red")


# --- what is sent -----------------------------------------------------------------------------------------------------


@every_wire
@pytest.mark.parametrize("size, sent", [((64, 48), (64, 48)), ((3000, 1500), (1024, 512))], ids=["small", "large"])
def test_criterion_18_the_request_has_schema_picture_and_key(service, judge, wire, size, sent):
    made = judge(wire).judge(Image.new("RGB", size, "red"), QUESTIONS)
    assert isinstance(made, Verdict) and made.all_right and (made.calls, made.tokens) == (1, 120)
    (request,) = service.seen
    assert request.schema() == SCHEMA
    ((kind, picture),) = request.pictures()
    assert picture.size == sent
    assert wire == "ollama" or kind == Image.MIME[picture.format or ""]
    assert all(question.text in json.loads(json.dumps(request.text)) for question in QUESTIONS)
    carried = {"gemini": "x-goog-api-key", "anthropic": "x-api-key"}.get(wire, "Authorization")
    assert request.headers[carried].removeprefix("Bearer ") == KEY
    assert KEY not in request.text


def test_nothing_but_pixels_leaves(service, judge):
    picture = Image.new("RGB", (32, 32))
    picture.info["prompt"] = "my secret workflow"
    judge().judge(picture, QUESTIONS)
    assert service.seen[0].pictures()[0][1].info.get("prompt") is None


def test_a_strict_schema_stays_flat():
    text = json.dumps(SCHEMA)
    assert not any(word in text for word in ("$ref", "oneOf", "anyOf", "default", "minimum"))
    item = SCHEMA["properties"]["answers"]["items"]
    assert set(item["required"]) == set(item["properties"]) and item["additionalProperties"] is False


# --- faults -----------------------------------------------------------------------------------------------------------

PROSE = says("It is a lovely picture, I would give it 0.8/1.")
CUT = says(YES[:-30])
FAULTS = {  # script, whether a verdict comes in the end, calls, words of the reason
    "400 for the schema": ([status(400, "unknown field"), says(YES)], True, 2, ""),
    "400 always": ([status(400, "bad request")], False, None, "400"),
    "401": ([status(401)], False, 1, "set the right key in the environment as PAKATI_KEY_127"),
    "404": ([status(404, "no such model")], False, 1, "no such model"),
    "429 with Retry-After": ([status(429, Retry_After="0.2"), says(YES)], True, 2, ""),
    "429 without": ([status(429), says(YES)], True, 2, ""),
    "429 for an hour": ([status(429, Retry_After="3600")], False, 1, "429"),
    "429 until a date": ([status(429, Retry_After="Wed, 21 Oct 2099 07:28:00 GMT")], False, 1, "429"),
    "500 always": ([status(500)], False, 2, "500"),
    "timeout": ([silence], False, 1, "within 0.5 s"),
    "slow drip": ([drip], False, 1, "within 0.5 s"),
    "broken off": ([broken_off, says(YES)], True, 2, ""),
    "too much": ([flood], False, 1, "more than"),
    "HTML page": ([page], False, 1, "not JSON"),
    "not its format": ([lambda r, s: answer_of({"hello": 1})], False, 1, "no text"),
    "schema ignored": ([PROSE], False, 2, "not understood, twice"),
    "schema ignored once": ([PROSE, says(YES)], True, 2, ""),
    "fenced": ([says(f"Here:\n```json\n{YES}\n```")], True, 1, ""),
    "truncated once": ([CUT, says(f"```\n{YES}\n```")], True, 2, ""),
    "truncated always": ([CUT], False, 2, "not understood"),
}


def answer_of(value):
    from aiohttp import web

    return web.json_response(value)


@every_wire
@pytest.mark.parametrize("fault", FAULTS)
def test_criterion_18_faults(service, judge, wire, fault):
    script, verdict, calls, reason = FAULTS[fault]
    waits = "429" in fault or fault in ("500 always", "broken off", "too much")
    limit = 4 if waits else 0.5 if fault in ("timeout", "slow drip") else 5
    asked = judge(wire, script, limit_s=limit, retries=1)
    begun = time.monotonic()
    made = asked.judge(PICTURE, QUESTIONS)
    assert time.monotonic() - begun < limit + 0.7
    assert isinstance(made, Verdict if verdict else NoVerdict), made
    assert len(service.seen) == made.calls == (len(asked.wire.modes) if calls is None else calls)
    if isinstance(made, NoVerdict):
        assert reason in made.reason and not hasattr(made, "geometric")
    if fault == "429 with Retry-After":
        assert time.monotonic() - begun >= 0.2


def test_a_refused_schema_is_not_sent_again(service, judge):
    asked = judge("openai", [status(400), status(400), says(YES)])
    asked.judge(PICTURE, QUESTIONS)
    asked.judge(PICTURE, QUESTIONS)
    modes = [request.body.get("response_format", {}).get("type") for request in service.seen]
    assert modes == ["json_schema", "json_object", None, None]


def test_the_model_is_told_what_could_not_be_read(service, judge):
    judge("openai", [CUT, says(YES)]).judge(PICTURE, QUESTIONS)
    first, again = service.seen
    assert len(first.body["messages"]) == 1 and len(again.body["messages"]) == 3
    assert "could not be used" in again.body["messages"][2]["content"]


def test_nobody_there_is_no_verdict():
    made = RemoteJudge("ollama", "seer", "http://127.0.0.1:9", limit_s=3, retries=0).judge(PICTURE, QUESTIONS)
    assert isinstance(made, NoVerdict) and "cannot be reached" in made.reason


def test_a_budget_ends_the_calls(service, judge):
    budget = Budget(calls=3, tokens=None)
    asked = judge("openai", budget=budget)
    made = [asked.judge(PICTURE, QUESTIONS) for _ in range(5)]
    assert [isinstance(m, Verdict) for m in made] == [True, True, True, False, False]
    assert len(service.seen) == 3 and "budget of 3 calls" in str(made[-1])
    by_tokens = judge("openai", budget=Budget(tokens=100))
    assert [isinstance(by_tokens.judge(PICTURE, QUESTIONS), Verdict) for _ in range(2)] == [True, False]


def test_a_cancelled_judge_lets_go_at_once(judge):
    async def cancel() -> float:
        task = asyncio.create_task(judge("openai", [silence]).judge_async(PICTURE, QUESTIONS))
        await asyncio.sleep(0.3)
        begun = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.monotonic() - begun

    assert asyncio.run(cancel()) < 0.5


def test_it_judges_inside_a_running_loop(judge):
    async def inside():
        return judge().judge(PICTURE, QUESTIONS)

    assert isinstance(asyncio.run(inside()), Verdict)


# --- the better of two ------------------------------------------------------------------------------------------------


def better(*words):
    return [says(json.dumps({"better": word})) for word in words]


@pytest.mark.parametrize(
    "script, wins",
    [
        (better("first", "second"), True),
        (better("first", "first"), False),
        (better("second", "first"), False),
        (better("equal", "equal"), False),
        ([PROSE], None),
        ([status(401)], None),
    ],
    ids=["both orders", "by its place", "the other", "equal", "prose", "refused"],
)
def test_the_better_of_two_must_win_in_both_orders(service, judge, script, wins):
    other = Image.new("RGB", (64, 48), "blue")
    assert judge("openai", script).prefers(PICTURE, other, QUESTIONS) is wins
    if wins is not None:
        colours = [[p.convert("RGB").getpixel((0, 0)) for _, p in request.pictures()] for request in service.seen]
        assert colours == [[(255, 0, 0), (0, 0, 255)], [(0, 0, 255), (255, 0, 0)]]


# --- the key ----------------------------------------------------------------------------------------------------------


@every_wire
def test_criterion_18_a_key_is_in_no_text(service, judge, wire, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    echoed = f"your key {KEY} is wrong"
    told = YES.replace('"seen"', f'"{KEY} seen"')
    for script in ([status(401, echoed)], [status(500, echoed)], [status(400, echoed)], [says(told)]):
        asked = judge(wire, script, retries=0)
        made = asked.judge(PICTURE, QUESTIONS)
        texts = [repr(made), json.dumps(made.to_dict()), repr(asked), str(vars(asked)), asked.name]
        assert not [text for text in texts if KEY in text]
    assert KEY not in caplog.text and KEY not in "".join(capfd.readouterr())


def test_a_redirect_takes_neither_key_nor_picture(service, judge):
    made = judge("openai", [status(307, Location="/stolen")]).judge(PICTURE, QUESTIONS)
    assert isinstance(made, NoVerdict) and len(service.seen) == 1


def test_a_key_goes_only_to_its_own_service(service, judge, monkeypatch):
    asked = judge("openai")
    monkeypatch.delenv(f"PAKATI_KEY_127_0_0_1_{service.url.rsplit(':', 1)[1]}")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    asked.judge(PICTURE, QUESTIONS)
    assert KEY not in str(service.seen[0].headers)


def test_a_key_from_a_file(service, judge, monkeypatch, tmp_path):
    name = f"PAKATI_KEY_127_0_0_1_{judge().address.split(':')[2].split('/')[0]}"
    monkeypatch.delenv(name)
    file = tmp_path / "keys.env"
    file.write_text(f"# mine\n{name} = '{KEY}'\n")
    judge_with_file = RemoteJudge("openai", "seer", service.base("openai"), key_files=[tmp_path / "none", file])
    judge_with_file.judge(PICTURE, QUESTIONS)
    assert service.seen[0].headers["Authorization"] == f"Bearer {KEY}"


def test_no_key_over_plain_http_to_another_machine(monkeypatch):
    monkeypatch.setenv("PAKATI_KEY_EXAMPLE_ORG", KEY)
    assert RemoteJudge("openai", "m", "https://example.org")._key() == KEY
    assert RemoteJudge("openai", "m", "http://example.org")._key() is None


@pytest.mark.parametrize(
    "wire, model, address",
    [("smoke", "m", ""), ("openai", "", ""), ("gemini", "../x", ""), ("openai", "m", "ftp://a"),
     ("openai", "m", "https://me:pw@a.org"), ("openai", "m", "https://a.org/v1?key=1")],
    ids=["wire", "model", "path", "scheme", "user", "query"],
)  # fmt: skip
def test_settings_that_cannot_be_used_are_refused(wire, model, address):
    with pytest.raises(JudgeError, match="give|write"):
        RemoteJudge(wire, model, address)


# --- SDKs -------------------------------------------------------------------------------------------------------------


def test_criterion_19_judging_offline_loads_no_http_and_no_sdk():
    program = (
        "import sys, pakati_core.judge as j; j.questions_from_prompt('a dog');"
        "print(sorted({'aiohttp', 'openai', 'anthropic', 'google', 'torchvision'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip() == "[]"


def test_the_official_sdks_read_the_fake_as_we_do(service):
    """Where they are installed, they are the oracle of the fake's wire format."""
    service.script[:] = [says(YES)]
    read = {name: ask(service) for name, ask in SDKS.items() if _installed(name)}
    if not read:
        pytest.skip("no official SDK is installed here")
    assert read == dict.fromkeys(read, YES)


def _ask_openai(service: FakeService):
    openai = importlib.import_module("openai")
    client = openai.OpenAI(api_key="k", base_url=service.base("openai"), max_retries=0)
    return (
        client.chat.completions.create(model="seer", messages=[{"role": "user", "content": "?"}])
        .choices[0]
        .message.content
    )


def _ask_anthropic(service: FakeService):
    anthropic = importlib.import_module("anthropic")
    client = anthropic.Anthropic(api_key="k", base_url=service.base("anthropic"), max_retries=0)
    made = client.messages.create(model="seer", max_tokens=9, messages=[{"role": "user", "content": "?"}])
    return made.content[0].text


def _ask_google(service: FakeService):
    genai = importlib.import_module("google.genai")
    client = genai.Client(api_key="k", http_options={"base_url": service.url, "api_version": "v1beta"})
    return client.models.generate_content(model="seer", contents="?").text


SDKS = {"openai": _ask_openai, "anthropic": _ask_anthropic, "google.genai": _ask_google}


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the package around it
        return False


def test_the_fake_speaks_all_formats():
    assert {wire: bool(answer(wire, "x")) for wire in WIRES} == dict.fromkeys(WIRES, True)
