"""The routes below /pakati/, on a small server of their own."""

import asyncio
import json
import random

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from pakati.nodes import routes
from pakati.nodes.templates import LARGEST, MOST, Templates

LAYOUT = {
    "pakati": "regions",
    "version": 1,
    "width": 64,
    "height": 48,
    "regions": [{"id": "a", "box": [0, 0, 9, 9]}],
    "editor": {"muted": ["a"]},
}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "user" / "__pakati" / "templates"


@pytest.fixture
def ask(folder):
    """ask(method, path, **request) -> status and answer; every answer is JSON."""

    def asked(method: str, path: str, **given):
        async def one():
            table = web.RouteTableDef()
            routes.register_templates(table, Templates(folder))
            app = web.Application(client_max_size=1 << 30)
            app.add_routes(table)
            async with TestClient(TestServer(app)) as client, client.request(method, path, **given) as answer:
                assert answer.content_type == "application/json" or answer.status in (404, 405)
                return answer.status, await answer.json() if answer.content_type == "application/json" else {}

        return asyncio.run(one())

    return asked


def test_saved_listed_loaded_replaced_deleted(ask, folder):
    assert ask("GET", "/pakati/templates") == (200, {"templates": []})
    assert ask("PUT", "/pakati/templates/Sky%20and%20sea", json={"layout": LAYOUT})[0] == 200
    assert ask("GET", "/pakati/templates")[1]["templates"] == [
        {"name": "Sky and sea", "width": 64, "height": 48, "regions": 1}
    ]
    assert ask("GET", "/pakati/templates/Sky%20and%20sea") == (200, {"layout": LAYOUT})
    assert ask("PUT", "/pakati/templates/Sky%20and%20sea", json={"layout": {**LAYOUT, "regions": []}})[0] == 200
    assert ask("GET", "/pakati/templates")[1]["templates"][0]["regions"] == 0
    assert ask("DELETE", "/pakati/templates/Sky%20and%20sea")[0] == 200
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["..%2F..%2Fevil", "..", "%2Fetc%2Fpasswd", "C:%5Cevil", "con", "a.json", "☃", "%3Cb%3E"]
)
def test_no_name_leaves_the_folder(ask, folder, name):
    status, _ = ask("PUT", f"/pakati/templates/{name}", json={"layout": LAYOUT})
    assert status in (200, 404, 405)  # ".." and "/" are another address
    written = [path for path in folder.parents[2].rglob("*") if path.is_file()]
    assert all(path.parent == folder for path in written)
    assert len(written) == (status == 200)


@pytest.mark.parametrize(
    "given, status",
    [
        ({"data": b"{}"}, 415),
        ({"data": b"{", "headers": JSON}, 400),
        ({"data": b"[" * 100_000, "headers": JSON}, 400),
        ({"data": b"\xff\xfe", "headers": JSON}, 400),
        ({"json": []}, 400),
        ({"json": {}}, 400),
        ({"json": {"layout": "x"}}, 400),
        ({"json": {"layout": {**LAYOUT, "version": 99}}}, 400),
        ({"json": {"layout": {**LAYOUT, "regions": [{"id": "a", "mask": "/etc/passwd"}]}}}, 400),
        ({"data": b'"' + b"x" * (LARGEST + 5000) + b'"', "headers": JSON}, 413),
    ],
    ids=["no JSON type", "cut", "deep", "no UTF-8", "list", "empty", "text", "newer", "file", "huge"],
)
def test_a_malformed_request_gets_a_sentence(ask, folder, given, status):
    got, answer = ask("PUT", "/pakati/templates/x", **given)
    assert got == status
    assert 10 < len(answer["error"]) < 400 and "\n" not in answer["error"]
    assert not folder.exists() or list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["%20", "x" * 81, "a%00b", "a%0Ab"])
def test_a_name_that_cannot_be_shown_is_refused(ask, name):
    status, answer = ask("PUT", f"/pakati/templates/{name}", json={"layout": LAYOUT})
    assert status == 400 and "name" in answer["error"]


def test_what_is_not_there_is_said_so(ask):
    for method in ("GET", "DELETE"):
        status, answer = ask(method, "/pakati/templates/gone")
        assert status == 404 and "gone" in answer["error"]


def test_damaged_files_are_left_out_and_can_be_deleted(ask, folder):
    ask("PUT", "/pakati/templates/good", json={"layout": LAYOUT})
    ask("PUT", "/pakati/templates/bad", json={"layout": LAYOUT})
    Templates(folder)._path("bad").write_text("{", encoding="utf-8")
    assert [entry["name"] for entry in ask("GET", "/pakati/templates")[1]["templates"]] == ["good"]
    assert ask("GET", "/pakati/templates/bad")[0] == 400
    assert ask("DELETE", "/pakati/templates/bad")[0] == 200


def test_there_is_room_for_so_many(ask, folder):
    folder.mkdir(parents=True)
    for i in range(MOST):
        (folder / f"{i}.json").write_text("{}")
    status, answer = ask("PUT", "/pakati/templates/one%20more", json={"layout": LAYOUT})
    assert status == 400 and str(MOST) in answer["error"]


def test_bodies_of_noise_never_reach_the_disk(ask, folder):
    dice = random.Random(3)
    for _ in range(40):
        body = json.dumps({"layout": LAYOUT}).encode()
        spoilt = bytearray(body)
        for _ in range(dice.randrange(1, 6)):
            spoilt[dice.randrange(len(spoilt))] = dice.randrange(256)
        status, _ = ask("PUT", "/pakati/templates/noise", data=bytes(spoilt), headers=JSON)
        assert status in (200, 400)
    assert all(json.loads(path.read_text())["layout"]["pakati"] == "regions" for path in folder.glob("*.json"))
