"""One entry for everything a developer does, on Linux, macOS and Windows. Standard library only.

    python tools/dev.py demo      make .venv, then draw the demonstration into out/demo
    python tools/dev.py test      linters, then every ring of tests that this machine allows
    python tools/dev.py record    record ComfyUI's node definitions for the browser tests, and pictures of new nodes
    python tools/dev.py clean     remove .venv, out and caches

What follows the verb is handed on: `python tools/dev.py test -k feather`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from find_host import find_host, find_host_python

ROOT = Path(__file__).absolute().parent.parent
VENV = ROOT / ".venv"
HOST_TOOLS = ROOT / ".venv-host-tools"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
FRONTENDS = VENV / "frontends"  # newer than the one that ComfyUI 0.33 pins; the browser tests load our script in each
NEWER_FRONTENDS = ("1.58.1",)
HOST_RINGS = ("tests/nodes", "tests/host")
NOTHING_SELECTED = 5  # pytest's exit code when `-k` leaves a ring without tests


def main() -> None:
    verbs = {"demo": demo, "test": test, "record": record, "clean": clean}
    verb, *rest = sys.argv[1:] or ["help"]
    if verb not in verbs:
        sys.exit(__doc__)
    if sys.version_info < (3, 11):  # noqa: UP036 (this file is what an older Python would run first)
        sys.exit(f"Pakati needs Python 3.11 or newer; this is {sys.version.split()[0]}")
    os.chdir(ROOT)
    verbs[verb](rest)


def demo(rest: list[str]) -> None:
    prepare(extras=())
    run(PYTHON, "-m", "pakati_core.cli", "demo", "--out", "out/demo", *rest)


def test(rest: list[str]) -> None:
    prepare(extras=("dev",))
    stage("ruff", PYTHON, "-m", "ruff", "check", ".")
    stage("pyright", PYTHON, "-m", "pyright", "--pythonpath", PYTHON, env={"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"})
    host = find_host()
    host_python = host and find_host_python(host)
    if not host or not host_python:
        # The rings that need the host are collected all the same: they say why they are skipped, and are counted.
        pytest("pytest, every ring", PYTHON, rest=rest)
        return
    tally = ROOT / "out" / "tally.json"
    tally.parent.mkdir(exist_ok=True)
    tally.unlink(missing_ok=True)
    env = {"PAKATI_TALLY": str(tally), "COMFYUI_PATH": str(host)}
    ignored = [f"--ignore={ring}" for ring in HOST_RINGS]
    pytest("pytest, core and web", PYTHON, *ignored, rest=rest, env=env)
    test_in_host(host_python, *HOST_RINGS, rest=rest, env=env)


def record(rest: list[str]) -> None:
    prepare(extras=("dev",))
    host = find_host()
    host_python = host and find_host_python(host)
    if not host or not host_python:
        sys.exit("recording needs a ComfyUI checkout with its Python: see `python tools/find_host.py`")
    env = {"COMFYUI_PATH": str(host), "PAKATI_RECORD": "1"}
    test_in_host(host_python, "tests/host/test_server.py", "-k", "recorded", rest=rest, env=env)
    args = ("tests/web/test_help.py", "-k", "missing")
    pytest("pictures of new nodes", PYTHON, *args, rest=rest, env={"PAKATI_RECORD": "1"})


def clean(rest: list[str]) -> None:
    caches = [path for name in ("__pycache__", "*.egg-info") for path in ROOT.rglob(name)]
    for path in [VENV, HOST_TOOLS, ROOT / "out", ROOT / ".pytest_cache", ROOT / ".ruff_cache", *caches]:
        shutil.rmtree(path, ignore_errors=True)


def test_in_host(host_python: Path, *args: str, rest: list[str], env: dict[str, str]) -> None:
    """Run pytest with ComfyUI's own Python, from a side folder: nothing is installed into the user's environment."""
    wanted = ["pytest>=9", "hypothesis>=6.100"]
    fingerprint = json.dumps([str(host_python), wanted])
    stamp = HOST_TOOLS / "stamp.json"
    if not stamp.is_file() or stamp.read_text() != fingerprint:
        say(f"installing pytest for ComfyUI's Python into {HOST_TOOLS.name}")
        shutil.rmtree(HOST_TOOLS, ignore_errors=True)
        run(PYTHON, "-m", "pip", "--python", host_python, "install", "-q", "--target", HOST_TOOLS, *wanted)
        stamp.write_text(fingerprint)
    pytest("pytest, nodes and host", host_python, *args, rest=rest, env={**env, "PYTHONPATH": str(HOST_TOOLS)})


def prepare(extras: tuple[str, ...]) -> None:
    """Make .venv and install the project with these extras, unless that is done and pyproject.toml is the same."""
    stamp = VENV / "pakati-stamp.json"
    pyproject = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    done = json.loads(stamp.read_text()) if stamp.is_file() else {}
    same = done.get("pyproject") == pyproject
    installed = set(done.get("extras", ())) if same else set()
    if same and installed.issuperset(extras):
        return
    if not PYTHON.exists():
        say("making .venv")
        venv.create(VENV, with_pip=True, clear=True)
    if not has_package("torch"):
        install_torch()
    wanted = sorted(installed.union(extras))
    say("installing Pakati" + (f" with {', '.join(wanted)}" if wanted else ""))
    pip("install", "-q", "-e", f".[{','.join(wanted)}]" if wanted else ".")
    if "dev" in wanted:
        install_frontends()
    stamp.write_text(json.dumps({"pyproject": pyproject, "extras": wanted}))


def install_frontends() -> None:
    for version in NEWER_FRONTENDS:
        target = FRONTENDS / version
        if not target.is_dir():
            pip("install", "-q", "--no-deps", "--target", str(target), f"comfyui-frontend-package=={version}")


def install_torch() -> None:
    """Prefer the version that some indexes hold as a small CPU build; the plain one brings gigabytes of CUDA.

    An index of CPU builds can be named the way pip knows: PIP_EXTRA_INDEX_URL.
    """
    say("installing torch; the first time takes some minutes")
    has_gpu = shutil.which("nvidia-smi") is not None or Path("/dev/nvidia0").exists()
    if sys.platform == "linux" and not has_gpu and pip("install", "-q", "torch==2.13.0", check=False) == 0:
        return
    pip("install", "-q", "torch")


def has_package(name: str) -> bool:
    probe = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({name!r}) is None)"
    return subprocess.run([str(PYTHON), "-c", probe]).returncode == 0


def pip(*args: str, check: bool = True) -> int:
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    return run(PYTHON, "-m", "pip", *args, env=quiet, check=check)


def pytest(name: str, python: Path, *args: str, rest: list[str], env: dict[str, str] | None = None) -> None:
    say(name)
    code = run(python, "-m", "pytest", *args, *rest, env=env, check=False)
    if code and not (code == NOTHING_SELECTED and rest):
        sys.exit(code)


def stage(name: str, *command: str | Path, env: dict[str, str] | None = None) -> None:
    say(name)
    run(*command, env=env)


def run(*command: str | Path, env: dict[str, str] | None = None, check: bool = True) -> int:
    code = subprocess.run([str(part) for part in command], env={**os.environ, **(env or {})}).returncode
    if code and check:
        sys.exit(code)
    return code


def say(line: str) -> None:
    print(f"\n-- {line}", flush=True)


if __name__ == "__main__":
    main()
