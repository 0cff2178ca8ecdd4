"""Time and size of releases: 450 prompts × 19 models with 225 videos, in each packaging of the media, and verified.

The world is simulated, ingested and ranked first; only the release is timed.

    python -m benchmarks.release [--quick]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pipelines import denoise, ingest, simulate
from pipelines.releasing import build, diff, verify
from schemas.config import DenoiseConfig, SimulateConfig
from schemas.release import MediaAs, ReleaseConfig

GOAL = 60.0
"""Largest time of a build, seconds."""
PACKAGINGS: tuple[MediaAs, ...] = ("files", "webdataset", "embedded", "none")

R = TypeVar("R")


def timed(job: Callable[[], R]) -> tuple[R, float]:
    start = time.perf_counter()
    done = job()
    return done, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="45 prompts of 8 models")
    quick = parser.parse_args().quick
    config = SimulateConfig(prompts=45 if quick else 450, models=8 if quick else 19, prompts_per_video=2, video=True)
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        world, store = home / "world", home / "curate.duckdb"
        made = simulate(world, config=config)
        ingest([world / "votes.csv"], store, prompts=world / "prompts.csv", responses=world / "responses.csv")
        denoise(store, config=DenoiseConfig(ranker="hierarchical"))
        clips = len(list((world / "videos").iterdir()))
        print(f"{made.prompts} prompts × {config.models} models, {made.votes:,} votes, {clips} videos")
        print(f"{'media':12}{'build s':>9}{'verify s':>10}{'MB':>8}{'files':>7}{'items':>8}")
        slowest = 0.0
        folders = []
        for media_as in PACKAGINGS:
            release = ReleaseConfig(name=f"speed-{media_as}", media_as=media_as)
            report, seconds = timed(lambda config=release: build(store, out=home / "out", config=config, media=world))
            checked, again = timed(lambda at=Path(report.out): verify(at))
            assert not checked.findings, checked.findings[:3]
            slowest = max(slowest, seconds)
            folders.append(Path(report.out))
            items = sum(report.items.values())
            print(f"{media_as:12}{seconds:9.2f}{again:10.2f}{report.bytes / 1e6:8.1f}{report.files:7}{items:8,}")
        _, seconds = timed(lambda: diff(folders[0], folders[1]))
        print(f"diff of the first two: {seconds:.2f} s")
        print(f"{'PASS' if slowest < GOAL else 'FAIL'}: slowest build {slowest:.1f} s (goal {GOAL:g})")


if __name__ == "__main__":
    main()
