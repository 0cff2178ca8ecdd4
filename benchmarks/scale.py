"""Time, processor time and peak memory of ingest and denoise, by kind of store and in buckets.

Simulated votes on prompts of 200 votes each, between 19 models, in CSV files of at most 10 million, in one ingest.
Denoise is the hierarchical ranker, without held-out votes, of all votes at once (up to 20 million) and by bucket.
Each step is a process of its own; memory is that of the process and its workers together, processor time without
theirs. Fails if the two stores give different runs, or if a tenth of the prompts get other orders by bucket.

With --engine: Ray beside local processes, two workers each, on the folds of ``validate`` and on ``media probe``.
Fails if results differ, or the median time with Ray is more than 1.2 times that with local processes.

    python -m benchmarks.scale [--votes 2000000] [--workers 2] [--plot memory.png] [--folder DIR]
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
from contextlib import suppress
from pathlib import Path
from statistics import median
from textwrap import indent
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
from curate.store.buckets import AT_ONCE
from curate.store.rankings import load_votes
from pipelines import ingest
from pipelines.progress import silent
from schemas.config import DenoiseConfig
from schemas.engine import EngineConfig

MODELS, VOTES_PER_PROMPT, VOTES_PER_ANNOTATOR = 19, 200, 1000
VOTES_PER_FILE = 10_000_000
INGEST = """
from pipelines import ingest
result = {"votes": ingest(arguments[0], arguments[1]).votes}
"""
DENOISE = """
from pipelines import denoise
from schemas.config import DenoiseConfig
from schemas.engine import EngineConfig
by_bucket, workers = arguments[1] != "once", int(arguments[2])
engine = EngineConfig(workers=workers) if workers else None
report = denoise(arguments[0], config=DenoiseConfig(ranker="hierarchical"), by_bucket=by_bucket, engine=engine)
result = {"run": report.run, "ranked": report.ranked}
"""
LEADERBOARD = """
import curate
with curate.open(arguments[0]) as store:
    found = store.leaderboard()
result = {"models": found.height}
"""
CONVERT = """
from pipelines.stores import convert
result = {"files": convert(arguments[0], arguments[1]).files}
"""
MEASURED = """
import json, resource, sys, time
start, arguments = time.perf_counter(), sys.argv[1:]
if __name__ == "__main__":
{body}
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps(result | {{
        "seconds": time.perf_counter() - start, "cpu": sum(one.ru_utime + one.ru_stime for one in used)
    }}))
