"""Other packs' regional nodes, wired as their users wire them. A pack is given as a folder and is not part of this one.

A new peer is a function that takes its nodes and a scene, and a row of PEERS under the id of the node that tells it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from tools.bench.host import load_package
from tools.bench.methods import Scene, Step, step

Nodes = dict[str, type]


def load_peer(folder: Path) -> dict[str, Callable[[Scene], Step]]:
    """The methods that a pack offers, by the names of the table.  Raises ValueError when it has none that we know."""
    nodes = _nodes(folder.resolve())
    methods = {f"{folder.name}": _method(wire, nodes) for known, wire in PEERS.items() if known in nodes}
    if not methods:
        raise ValueError(f"{folder} has none of the nodes that this benchmark can wire: {', '.join(PEERS)}")
    return methods


def _method(wire: Callable, nodes: Nodes) -> Callable[[Scene], Step]:
    return lambda scene: wire(nodes, scene)


def _nodes(folder: Path) -> Nodes:
    from server import PromptServer

    if not hasattr(PromptServer, "instance"):
        PromptServer(asyncio.new_event_loop())  # packs add routes to it when they are imported
    pack = load_package(folder.name.replace("-", "_"), folder)
    if hasattr(pack, "NODE_CLASS_MAPPINGS"):
        return pack.NODE_CLASS_MAPPINGS

    async def listed():
        return await (await _awaited(pack.comfy_entrypoint())).get_node_list()

    return {node.define_schema().node_id: node for node in asyncio.run(listed())}


async def _awaited(value):
    return await value if asyncio.iscoroutine(value) else value


def attention_couple_ppm(nodes: Nodes, scene: Scene) -> Step:
    """pamparamm/ComfyUI-ppm: queries of each region times masks, before and after cross-attention."""
    base, *masks = scene.masks()
    inputs = {"model": scene.patcher, "base_cond": scene.plain(), "base_mask": base}
    for number, (text, mask) in enumerate(zip(scene.prompts.values(), masks, strict=True), start=1):
        inputs |= {f"cond_{number}": scene.family.conditioning(text), f"mask_{number}": mask}
    (model,) = nodes["AttentionCouplePPM"].execute(**inputs).result
    return step(scene, model, scene.plain())


def attention_mask_etn(nodes: Nodes, scene: Scene) -> Step:
    """Acly/comfyui-tooling-nodes, which Krita's plugin uses."""
    base, *masks = scene.masks()
    regions = nodes["ETN_DefineRegion"].execute(base, scene.plain()).result[0]
    for text, mask in zip(scene.prompts.values(), masks, strict=True):
        regions = nodes["ETN_DefineRegion"].execute(mask, scene.family.conditioning(text), regions).result[0]
    (model,) = nodes["ETN_AttentionMask"].execute(scene.patcher, regions).result
    return step(scene, model, scene.plain())


PEERS = {"AttentionCouplePPM": attention_couple_ppm, "ETN_AttentionMask": attention_mask_etn}
