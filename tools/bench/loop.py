"""What a loop costs the host's executor: Pakati's against one that carries its tensors, as other packs' loops do.

    python -m tools.bench.loop --nodes 30 --rounds 10 20

The body is a chain of nodes that do nothing, so all the time is the executor's, the two ends' and the judge's. Both
loops run in turn, each on a fresh executor; printed is the median of their ratios. It runs in ComfyUI's Python.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
import uuid

from tqdm import tqdm

from tools.bench.host import load_host

LIMIT = 4.0  # what Pakati's may cost, in the other's time


class Silent:
    """The little of the server that the executor talks to."""

    client_id = "bench"
    last_node_id = None

    def send_sync(self, *_) -> None: ...
    def send_progress_text(self, *_) -> None: ...
    def queue_updated(self) -> None: ...


class Carried:
    """A loop's state as any other object: the host's cache knows no key for it."""

    def __init__(self, value):
        self.value = value


def register() -> None:
    """Our nodes, a node that does nothing, a judge that never says yes, and the end of the other loop."""
    from comfy_api.latest import io

    import nodes as host
    from pakati import comfy_entrypoint  # type: ignore[import-not-found]
    from pakati.nodes import refine  # type: ignore[import-not-found]
    from pakati.pakati_core.judge import Question, QuestionSet  # type: ignore[import-not-found]
    from pakati.pakati_core.judge.verdict import verdict_of  # type: ignore[import-not-found]

    class BenchPass(io.ComfyNode):
        @classmethod
        def define_schema(cls):
            return io.Schema("BenchPass", inputs=[io.Image.Input("image")], outputs=[io.Image.Output()])

        @classmethod
        def execute(cls, image):
            return io.NodeOutput(image + 0.001)

    class BenchJudge(io.ComfyNode):
        @classmethod
        def define_schema(cls):
            verdict = io.Custom("PAKATI_VERDICT").Output()
            return io.Schema("BenchJudge", inputs=[io.Image.Input("image")], outputs=[verdict])

        @classmethod
        def execute(cls, image):
            asked = QuestionSet((Question("red", "Is it red?", "attribute", thing="wall", value="red"),))
            return io.NodeOutput(verdict_of(asked, [(next(iter(asked)), 0.1, "")], "bench"))

    class BenchEnd(refine.PakatiRefineEnd):
        """The same loop, but what it carries is an object with tensors in it."""

        @classmethod
        def define_schema(cls):
            schema = super().define_schema()
            schema.node_id = "BenchEnd"
            return schema

        @classmethod
        def execute(cls, *args, **kwargs):
            ours, refine.carry_of = refine.carry_of, Carried
            try:
                return super().execute(*args, **kwargs)
            finally:
                refine.carry_of = ours

    for node in (*asyncio.run(comfy_entrypoint().get_node_list()), BenchPass, BenchJudge, BenchEnd):
        host.NODE_CLASS_MAPPINGS[node.GET_SCHEMA().node_id] = node


def graph(end: str, nodes: int, rounds: int) -> dict:
    made = {"0": _node("PakatiRefineStart", prompt="a wall", seed=1, width=64, height=64)}
    last = ["0", 1]
    for number in range(1, nodes - 2):
        made[str(number)] = _node("BenchPass", image=last)
        last = [str(number), 0]
    limits = {"patience": 64, "target": 1.0, "rounds": rounds}
    made["judge"] = _node("BenchJudge", image=last)
    made["end"] = _node(end, loop=["0", 0], image=last, verdict=["judge", 0], **limits)
    made["report"] = _node("PakatiRefineReport", state=["end", 2])
    return made


def _node(kind: str, **inputs) -> dict:
    return {"class_type": kind, "inputs": inputs}


def seconds(end: str, nodes: int, rounds: int, mode: str) -> float:
    import execution

    kinds = {"classic": execution.CacheType.CLASSIC, "ram": execution.CacheType.RAM_PRESSURE}
    args = {"lru": 0, "ram": 1.0, "ram_inactive": 1.0}
    executor = execution.PromptExecutor(Silent(), cache_type=kinds[mode], cache_args=args)
    prompt = json.loads(json.dumps(graph(end, nodes, rounds)))
    begun = time.process_time()
    executor.execute(prompt, str(uuid.uuid4()), {"client_id": "bench"}, ["report"])
    spent = time.process_time() - begun
    if not executor.success:
        raise RuntimeError(executor.status_messages[-1])
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=30, help="of the body, both ends included")
    parser.add_argument("--rounds", type=int, nargs="*", default=[10, 20])
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    load_host()
    register()
    for mode in ("classic", "ram"):
        for rounds in args.rounds:
            pairs = []
            for _ in tqdm(range(args.repeat), desc=f"{mode}, {rounds} rounds", leave=False):
                pairs.append([seconds(end, args.nodes, rounds, mode) for end in ("PakatiRefineEnd", "BenchEnd")])
            ratio = statistics.median(ours / other for ours, other in pairs)
            ours, other = (statistics.median(column) for column in zip(*pairs))
            print(f"{mode:8} {args.nodes} nodes, {rounds} rounds: {ours:.2f} s to {other:.2f} s, ratio {ratio:.2f}, "
                  f"allowed {LIMIT:g}")  # fmt: skip


if __name__ == "__main__":
    main()
