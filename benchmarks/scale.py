"""Time, processor time and peak memory of ingest and denoise, with one DuckDB file and with a partitioned store.

Simulated votes on prompts of 200 votes each, between 19 models, in one CSV file. Denoise is the hierarchical ranker,
without held-out votes. Each step is one process, including its start. Fails if the two stores give different runs.

With --engine: Ray beside local processes, two workers each, on the folds of ``validate`` and on ``media probe``.
Fails if results differ, or the median time with Ray is more than 1.2 times that with local processes.

    python -m benchmarks.scale [--votes 2000000] [--ingest-only] [--folder DIR]
    python -m benchmarks.scale --engine [--votes 20000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl

from benchmarks.leakage import write
from benchmarks.near import pan
from curate.engine import Engine, open_engine
from curate.evaluation.cross_validation import hold_out, units
from curate.media.workers import probe_media
from curate.rankers.registry import compared_rankers
from curate.store import Store
from curate.store.rankings import load_votes
from pipelines import ingest
from pipelines.progress import silent
from schemas.config import DenoiseConfig
from schemas.engine import EngineConfig

MODELS, VOTES_PER_PROMPT, VOTES_PER_ANNOTATOR = 19, 200, 1000
INGEST = """
from pipelines import ingest
report = ingest(arguments[0], arguments[1])
result = {"votes": report.votes, "superseded": report.rejects}
"""
DENOISE = """
from pipelines import denoise
from schemas.config import DenoiseConfig
report = denoise(arguments[0], config=DenoiseConfig(ranker="hierarchical"))
result = {"run": report.run, "ranked": report.ranked}
"""
CONVERT = """
from pipelines.stores import convert
result = {"files": convert(arguments[0], arguments[1]).files}
"""
MEASURED = """
import json, resource, sys, time
start, arguments = time.perf_counter(), sys.argv[1:]
{body}
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps(result | {{
    "seconds": time.perf_counter() - start,
    "cpu": sum(one.ru_utime + one.ru_stime for one in used),
    "gib": max(one.ru_maxrss for one in used) / 2**20,
}}))
"""


def write_votes(path: Path, count: int, seed: int = 0) -> None:
    """Write ``count`` votes as CSV."""
    rng = np.random.default_rng(seed)
    prompts, annotators = max(1, count // VOTES_PER_PROMPT), max(10, count // VOTES_PER_ANNOTATOR)
    prompt = rng.integers(prompts, size=count)
    left = rng.integers(MODELS, size=count)
    right = (left + rng.integers(1, MODELS, size=count)) % MODELS
    strength = rng.normal(size=MODELS) + rng.normal(size=(prompts, MODELS))
    chance = 1 / (1 + np.exp(strength[prompt, right] - strength[prompt, left]))
    draw = rng.random((2, count))
    outcome = np.where(draw[0] < 0.1, 2, (draw[1] > chance).astype(int))
    names = pl.Series([f"model-{i:02d}" for i in range(MODELS)])
    pl.DataFrame(
        {
            "prompt_id": pl.select(pl.format("p{}", pl.lit(pl.Series(prompt)))).to_series(),
            "left": names.gather(left),
            "right": names.gather(right),
            "winner": pl.Series(["left", "right", "tie"]).gather(outcome),
            "annotator_id": pl.select(
                pl.format("a{}", pl.lit(pl.Series(rng.integers(annotators, size=count))))
            ).to_series(),
        }
    ).write_csv(path)


def measure(name: str, body: str, *arguments: Path) -> dict[str, Any]:
    """Run a step in one process, print what it used, and return its result."""
    command = [sys.executable, "-c", MEASURED.format(body=body), *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"  {name:32}{found['seconds']:9.1f}{found['cpu']:9.1f}{found['gib']:8.2f}", flush=True)
    return found


def size(store: Path) -> float:
    """Megabytes of the files of a store."""
    return sum(path.stat().st_size for path in ([store] if store.is_file() else store.rglob("*.*"))) / 1e6


def jobs(folder: Path, votes: int) -> dict[str, Callable[[Engine], Any]]:
    """Name -> a job that an engine computes."""
    write_votes(folder / "votes.csv", votes)
    ingest(folder / "votes.csv", folder / "votes.duckdb")
    with Store.open(folder / "votes.duckdb", read_only=True) as store:
        arrays = load_votes(store).merged.votes
    config = DenoiseConfig()
    names = compared_rankers(config, annotators=True, models=True, held_out=True, votes=votes)
    clips = [write(folder / f"{k}.mp4", pan(k, 32, 360, 640), 16, 23) for k in range(24)]

    def folds(engine: Engine) -> Any:
        unit = units(arrays, "vote")
        return hold_out(arrays, unit, config, names=names, folds=6, seed=0, progress=silent, engine=engine)

    return {"validate, 6 folds": folds, "media probe, 24 clips": lambda engine: list(probe_media(engine, clips))}


def compare_engines(folder: Path, votes: int, rounds: int) -> int:
    """Print medians of the seconds, and return how many comparisons failed."""
    failed = 0
    print(f"{votes:,} votes; medians of {rounds} rounds in turn, workers started; load {os.getloadavg()[0]:.1f}")
    for name, job in jobs(folder, votes).items():
        seconds: dict[str, list[float]] = {"local": [], "ray": []}
        digests = set()
        with open_engine(EngineConfig(workers=2)) as local, open_engine(EngineConfig(kind="ray", workers=2)) as ray:
            for number in range(rounds + 1):
                for kind, engine in (("local", local), ("ray", ray)):
                    begin = time.perf_counter()
                    digests.add(hashlib.sha256(pickle.dumps(job(engine))).hexdigest())
                    if number:  # the first includes the start
                        seconds[kind].append(time.perf_counter() - begin)
        one, other = median(seconds["local"]), median(seconds["ray"])
        passed = other <= 1.2 * one and len(digests) == 1
        failed += not passed
        equal = "equal" if len(digests) == 1 else "DIFFERENT"
        times = f"local {one:7.2f}  ray {other:7.2f}  {other / one:5.2f}"
        print(f"{'PASS' if passed else 'FAIL'}  {name:24}{times}  {equal} digests", flush=True)
    print(f"load {os.getloadavg()[0]:.1f}")
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--votes", type=int, help="default: 2,000,000; with --engine 20,000")
    parser.add_argument("--engine", action="store_true", help="compare Ray with local processes")
    parser.add_argument("--rounds", type=int, default=5, help="of --engine")
    parser.add_argument("--ingest-only", action="store_true", help="omit denoise")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder otherwise")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = Path(temporary)
        if options.engine:
            return compare_engines(folder, options.votes or 20_000, options.rounds)
        options.votes = options.votes or 2_000_000
        votes = folder / "votes.csv"
        write_votes(votes, options.votes)
        print(f"{options.votes:,} votes, {votes.stat().st_size / 1e6:,.0f} MB of CSV")
        print(f"  {'':32}{'seconds':>9}{'CPU s':>9}{'GiB':>8}")
        runs = {}
        for kind, store in (("one file", folder / "votes.duckdb"), ("partitioned", folder / "votes")):
            measure(f"ingest, {kind}", INGEST, votes, store)
            if not options.ingest_only:
                runs[kind] = measure(f"denoise, {kind}", DENOISE, store)["run"]
        measure("convert, one file to partitioned", CONVERT, folder / "votes.duckdb", folder / "converted")
        sizes = ", ".join(f"{name} {size(folder / name):,.0f} MB" for name in ("votes.duckdb", "votes"))
        print(f"  {sizes}; {'DIFFERENT' if len(set(runs.values())) > 1 else 'equal'} runs")
    return int(len(set(runs.values())) > 1)


if __name__ == "__main__":
    sys.exit(main())
