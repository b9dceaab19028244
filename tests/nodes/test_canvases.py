"""What the sidebar does with canvases, over its routes on a small server of their own."""

import asyncio
import base64
import io
import zipfile

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from PIL import Image

from pakati.nodes import canvas as canvas_nodes
from pakati.nodes import canvases, routes
from pakati.pakati_core.canvas import PakatiCanvas
from pakati.pakati_core.canvas.summary import read_summary
from pakati.pakati_core.errors import ProjectError
from pakati.pakati_core.geometry import Extent
from pakati.pakati_core.regions import Region, RegionSet
from pakati.pakati_core.shapes import BoxShape

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "output" / "pakati"
    made.mkdir(parents=True)
    return made


@pytest.fixture
def ask(folder):
    """ask(method, path, **request) -> status and answer; every answer is JSON."""

    def asked(method: str, path: str, **given):
        async def one():
            table = web.RouteTableDef()
            routes.register_canvases(table, canvases.Canvases(lambda: folder))
            app = web.Application()
            app.add_routes(table)
            async with TestClient(TestServer(app)) as client, client.request(method, path, **given) as answer:
                is_json = answer.content_type == "application/json"
                assert is_json or answer.status in (404, 405)
                return answer.status, await answer.json() if is_json else {}

        return asyncio.run(one())

    return asked


def saved(folder, name: str, *colours: str) -> PakatiCanvas:
    """A project with one step for each colour."""
    layout = RegionSet(Extent(64, 48), (Region("a", BoxShape(0, 0, 9, 9), "a cat"),))
    canvas, step = PakatiCanvas.of(layout), None
    for colour in colours:
        step = canvas.continue_with(Image.new("RGB", (64, 48), colour), layout, colour, step)
    canvas.save(folder / f"{name}.pakati")
    return canvas


def pixel(url: str) -> tuple[int, ...]:
    assert url.startswith("data:image/jpeg;base64,")
    with Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))) as picture:
        found = picture.getpixel((5, 5))
    assert isinstance(found, tuple)
    return tuple(round(part / 255) for part in found)


def test_names_are_those_of_the_nodes():
    assert (canvases.NAME, canvases.FOLDER) == (canvas_nodes.NAME, canvas_nodes.FOLDER)


def test_none_yet(ask, folder):
    assert ask("GET", "/pakati/canvases") == (200, {"canvases": [], "left_out": 0})
    folder.rmdir()
    assert ask("GET", "/pakati/canvases")[1]["canvases"] == []


def test_listed_with_picture_regions_and_steps(ask, folder):
    saved(folder, "lake", "#ff0000", "#0000ff")
    (row,) = ask("GET", "/pakati/canvases")[1]["canvases"]
    wanted = {"name": "lake", "width": 64, "height": 48, "steps": 2, "regions": 1}
    assert {key: row[key] for key in wanted} == wanted
    assert pixel(row["thumbnail"]) == (0, 0, 1), "the step that the canvas stands at"
    assert str(folder) not in str(row)


def test_its_steps_and_one_of_them(ask, folder):
    saved(folder, "lake", "#ff0000", "#0000ff")
    first, second = ask("GET", "/pakati/canvases/lake")[1]["steps"]
    assert (first["step"], first["parent"], first["title"], first["is_here"]) == (1, None, "#ff0000", False)
    assert (second["step"], second["parent"], second["is_here"]) == (2, 1, True)
    assert [pixel(step["thumbnail"]) for step in (first, second)] == [(1, 0, 0), (0, 0, 1)]
    opened = ask("GET", "/pakati/canvases/lake/steps/1")[1]
    assert opened["layout"]["regions"][0]["prompt"] == "a cat" and pixel(opened["picture"]) == (1, 0, 0)
    assert ask("GET", "/pakati/canvases/lake/steps/0")[1]["step"] == 2
    assert ask("GET", "/pakati/canvases/lake/steps/3")[0] == 404


def test_a_copy_is_the_same_file_under_a_free_name(ask, folder):
    saved(folder, "lake", "#ff0000")
    names = [ask("POST", "/pakati/canvases/lake/duplicate", json={})[1]["name"] for _ in range(2)]
    assert names == ["lake copy", "lake copy 2"]
    files = [(folder / f"{name}.pakati").read_bytes() for name in ("lake", *names)]
    assert files[0] == files[1] == files[2]


