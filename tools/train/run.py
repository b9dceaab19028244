"""What every training program shares: arguments, seeds, a resumable state, a logged curve."""

from __future__ import annotations

import argparse
import csv
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm


def parser(description: str | None, steps: int, batch: int, lr: float) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("out/train"), help="where states and curves are kept")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=steps, help="total, the ones of earlier runs included")
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--lr", type=float, default=lr)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--from-weights", type=Path, help="shipped weights to go on from, where there is no state")
    parser.add_argument("--bfloat16", action="store_true", help="autocast; only where the processor has bf16")
    parser.add_argument("--fresh", action="store_true", help="start anew instead of resuming")
    return parser


def autocast(args: argparse.Namespace) -> torch.autocast:
    return torch.autocast(torch.device(args.device).type, torch.bfloat16, enabled=args.bfloat16)


class Run:
    """One training run: `for step in run: ...; run.log(loss=...)`. Resumes from its state file, saves as it goes."""

    def __init__(self, name: str, args: argparse.Namespace, parts: dict, save_every: int = 500, log_every: int = 100):
        self.name, self.args, self.parts = name, args, parts
        self.save_every, self.log_every = save_every, log_every
        args.folder.mkdir(parents=True, exist_ok=True)
        self.state_path = args.folder / f"{name}.pt"
        self.csv_path = args.folder / f"{name}.csv"
        self.step, self.seconds, self._sums, self._count = 0, 0.0, {}, 0
        if self.state_path.exists() and not args.fresh:
            self._resume()
        elif self.csv_path.exists():
            self.csv_path.unlink()
        torch.manual_seed(args.seed + self.step)

    def _resume(self) -> None:
        state = torch.load(self.state_path, map_location=self.args.device, weights_only=True)
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        self.step, self.seconds = state["step"], state["seconds"]
        print(f"{self.name}: resumed at step {self.step}")

    def save(self) -> None:
        state = {name: part.state_dict() for name, part in self.parts.items()}
        partial = self.state_path.with_suffix(".partial")
        torch.save(state | {"step": self.step, "seconds": self.seconds}, partial)
        os.replace(partial, self.state_path)

    def lr(self, warmup: int = 200) -> float:
        """Linear warm-up, then half a cosine to 2 % of the peak."""
        done = self.step / max(1, self.args.steps)
        fall = 0.51 + 0.49 * math.cos(math.pi * min(1.0, done))
        return self.args.lr * fall * min(1.0, (self.step + 1) / warmup)

    def trapezoid(self, warmup: int = 200, fall_from: float = 0.6) -> float:
        """Linear warm-up, the peak, then a straight fall to 2 %; a run can be made longer while it is at the peak."""
        done = self.step / max(1, self.args.steps)
        fall = min(1.0, max(0.02, (1 - done) / (1 - fall_from)))
        return self.args.lr * fall * min(1.0, (self.step + 1) / warmup)

    def descend(self, optimizer: torch.optim.Optimizer, loss: Tensor, lr: float) -> None:
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
        self.log(loss=loss.detach())

    def __iter__(self) -> Iterator[int]:
        bar = tqdm(total=self.args.steps, initial=self.step, desc=self.name, mininterval=5)
        while self.step < self.args.steps:
            start = time.perf_counter()
            yield self.step
            self.step += 1
            self.seconds += time.perf_counter() - start
            bar.update()
            if self.step % self.save_every == 0 or self.step == self.args.steps:
                self.save()
        bar.close()

    def log(self, **values: float) -> None:
        self._count += 1
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value)
        if self._count >= self.log_every:
            row = {"step": self.step + 1, "seconds": round(self.seconds, 1)}
            row |= {name: round(total / self._count, 6) for name, total in self._sums.items()}
            self._write(row)
            self._sums, self._count = {}, 0

    def _write(self, row: dict) -> None:
        new = not self.csv_path.exists()
        with self.csv_path.open("a", newline="") as file:
            writer = csv.DictWriter(file, row)
            if new:
                writer.writeheader()
            writer.writerow(row)
        tqdm.write(f"{self.name} {row}")


class Average:
    """Exponential moving average of a module's parameters, with its own state for the run file."""

    def __init__(self, module: torch.nn.Module, decay: float = 0.999):
        self.module, self.decay, self.count = module, decay, 0
        self.shadow = {name: value.detach().clone() for name, value in module.state_dict().items()}

    def update(self) -> None:
        self.count += 1
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        values = self.module.state_dict()
        floats = [name for name in self.shadow if self.shadow[name].is_floating_point()]
        torch._foreach_lerp_([self.shadow[n] for n in floats], [values[n].detach() for n in floats], 1 - decay)

    def state_dict(self) -> dict:
        return {"shadow": self.shadow, "count": torch.tensor(self.count)}

    def load_state_dict(self, state: dict) -> None:
        self.shadow, self.count = state["shadow"], int(state["count"])
