"""Seconds and bytes of the ways to do one step, measured in turn so that a noisy machine disturbs all alike."""

from __future__ import annotations

import gc
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import torch

from tools.bench.methods import Step

RESET_PEAK, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")  # Linux


class Timed(NamedTuple):
    """ratio: median over rounds of the seconds to those of the same round's plain step; low and high: its extremes.

    first: seconds of the first call, which makes plans and warms caches, to the plain median. peak: MiB above what was
    held before the step; None where it cannot be told.
    """

    ratio: float
    low: float
    high: float
    seconds: float
    first: float
    peak: float | None


def measure(plain: Step, steps: dict[str, Step], rounds: int, device: str) -> dict[str, Timed | str]:
    """By name: how long each step takes beside `plain`, or the message of one that fails."""
    named = {"": plain, **steps}
    found: dict[str, Timed | str] = {}
    firsts, peaks = {}, {}
    for name, step in named.items():
        try:
            firsts[name], peaks[name] = _first(step, device)
        except Exception as error:  # a peer may refuse in any way
            if not name:
                raise
            found[name] = f"{type(error).__name__}: {error}".splitlines()[0]
    times = [{name: clocked(named[name], device) for name in firsts} for _ in range(rounds)]
    usual = statistics.median(each[""] for each in times)
    for name in firsts:
        ratios = [each[name] / each[""] for each in times]
        seconds = statistics.median(each[name] for each in times)
        found[name] = Timed(
            statistics.median(ratios), min(ratios), max(ratios), seconds, firsts[name] / usual, peaks[name]
        )
    return found


def clocked(step: Step, device: str) -> float:
    """Seconds; on the CPU those of all its threads, whatever else the machine does."""
    clock = time.perf_counter if device.startswith("cuda") else time.process_time
    _wait(device)
    start = clock()
    step()
    _wait(device)
    return clock() - start


def _first(step: Step, device: str) -> tuple[float, float | None]:
    """Seconds, and MiB of the peak above what was held."""
    gc.collect()
    before = _held(device, reset=True)
    seconds = clocked(step, device)
    after = _held(device)
    return seconds, None if before is None or after is None else (after - before) / 2**20


def _held(device: str, reset: bool = False) -> int | None:
    """Bytes at the highest point since the last reset."""
    if device.startswith("cuda"):
        if reset:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated()
    try:
        if reset:
            RESET_PEAK.write_text("5")
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return None
    return int(line.split()[1]) * 1024


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
