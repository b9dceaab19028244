"""A real ComfyUI server over HTTP, in a folder of its own, with this repository as its custom node.

A second one, reduced/, makes ComfyUI's text encoders small.
"""

import json
import os
import runpy
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).absolute().parents[2]
START_LIMIT_S = 300


@dataclass
class Server:
    """The little of ComfyUI's HTTP interface that the tests need."""

    url: str
    folder: Path  # the base directory: models, input, output, user
    log_path: Path
    process: subprocess.Popen

    def fetch(self, path: str, body: object = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"} if data else {})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{path} answers {error.code}: {error.read().decode(errors='replace')}") from error

    def json(self, path: str, body: object = None):
        return json.loads(self.fetch(path, body))

    def queue(self, prompt: dict) -> str:
        """Queue an API-format prompt; its id.  Raises RuntimeError with the server's node errors when it is refused."""
        return self.json("/prompt", {"prompt": prompt})["prompt_id"]

    def wait(self, prompt_id: str, limit_s: float = 120) -> dict:
        """The finished prompt's history entry.  Raises RuntimeError with ComfyUI's own messages when it failed."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            entry = self.json(f"/history/{prompt_id}").get(prompt_id)
            if entry:
                if entry["status"]["status_str"] != "success":
                    raise RuntimeError(json.dumps(entry["status"]["messages"], indent=1))
                return entry
            time.sleep(0.1)
        raise TimeoutError(f"prompt {prompt_id} was not done after {limit_s} s")

    def run(self, prompt: dict, limit_s: float = 120) -> dict:
        """Queue, wait, and return the outputs by node id."""
        return self.wait(self.queue(prompt), limit_s)["outputs"]

    def image(self, entry: dict) -> bytes:
        """The file behind one entry of an output's `images`."""
        return self.fetch("/view?" + urllib.parse.urlencode(entry))

    @property
    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = start(tmp_path_factory.mktemp("comfyui"))
    try:
        wait_until_ready(running)
        yield running
    finally:
        running.process.terminate()
        try:
            running.process.wait(20)
        except subprocess.TimeoutExpired:
            running.process.kill()
            running.process.wait()


def start(folder: Path, python: str | Path = sys.executable) -> Server:
    host = runpy.run_path(str(ROOT / "tools" / "find_host.py"))["find_host"]()
    (folder / "custom_nodes").mkdir()
    install_pack(folder / "custom_nodes" / "pakati")
    shutil.copytree(ROOT / "tests" / "host" / "reduced", folder / "custom_nodes" / "reduced")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        *(str(python), str(host / "main.py"), "--cpu", "--port", str(port), "--base-directory", str(folder)),
        *("--database-url", f"sqlite:///{(folder / 'comfyui.db').as_posix()}"),
        *("--disable-auto-launch", "--disable-api-nodes"),
    ]
    # PYTHONPATH holds the tests' own tools: the server must run on what ComfyUI's environment has.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    log_path = folder / "server.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command, cwd=host, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    return Server(f"http://127.0.0.1:{port}", folder, log_path, process)


def install_pack(target: Path) -> None:
    """As a user's git clone would lie there; a link where the system allows one."""
    try:
        target.symlink_to(ROOT, target_is_directory=True)
    except OSError:  # Windows without the right to make links
        shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(".git", ".venv*", "out", "__pycache__"))


def wait_until_ready(server: Server) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            break
        try:
            server.fetch("/system_stats")
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"ComfyUI did not start; its log:\n{server.log}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """A failed test shows what the server said."""
    report = yield
    running = getattr(item, "funcargs", {}).get("server")
    if report.failed and running:
        report.sections.append(("ComfyUI's log (end)", running.log[-8000:]))
    return report
