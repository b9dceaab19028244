"""The pack's face around the editor: sidebar, commands, settings. The routes themselves are tested in tests/nodes."""

import json

from PIL import Image

from pakati_core.canvas import PakatiCanvas
from pakati_core.regions import RegionSet

LAYOUT = {
    "pakati": "regions",
    "version": 1,
    "width": 64,
    "height": 48,
    "regions": [{"id": "a", "box": [0, 0, 9, 9], "prompt": "a cat"}],
}


def command(editor, name: str) -> None:
    editor.page.evaluate("(name) => app.extensionManager.command.execute(name)", name)


def templates(editor) -> dict:
    saved = [json.loads(path.read_text()) for path in (editor.backend.folder / "templates").glob("*.json")]
    return {entry["name"]: entry["layout"] for entry in saved}


def value(editor) -> dict:
    return json.loads(editor.page.evaluate("() => app.graph.nodes.at(-1).widgets[0].value"))


def test_layouts_are_saved_used_deleted_and_brought_back(editor):
    page = editor.page
    command(editor, "Pakati.AddRegionEditor")
    page.evaluate("(value) => { app.graph.nodes.at(-1).widgets[0].value = value; }", json.dumps(LAYOUT))
    page.get_by_role("button", name="Pakati: start").click()
    page.get_by_label("Keep the regions of the Region Editor").fill("<b>Cat</b> & co")
    page.get_by_role("button", name="Save", exact=True).click()
    use = page.get_by_role("button", name="<b>Cat</b> & co", exact=True)
    use.wait_for()
    assert templates(editor) == {"<b>Cat</b> & co": LAYOUT}
    page.evaluate("() => { app.graph.nodes.at(-1).widgets[0].value = ''; }")
    use.click()
    page.wait_for_function("() => JSON.parse(app.graph.nodes.at(-1).widgets[0].value).regions.length === 1")
    assert value(editor) == LAYOUT
    page.get_by_role("button", name="Delete <b>Cat</b> & co").click()
    page.get_by_text("No layouts are saved yet.").wait_for()
    assert templates(editor) == {}
    page.get_by_role("button", name="Undo", exact=True).last.click()
    use.wait_for()
    assert templates(editor) == {"<b>Cat</b> & co": LAYOUT}
    assert editor.errors == []


def test_a_refused_request_is_shown_as_the_servers_sentence(editor):
    page = editor.page
    page.route(
        "**/pakati/templates/*", lambda route: route.fulfill(status=400, json={"error": "there is no room left"})
    )
    command(editor, "Pakati.AddRegionEditor")
    page.get_by_role("button", name="Pakati: start").click()
    page.get_by_label("Keep the regions of the Region Editor").fill("x")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("there is no room left").first.wait_for()
    page.unroute("**/pakati/templates/*")


def test_the_first_page_opens_the_quickstart(editor):
    page = editor.page
    page.get_by_role("button", name="Pakati: start").click()
    page.get_by_role("button", name="Open the quickstart").click()
    page.locator(".pakati-canvas").wait_for(timeout=15_000)
    assert "PakatiRegionEditor" in {node["type"] for node in editor.saved()["nodes"]}
    assert editor.missing_nodes() == [] and editor.errors == []


def test_the_key_opens_the_large_editor(editor):
    command(editor, "Pakati.AddRegionEditor")
    editor.page.locator(".pakati-canvas").wait_for(timeout=15_000)
    editor.page.evaluate("() => document.activeElement?.blur?.()")
    editor.page.keyboard.press("Alt+Shift+E")
    editor.page.locator("dialog.pakati-dialog[open]").wait_for(timeout=5_000)
    assert editor.errors == []


def test_a_setting_keeps_the_focus_on_the_canvas(editor):
    page = editor.page
    page.evaluate("() => app.extensionManager.setting.set('Pakati.Editor.FocusPrompt', false)")
    command(editor, "Pakati.AddRegionEditor")
    canvas = page.locator(".pakati-canvas")
    canvas.wait_for(timeout=15_000)
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 200, steps=3)
    page.mouse.up()
    page.wait_for_timeout(200)
    assert len(value(editor)["regions"]) == 1
    assert page.evaluate("() => document.activeElement.className") == "pakati-canvas"


def save_canvas(editor, name: str) -> None:
    """Two steps: red, then blue with one more region."""
    regions = RegionSet.from_dict({**LAYOUT, "regions": [{"id": "a", "box": [0, 0, 9, 9], "prompt": "a cat"}]})
    more = [*LAYOUT["regions"], {"id": "b", "box": [40, 20, 9, 9], "prompt": "a dog"}]
    canvas = PakatiCanvas.of(regions)
    first = canvas.continue_with(Image.new("RGB", (64, 48), "red"), regions, "a cat", None)
    layout = RegionSet.from_dict({**LAYOUT, "regions": more})
    canvas.continue_with(Image.new("RGB", (64, 48), "blue"), layout, "<i>a dog</i>", first)
    canvas.save(editor.backend.canvases / f"{name}.pakati")


# The colour in the middle of the editor's canvas.
BEHIND = """() => { const canvas = document.querySelector(".pakati-canvas"), pen = canvas.getContext("2d");
                    return pen.getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data; }"""


def drawn(page) -> dict:
    find = "() => app.graph.nodes.find(node => node.type === 'PakatiRegionEditor').widgets[0].value"
    return json.loads(page.evaluate(find))


def test_canvases_are_listed_opened_duplicated_deleted_and_brought_back(editor):
    page = editor.page
    save_canvas(editor, "lake")
    (editor.backend.canvases / "broken.pakati").write_bytes(b"no zip")
    page.get_by_role("button", name="Pakati: start").click()
    page.get_by_text("2 regions · 64×48 · 2 steps").wait_for()
    assert page.get_by_role("button", name="Open broken", exact=True).is_disabled()
    page.get_by_role("button", name="Steps of lake").click()
    page.get_by_role("button", name="Open step 2, <i>a dog</i>").wait_for()
    page.get_by_role("button", name="Open step 1, a cat").click()
    page.get_by_text("Step 1 of lake is in the Region Editor.").wait_for()
    assert [region["id"] for region in drawn(page)["regions"]] == ["a"]
    load = page.evaluate("() => app.graph.nodes.find(node => node.type === 'PakatiCanvasLoad').serialize()")
    assert load["widgets_values"] == ["lake", 1]
    assert load["outputs"][0]["links"]
    page.wait_for_function(f"() => ({BEHIND})()[0] > 200 && ({BEHIND})()[2] < 60")
    page.get_by_role("button", name="Open lake", exact=True).click()
    page.get_by_text("Step 2 of lake is in the Region Editor.").wait_for()
    assert [region["id"] for region in drawn(page)["regions"]] == ["a", "b"]
    page.wait_for_function(f"() => ({BEHIND})()[2] > 200 && ({BEHIND})()[0] < 60")
    page.get_by_role("button", name="Duplicate lake", exact=True).click()
    page.get_by_role("button", name="Delete lake copy").click()
    page.get_by_text("lake copy was deleted.").wait_for()
    page.get_by_role("button", name="Delete lake", exact=True).click()
    page.get_by_text("lake was deleted.").wait_for()
    assert sorted(path.stem for path in editor.backend.canvases.glob("*.pakati")) == ["broken"]
    page.get_by_role("button", name="Undo", exact=True).last.click()
    page.get_by_text("lake is back.").wait_for()
    page.get_by_role("button", name="Open lake", exact=True).wait_for()
    assert editor.errors == []
