"""The history of a canvas and its file: nothing is lost, by undo, by a crash, or by a file that means harm."""

import ast
import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pakati_core.canvas import PakatiCanvas
from pakati_core.errors import CanvasError, OutputError, ProjectError
from pakati_core.geometry import Box
from pakati_core.shapes import BoxShape, MaskShape


def picture(seed, size=(48, 32)):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), np.uint8))


def made(steps=3) -> PakatiCanvas:
    """A canvas with a box, a painted mask, an unused region and some steps."""
    canvas = PakatiCanvas(48, 32, prompt="grass")
    canvas.apply_to_region(canvas.create_region(BoxShape(0, 0, 24, 32), "box"), "sand", feather=2)
    painted = np.zeros((32, 48), np.uint8)
    painted[4:20, 30:40] = 200
    canvas.apply_to_region(canvas.create_region(MaskShape.from_array(painted), "painted"), "snow", seed=7)
    canvas.create_region(BoxShape(1, 2, 3, 4), "unused")
    for i in range(steps):
        canvas.add_picture(picture(i), f"step {i}")
    return canvas


def prompts(canvas):
    return {region.id: region.prompt for region in canvas.regions.regions}


# --- history --------------------------------------------------------------------------------------------------------


def test_undo_and_redo_give_the_very_bytes():
    canvas = made()
    assert canvas.undo().tobytes() == picture(1).tobytes()
    assert canvas.undo().tobytes() == picture(0).tobytes()
    with pytest.raises(CanvasError, match="nothing to undo"):
        canvas.undo()
    assert canvas.redo().tobytes() == picture(1).tobytes()
    assert canvas.redo().tobytes() == picture(2).tobytes()
    with pytest.raises(CanvasError, match="nothing to redo"):
        canvas.redo()


def test_a_new_step_after_undo_is_a_branch_and_the_old_one_stays():
    canvas = made()
    canvas.undo()
    canvas.add_picture(picture(9), "another way")
    assert [[state.title for state in path] for path in canvas.history.branches()] == [
        ["step 0", "step 1", "step 2"],
        ["step 0", "step 1", "another way"],
    ]
    assert canvas.go(3).tobytes() == picture(2).tobytes()
    canvas.undo()
    assert canvas.redo().tobytes() == picture(2).tobytes(), "redo goes the way that was come from"


def test_undo_brings_the_regions_back_and_keeps_what_was_said_since():
    canvas = made(2)
    canvas.apply_to_region("box", "sea")
    assert canvas.dirty == ("box",)
    canvas.undo()
    assert prompts(canvas)["box"] == "sand" and canvas.dirty == ()
    canvas.redo()
    assert prompts(canvas)["box"] == "sea" and canvas.dirty == ("box",)
    assert canvas.image.tobytes() == picture(1).tobytes()


def test_two_states_are_compared_pixel_by_pixel():
    canvas = made(1)
    changed = np.array(canvas.image)
    changed[5:8, 30:34] ^= 255
    canvas.add_picture(Image.fromarray(changed), "changed")
    found = canvas.compare(1, 2)
    assert found.share == 12 / (48 * 32)
    assert found.box == Box(30, 5, 4, 3)
    assert found.regions == ("painted",)
    assert canvas.compare(1, 1).share == 0 and canvas.compare(1, 1).regions == ()


def test_each_step_says_how_it_came_about(tiny_canvas):
    state = tiny_canvas.step
    assert state.request == {"seed": 4, "steps": 1}
    assert state.models == ("pakati-tiny",) and state.seconds > 0
    assert state.time.endswith("+00:00") and state.title == "edit left"
    assert state.strokes[0].seam is not None


@pytest.fixture(scope="module")
def tiny_canvas():
    canvas = PakatiCanvas(64, 64, "grass")
    canvas.apply_to_region(canvas.create_region(BoxShape(0, 0, 32, 64), "left"), "sand")
    canvas.generate(steps=1)
    canvas.edit("left", "brick", seed=4, steps=1)
    return canvas


# --- the file -------------------------------------------------------------------------------------------------------


def same(one: PakatiCanvas, other: PakatiCanvas) -> bool:
    states = [[vars(state) for state in canvas.history] for canvas in (one, other)]
    rest = [
        (canvas.regions, canvas.dirty, canvas.model, canvas._shapes, canvas.history.next, canvas.history.current)
        for canvas in (one, other)
    ]
    return states[0] == states[1] and rest[0] == rest[1]


def test_a_reload_equals_the_original(tmp_path, tiny_canvas):
    for canvas in (made(), made(0), tiny_canvas):
        canvas.save(tmp_path / "a.pakati")
        assert same(PakatiCanvas.open(tmp_path / "a.pakati"), canvas)
        (tmp_path / "a.pakati").unlink()


