"""Small worlds to release: a store with rankings, and a folder of videos that its prompts name."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from curate.store import Store
from pipelines.media import probe_media
from pipelines.releasing import build
from schemas.config import SplitConfig
from schemas.release import MediaAs, ReleaseConfig, ReleaseReport
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
"""p000, p001, …: two per video, the last without one; p001 has no question."""


def prompts(count: int = PROMPTS, *, responses: int = 6) -> list[Ranked]:
    names = [f"videos/{i // 2}.mp4" for i in range(count - 1)]
    return [Ranked(f"p{i:03d}", tuple(range(1, responses + 1)), video) for i, video in enumerate([*names, None])]


def make_clips(folder: Path, count: int = 4) -> Path:
    """Make videos/0.mp4, …, each of another length, so that no two have the same bytes."""
    (folder / "videos").mkdir(parents=True)
    for i in range(count):
        encode(folder / "videos" / f"{i}.mp4", range(0, 200 + 40 * i, 40))
    return folder


def make_world(folder: Path) -> tuple[Path, Path]:
    """Return (store, folder of media, which were probed): a copy of a world that is made once per process."""
    shutil.copytree(_first_world().name, folder, dirs_exist_ok=True)
    return folder / "curate.duckdb", folder / "media"


@cache
def _first_world() -> TemporaryDirectory[str]:
    home = TemporaryDirectory()
    folder = Path(home.name)
    probe_media(make_store(folder / "curate.duckdb", prompts()), media=make_clips(folder / "media"))
    return home


@cache
def released(media_as: MediaAs) -> Path:
    """Return a release with media in this packaging, built once per process; copy it before a change."""
    store, media = _released_world()
    return folder_of(build(store, out=store.parent / media_as, config=with_media(media_as), media=media))


def released_copy(media_as: MediaAs, folder: Path) -> Path:
    """Return a copy of a release below a folder."""
    source = released(media_as)
    return Path(shutil.copytree(source, folder / source.name))


@cache
def _released_world() -> tuple[Path, Path]:
    return make_world(Path(_kept().name))


@cache
def _kept() -> TemporaryDirectory[str]:
    return TemporaryDirectory()


def with_media(media_as: MediaAs | None) -> ReleaseConfig:
    return CONFIG.model_copy(update={"media_as": media_as})


def sides(store: Path) -> dict[str, str]:
    with Store.open(store, read_only=True) as opened:
        return dict(opened.frame("SELECT prompt_id, split FROM splits ORDER BY prompt_id").iter_rows())


def on_side(store: Path, side: str) -> list[str]:
    return [prompt for prompt, found in sides(store).items() if found == side]


def set_hashes(store: Path, media: Path, hashes: dict[str, tuple[int, ...]]) -> None:
    """Store other perceptual hashes of some media than those found by probing."""
    probe_media(store, media=media)
    with Store.open(store) as opened:
        for name, phash in hashes.items():
            opened.execute("UPDATE media SET phash = ? WHERE video = ?", [list(phash), name])


def folder_of(report: ReleaseReport) -> Path:
    return Path(report.out)
