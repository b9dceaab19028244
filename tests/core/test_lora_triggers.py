"""Trigger words from sidecars and headers: what people's tools write, cut off, damaged, and many of them."""

import io
import json
import os
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from pakati_core.lora import trigger_words
from pakati_core.lora.triggers import READ_LIMIT

FREQUENCIES = {"10_luca": {"luca": 40, "boy": 38, "beach": 3}, "5_more": {"luca": 2, "boy": 2}}


def lora(folder: Path, metadata: dict | None = None, name="luca.safetensors", layers=1) -> Path:
    tensors = {f"lora_unet_{i}.lora_up.weight": torch.zeros(1) for i in range(layers)}
    save_file(tensors, folder / name, {key: str(value) for key, value in (metadata or {}).items()} or None)
    return folder / name


HEADERS = {
    "modelspec": ({"modelspec.trigger_phrase": "luca, green eyes"}, ("luca", "green eyes")),
    "a list": ({"trained_words": json.dumps(["luca", "Luca", "boy"])}, ("luca", "boy")),
    "kohya's tags": ({"ss_tag_frequency": json.dumps(FREQUENCIES)}, ("luca", "boy")),
    "a phrase before tags": (
        {"ss_tag_frequency": json.dumps(FREQUENCIES), "modelspec.trigger_phrase": "paguro"}, ("paguro",)
    ),
    "quotes and other alphabets": ({"modelspec.trigger_phrase": 'the "sea" boy, лука'}, ('the "sea" boy', "лука")),
    "nothing": ({"ss_network_dim": "16"}, ()),
    "no metadata": (None, ()),
}  # fmt: skip


@pytest.mark.parametrize("metadata, words", HEADERS.values(), ids=HEADERS)
def test_headers(tmp_path, metadata, words):
    assert trigger_words(lora(tmp_path, metadata)) == words


SIDECARS = {
    ".civitai.info": {"id": 1, "trainedWords": ["sun", "yellow, round"]},
    ".metadata.json": {"file_name": "x", "civitai": {"trainedWords": ["sun", "yellow", "round"]}},
    ".rgthree-info.json": {"trainedWords": [{"word": "sun"}, {"word": "yellow", "count": 3}, {"word": "round"}]},
    ".json": {"description": "", "activation text": "sun, yellow, round"},
}


@pytest.mark.parametrize("suffix", [*SIDECARS, ".txt"])
def test_a_sidecar_is_believed_before_the_header(tmp_path, suffix):
    path = lora(tmp_path, {"modelspec.trigger_phrase": "other"})
    text = json.dumps(SIDECARS[suffix]) if suffix in SIDECARS else "sun, yellow\nround\n"
    path.with_suffix(suffix).write_text(text, encoding="utf-8")
    assert trigger_words(path) == ("sun", "yellow", "round")


def test_a_silent_or_damaged_sidecar_is_passed_over(tmp_path):
    path = lora(tmp_path, {"modelspec.trigger_phrase": "luca"})
    path.with_suffix(".civitai.info").write_text('{"trainedWords": []}')
    path.with_suffix(".metadata.json").write_bytes(b'\xff\xfe{"trainedWords": ["x"')
    path.with_suffix(".txt").write_text("\n , \n")
    assert trigger_words(path) == ("luca",)


@pytest.mark.parametrize(
    "content", [b"", b"\x08", b"\xff" * 8, b"\x10" + bytes(7) + b"{not json at all", (2**62).to_bytes(8, "little")]
)
def test_files_that_are_no_lora(tmp_path, content):
    (tmp_path / "x.safetensors").write_bytes(content)
    assert trigger_words(tmp_path / "x.safetensors") == ()
    assert trigger_words(tmp_path / "not there.safetensors") == ()
    assert trigger_words(tmp_path) == ()


def test_a_header_of_many_tags_gives_what_was_read(tmp_path):
    """ss_tag_frequency alone can be longer than all that is read."""
    tags = {"luca": 900, "boy": 890} | {f"tag number {i}": 2 for i in range(20_000)}
    path = lora(tmp_path, {"ss_tag_frequency": json.dumps({"10_luca": tags})}, layers=200)
    assert path.stat().st_size > 4 * READ_LIMIT
    assert trigger_words(path) == ("luca", "boy")


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters=",\r\n\x00"), min_size=1), max_size=5))
def test_a_phrase_is_what_safetensors_itself_reads(tmp_path_factory, words):
    path = lora(tmp_path_factory.mktemp("lora"), {"modelspec.trigger_phrase": ", ".join(words), "x": "y"})
    with safe_open(path, "pt") as file:
        phrase = file.metadata()["modelspec.trigger_phrase"]
    wanted: dict[str, str] = {}
    for word in (part.strip() for part in phrase.split(",")):
        if word:
            wanted.setdefault(word.casefold(), word)
    if not phrase.lstrip().startswith("["):
        assert trigger_words(path) == tuple(wanted.values())


def test_two_thousand_files_in_two_seconds_and_little_of_each(tmp_path, monkeypatch):
    """Files of 50 MB, a third with sidecars. The processor's time, for the machine may have other work."""
    first = lora(tmp_path, {"ss_tag_frequency": json.dumps(FREQUENCIES), "ss_note": "x" * 40_000}, layers=50)
    content, files = first.read_bytes(), []
    for i in range(2000):
        files.append(tmp_path / f"{i}.safetensors")
        files[-1].write_bytes(content)
        os.truncate(files[-1], 50_000_000)
        if i % 3 == 0:
            files[-1].with_suffix(".civitai.info").write_text('{"trainedWords": ["luca", "boy"]}')
    begun, wall = time.process_time(), time.perf_counter()
    assert {trigger_words(file) for file in files} == {("luca", "boy")}
    took, wall = time.process_time() - begun, time.perf_counter() - wall
    read: dict[str, int] = {}
    real = io.FileIO.read

    class Counted(io.FileIO):
        def read(self, *args):
            out = real(self, *args)
            read[str(self.name)] = read.get(str(self.name), 0) + len(out or b"")
            return out

    monkeypatch.setattr(Path, "open", lambda self, mode, buffering: Counted(self, mode.strip("b")))
    for file in files[:20]:
        assert trigger_words(file) == ("luca", "boy")
    assert len(read) == 20 and max(read.values()) <= READ_LIMIT
    print(f"2,000 files in {took:.2f} s of work ({wall:.2f} s), at most {max(read.values())} bytes of one")
    assert took <= 2