def test_the_file_is_a_zip_of_json_pictures_and_masks_each_once(tmp_path):
    canvas = made()
    canvas.add_picture(picture(0), "the first again")
    canvas.save(tmp_path / "a.pakati")
    with zipfile.ZipFile(tmp_path / "a.pakati") as archive:
        assert sorted(name.split("/")[0] for name in archive.namelist()) == ["masks", *["pictures"] * 3, "project.json"]
        data = json.loads(archive.read("project.json"))
        first = Image.open(io.BytesIO(archive.read(data["states"][0]["picture"])))
    assert (data["pakati"], data["version"], data["current"]) == ("project", 1, 4)
    assert first.tobytes() == picture(0).tobytes()
    assert [path.name for path in tmp_path.iterdir()] == ["a.pakati"]


def test_the_same_canvas_gives_the_same_file(tmp_path):
    canvas = made()
    canvas.save(tmp_path / "a.pakati")
    canvas.save(tmp_path / "b.pakati")
    assert (tmp_path / "a.pakati").read_bytes() == (tmp_path / "b.pakati").read_bytes()


def test_autosave_writes_each_step(tmp_path):
    path = tmp_path / "a.pakati"
    canvas = PakatiCanvas(48, 32, autosave=path)
    for i in range(3):
        canvas.add_picture(picture(i))
        assert PakatiCanvas.open(path).image.tobytes() == picture(i).tobytes()
    canvas.undo()
    assert PakatiCanvas.open(path).image.tobytes() == picture(1).tobytes()
    again = PakatiCanvas.open(path, autosave=True)
    again.redo()
    assert PakatiCanvas.open(path).image.tobytes() == picture(2).tobytes()


def test_another_programs_work_is_not_overwritten(tmp_path):
    path = tmp_path / "a.pakati"
    made().save(path)
    one, other = PakatiCanvas.open(path), PakatiCanvas.open(path)
    one.add_picture(picture(7))
    one.save(path)
    other.add_picture(picture(8))
    with pytest.raises(ProjectError, match="somebody else"):
        other.save(path)
    with pytest.raises(ProjectError, match="somebody else"):
        made(1).save(path)
    assert PakatiCanvas.open(path).image.tobytes() == picture(7).tobytes()
    other.save(tmp_path / "b.pakati")
    assert PakatiCanvas.open(tmp_path / "b.pakati").image.tobytes() == picture(8).tobytes()


def test_a_disk_that_is_full_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.pakati"
    canvas = made()
    canvas.save(path)
    before = path.read_bytes()
    canvas.add_picture(picture(9))
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OutputError, match="No space left"):
        canvas.save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.pakati"]


KILLER = """
import os, signal, sys, warnings
from pathlib import Path
import pakati_core.files as files
from pakati_core.canvas import PakatiCanvas
from tests.core.test_project import picture

path, outcomes = Path(sys.argv[1]), []

def step(name, real):
    def call(*args):
        global left
        left -= 1
        if left == 0:
            if name == "write":
                real(args[0][: len(args[0]) // 2])
                draft.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args)
    return call

def opened(*args):
    global draft
    draft = open(*args)
    class Draft:
        def __getattr__(self, name):
            return getattr(draft, name)
        __enter__ = lambda self: self
        __exit__ = lambda self, *_: draft.close()
        write = staticmethod(step("write", draft.write))
        seek = staticmethod(step("seek", draft.seek))
    return Draft()

for moment in range(1, 1000):
    child = os.fork()
    if child == 0:
        left = moment
        files.open = opened
        os.fsync, os.replace = step("fsync", os.fsync), step("replace", os.replace)
        canvas = PakatiCanvas.open(path)
        canvas.add_picture(picture(99))
        canvas.save(path)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    found = PakatiCanvas.open(path)
    outcomes.append((len(found.history), found.image.tobytes() == picture(99 if len(found.history) == 4 else 2).tobytes()))
    if not os.WIFSIGNALED(status):
        break
    if len(found.history) == 4:
        path.write_bytes(Path(sys.argv[2]).read_bytes())
print(outcomes)
"""  # noqa: E501