"""
POLL = 1.0
"""Seconds between two looks at the memory."""


def write_votes(folder: Path, count: int, seed: int = 0) -> None:
    """Write ``count`` votes as CSV files, each on prompts of its own."""
    folder.mkdir(parents=True)
    strengths, annotators = np.random.default_rng(seed).normal(size=MODELS), max(10, count // VOTES_PER_ANNOTATOR)
    for number, first in enumerate(range(0, count, VOTES_PER_FILE)):
        rows, rng = min(VOTES_PER_FILE, count - first), np.random.default_rng([seed, number])
        prompts = max(1, rows // VOTES_PER_PROMPT)
        prompt = rng.integers(prompts, size=rows)
        left = rng.integers(MODELS, size=rows)
        right = (left + rng.integers(1, MODELS, size=rows)) % MODELS
        strength = strengths + rng.normal(size=(prompts, MODELS))
        chance = 1 / (1 + np.exp(strength[prompt, right] - strength[prompt, left]))
        draw = rng.random((2, rows))
        names = pl.Series([f"model-{i:02d}" for i in range(MODELS)])
        numbers = {"p": prompt + first // VOTES_PER_PROMPT, "a": rng.integers(annotators, size=rows)}
        ids = {
            letter: pl.select(pl.format(letter + "{}", pl.lit(pl.Series(n)))).to_series()
            for letter, n in numbers.items()
        }
        outcome = np.where(draw[0] < 0.1, 2, (draw[1] > chance).astype(int))
        pl.DataFrame(
            {
                "prompt_id": ids["p"],
                "left": names.gather(left),
                "right": names.gather(right),
                "winner": pl.Series(["left", "right", "tie"]).gather(outcome),
                "annotator_id": ids["a"],
            }
        ).write_csv(folder / f"votes-{number:03}.csv")


def memory(pid: int) -> float:
    """GiB of a process and of those that it has started: what each has for itself, shared pages in part."""
    total, waiting = 0, [pid]
    while waiting:
        one = waiting.pop()
        with suppress(OSError):
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
            for task in Path(f"/proc/{one}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
    return total / 2**20


def measure(name: str, body: str, *arguments: object) -> dict[str, Any]:
    """Run a step in a process of its own, print what it used, and return its result and its memory over time."""
    script = MEASURED.format(body=indent(body.strip(), "    "))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "step.py")  # workers import it
        path.write_text(script)
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        command, begin, used = [sys.executable, str(path), *map(str, arguments)], time.perf_counter(), []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            while process.poll() is None:
                used.append((time.perf_counter() - begin, memory(process.pid)))
                time.sleep(POLL)
            assert process.stdout is not None
            lines = process.stdout.read().splitlines()
    if process.returncode:
        raise SystemExit(f"{name}: exit code {process.returncode}")
    found: dict[str, Any] = json.loads(lines[-1]) | {"memory": used}
    peak = max((gib for _, gib in used), default=0.0)
    print(f"  {name:36}{found['seconds']:9.1f}{found['cpu']:9.1f}{peak:8.2f}", flush=True)
    return found


def size(store: Path) -> float:
    """Megabytes of the files of a store."""
    return sum(path.stat().st_size for path in ([store] if store.is_file() else store.rglob("*.*"))) / 1e6


def jobs(folder: Path, votes: int) -> dict[str, Callable[[Engine], Any]]:
    """Name -> a job that an engine computes."""
    write_votes(folder / "csv", votes)
    ingest(folder / "csv", folder / "votes.duckdb")
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


def draw(path: Path, steps: dict[str, dict[str, Any]]) -> None:
    """Write a picture of the memory of each step over time, one after another."""
    from matplotlib.figure import Figure

    axes, start = (figure := Figure(figsize=(8, 3), layout="constrained")).subplots(), 0.0
    for name, found in steps.items():
        seconds, gib = np.array(found["memory"]).T
        axes.plot((start + seconds) / 60, gib, label=name)
        start += float(seconds[-1])
    axes.set(xlabel="minutes", ylabel="GiB of all processes", ylim=(0, None))
    axes.legend(loc="lower center", ncols=3, bbox_to_anchor=(0.5, 1))
    figure.savefig(path, dpi=120)


def orders(store: Path, runs: tuple[str, str]) -> float:
    """The share of prompts whose responses have the same order in two runs."""
    with Store.open(store, read_only=True) as opened:
        return float(
            opened.value(
                """SELECT avg(same::INT) FROM (
                    SELECT bool_and(a.rank = b.rank) AS same
                    FROM rankings a JOIN rankings b USING (prompt_id, response_id)
                    WHERE a.run_id = $one AND b.run_id = $other GROUP BY prompt_id)""",
                {"one": runs[0], "other": runs[1]},
            )
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--votes", type=int, help="default: 2,000,000; with --engine 20,000")
    parser.add_argument(
        "--workers", type=int, default=0, help="processes that rank buckets; 0: none beside the job's own"
    )
    parser.add_argument("--plot", type=Path, help="where to draw memory over time")
    parser.add_argument("--engine", action="store_true", help="compare Ray with local processes")
    parser.add_argument("--rounds", type=int, default=5, help="of --engine")
    parser.add_argument("--ingest-only", action="store_true", help="omit denoise")
    parser.add_argument(
        "--folder", type=Path, help="where to work, from the files that are there; a temporary one else"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        if options.engine:
            return compare_engines(folder, options.votes or 20_000, options.rounds)
        return measure_stores(folder, options.votes or 2_000_000, options)


def measure_stores(folder: Path, count: int, options: argparse.Namespace) -> int:
    """Print a line for each step, and return 1 if results differ."""
    votes, steps, runs = folder / "csv", dict[str, dict[str, Any]](), dict[str, str]()
    if not votes.exists():
        write_votes(votes, count)
    print(f"{count:,} votes, {size(votes):,.0f} MB of CSV; load {os.getloadavg()[0]:.1f}")
    print(f"  {'':36}{'seconds':>9}{'CPU s':>9}{'GiB':>8}")
    stores = {"partitioned": folder / "partitioned"}
    if count <= AT_ONCE:
        stores = {"one file": folder / "one.duckdb", **stores}
    for kind, store in stores.items():
        if not store.exists():
            steps[f"ingest, {kind}"] = measure(f"ingest, {kind}", INGEST, votes, store)
        if options.ingest_only:
            continue
        if count <= AT_ONCE:
            steps[f"denoise, {kind}"] = measure(f"denoise, {kind}", DENOISE, store, "once", 0)
            runs[kind] = steps[f"denoise, {kind}"]["run"]
    if options.ingest_only:
        return 0
    name = f"denoise by bucket, {options.workers or 'no'} workers"
    steps[name] = measure(name, DENOISE, stores["partitioned"], "bucket", options.workers)
    steps["leaderboard"] = measure("leaderboard", LEADERBOARD, stores["partitioned"])
    same = 1.0
    if count <= AT_ONCE:
        measure("convert, one file to partitioned", CONVERT, stores["one file"], folder / "converted")
        same = orders(stores["partitioned"], (runs["partitioned"], steps[name]["run"]))
        print(f"  {'DIFFERENT' if len(set(runs.values())) > 1 else 'equal'} runs; equal orders by bucket: {same:.1%}")
    print("  " + ", ".join(f"{store.name} {size(store):,.0f} MB" for store in stores.values()))
    if options.plot:
        draw(options.plot, steps)
    return int(len(set(runs.values())) > 1 or same < 0.9)


if __name__ == "__main__":
    sys.exit(main())
