"""What regions cost: plain prompt, latent blending (ComfyUI's SetMask), Pakati and other packs, in one run.

    python -m tools.bench.regional                      SDXL and Flux.1 with 0, 2, 4, 8 and 16 regions
    python -m tools.bench.regional --models SD3 Z-Image --regions 4 --backends sdpa sage
    python -m tools.bench.regional --peer PATH          also another pack's node, from a folder with that pack
    python -m tools.bench.regional --methods LoRAs --regions 2    a LoRA of rank 32 on each half
    python -m tools.bench.regional --strategies         also one masked call against a call for each group
    python -m tools.bench.regional --full --dtype bfloat16    a CPU with matrix units of that type times whole models
    python -m tools.bench.regional --flops              the arithmetic at full size, which needs no weights and no GPU

Each step is timed in the same round as the plain prompt; printed is the median of the ratios. Random weights have the
true cost. On a GPU models have their full size in bfloat16; on the CPU, unless told otherwise, their full width and
number of tokens in float32, and less depth, and the seconds are those of the processor.
Written are DIR/regional.json and DIR/regional.svg. It runs in ComfyUI's Python.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from tools.bench import methods
from tools.bench.flops import count_flops
from tools.bench.host import load_host
from tools.bench.methods import METHODS, Scene, Step
from tools.bench.models import FAMILIES
from tools.bench.peers import load_peer
from tools.bench.plot import draw
from tools.bench.timing import measure

PLAIN, FEATHER = "stock", 16.0  # pixels
Method = Callable[[Scene], Step]
BACKENDS = {"sdpa": "pytorch", "flash": "flash", "sage": "sage"}  # our names for the host's


def main() -> None:
    args = parse()
    load_host()
    chosen = {name: METHODS[name] for name in args.methods}
    for folder in args.peer:
        chosen |= load_peer(folder)
    if args.strategies:
        chosen |= {"one masked call": _with_dense_keys(10**9), "by groups": _with_dense_keys(0)}
    device = "meta" if args.flops else args.device
    found = [row for name in args.models for row in (_count if args.flops else _time)(name, chosen, device, args)]
    write(args.out, "flops" if args.flops else "regional", {"device": describe(device), "rows": found})


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="of the weights; else bfloat16 on a GPU only")
    parser.add_argument("--full", action="store_true", help="full depth on the CPU, too")
    parser.add_argument("--models", nargs="*", default=["SDXL", "Flux.1"], choices=FAMILIES)
    parser.add_argument("--regions", type=int, nargs="*", default=[0, 2, 4, 8, 16])
    parser.add_argument("--methods", nargs="*", default=["SetMask", "Pakati"], choices=[*METHODS][1:])
    parser.add_argument("--peer", type=Path, nargs="*", default=[], metavar="PATH")
    parser.add_argument("--backends", nargs="*", default=["sdpa", "flash", "sage"], choices=BACKENDS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", type=int, help="pixels; else the family's own")
    parser.add_argument("--strategies", action="store_true")
    parser.add_argument("--flops", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("out/bench"), metavar="DIR")
    return parser.parse_args()


def describe(device: str) -> str:
    if device == "meta":
        return "torch's FlopCounterMode on the device meta"
    return torch.cuda.get_device_name() if device.startswith("cuda") else f"CPU, {torch.get_num_threads()} threads"


def _time(name: str, chosen: dict[str, Method], device: str, args: argparse.Namespace) -> Iterator[dict]:
    on_gpu = device.startswith("cuda")
    family = FAMILIES[name]
    dtype = getattr(torch, args.dtype or ("bfloat16" if on_gpu else "float32"))
    patcher = family.make(device, dtype, reduced=not (on_gpu or args.full))
    x = family.latents(args.side or family.side, device)
    print(f"\n{name}, {_size(patcher)}, {dtype}, {x.shape[-1] * family.cell} pixels a side", flush=True)
    for backend in args.backends:
        wired = _with_backend(patcher, backend)
        if wired is None:
            print(f"  {backend}: not installed")
            continue
        for count in args.regions:
            scene = Scene(family, wired, x, count, FEATHER, family.guided)
            steps = {label: _lazily(method, scene) for label, method in chosen.items()}
            for label, timed in measure(methods.stock(scene), steps, args.rounds, device).items():
                row = {"model": name, "backend": backend, "regions": count, "method": label or PLAIN}
                row |= {"refusal": timed} if isinstance(timed, str) else timed._asdict()
                if count and label and not isinstance(timed, str) and _does_nothing(methods.stock(scene), steps[label]):
                    row = {**row, "refusal": "changes nothing"}
                print(_line(row), flush=True)
                yield row


def _count(name: str, chosen: dict[str, Method], device: str, args: argparse.Namespace) -> Iterator[dict]:
    family = FAMILIES[name]
    patcher = family.make(device, torch.bfloat16)
    x = family.latents(args.side or family.side, device)
    print(f"\n{name}, {_size(patcher)}, {x.shape[-1] * family.cell} pixels a side, arithmetic of one step", flush=True)
    plain = count_flops(methods.stock(Scene(family, patcher, x, 0, FEATHER, family.guided)))
    yield {"model": name, "regions": 0, "method": PLAIN, "tflop": plain / 1e12, "ratio": 1.0}
    for count in args.regions:
        for label, method in chosen.items():
            flops = count_flops(method(Scene(family, patcher, x, count, FEATHER, family.guided)))
            print(f"  {count:3} regions  {label:24} {flops / 1e12:8.2f} TFLOP  {flops / plain:7.4f}", flush=True)
            yield {"model": name, "regions": count, "method": label, "tflop": flops / 1e12, "ratio": flops / plain}


def _lazily(method: Method, scene: Scene) -> Step:
    """Wiring belongs to the first step, and so do the refusals that it meets."""
    made: list[Step] = []

    def run():
        if not made:
            made.append(method(scene))
        return made[0]()

    return run


def _does_nothing(plain: Step, step: Step) -> bool:
    return torch.equal(plain(), step())


def _with_backend(patcher, backend: str):
    """A clone on the host's attention function of that name; None where it is not installed."""
    from comfy.ldm.modules.attention import get_attention_function

    function = get_attention_function(BACKENDS[backend], None)
    if function is None:
        return None
    clone = patcher.clone()
    if backend != "sdpa":  # the host runs on sdpa here
        clone.model_options["transformer_options"]["optimized_attention_override"] = lambda stock, *args, **kwargs: (
            function(*args, **kwargs)
        )
    return clone


