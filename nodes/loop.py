"""How a loop unrolls itself: the end clones the body once more, with what it carries as a literal.

A carried tensor would make every key of the host's cache unique, and a carried link would make every key hold all
earlier rounds. A string that names its content does neither: equal content, equal key.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Self

from comfy_execution.graph_utils import GraphBuilder, is_link
from PIL import Image

import nodes as host

from ..pakati_core.errors import RefineError
from ..pakati_core.refine import Decision, State
from ..pakati_core.regions import RegionSet

CLONED = "carry"  # the only input of a cloned start


class Refined(NamedTuple):
    """What a refinement leaves: travels as PAKATI_STATE."""

    state: State
    images: tuple[Image.Image, ...]
    decision: Decision


class Loop(NamedTuple):
    """What a round begins with: travels as PAKATI_LOOP from start to end, and inside a Carry to the next start."""

    state: State
    images: tuple[Image.Image, ...]
    prompt: str
    image: Image.Image | None  # that the first round begins from
    width: int
    height: int
    regions: RegionSet | None = None
    said: str = ""  # the prompt of this round
    words: tuple[str, ...] = ()  # for each picture, what a comparison says that it lacks


class Carry(str):
    """Text that names a content by its digest, with the content itself in `value`."""

    value: Any

    def __new__(cls, digest: str, value: Any) -> Self:
        made = super().__new__(cls, digest)
        made.value = value
        return made


def body_of(dynprompt, end_id: str, start_id: str) -> list[str]:
    """The nodes between start and end, both included, and outputs that hang on the start, in a fixed order."""
    level = dynprompt.get_parent_node_id(end_id)
    if dynprompt.get_parent_node_id(start_id) != level:
        raise RefineError(
            "an inner loop begins outside of the outer one; connect its start to something of the outer one"
        )
    known = {n: dynprompt.get_node(n) for n in dynprompt.all_node_ids() if dynprompt.get_parent_node_id(n) == level}
    users: dict[str, list[str]] = {}
    for name, node in known.items():
        for source in _sources(node):
            users.setdefault(source, []).append(name)
    after_end = _reached(users.get(end_id, []), users)
    inside = _reached([start_id], users, stop=end_id) - after_end
    shown = {name for name in inside if _is_output(known[name])}
    wanted = _reached([end_id, *shown], {name: list(_sources(node)) for name, node in known.items()})
    return sorted((inside & wanted) | {start_id, end_id})


def _sources(node: dict) -> Iterator[str]:
    return (value[0] for value in node["inputs"].values() if is_link(value))


def _reached(begin: list[str], edges: dict[str, list[str]], stop: str | None = None) -> set[str]:
    found, waiting = set(), list(begin)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [] if name == stop else edges.get(name, [])
    return found


def _is_output(node: dict) -> bool:
    return bool(getattr(host.NODE_CLASS_MAPPINGS[node["class_type"]], "OUTPUT_NODE", False))


def unrolled(dynprompt, end_id: str, start_id: str, carry: Carry) -> tuple[dict, list]:
    """The next round as a graph, and the id of its end."""
    graph, body = GraphBuilder(), body_of(dynprompt, end_id, start_id)
    clones = {}
    for name in body:
        clone = graph.node(dynprompt.get_node(name)["class_type"], _last(name))
        clone.set_override_display_id(dynprompt.get_display_node_id(name))
        clones[name] = clone
    if len({clone.id for clone in clones.values()}) != len(body):
        raise RefineError("two nodes of the loop end in the same id; copy one of them anew in the editor")
    for name, clone in clones.items():
        for key, value in dynprompt.get_node(name)["inputs"].items():
            linked = is_link(value) and value[0] in clones
            clone.set_input(key, clones[value[0]].out(value[1]) if linked else value)
    clones[start_id].inputs = {CLONED: carry}
    return graph.finalize(), clones[end_id]


def _last(name: str) -> str:
    """Ids of clones end in the id of the node that they repeat, so they grow by one step a round."""
    return name.rsplit(".", 1)[-1]
