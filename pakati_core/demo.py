"""The main job, shown: a picture with regions, what was asked, and what the reader sees in it."""

from __future__ import annotations

import json
import time
from pathlib import Path

from PIL import Image

from .engines import Engine, Progress, Request
from .files import check_writable, save_picture, save_text
from .geometry import Box
from .overlay import draw_contact_sheet, draw_overlay
from .regions import RegionSet
from .tiny.check import see_regions

LAYOUT = Path(__file__).parent / "tiny" / "demo.json"


def run_demo(engine: Engine, folder: Path, seed: int, progress: Progress | None = None) -> dict:
    """Writes picture.png, overlay.png, contact_sheet.png and report.json into the folder. Returns the report."""
    check_writable(folder)
    regions, start = RegionSet.load(LAYOUT), time.perf_counter()
    picture = engine.generate(Request(regions, seed=seed), progress)
    seen = see_regions(picture.image, regions)
    report = {
        "model": picture.model,
        "seed": seed,
        "seconds": round(time.perf_counter() - start, 2),
        "peak_mb": round(peak_mb()),
        "regions": [
            {"name": region.name, "prompt": region.prompt, "read": seen[region.id].text, "right": seen[region.id].right}
            for region in regions.regions
        ],
    }
    overlay = draw_overlay(regions, picture.image)
    entries = [
        (region.name, region.prompt, crop(picture.image, region.window(regions.extent)), seen[region.id].text,
         seen[region.id].right)
        for region in regions.regions
    ]  # fmt: skip
    save_picture(picture.image, folder / "picture.png")
    save_picture(overlay, folder / "overlay.png")
    save_picture(draw_contact_sheet(picture.image, overlay, entries), folder / "contact_sheet.png")
    save_text(json.dumps(report, indent=2) + "\n", folder / "report.json")
    return report


def crop(image: Image.Image, window: Box) -> Image.Image:
    return image.crop((window.x, window.y, window.x + window.width, window.y + window.height))


def peak_mb() -> float:
    """Largest resident memory of this process so far, in megabytes."""
    try:
        import resource
    except ImportError:  # Windows
        return _peak_on_windows()
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


def _peak_on_windows() -> float:
    import ctypes
    from ctypes import wintypes

    class Counters(ctypes.Structure):
        _fields_ = [("cb", wintypes.DWORD), ("faults", wintypes.DWORD), ("peak", ctypes.c_size_t)] + [
            (name, ctypes.c_size_t) for name in ("now", "qpp", "qp", "qnp", "qn", "page", "peak_page")
        ]

    counters = Counters(cb=ctypes.sizeof(Counters))
    process = ctypes.windll.kernel32.GetCurrentProcess()  # pyright: ignore[reportAttributeAccessIssue]
    ctypes.windll.psapi.GetProcessMemoryInfo(process, ctypes.byref(counters), counters.cb)  # pyright: ignore[reportAttributeAccessIssue]
    return counters.peak / 1e6
