"""The region editor in the real page, in both renderers: mouse, keys, touch; saved, copied, put into a subgraph."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

HERE = Path(__file__).absolute().parent
REGIONS = [
    {"id": "sky", "box": [0, 0, 512, 160], "prompt": "night sky with stars"},
    {"id": "hill", "polygon": [[0, 384], [0, 250], [140, 150], [300, 260], [512, 200], [512, 384]], "prompt": "hills"},
    {"id": "moon", "ellipse": [360, 30, 80, 80], "prompt": "full moon", "feather": 6},
]
CREATE = """(value) => {
    const node = LiteGraph.createNode("PakatiRegionEditor");
    node.pos = [40, 60];
    app.graph.add(node);
    if (value !== null) node.widgets[0].value = value;
    app.canvas.ds.offset = [60, 20];
    app.canvas.ds.scale = 1;
    app.canvas.setDirty(true, true);
}"""


def layout(regions: list, **more) -> str:
    return json.dumps({"pakati": "regions", "version": 1, "width": 512, "height": 384, **more, "regions": regions})


class Drawn:
    """One region editor on the page, as a person sees it."""

    def __init__(self, editor, value: str | None = None):
        self.editor, self.page = editor, editor.page
        editor.load({"nodes": [], "links": [], "version": 0.4})
        self.page.evaluate(CREATE, value)
        self.canvas = self.page.locator(".pakati-canvas")
        self.canvas.wait_for(timeout=15_000)
        self.settle()

    def settle(self) -> None:
        self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    @property
    def value(self) -> dict:
        return json.loads(self.page.evaluate("() => app.graph.nodes.at(-1).widgets[0].value"))

    @property
    def regions(self) -> list[dict]:
        return self.value["regions"]

    def at(self, x: float, y: float) -> tuple[float, float]:
        """A point of the drawn canvas on the page; the view is as it opens: all of it, in the middle."""
        box = self.canvas.bounding_box()
        assert box
        value = self.value
        scale = min((box["width"] - 24) / value["width"], (box["height"] - 24) / value["height"])
        left = box["x"] + (box["width"] - value["width"] * scale) / 2
        top = box["y"] + (box["height"] - value["height"] * scale) / 2
        return left + x * scale, top + y * scale

    def tool(self, name: str) -> None:
        self.page.locator(f'.pakati-tools [data-tool="{name}"]').click()

    def unsnap(self) -> None:
        self.button("Snap to edges; Alt lets go").click()

    def drag(self, *points: tuple[float, float]) -> None:
        mouse = self.page.mouse
        mouse.move(*self.at(*points[0]))
        mouse.down()
        for point in points[1:]:
            mouse.move(*self.at(*point), steps=3)
        mouse.up()
        self.settle()

    def click(self, x: float, y: float) -> None:
        self.page.mouse.click(*self.at(x, y))
        self.settle()

    def keys(self, *names: str) -> None:
        self.canvas.focus()
        for name in names:
            self.page.keyboard.press(name)
        self.settle()

    def button(self, label: str):
        return self.page.get_by_role("button", name=label, exact=True)


@pytest.fixture
def drawn(editor) -> Iterator[Drawn]:
    if "PakatiRegionEditor" not in editor.backend.object_info:
        pytest.fail("tests/data/object_info.json does not know PakatiRegionEditor: run `make record`")
    yield Drawn(editor, layout(REGIONS))
    assert editor.errors == []


def near(found, expected, tolerance: float = 3) -> bool:
    return len(found) == len(expected) and all(abs(a - b) <= tolerance for a, b in zip(found, expected))


def test_a_fresh_node_waits_for_the_first_box(editor):
    drawn = Drawn(editor)
    assert drawn.value == {"pakati": "regions", "version": 1, "width": 1024, "height": 1024, "regions": []}
    drawn.drag((100, 200), (600, 400))
    (region,) = drawn.regions
    assert near(region["box"], [100, 200, 500, 200], 6)
    drawn.page.keyboard.type("a red barn")  # the prompt has the focus
    drawn.settle()
    assert drawn.regions[0]["prompt"] == "a red barn"
    assert editor.errors == []


def test_every_tool_draws(drawn):
    drawn.unsnap()
    drawn.tool("ellipse")
    drawn.drag((200, 200), (280, 260))
    drawn.tool("lasso")
    drawn.drag((60, 300), (120, 300), (120, 350), (60, 350))
    drawn.tool("polygon")
    for point in ((300, 300), (400, 300), (350, 370), (300, 300)):
        drawn.click(*point)
    drawn.tool("brush")
    drawn.drag((450, 250), (480, 300))
    ellipse, lasso, polygon, brush = drawn.regions[3:]
    assert near(ellipse["ellipse"], [200, 200, 80, 60])
    assert len(lasso["polygon"]) >= 4
    assert len(polygon["polygon"]) == 3
    assert brush["mask"].startswith("data:image/png;base64,") and brush["units"] == "fraction"
    drawn.tool("eraser")
    drawn.drag((450, 250), (455, 262))
    assert drawn.regions[-1]["mask"] != brush["mask"]


def test_move_scale_and_corners_with_the_mouse(drawn):
    drawn.tool("select")
    drawn.click(400, 70)
    drawn.page.keyboard.down("Alt")  # no snapping
    drawn.drag((400, 70), (300, 100))
    assert near(drawn.regions[2]["ellipse"], [260, 60, 80, 80])
    drawn.drag((340, 140), (380, 200))
    assert near(drawn.regions[2]["ellipse"], [260, 60, 120, 140])
    drawn.page.keyboard.up("Alt")
    drawn.tool("points")
    drawn.click(100, 300)
    drawn.drag((140, 150), (160, 220))
    assert near(drawn.regions[1]["polygon"][2], [160, 220])
    drawn.drag((406, 230), (406, 330))
    assert len(drawn.regions[1]["polygon"]) == 7


def test_everything_by_keyboard(drawn):
    drawn.keys("PageUp", "PageUp")
    drawn.keys("r", "Enter")
    drawn.page.keyboard.type("by keys")
    assert drawn.regions[3]["prompt"] == "by keys"
    before = drawn.regions[3]["box"]
    drawn.keys("v", "ArrowRight", "Shift+ArrowDown", "Alt+ArrowRight")
    assert drawn.regions[3]["box"] == [before[0] + 1, before[1] + 10, before[2] + 1, before[3]]
    drawn.keys("Control+d")
    assert len(drawn.regions) == 5
    drawn.keys("Control+c", "Delete")
    assert len(drawn.regions) == 4
    drawn.keys("Control+v")
    assert len(drawn.regions) == 5
    drawn.keys("Control+a", "Delete")
    assert drawn.regions == []
    drawn.keys("Control+z", "Control+z")
    assert len(drawn.regions) == 4
    assert drawn.page.evaluate("() => app.graph.nodes.length") == 1, "the page took a key that was the editor's"
    drawn.keys("Control+y")
    assert len(drawn.regions) == 5
    assert drawn.page.locator(".pakati-status").inner_text()


def test_the_list_orders_renames_colours_locks_mutes(drawn):
    page = drawn.page
    drawn.button("Mute sky").click()
    drawn.button("Solo hill").click()
    drawn.button("Lock moon").click()
    page.locator(".pakati-name", has_text="moon").dblclick()
    page.keyboard.type("luna")
    page.keyboard.press("Enter")
    page.locator(".pakati-colour").first.fill("#00ff88")
    drawn.settle()
    value = drawn.value
    assert value["editor"]["muted"] == ["sky"] and value["editor"]["solo"] == ["hill"]
    assert value["editor"]["colours"]["moon"] == "#00ff88"
    assert value["regions"][2]["locked"] is True and value["regions"][2]["name"] == "luna"
    grips = page.locator(".pakati-grip")
    first, last = grips.nth(0).bounding_box(), grips.nth(2).bounding_box()
    page.mouse.move(first["x"] + 4, first["y"] + 6)
    page.mouse.down()
    page.mouse.move(last["x"] + 4, last["y"] + 16, steps=4)
    page.mouse.up()
    drawn.settle()
    assert [region["id"] for region in drawn.regions] == ["moon", "sky", "hill"]
    page.locator(".pakati-name", has_text="sky").press("Alt+ArrowUp")
    drawn.settle()
    assert [region["id"] for region in drawn.regions] == ["moon", "hill", "sky"]


def test_the_fields_of_a_region(drawn):
    page = drawn.page
    page.locator(".pakati-name", has_text="hill").click()
    for label, text in {
        "Weight": "1.5",
        "Base prompt": "0.25",
        "Feather": "12",
        "Start": "0.2",
        "End": "0.8",
        "Guidance": "5",
        "Seed": "42",
    }.items():
        page.get_by_label(label, exact=True).fill(text)
        page.get_by_label(label, exact=True).blur()
    page.get_by_label("Negative", exact=True).fill("fog")
    page.get_by_label("Invert", exact=True).check()
    page.get_by_role("button", name="Add LoRA").click()
    page.get_by_label("LoRA 1", exact=True).fill("paint.safetensors")
    page.keyboard.press("Tab")
    page.wait_for_timeout(200)  # the panel has taken the name in, and the field that is next still has the focus
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Strength of LoRA 1"
    page.get_by_label("Strength of LoRA 1", exact=True).fill("0.6")
    page.get_by_label("Strength of LoRA 1", exact=True).blur()
    drawn.settle()
    hill = drawn.regions[1]
    wanted = {"weight": 1.5, "base": 0.25, "feather": 12, "start": 0.2, "end": 0.8, "guidance": 5, "seed": 42}
    wanted["negative"] = "fog"
    assert {key: hill[key] for key in wanted} == wanted
    assert hill["invert"] is True and hill["loras"] == [["paint.safetensors", 0.6, 0.6]]
    page.get_by_label("Seed", exact=True).fill("")
    page.get_by_label("Seed", exact=True).blur()
    drawn.settle()
    assert "seed" not in drawn.regions[1]


def test_the_canvas_size_zoom_pan_and_the_large_editor(drawn):
    page = drawn.page
    page.get_by_label("Canvas width", exact=True).fill("1024")
    page.get_by_label("Canvas width", exact=True).blur()
    drawn.settle()
    assert drawn.value["width"] == 1024 and drawn.regions[0]["box"] == [0, 0, 1024, 160]
    graph_scale = page.evaluate("() => app.canvas.ds.scale")
    drawn.canvas.focus()
    page.mouse.move(*drawn.at(512, 192))
    page.mouse.wheel(0, -200)
    drawn.settle()
    assert page.evaluate("() => app.canvas.ds.scale") == graph_scale
    drawn.button("Show all of the canvas (0)").click()
    drawn.button("Large editor").click()
    page.wait_for_timeout(200)
    assert drawn.canvas.bounding_box()["width"] > 900
    drawn.tool("box")
    drawn.drag((300, 200), (700, 300))
    assert len(drawn.regions) == 4
    page.keyboard.press("Escape")
    page.wait_for_timeout(200)
    assert drawn.canvas.bounding_box()["width"] < 640
    assert page.locator("dialog.pakati-dialog").count() == 0


def test_saved_reloaded_queued(drawn):
    drawn.tool("box")
    drawn.drag((300, 250), (400, 350))
    value, editor = drawn.value, drawn.editor
    assert json.loads(editor.prompt()["1"]["inputs"]["layout"]) == value
    workflow = editor.saved()
    assert json.loads(workflow["nodes"][0]["widgets_values"][0]) == value
    editor.load({"nodes": [], "links": [], "version": 0.4})
    editor.load(workflow)
    drawn.settle()
    assert drawn.value == value
    assert editor.saved()["nodes"][0]["widgets_values"] == workflow["nodes"][0]["widgets_values"]
    drawn.page.locator(".pakati-name").nth(3).wait_for()


def test_a_copied_node_has_a_layout_of_its_own(drawn):
    page = drawn.page
    page.evaluate(
        """() => { app.canvas.selectNode(app.graph.nodes[0]); app.canvas.copyToClipboard(app.canvas.selectedItems);
                   app.canvas.pasteFromClipboard(); }"""
    )
    page.wait_for_function("() => app.graph.nodes.length === 2")
    values = page.evaluate("() => app.graph.nodes.map(node => node.widgets[0].value)")
    assert values[0] == values[1]
    page.evaluate("() => { app.graph.nodes[1].widgets[0].value = ''; }")
    values = page.evaluate("() => app.graph.nodes.map(node => node.widgets[0].value)")
    assert len(json.loads(values[0])["regions"]) == 3 and json.loads(values[1])["regions"] == []


def test_in_a_subgraph_it_keeps_its_layout(drawn):
    page, before = drawn.page, drawn.value
    page.evaluate(
        "() => { app.canvas.selectNode(app.graph.nodes[0]); app.graph.convertToSubgraph(app.canvas.selectedItems); }"
    )
    page.wait_for_function("() => app.graph.subgraphs?.size === 1")
    page.wait_for_timeout(300)
    prompt = drawn.editor.prompt()
    (node,) = [one for one in prompt.values() if one["class_type"] == "PakatiRegionEditor"]
    assert json.loads(node["inputs"]["layout"]) == before
    workflow = drawn.editor.saved()
    drawn.editor.load(workflow)
    (node,) = [one for one in drawn.editor.prompt().values() if one["class_type"] == "PakatiRegionEditor"]
    assert json.loads(node["inputs"]["layout"]) == before
    page.evaluate("() => app.canvas.setGraph([...app.graph.subgraphs.values()][0])")
    page.locator(".pakati-canvas").first.wait_for(timeout=10_000)


def test_touch_draws_and_pinches(browser, drawn):
    page = drawn.page
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        session.send(
            "Input.dispatchTouchEvent",
            {"type": kind, "touchPoints": [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]},
        )

    drawn.unsnap()
    drawn.tool("box")
    start, end = drawn.at(300, 250), drawn.at(420, 350)
    touch("touchStart", start)
    touch("touchMove", ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2))
    touch("touchMove", end)
    touch("touchEnd")
    drawn.settle()
    assert len(drawn.regions) == 4 and near(drawn.regions[3]["box"], [300, 250, 120, 100], 4)
    before = drawn.value
    middle = drawn.at(256, 192)
    around = [((middle[0] - d, middle[1]), (middle[0] + d, middle[1])) for d in (30, 50, 80)]
    touch("touchStart", around[0][0])
    touch("touchStart", *around[0])
    touch("touchMove", *around[1])
    touch("touchMove", *around[2])
    touch("touchEnd")
    drawn.settle()
    assert drawn.value == before, "two fingers move the view, not the regions"


def test_a_screen_reader_finds_names_for_everything(drawn):
    nameless = drawn.page.evaluate(
        """() => [...document.querySelectorAll(".pakati-editor :is(button, input, textarea, select, canvas)")]
            .filter(one => !one.getAttribute("aria-label") && !one.labels?.length && !one.textContent.trim())
            .map(one => one.outerHTML.slice(0, 120))"""
    )
    assert nameless == []
    assert drawn.page.locator(".pakati-status[aria-live=polite]").count() == 1


def hostile_values(count: int) -> list[str]:
    spec = importlib.util.spec_from_file_location("pakati_hostile", HERE / "hostile.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.hostile_values(count)


def test_300_hostile_values_neither_break_the_page_nor_run_script(drawn):
    """Each one loaded as a workflow's would be, drawn, and saved; then one is still drawn on."""
    page = drawn.page
    page.on("dialog", lambda dialog: drawn.editor.errors.append(f"dialog: {dialog.message}"))
    broken = page.evaluate(
        """async (values) => {
            const node = app.graph.nodes[0], broken = [];
            for (const value of values) {
                try {
                    node.widgets[0].value = value;
                    app.canvas.setDirty(true, true);
                    const saved = node.serialize().widgets_values[0];
                    if (typeof saved !== "string") broken.push(String(value).slice(0, 200));
                    await new Promise(requestAnimationFrame);
                    const rows = [...document.querySelectorAll(".pakati-name")];
                    for (const row of rows.slice(0, 4)) row.click(); // drawn in the next frame
                    app.extensionManager.toast.removeAll?.(); // each value is warned of; a page of 300 is slow
                } catch (error) { broken.push(`${error}: ${String(value).slice(0, 200)}`); }
            }
            await new Promise(requestAnimationFrame);
            return broken;
        }""",
        hostile_values(300),
    )
    assert broken == []
    assert page.evaluate("() => window.broken ?? null") is None
    assert page.locator(".pakati-editor :is(script, img, iframe, object, a)").count() == 0
    page.evaluate("(value) => { app.graph.nodes[0].widgets[0].value = value; }", layout(REGIONS))
    drawn.settle()
    drawn.tool("box")
    drawn.drag((300, 250), (400, 350))
    assert len(drawn.regions) == 4


