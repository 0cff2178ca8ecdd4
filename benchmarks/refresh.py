"""Time of a refresh with 1% new votes and of a full run on the same votes, in one process, and their ratio.

    python -m benchmarks.refresh [--prompts 500] [--rounds 3]

The world has 500 prompts × 19 models × 1.1 votes per pair (94,050 votes) and no videos, whose cost is measured by
benchmarks.media and benchmarks.release. The full run is ``curate run`` on an empty store: all files, the choice of a
method by held-out votes, and the release. Goal: 10 times as fast.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from pipelines import refresh, run, simulate
from schemas.config import SimulateConfig
from schemas.recipe import DenoiseStep, IngestStep, Recipe, ReleaseStep
from schemas.release import ReleaseConfig

SHARE = 0.01
"""Share of the votes that are new in a round."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    config = ReleaseConfig(name="bench", version="next")
    recipe = Recipe(
        title="refresh",
        ingest=IngestStep(paths=("votes-*.csv",), prompts=Path("prompts.csv"), responses=Path("responses.csv")),
        denoise=DenoiseStep(),
        release=ReleaseStep(config=config),
    )
    with tempfile.TemporaryDirectory() as home:
        world, warm, folder = (Path(home) / name for name in ("world", "warm", "work"))
        simulate(world, config=SimulateConfig(prompts=options.prompts, models=19, annotators=120, votes_per_pair=1.1))
        votes = pl.read_csv(world / "votes.csv").sample(fraction=1.0, shuffle=True, seed=0)
        new = round(SHARE * len(votes))
        for target in (warm, folder):
            target.mkdir()
            for name in ("prompts.csv", "responses.csv"):
                (target / name).write_bytes((world / name).read_bytes())
        votes[:3000].write_csv(warm / "votes-0.csv")
        run(recipe, warm)  # warms the caches
        votes[: len(votes) - options.rounds * new].write_csv(folder / "votes-0.csv")
        begin = time.perf_counter()
        run(recipe, folder)
        full = time.perf_counter() - begin
        print(f"{len(votes):,} votes; a full run: {full:.1f} s", flush=True)
        taken = []
        for number in range(options.rounds):
            stop = len(votes) - (options.rounds - 1 - number) * new
            votes[stop - new : stop].write_csv(folder / f"votes-{number + 1}.csv")
            begin = time.perf_counter()
            report = refresh(recipe, folder)
            taken.append(time.perf_counter() - begin)
            assert report.released
            assert report.plan.votes == new
            print(f"refresh with {new:,} new votes: {taken[-1]:.1f} s ({Path(report.release).name})", flush=True)
        begin = time.perf_counter()
        assert not refresh(recipe, folder).released
        print(f"refresh with nothing new: {time.perf_counter() - begin:.1f} s")
    ratio = full / float(np.median(taken))
    print(f"{'PASS' if ratio >= 10 else 'FAIL'}  {ratio:.1f} times as fast as a full run; goal 10")


if __name__ == "__main__":
    main()
