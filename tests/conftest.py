"""What the rings share: which of them run here, the pack loaded as ComfyUI loads it, one tally over two runs.

tests/core imports `pakati_core`; tests/nodes imports `pakati.nodes` and `pakati.pakati_core`. One door per file: the
two are different modules, and so are their classes.
"""

import functools
import importlib.util
import json
import os
import runpy
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).absolute().parent.parent
HOST_FINDER = runpy.run_path(str(ROOT / "tools" / "find_host.py"))
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@functools.cache
def find_host() -> Path | None:
    return HOST_FINDER["find_host"]()


def find_browser() -> str | None:
    return os.environ.get("PAKATI_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)


@functools.cache
def obstacle(ring: str) -> str | None:
    """Why this ring cannot run here, in one line; None when it can."""
    match ring:
        case "nodes" | "host":
            host = find_host()
            if host is None:
                return f"ring {ring}: no ComfyUI found; name a checkout in COMFYUI_PATH"
            if lacking := _lacking(HOST_FINDER["NEEDED"]):
                return f"ring {ring}: this Python lacks {', '.join(lacking)}; `make test` runs it with ComfyUI's own"
        case "web":
            if lacking := _lacking(("playwright", "aiohttp", "comfyui_frontend_package")):
                return f"ring web: this Python lacks {', '.join(lacking)}; `make test` installs them into .venv"
            if find_browser() is None:
                return "ring web: no Chromium found; install it or name one in PAKATI_BROWSER"
        case "js":
            if shutil.which("node") is None:
                return "ring js: node is not installed"
    return None


def _lacking(names: tuple[str, ...]) -> list[str]:
    return [name for name in names if importlib.util.find_spec(name) is None]


@functools.cache
def load_pack() -> ModuleType:
    """The pack under the name `pakati`, loaded as ComfyUI loads it, with the host first on the path and on the CPU."""
    host = find_host()
    assert host is not None
    sys.path.insert(0, str(host))
    from comfy.cli_args import args

    args.cpu = True  # else comfy.model_management asks for an NVIDIA driver
    spec = importlib.util.spec_from_file_location(
        "pakati", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert spec is not None and spec.loader is not None
    pack = sys.modules["pakati"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pack)
    return pack


@pytest.fixture(scope="session")
def browser_path() -> str:
    path = find_browser()
    assert path is not None
    return path


class SkippedFile(pytest.File):
    """A test file of a ring that cannot run: never imported, counted as one skipped test."""

    def collect(self) -> Iterator[pytest.Item]:
        pytest.skip(obstacle(ring_of(self.path)) or "", allow_module_level=True)


def ring_of(path: Path) -> str:
    folders = path.relative_to(ROOT / "tests").parts[:-1]
    return "js" if folders == ("web", "js") else folders[0] if folders else "core"


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    ring = ring_of(module_path)
    if obstacle(ring):
        return SkippedFile.from_parent(parent, path=module_path)
    if ring == "nodes":
        load_pack()
    return None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Carry the results of the .venv's run over to the host's, so that the last line counts every ring.

    tools/dev.py names the file in PAKATI_TALLY.  Warnings stay with the run that printed them.
    """
    if "PAKATI_TALLY" not in os.environ:
        return
    tally, stats = Path(os.environ["PAKATI_TALLY"]), terminalreporter.stats
    if tally.is_file():
        for outcome, reports in json.loads(tally.read_text()).items():
            stats.setdefault(outcome, []).extend(_restored(outcome, *report) for report in reports)
    counted = {
        outcome: [(report.nodeid, report.longrepr if outcome == "skipped" else None) for report in stats[outcome]]
        for outcome in ("passed", "skipped", "xfailed", "xpassed")
        if outcome in stats
    }
    tally.write_text(json.dumps(counted))


def _restored(outcome: str, nodeid: str, reason: list | None) -> pytest.TestReport:
    return pytest.TestReport(
        nodeid=nodeid,
        location=(nodeid, None, ""),
        keywords={},
        outcome="skipped" if outcome in ("skipped", "xfailed") else "passed",
        longrepr=tuple(reason) if reason else None,
        when="call",
    )