def test_values_of_other_types_than_text(drawn):
    for value in (None, 5, True, [], {}, {"pakati": "regions"}, json.loads(layout(REGIONS))):
        drawn.page.evaluate("(value) => { app.graph.nodes[0].widgets[0].value = value; }", value)
        drawn.settle()
    assert [region["id"] for region in drawn.regions] == ["sky", "hill", "moon"]


def crowd(count: int) -> str:
    """Regions of 100 corners, 64 at most."""
    import math

    regions = []
    for number in range(count):
        x, y = 32 + 64 * (number % 8), 24 + 48 * (number // 8)
        rim = [(28 + 6 * (i % 2), i * math.tau / 100) for i in range(100)]
        corners = [[round(x + r * math.cos(a), 2), round(y + r * math.sin(a), 2)] for r, a in rim]
        regions.append({"id": f"r{number}", "polygon": corners, "prompt": f"region {number}"})
    return layout(regions)


# Of each frame in which the pointer moved: the work, from its event until the page is drawn, and the time since the
# frame before.
MEASURE = """() => {
    const channel = new MessageChannel(), frames = [], costs = [];
    let last = performance.now(), begun = 0, moved = 0, ticking = 0;
    window.addEventListener("pointermove", () => (moved ||= performance.now()), { capture: true });
    channel.port1.onmessage = () => costs.push(performance.now() - begun);
    const tick = () => {
        const now = performance.now();
        if (moved) {
            frames.push(now - last);
            begun = moved;
            channel.port2.postMessage(0);
        }
        last = now;
        moved = 0;
        ticking = requestAnimationFrame(tick);
    };
    ticking = requestAnimationFrame(tick);
    window.measured = { frames, costs, stop: () => cancelAnimationFrame(ticking) };
}"""


def drag_first(drawn, count: int) -> float:
    """Milliseconds of work for each frame while the first of `count` regions is dragged, the median."""
    page, value = drawn.page, crowd(count)
    page.evaluate("(value) => { app.graph.nodes[0].widgets[0].value = value; }", value)
    drawn.settle()
    drawn.tool("select")
    page.evaluate(MEASURE)
    page.mouse.move(*drawn.at(32, 24))
    page.mouse.down()
    page.evaluate("() => { measured.frames.length = measured.costs.length = 0; }")
    for i in range(120):
        page.mouse.move(*drawn.at(40 + 3 * i, 40 + 2 * i))
    frames, costs = page.evaluate("() => { measured.stop(); return [measured.frames, measured.costs]; }")
    page.mouse.up()
    assert drawn.regions[0]["polygon"][0] != json.loads(value)["regions"][0]["polygon"][0]
    print(f"{count} regions: {median(costs):.1f} ms of work a frame, one every {median(frames):.1f} ms (medians)")
    assert len(costs) > 20
    return median(costs)


@pytest.mark.slow
def test_a_frame_costs_hardly_more_with_64_regions_than_with_one(drawn):
    """As a ratio, which a busy machine does not change."""
    assert drag_first(drawn, 64) <= 3 * drag_first(drawn, 1)
