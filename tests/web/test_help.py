"""Every node is found under its search aliases, and its help page shows a picture of it.

PAKATI_RECORD=1 python -m pytest tests/web/test_help.py      takes the pictures that are missing, and names them
"""

import io
import json
import os
import re
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).absolute().parents[2]
DOCS = ROOT / "web" / "docs"
LARGEST = 60_000  # bytes of a picture
DEFINITIONS = json.loads((ROOT / "tests" / "data" / "object_info.json").read_text(encoding="utf-8"))
NODES = sorted(name for name in DEFINITIONS if name.startswith("Pakati"))
LAYOUT = {
    "pakati": "regions",
    "version": 1,
    "width": 512,
    "height": 384,
    "regions": [
        {"id": "sky", "box": [0, 0, 512, 160], "prompt": "night sky with stars"},
        {
            "id": "hill",
            "polygon": [[0, 384], [0, 250], [140, 150], [300, 260], [512, 200], [512, 384]],
            "prompt": "hills",
        },
        {"id": "moon", "ellipse": [360, 30, 80, 80], "prompt": "full moon"},
    ],
}
SHOW = """async ([type, layout]) => {
    const node = LiteGraph.createNode(type);
    for (const old of [...app.graph.nodes]) app.graph.remove(old); // clearing gives ids, so values, again
    app.graph.add(node);
    node.pos = [0, 0];
    node.setSize([Math.max(node.size[0], 300), node.size[1]]); // room for the title
    for (const widget of node.widgets ?? []) if (widget.type === "PAKATI_LAYOUT") widget.value = layout;
    app.canvas.ds.scale = 1;
    app.canvas.ds.offset = [120, 130];
    app.canvas.deselectAll();
    app.canvas.setDirty(true, true);
    await new Promise((done) => setTimeout(done, 400));
    const [x, y, width, height] = node.boundingRect;
    const { left, top } = app.canvas.canvas.getBoundingClientRect();
    return { x: left + x + 118, y: top + y + 128, width: width + 4, height: height + 4 };
}"""


def picture_of(name: str) -> Path | None:
    found = re.search(r"!\[[^\]]+\]\(([\w.-]+)\)", (DOCS / f"{name}.md").read_text(encoding="utf-8"))
    return DOCS / found[1] if found else None


@pytest.mark.skipif(not os.environ.get("PAKATI_RECORD"), reason="only where PAKATI_RECORD asks for pictures")
def test_take_the_pictures_that_are_missing(open_editor):
    with open_editor("classic") as editor:
        editor.page.wait_for_timeout(2000)  # until the page has faded in
        for name in NODES:
            picture = picture_of(name) or DOCS / f"{name}.png"
            if not picture.is_file():
                clip = editor.page.evaluate(SHOW, [name, json.dumps(LAYOUT)])
                shot = Image.open(io.BytesIO(editor.page.screenshot(clip=clip))).convert("RGB")
                shot.quantize(128, dither=Image.Dither.NONE).save(picture, optimize=True)
            name_picture(DOCS / f"{name}.md", picture)


def name_picture(page: Path, picture: Path) -> None:
    """In the page, behind its first paragraph."""
    text = page.read_text(encoding="utf-8")
    if picture.name not in text:
        title, first, rest = text.split("\n\n", 2)
        line = f"![{title.removeprefix('# ')}]({picture.name})"
        page.write_text("\n\n".join([title, first, line, rest]), encoding="utf-8")


@pytest.mark.parametrize("name", NODES)
def test_the_help_page_shows_a_picture(name: str):
    picture = picture_of(name)
    assert picture, f"web/docs/{name}.md has no picture: run this file with PAKATI_RECORD=1 and look at what it took"
    assert picture.stat().st_size < LARGEST
    with Image.open(picture) as shot:
        assert shot.width > 150 and shot.height > 40
        assert len(shot.convert("RGB").getcolors(1 << 20) or ()) > 8, "nothing is on the picture"


def test_the_editor_gets_each_page_and_its_picture(editor):
    """From where ComfyUI's help panel takes them."""
    pictures = {name: picture.name for name in NODES if (picture := picture_of(name))}
    widths = editor.page.evaluate(
        """(pictures) => Promise.all(Object.entries(pictures).map(async ([name, file]) => {
            const page = await fetch(`/extensions/pakati/docs/${name}.md`);
            const picture = new Image();
            picture.src = `/extensions/pakati/docs/${file}`;
            await picture.decode();
            return page.ok ? picture.naturalWidth : 0;
        }))""",
        pictures,
    )
    assert len(widths) == len(NODES) and min(widths) > 150


def test_every_node_is_found_under_its_aliases(editor):
    """By the last alias of each, which is the one that says most about it."""
    page = editor.page
    wanted = {name: DEFINITIONS[name].get("search_aliases", [])[-1] for name in NODES}
    page.evaluate("() => app.extensionManager.command.execute('Workspace.SearchBox.Toggle')")
    box = page.get_by_role("dialog").get_by_role("textbox").or_(page.get_by_role("combobox")).first
    lost = []
    for name, alias in wanted.items():
        box.fill(alias)
        try:
            page.get_by_role("dialog").get_by_text(DEFINITIONS[name]["display_name"]).first.wait_for(timeout=5000)
        except Exception as error:
            lost.append((name, alias, str(error)[:60]))
    assert lost == []