@pytest.mark.skipif(sys.platform == "win32", reason="kills and forks as POSIX does")
def test_killing_it_at_any_write_leaves_a_project_that_opens(tmp_path):
    """SIGKILL in the middle of each write, and at each seek, flush to the disk and rename."""
    path = tmp_path / "a.pakati"
    made().save(path)
    (tmp_path / "copy").write_bytes(path.read_bytes())
    command = [sys.executable, "-W", "ignore", "-c", KILLER, str(path), str(tmp_path / "copy")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    outcomes = ast.literal_eval(done.stdout)
    assert len(outcomes) > 15
    assert all(whole for _, whole in outcomes)
    assert outcomes[-1] == (4, True) and {count for count, _ in outcomes[:-2]} == {3}


# --- files that mean harm -------------------------------------------------------------------------------------------


def rewritten(source: Path, target: Path, change) -> Path:
    """The project with its entries {name: bytes} changed."""
    with zipfile.ZipFile(source) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in change(entries).items():
            archive.writestr(name, content)
    return target


def with_json(**changes):
    def change(entries):
        data = json.loads(entries["project.json"]) | changes
        return entries | {"project.json": json.dumps(data)}

    return change


def damaged(entries):
    return {name: content[:-1] + b"!" if "pict" in name else content for name, content in entries.items()}


def without_picture(entries):
    return {name: content for name, content in entries.items() if not name.startswith("pictures")}


def other_size(entries):
    out = io.BytesIO()
    Image.new("RGB", (9, 9)).save(out, "PNG")
    name = f"pictures/{hashlib.sha256(out.getvalue()).hexdigest()}.png"
    data = json.loads(entries["project.json"])
    data["states"][0]["picture"] = name
    return entries | {name: out.getvalue(), "project.json": json.dumps(data)}


def orphan(entries):
    data = json.loads(entries["project.json"])
    data["states"][0]["parent"] = 3
    return entries | {"project.json": json.dumps(data)}


@pytest.mark.parametrize(
    "change, words",
    [
        (with_json(version=2), "version 2 but this Pakati knows 1; install a newer Pakati"),
        (with_json(version="1"), "version '1'"),
        (with_json(pakati="regions"), '"pakati": "project"'),
        (with_json(current=77), "hang together"),
        (with_json(dirty=None), "makes no sense"),
        (with_json(states=[{}]), "makes no sense"),
        (lambda entries: entries | {"project.json": b"{"}, "makes no sense"),
        (lambda entries: entries | {"../evil.png": b""}, "evil.png"),
        (lambda entries: entries | {"/etc/passwd": b""}, "passwd"),
        (lambda entries: entries | {"pictures/..\\evil.png": b""}, "evil.png"),
        (lambda entries: {"a": b""}, "a"),
        (lambda entries: {name: b"x" for name in entries if name != "project.json"}, "no project.json"),
        (lambda entries: entries | {"project.json": b" " * (2**26 + 1)}, "more than 64 MB"),
        (damaged, "damaged at pictures"),
        (without_picture, "lacks pictures"),
        (other_size, "picture of 9x9 on a 48x32 canvas"),
        (orphan, "hang together"),
    ],
    ids=["newer", "version of text", "not a project", "no such step", "no list", "no state", "broken json",
         "path escape", "absolute path", "backslashes", "strange name", "no json", "bomb", "damaged picture",
         "missing picture", "another size", "a circle"],
)  # fmt: skip
def test_a_file_that_cannot_be_trusted_is_one_sentence(tmp_path, change, words):
    made().save(tmp_path / "good.pakati")
    bad = rewritten(tmp_path / "good.pakati", tmp_path / "bad.pakati", change)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(ProjectError) as caught:
        PakatiCanvas.open(bad)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_bomb_of_many_small_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("pakati_core.canvas.project.MAX_ENTRIES", 3)
    made().save(tmp_path / "a.pakati")
    with pytest.raises(ProjectError, match="holds 5 files"):
        PakatiCanvas.open(tmp_path / "a.pakati")


def test_a_size_that_lies_is_noticed(tmp_path, monkeypatch):
    """What the entry says of itself is not believed: reading stops at the limit."""
    monkeypatch.setattr("pakati_core.canvas.project.MAX_PICTURE", 100)
    made().save(tmp_path / "a.pakati")
    with pytest.raises(ProjectError, match="would unpack to more"):
        PakatiCanvas.open(tmp_path / "a.pakati")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"hello"], ids=["empty", "cut", "text"])
def test_a_file_that_is_no_zip_is_one_sentence(tmp_path, content):
    (tmp_path / "a.pakati").write_bytes(content)
    with pytest.raises(ProjectError, match="a.pakati is no project or is damaged"):
        PakatiCanvas.open(tmp_path / "a.pakati")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_file_cut_short_is_one_sentence(tmp_path, share):
    made().save(tmp_path / "a.pakati")
    content = (tmp_path / "a.pakati").read_bytes()
    (tmp_path / "a.pakati").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ProjectError, match="is damaged"):
        PakatiCanvas.open(tmp_path / "a.pakati")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ProjectError, match="there is no project at"):
        PakatiCanvas.open(tmp_path / "nowhere.pakati")
