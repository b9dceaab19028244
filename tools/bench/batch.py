"""A batch on the embedded model, killed at random: is anything lost, done twice, or other than in a quiet run?

python -m tools.bench.batch --pictures 200 --kills 20
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import time
from pathlib import Path

import torch

from pakati_core.characters import BatchGenerator, CharacterGenerator, Preset, SDXLPipelineManager, jobs_for

CAST = {"rocco": Preset.model_validate({"base_prompt": "a red house", "generation_params": {"size": [64, 64]}})}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)  # threads do not survive a fork
    CAST["rocco"].generation_params.steps = args.steps
    generator = CharacterGenerator(SDXLPipelineManager("pakati-tiny", "cpu"), presets=CAST)
    generator.manager.load_pipeline().capabilities()
    jobs = [job | {"filter": False} for job in jobs_for("rocco", "snow", args.pictures)]
    with tempfile.TemporaryDirectory() as folder:
        measure(generator, jobs, Path(folder), args)


def measure(generator: CharacterGenerator, jobs: list[dict], folder: Path, args: argparse.Namespace) -> None:
    start, log = time.perf_counter(), folder / "painted"
    quiet = BatchGenerator(generator.paint, folder / "quiet").run(jobs)
    took, rng, kills = time.perf_counter() - start, random.Random(args.seed), 0

    def counted(job: dict):
        with log.open("a") as file:
            file.write(f"{job['seed']}\n")
        return generator.paint(job)

    for _ in range(args.kills):
        child = os.fork()
        if child == 0:
            try:
                BatchGenerator(counted, folder / "killed").run(jobs)
            finally:
                os._exit(0)
        time.sleep(rng.uniform(0, took / args.kills))
        os.kill(child, signal.SIGKILL)
        kills += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    last = BatchGenerator(counted, folder / "killed").run(jobs)
    same = sum(a.read_bytes() == b.read_bytes() for a, b in zip(quiet.pictures, last.pictures))
    painted = log.read_text().split()
    print(f"{len(jobs)} pictures, {kills} kills: {len(list((folder / 'killed' / 'pictures').iterdir()))} files, "
          f"{len(set(painted))} jobs painted, {len(painted) - len(set(painted))} of them again after a kill at work, "
          f"{same} equal byte for byte to the quiet run's; quiet run {took:.0f} s")  # fmt: skip


if __name__ == "__main__":
    main()
