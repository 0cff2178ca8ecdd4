"""Time of refreshes with 1% new votes and of a full run on the same votes, by step, and the items that they keep.

    python -m benchmarks.refresh [--prompts 500] [--rounds 3]

The world has 500 prompts × 19 models × 1.1 votes per pair (94,050 votes) and no videos, whose cost is measured by
benchmarks.media and benchmarks.release. The full run is ``curate run`` on an empty store: all files, the choice of a
method by held-out votes, the release, its verification and the report. Every run is a process of its own, so that
imports count. Goal: a tenth of the full run's processor time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

SHARE = 0.01
"""Share of the votes that are new in a round."""
STEPS = ("imports", "ingest", "denoise", "release", "verify", "report", "rest")
RECIPE = """
title = "refresh"
ingest = { paths = ["votes-*.csv"], prompts = "prompts.csv", responses = "responses.csv" }
denoise = { config = { max_spammer = 0.9 } }
release = { config = { name = "bench", version = "next", benchmark_min_confidence = 0.5 } }
report = { out = "report.html" }
"""


def child(job: str, folder: Path) -> None:
    """Run or refresh the recipe of a folder, and print processor and wall time of each step as JSON."""
    from pipelines import load_recipe, refresh, run

    marks = [("imports", time.process_time(), time.perf_counter())]

    def done(step: str, _report: Any) -> None:
        marks.append((step, time.process_time(), time.perf_counter()))

    recipe, changes = load_recipe(folder / "recipe.toml"), None
    if job == "run":
        run(recipe, folder, done=done)
    else:
        changes = refresh(recipe, folder, done=done).changes
    done("rest", None)
    start = (0.0, marks[0][2] - marks[0][1])  # of the process, by its processor time: the imports read warm files
    before = [start, *((cpu, wall) for _, cpu, wall in marks)]
    times = {step: (cpu - was[0], wall - was[1]) for (step, cpu, wall), was in zip(marks, before, strict=False)}
    kept = {name: items.summary for name, items in changes.items.items() if items.kept} if changes else {}
    print(json.dumps({"times": times, "kept": kept}))


def measured(job: str, folder: Path) -> dict[str, Any]:
    """Return what ``child`` prints, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.refresh", "--child", job, "--folder", str(folder)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def line(name: str, times: dict[str, list[float]]) -> str:
    """Return a row: processor time of each step, then of all, and wall time of all."""
    cells = [f"{times.get(step, [0.0])[0]:7.2f}" for step in STEPS]
    return f"{name:<22}{''.join(cells)}{total(times, 0):8.2f}{total(times, 1):8.2f}"


def total(times: dict[str, list[float]], which: int) -> float:
    return sum(values[which] for values in times.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", choices=["run", "refresh"])
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.folder)
        return
    from pipelines import simulate
    from schemas.config import SimulateConfig

    with tempfile.TemporaryDirectory() as home:
        world, warm, folder, full = (Path(home) / name for name in ("world", "warm", "work", "full"))
        simulate(world, config=SimulateConfig(prompts=options.prompts, models=19, annotators=120, votes_per_pair=1.1))
        votes = pl.read_csv(world / "votes.csv").sample(fraction=1.0, shuffle=True, seed=0)
        new = round(SHARE * len(votes))
        for target in (warm, folder, full):
            target.mkdir()
            (target / "recipe.toml").write_text(RECIPE)
            for name in ("prompts.csv", "responses.csv"):
                (target / name).write_bytes((world / name).read_bytes())
        votes[:3000].write_csv(warm / "votes-0.csv")
        measured("run", warm)  # compiles the kernels
        votes[: len(votes) - options.rounds * new].write_csv(folder / "votes-0.csv")
        measured("run", folder)
        print(f"{len(votes):,} votes, {new:,} of them new in each refresh; processor seconds by step, and in all")
        print(f"{'':<22}{''.join(f'{step:>7.7}' for step in STEPS)}{'all':>8}{'wall':>8}")
        taken = []
        for number in range(1, options.rounds + 1):
            stop = len(votes) - (options.rounds - number) * new
            votes[stop - new : stop].write_csv(folder / f"votes-{number}.csv")
            found = measured("refresh", folder)
            taken.append(total(found["times"], 0))
            print(line(f"refresh {number}", found["times"]))
            for name, kept in found["kept"].items():
                print(f"    {name}: {kept}", flush=True)
        print(line("nothing new", measured("refresh", folder)["times"]))
        votes.write_csv(full / "votes-0.csv")
        times = measured("run", full)["times"]
        print(line("full run, all votes", times))
    ratio = total(times, 0) / float(np.median(taken))
    print(f"{'PASS' if ratio >= 10 else 'FAIL'}  {ratio:.1f} times less than a full run; goal 10")


if __name__ == "__main__":
    main()
