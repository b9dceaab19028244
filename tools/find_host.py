"""Find a ComfyUI checkout and the Python that runs it. Standard library only: tools/dev.py and the tests use it.

python tools/find_host.py
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

PACK = Path(__file__).absolute().parent.parent

# Packages that ComfyUI 0.33 imports at start and that are not simply torch's own.
NEEDED = ("torch", "torchsde", "torchvision", "aiohttp", "alembic", "av", "comfy_kitchen", "comfy_aimdo", "yaml")


def find_host() -> Path | None:
    """The folder of a ComfyUI checkout.

    COMFYUI_PATH alone when it is set (empty: no host at all), else ~/ComfyUI, ~/comfy/ComfyUI, or the folder whose
    custom_nodes holds this pack.
    """
    named = os.environ.get("COMFYUI_PATH")
    if named is not None:
        candidates = [Path(named).expanduser()] if named else []
    else:
        candidates = [Path("~/ComfyUI").expanduser(), Path("~/comfy/ComfyUI").expanduser()]
        if PACK.parent.name == "custom_nodes":
            candidates.append(PACK.parent.parent)
    found = (host.absolute() for host in candidates if (host / "main.py").is_file() and (host / "comfy_api").is_dir())
    return next(found, None)


def find_host_python(host: Path) -> Path | None:
    """The interpreter that can run this ComfyUI: COMFYUI_PYTHON, else one that lies in or beside the checkout."""
    named = os.environ.get("COMFYUI_PYTHON")
    candidates = [
        host / ".venv/bin/python",
        host / "venv/bin/python",
        host / ".venv/Scripts/python.exe",
        host / "venv/Scripts/python.exe",
        host.parent / "python_embeded/python.exe",  # the portable Windows build spells it so
    ]
    if named:
        candidates = [Path(named).expanduser()]
    return next((python for python in candidates if python.exists() and not lacking(python)), None)


def lacking(python: str | Path) -> list[str]:
    """The packages that ComfyUI needs and this interpreter has not; nothing is imported."""
    probe = "import importlib.util as u, sys; print(*[n for n in sys.argv[1:] if u.find_spec(n) is None])"
    answer = subprocess.run([str(python), "-c", probe, *NEEDED], capture_output=True, text=True)
    return answer.stdout.split() if answer.returncode == 0 else ["a working interpreter"]


if __name__ == "__main__":
    found = find_host()
    print("ComfyUI:", found or "none found; name one in COMFYUI_PATH")
    print("its Python:", found and find_host_python(found) or "none found; name one in COMFYUI_PYTHON")
