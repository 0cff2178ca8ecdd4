"""Small worlds to release: a store with rankings, and a folder of real clips that its prompts name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from curate.release.media import MediaFacts, hashed
from curate.store import Store
from schemas.config import SplitConfig
from schemas.release import ReleaseConfig, ReleaseReport
from tests.stores import Ranked, make_store
from tests.video_files import encode

CONFIG = ReleaseConfig(
    name="tiny",
    split=SplitConfig(benchmark_fraction=0.5, seed=1),
    benchmark_items_per_prompt=2,
    train_items_per_prompt=2,
    licence="cc-by-4.0",
)
PROMPTS = 8
"""p000, p001, …: two to a video, the last without one; p001 has no question in words."""


def prompts(count: int = PROMPTS, *, responses: int = 6) -> list[Ranked]:
    names = [f"videos/{i // 2}.mp4" for i in range(count - 1)]
    return [Ranked(f"p{i:03d}", tuple(range(1, responses + 1)), video) for i, video in enumerate([*names, None])]


def make_clips(folder: Path, count: int = 4) -> Path:
    """videos/0.mp4, …: each of another length, so that no two have the same bytes."""
    (folder / "videos").mkdir(parents=True)
    for i in range(count):
        encode(folder / "videos" / f"{i}.mp4", range(0, 200 + 40 * i, 40))
    return folder


def make_world(folder: Path) -> tuple[Path, Path]:
    """(store, folder of media)"""
    return make_store(folder / "curate.duckdb", prompts()), make_clips(folder / "media")


def sides(store: Path) -> dict[str, str]:
    with Store.open(store, read_only=True) as opened:
        return dict(opened.frame("SELECT prompt_id, split FROM splits ORDER BY prompt_id").iter_rows())


def on_side(store: Path, side: str) -> list[str]:
    return [prompt for prompt, found in sides(store).items() if found == side]


def alike(media: Path, names: list[str], hashes: dict[str, tuple[int, ...]]) -> dict[str, MediaFacts]:
    """The facts of files, with the perceptual hashes that a probe would have found."""
    return {name: replace(fact, phash=hashes.get(name, ())) for name, fact in hashed(media, names).items()}


def folder_of(report: ReleaseReport) -> Path:
    return Path(report.out)
