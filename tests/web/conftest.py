"""The real editor in a real browser, in both renderers, on the stand-in backend of backend.py."""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

BROWSER_FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run", "--disable-dev-shm-usage"),
]
RENDERERS = {"classic": False, "vue": True}
READY = "() => window.app?.vueAppReady && window.app.graph && window.app.extensionManager"

# What the frontend itself reports on an empty user folder, with and without us.
HOST_NOISE = ("ComfyApp graph accessed before initialization", "/api/userdata/")


TIDY = """async () => {
    for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
    const { sidebarTab, setting } = window.app.extensionManager;
    if (sidebarTab.activeSidebarTabId) sidebarTab.toggleSidebarTab(sidebarTab.activeSidebarTabId);
    for (const [id, value] of Object.entries({ "Editor.FocusPrompt": true, "Editor.Labels": true })) {
        if (setting.get(`Pakati.${id}`) !== value) await setting.set(`Pakati.${id}`, value);
    }
}"""


@dataclass
class Editor:
    """ComfyUI's page with the pack loaded."""

    page: "Page"
    backend: Any
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)  # requests beyond this machine, all of them refused
    first_errors: list[str] = field(default_factory=list)  # what went wrong while the page was loaded

    def load(self, workflow: dict) -> None:
        """Open a workflow as the File menu does, in place of what is open."""
        self.page.evaluate("async (workflow) => { await window.app.loadGraphData(workflow) }", workflow)

    def start_anew(self) -> None:
        """Leave nothing of what a test did before."""
        page, backend = self.page, self.backend
        page.keyboard.press("Escape")
        page.evaluate(TIDY)
        backend.forget()
        self.load({"nodes": [], "links": [], "version": 0.4})
        self.errors.clear()

    def prompt(self) -> dict:
        """The API-format prompt that the Run button would queue."""
        return self.page.evaluate("async () => (await window.app.graphToPrompt()).output")

    def saved(self) -> dict:
        """The workflow as it would be saved."""
        return self.page.evaluate("() => window.app.graph.serialize()")

    def missing_nodes(self) -> list[str]:
        """Types in the open workflow, subgraphs included, that no definition covers."""
        return self.page.evaluate(
            """() => [window.app.graph, ...(window.app.graph.subgraphs?.values() ?? [])]
                .flatMap(graph => graph.nodes.map(node => node.type))
                .filter(type => !(type in window.LiteGraph.registered_node_types))"""
        )


@pytest.fixture(scope="session")
def backend_module():
    spec = importlib.util.spec_from_file_location("pakati_web_backend", Path(__file__).with_name("backend.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def browser(browser_path: str) -> "Iterator[Browser]":
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=BROWSER_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def open_editor(browser: "Browser", backend_module) -> Callable[..., AbstractContextManager[Editor]]:
    """open_editor("vue", **settings of the backend) as a context manager, for a test that needs more than `editor`."""

    @contextmanager
    def opened(renderer: str, **options: Any) -> Iterator[Editor]:
        settings = {"Comfy.VueNodes.Enabled": RENDERERS[renderer], **options.pop("settings", {})}
        with backend_module.Backend(settings=settings, **options) as backend:
            context = browser.new_context(viewport={"width": 1400, "height": 900})
            editor = Editor(context.new_page(), backend)
            watch(editor)
            editor.page.goto(backend.url)
            try:
                editor.page.wait_for_function(READY, timeout=180_000)  # seconds where the machine is quiet
                if not editor.page.evaluate("() => window.app.extensions.some(one => one.name === 'Pakati')"):
                    pytest.fail(f"pakati.js did not register; the page says {editor.errors}")
                yield editor
            finally:
                context.close()

    return opened


@pytest.fixture(scope="module", params=RENDERERS)
def shared_editor(request: pytest.FixtureRequest, open_editor: Callable) -> Iterator[Editor]:
    """One page for all tests of a file: loading it takes longer than most of them."""
    with open_editor(request.param) as opened:
        opened.first_errors = list(opened.errors)
        yield opened


@pytest.fixture
def editor(shared_editor: Editor) -> Editor:
    """The editor with an empty graph, as it is for somebody who has just come; once per renderer."""
    shared_editor.start_anew()
    return shared_editor


def watch(editor: Editor) -> None:
    """Collect what goes wrong on the page, and keep it off the network."""

    def refuse(route: "Route") -> None:
        editor.foreign.append(route.request.url)
        route.abort()

    def note(message: Any) -> None:
        text = f"{message.text} ({message.location.get('url', '')})"
        local = message.location.get("url", "").startswith(editor.backend.url)
        if message.type == "error" and local and not any(noise in text for noise in HOST_NOISE):
            editor.errors.append(text)

    here = (editor.backend.url, "data:", "blob:")
    editor.page.route(lambda url: not url.startswith(here), refuse)
    editor.page.on("console", note)
    editor.page.on("pageerror", lambda error: editor.errors.append(str(error)))
