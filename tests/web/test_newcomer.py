"""The newcomer's path, in a real ComfyUI: from the template browser to a picture with a region of one's own."""

import importlib.util
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from pakati_core.editing import read_edited
from pakati_core.tiny.check import see_regions

ROOT = Path(__file__).absolute().parents[2]
READY = "() => window.app?.vueAppReady && window.app.graph && window.app.extensionManager"
LIMIT_S = 300
# What ComfyUI's own page reports on an empty user folder, and its search for the default workflow's models.
HOST_NOISE = (
    "ComfyApp graph accessed before initialization",
    "/userdata",
    "/user.css",
    "Content Secur",
    "missingModel",
)


@pytest.fixture(scope="module")
def host(tmp_path_factory) -> Iterator:
    finder = _module(ROOT / "tools" / "find_host.py")
    found = finder.find_host()
    python = found and finder.find_host_python(found)
    if not python:
        pytest.skip("no ComfyUI with its Python found; name a checkout in COMFYUI_PATH")
    server = _module(ROOT / "tests" / "host" / "conftest.py")
    running = server.start(tmp_path_factory.mktemp("comfyui"), python)
    try:
        server.wait_until_ready(running)
        yield running
    finally:
        running.process.terminate()
        running.process.wait()


def _module(path: Path):
    spec = importlib.util.spec_from_file_location(f"pakati_{path.parent.name}_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("renderer", ["classic", "vue"])
def test_from_the_template_browser_to_a_picture(browser, host, renderer: str):
    """At most 8 actions, no console error, and the reader finds what was drawn where it was drawn."""
    host.fetch("/settings", {"Comfy.TutorialCompleted": True, "Comfy.VueNodes.Enabled": renderer == "vue"})
    context = browser.new_context(viewport={"width": 1366, "height": 768})
    page, errors, actions = context.new_page(), [], []

    def note(message) -> None:
        text = f"{message.text} ({message.location.get('url', '')})"
        local = message.location.get("url", "").startswith(host.url)
        if message.type == "error" and local and not any(noise in text for noise in HOST_NOISE):
            errors.append(text)

    page.on("console", note)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.route(lambda url: not url.startswith((host.url, "data:", "blob:")), lambda route: route.abort())
    page.goto(host.url)
    page.wait_for_function(READY, timeout=180_000)

    def act(what: str, run) -> None:
        run()
        actions.append(what)

    def draw() -> None:
        box = page.locator(".pakati-canvas").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x - 50, y - 50)
        page.mouse.down()
        page.mouse.move(x + 60, y + 60, steps=5)
        page.mouse.up()

    browse = page.get_by_role("dialog")
    act("open the templates", page.get_by_role("button", name="Templates").click)
    act("choose Pakati", browse.get_by_text("pakati", exact=True).click)
    act("open the quickstart", browse.get_by_text("draw_regions").click)
    page.locator(".pakati-canvas").wait_for(timeout=60_000)
    page.wait_for_timeout(1500)  # the page moves the graph into view
    before = set(host.json("/history"))
    act("choose the ellipse", page.locator('[data-tool="ellipse"]').click)
    act("draw", draw)
    act("say what it shows", lambda: page.keyboard.type("checks"))
    act("run", page.get_by_test_id("queue-button").click)
    entry = finished(host, page, before)
    outputs = entry["outputs"]["33"]["images"][0]
    regions = read_edited(entry["prompt"][2]["10"]["inputs"]["layout"])
    assert [region.prompt for region in regions.regions] == ["night", "sand", "checks"]
    seen = see_regions(Image.open(io.BytesIO(host.image(outputs))).convert("RGB"), regions)
    assert all(each.right for each in seen.values()), {name: each.text for name, each in seen.items()}
    page.get_by_role("button", name="Pakati: start").click()  # not needed to see the picture, which is in the graph
    shown = page.locator(".pakati-result").bounding_box()
    page.mouse.move(shown["x"] + shown["width"] / 2, shown["y"] + shown["height"] / 2)
    page.wait_for_timeout(300)
    assert "checks" in page.locator(".pakati-caption").first.inner_text()
    assert "seed 2" in page.locator(".pakati-caption").first.inner_text()
    print(f"{renderer}: {len(actions)} actions: {', '.join(actions)}")
    assert len(actions) <= 8
    assert errors == []
    context.close()


def finished(host, page, before: set) -> dict:
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        done = [entry for key, entry in host.json("/history").items() if key not in before]
        if done:
            assert done[0]["status"]["status_str"] == "success", json.dumps(done[0]["status"])[:2000]
            page.wait_for_timeout(1000)
            return done[0]
        page.wait_for_timeout(500)
    raise TimeoutError("the prompt was not done")