def test_deleted_and_had_back(ask, folder):
    saved(folder, "lake", "#ff0000")
    before = (folder / "lake.pakati").read_bytes()
    token = ask("DELETE", "/pakati/canvases/lake")[1]["token"]
    assert ask("GET", "/pakati/canvases")[1]["canvases"] == []
    assert ask("POST", "/pakati/canvases/lake/restore", json={"token": token}) == (200, {"name": "lake"})
    assert (folder / "lake.pakati").read_bytes() == before
    assert ask("POST", "/pakati/canvases/lake/restore", json={"token": token})[0] == 404


def test_what_took_its_name_in_the_meantime_stays(ask, folder):
    saved(folder, "lake", "#ff0000")
    token = ask("DELETE", "/pakati/canvases/lake")[1]["token"]
    saved(folder, "lake", "#0000ff")
    name = ask("POST", "/pakati/canvases/lake/restore", json={"token": token})[1]["name"]
    assert name != "lake" and len(ask("GET", "/pakati/canvases")[1]["canvases"]) == 2


def test_only_so_many_deletions_are_kept(ask, folder):
    for _ in range(canvases.MOST_DELETED + 3):
        (folder / "x.pakati").write_bytes(b"x")
        last = ask("DELETE", "/pakati/canvases/x")[1]["token"]
    assert len(list((folder / canvases.DELETED).iterdir())) == canvases.MOST_DELETED
    assert ask("POST", "/pakati/canvases/x/restore", json={"token": last})[0] == 200


def test_a_damaged_file_is_listed_with_the_reason_and_can_be_deleted(ask, folder):
    saved(folder, "lake", "#ff0000")
    (folder / "bad.pakati").write_bytes((folder / "lake.pakati").read_bytes()[:-40])
    rows = {row["name"]: row for row in ask("GET", "/pakati/canvases")[1]["canvases"]}
    assert "bad.pakati" in rows["bad"]["problem"] and "problem" not in rows["lake"]
    assert ask("GET", "/pakati/canvases/bad")[0] == 400
    assert ask("DELETE", "/pakati/canvases/bad")[0] == 200


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "{}", '{"pakati": "project", "version": 99}', '{"pakati": "project", "version": 1}',
     '{"pakati": "project", "version": 1, "layout": {"width": 1, "height": 1}, "current": null, "states": [{}]}'],
)  # fmt: skip
def test_a_project_of_other_words_is_refused_in_a_sentence(folder, text):
    with zipfile.ZipFile(folder / "odd.pakati", "w") as archive:
        archive.writestr("project.json", text)
    with pytest.raises(ProjectError, match=r"odd\.pakati"):
        read_summary(folder / "odd.pakati")


@pytest.mark.parametrize("name", ["..%2F..%2Fevil", "..", "%2Fetc%2Fpasswd", ".deleted", "a%2Fb", "x" * 101, "%00"])
def test_no_name_leaves_the_folder(ask, folder, name):
    outside = folder.parent / "evil.pakati"
    outside.write_bytes(b"x")
    for method, path, given in (("GET", "", {}), ("DELETE", "", {}), ("POST", "/duplicate", {"json": {}})):
        assert ask(method, f"/pakati/canvases/{name}{path}", **given)[0] in (400, 404, 405)
    assert outside.read_bytes() == b"x" and list(folder.iterdir()) == []


def test_links_lead_nowhere(ask, folder, tmp_path):
    saved(tmp_path, "secret", "#ff0000")
    try:
        (folder / "link.pakati").symlink_to(tmp_path / "secret.pakati")
    except OSError:
        pytest.skip("this system lets nobody make links")
    assert ask("GET", "/pakati/canvases")[1]["canvases"] == []
    assert ask("GET", "/pakati/canvases/link")[0] == 404


@pytest.mark.parametrize(
    "given, status",
    [
        ({"data": b"{}"}, 415),
        ({"data": b"{", "headers": JSON}, 400),
        ({"json": []}, 400),
        ({"json": {}}, 404),
        ({"json": {"token": "../../x"}}, 404),
        ({"json": {"token": 5}}, 404),
    ],
    ids=["no JSON type", "cut", "list", "no token", "path", "number"],
)
def test_a_malformed_request_gets_a_sentence(ask, folder, given, status):
    got, answer = ask("POST", "/pakati/canvases/lake/restore", **given)
    assert got == status and 10 < len(answer["error"]) < 300