def _with_dense_keys(keys: int) -> Method:
    def method(scene: Scene) -> Step:
        step = methods.pakati(scene)

        def run():
            with _dense_keys(keys):
                return step()

        return run

    return method


@contextmanager
def _dense_keys(keys: int) -> Iterator[None]:
    modules = [sys.modules[f"pakati.pakati_core.attention.{name}"] for name in ("attend", "joint")]
    before = [module.DENSE_KEYS for module in modules]
    for module in modules:
        module.DENSE_KEYS = keys
    try:
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            module.DENSE_KEYS = value


def _size(patcher) -> str:
    return f"{sum(p.numel() for p in patcher.model.diffusion_model.parameters()) / 1e6:.0f} M parameters"


def _line(row: dict) -> str:
    head = f"  {row['backend']:5} {row['regions']:3} regions  {row['method']:24}"
    if "refusal" in row:
        return f"{head} refused: {row['refusal']}"
    peak = "" if row["peak"] is None else f"  peak {row['peak']:7.0f} MiB"
    spread = f"[{row['low']:.3f}, {row['high']:.3f}]"
    return f"{head} {row['ratio']:6.3f} {spread}  {row['seconds']:8.3f} s  first x{row['first']:.2f}{peak}"


def write(folder: Path, name: str, report: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    panels: dict[str, dict[str, list]] = {}
    for row in report["rows"]:
        if "refusal" not in row and row["method"] != PLAIN:
            title = " ".join(filter(None, (row["model"], row.get("backend"))))
            panels.setdefault(title, {}).setdefault(row["method"], []).append((row["regions"], row["ratio"]))
    for path, text in ((f"{name}.json", json.dumps(report, indent=1) + "\n"), (f"{name}.svg", draw(panels))):
        part = folder / f"{path}.part"
        part.write_text(text, encoding="utf-8")
        os.replace(part, folder / path)
        print(folder / path)


if __name__ == "__main__":
    main()
