"""The pack's face around the editor: sidebar, commands, settings. The routes themselves are tested in tests/nodes."""

import json

LAYOUT = {
    "pakati": "regions",
    "version": 1,
    "width": 64,
    "height": 48,
    "regions": [{"id": "a", "box": [0, 0, 9, 9], "prompt": "a cat"}],
}


def command(editor, name: str) -> None:
    editor.page.evaluate("(name) => app.extensionManager.command.execute(name)", name)


def value(editor) -> dict:
    return json.loads(editor.page.evaluate("() => app.graph.nodes.at(-1).widgets[0].value"))


def test_layouts_are_saved_used_deleted_and_brought_back(editor):
    page = editor.page
    editor.load({"nodes": [], "links": [], "version": 0.4})
    command(editor, "Pakati.AddRegionEditor")
    page.evaluate("(value) => { app.graph.nodes.at(-1).widgets[0].value = value; }", json.dumps(LAYOUT))
    page.get_by_role("button", name="Pakati: start").click()
    page.get_by_label("Keep the regions of the Region Editor").fill("<b>Cat</b> & co")
    page.get_by_role("button", name="Save", exact=True).click()
    use = page.get_by_role("button", name="<b>Cat</b> & co", exact=True)
    use.wait_for()
    assert editor.backend.templates == {"<b>Cat</b> & co": LAYOUT}
    page.evaluate("() => { app.graph.nodes.at(-1).widgets[0].value = ''; }")
    use.click()
    page.wait_for_function("() => JSON.parse(app.graph.nodes.at(-1).widgets[0].value).regions.length === 1")
    assert value(editor) == LAYOUT
    page.get_by_role("button", name="Delete <b>Cat</b> & co").click()
    page.get_by_text("No layouts are saved yet.").wait_for()
    assert editor.backend.templates == {}
    page.get_by_role("button", name="Undo", exact=True).last.click()
    use.wait_for()
    assert editor.backend.templates == {"<b>Cat</b> & co": LAYOUT}
    assert editor.errors == []


def test_a_refused_request_is_shown_as_the_servers_sentence(editor):
    page = editor.page
    page.route(
        "**/pakati/templates/*", lambda route: route.fulfill(status=400, json={"error": "there is no room left"})
    )
    editor.load({"nodes": [], "links": [], "version": 0.4})
    command(editor, "Pakati.AddRegionEditor")
    page.get_by_role("button", name="Pakati: start").click()
    page.get_by_label("Keep the regions of the Region Editor").fill("x")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("there is no room left").wait_for()


def test_the_first_page_opens_the_quickstart(editor):
    page = editor.page
    page.get_by_role("button", name="Pakati: start").click()
    page.get_by_role("button", name="Open the quickstart").click()
    page.locator(".pakati-canvas").wait_for(timeout=15_000)
    assert "PakatiRegionEditor" in {node["type"] for node in editor.saved()["nodes"]}
    assert editor.missing_nodes() == [] and editor.errors == []


def test_the_key_opens_the_large_editor(editor):
    editor.load({"nodes": [], "links": [], "version": 0.4})
    command(editor, "Pakati.AddRegionEditor")
    editor.page.locator(".pakati-canvas").wait_for(timeout=15_000)
    editor.page.evaluate("() => document.activeElement?.blur?.()")
    editor.page.keyboard.press("Alt+Shift+E")
    editor.page.locator("dialog.pakati-dialog[open]").wait_for(timeout=5_000)
    assert editor.errors == []


def test_a_setting_keeps_the_focus_on_the_canvas(editor):
    page = editor.page
    page.evaluate("() => app.extensionManager.setting.set('Pakati.Editor.FocusPrompt', false)")
    editor.load({"nodes": [], "links": [], "version": 0.4})
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
