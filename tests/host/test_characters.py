"""The shipped workflows of characters on a real server."""

import io
import json
from pathlib import Path

from PIL import Image

API = Path(__file__).parents[2] / "workflows" / "api"
LIMIT_S = 600


def run(server, name: str) -> dict[str, list[Image.Image]]:
    """Pictures by node class."""
    prompt = json.loads((API / f"{name}.json").read_text(encoding="utf-8"))
    outputs = server.run(prompt, LIMIT_S)
    return {
        prompt[node]["class_type"]: [Image.open(io.BytesIO(server.image(entry))) for entry in output["images"]]
        for node, output in outputs.items()
        if "images" in output
    }


def test_the_quickstart_keeps_some_candidates_and_shows_all(server):
    pictures = run(server, "character_quickstart")
    assert 1 <= len(pictures["SaveImage"]) <= 8, "a filter that keeps all or none would show nothing"
    assert {picture.size for picture in pictures["SaveImage"]} == {(128, 128)}
    (sheet,) = pictures["PakatiArcFaceFilter"]
    assert min(sheet.size) > 800, "nine candidates"


def test_two_characters_are_found_in_their_picture(server):
    pictures = run(server, "two_characters")
    assert len(pictures["SaveImage"]) == 8
    (sheet,) = pictures["PakatiIdentityReport"]
    assert min(sheet.size) > 1000, "eight pictures, each once for each character"
