"""What the LoRA stack nodes do with the host's folder of LoRAs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io
from comfy_execution.graph_utils import GraphBuilder

from ..pakati_core.errors import PakatiError
from ..pakati_core.lora import LoraRegistry, LoraRow, find_name, read_rows, trigger_words

REGISTRY = "lora_registry.yaml"


def read_stack(first: list[LoraRow], more: str) -> list[LoraRow]:
    """The rows that act, under the names of their files.  Raises PakatiError."""
    registry = find_registry()
    rows = [*first, *read_rows(more, lambda name: _weight_of(registry, name))]
    known = folder_paths.get_filename_list("loras")
    return [row._replace(name=_file_of(registry, row.name, known)) for row in rows if row.acts]


def words_of(name: str) -> tuple[str, ...]:
    """Trigger words of a LoRA in the host's folder: the registry's, else those of its own files."""
    path, registry = folder_paths.get_full_path("loras", name), find_registry()
    if path is None:
        return ()
    return trigger_words(path) if registry is None else registry.words_of(path)


def find_registry() -> LoraRegistry | None:
    """`lora_registry.yaml` of the first folder of LoRAs that has one.  Raises PakatiError where it is wrong."""
    paths = (Path(folder) / REGISTRY for folder in folder_paths.get_folder_paths("loras"))
    found = next((path for path in paths if path.is_file()), None)
    return None if found is None else LoraRegistry.load(found)


def apply_stack(model, clip, loras: list) -> io.NodeOutput:
    """One stock node after the other, so that ComfyUI caches each and reads each file once.  Raises PakatiError."""
    graph, known = GraphBuilder(), folder_paths.get_filename_list("loras")
    for number, row in enumerate(loras, start=1):
        name, strength_model, strength_clip = _checked(row, number)
        if not (strength_model or (strength_clip and clip is not None)):
            continue
        inputs: dict[str, Any] = {"lora_name": find_name(name, known), "model": model, "strength_model": strength_model}
        if clip is None:
            model = graph.node("LoraLoaderModelOnly", **inputs).out(0)
        else:
            node = graph.node("LoraLoader", **inputs, clip=clip, strength_clip=strength_clip)
            model, clip = node.out(0), node.out(1)
    return io.NodeOutput(model, clip, expand=graph.finalize())


def _weight_of(registry: LoraRegistry | None, name: str) -> float:
    entry = registry.find(name) if registry is not None else None
    return 1.0 if entry is None else entry.default_weight


def _file_of(registry: LoraRegistry | None, name: str, known: list[str]) -> str:
    """A short name of the registry stands for the file that the entry names."""
    entry = dict(registry.entries()).get(name) if registry is not None and name not in known else None
    return find_name(name if entry is None else entry.lora_path.replace("\\", "/").rpartition("/")[2], known)


def _checked(row, number: int) -> tuple[str, float, float]:
    if not isinstance(row, tuple | list) or len(row) != 3 or not isinstance(row[0], str):
        raise PakatiError(
            f"row {number} of the LoRA stack is {row!r}; give (name, strength on model, strength on CLIP)"
        )
    return row[0], float(row[1]), float(row[2])
