"""ComfyUI and this pack, imported without a server, for the benchmarks."""

from __future__ import annotations

import importlib.util
import logging
import runpy
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).absolute().parents[2]


def load_host() -> None:
    """Put ComfyUI on the path, on torch's own attention, and the pack beside it under the name `pakati`."""
    host = runpy.run_path(str(ROOT / "tools" / "find_host.py"))["find_host"]()
    if host is None:
        sys.exit("this benchmark runs on ComfyUI's own models, and no ComfyUI was found; name one in COMFYUI_PATH")
    sys.path.insert(0, str(host))
    from comfy.cli_args import args

    args.cpu = not torch.cuda.is_available()
    args.use_pytorch_cross_attention = True
    logging.getLogger().setLevel(logging.WARNING)
    load_package("pakati", ROOT)


def load_package(name: str, folder: Path):
    """A node pack as ComfyUI loads it."""
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder} has no __init__.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
