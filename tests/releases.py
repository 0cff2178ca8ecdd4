"""Small worlds to release: a store with rankings, and a folder of videos that its prompts name."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from curate.store import Store
from pipelines.media import probe_media
from pipelines.releasing import build, verify
from schemas.config import SplitConfig
from schemas.release import MediaAs, ReleaseConfig, ReleaseReport, VerifyReport
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


def check(folder: Path, **options: Any) -> VerifyReport:
    """Verify a release; Croissant metadata are validated once per process and outline."""
    return verify(folder, validated=Path(_kept().name) / "validated", **options)


@cache
def _kept() -> TemporaryDirectory[str]:
    return TemporaryDirectory()


HAZARDS = (
    *(
        "plain",
        "\\n \\u0041",
        '"',
        "\n",
        "\r\n",
        "\t",
        "\x0b\x85\u2028\ufeff",
        "{",
        "[1, 2]",
        "<b>&amp;</b>",
        "ünï ☃ 𝔘",
    ),
    *("null", "``` x = 1 ```", "  spaces  ", "<|im_end|>", "{{ messages }}", "%s %(a)s", "$x$"),
)
"""Texts that a writer or a reader may damage."""
TAGS = ("<video>", "<image>", "<audio>")
"""Texts that clients replace by media."""


@cache
def mixed(media_as: MediaAs, *, tags: bool = False) -> Path:
    """Return a release with videos, images and prompts without media; its texts have HAZARDS, and TAGS if asked."""
    folder = Path(_kept().name) / f"mixed{tags}"
    if not folder.exists():
        _make_mixed(folder, (*HAZARDS, *(TAGS if tags else ())))
    config = with_media(media_as).model_copy(update={"name": "mixed"})
    media = None if media_as == "none" else folder / "media"
    return folder_of(build(folder / "curate.duckdb", out=folder / media_as, config=config, media=media))


def _make_mixed(folder: Path, hazards: tuple[str, ...]) -> None:
    count, random = 24, np.random.default_rng(0)
    make_clips(folder / "media", 6)
    names: list[str | None] = [None] * count
    for i in range(count):
        if i % 3 == 0:
            names[i] = f"videos/{i // 4}.mp4"
        elif i % 3 == 1:
            names[i] = f"{i}.png"
            tiles = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(tiles.repeat(8, 0).repeat(8, 1)).save(folder / "media" / f"{i}.png")
    many = [Ranked(f"p{i:03d}", (1, 2, 3, 4, 5, 6), name) for i, name in enumerate(names)]
    store = make_store(folder / "curate.duckdb", many)
    with Store.open(store) as opened, opened.transaction():
        for table, column, key in (("prompts", "question", "prompt_id"), ("responses", "text", "response_id")):
            for i, (name,) in enumerate(opened.frame(f"SELECT {key} FROM {table} ORDER BY {key}").iter_rows()):
                text = f"{name}: {hazards[i % len(hazards)]} end"
                opened.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", [text, name])


def pairs(release: Path, split: str) -> list[dict[str, Any]]:
    """Return the pairs of train or test: prompt, chosen, rejected, medium, kind, media_sha256, item_id."""
    paths = sorted(release.glob({"train": "train_pairwise-*.parquet", "test": "benchmark_pairwise-*.parquet"}[split]))
    return [
        {
            "prompt": row["prompt"],
            "chosen": row["responses"][row["ranks"].index(1)],
            "rejected": row["responses"][row["ranks"].index(2)],
            "medium": row["video"] or row["image"],
            "kind": "video" if row["video"] else "image" if row["image"] else None,
            "media_sha256": row["media_sha256"],
            "item_id": row["item_id"],
        }
        for row in pl.concat([pl.read_parquet(path) for path in paths]).iter_rows(named=True)
    ]


def has_tag(row: dict[str, Any], tags: Sequence[str]) -> bool:
    """Return whether a text of a pair contains one of the tags."""
    return any(tag in row[column] for column in ("prompt", "chosen", "rejected") for tag in tags)


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
            opened.execute("UPDATE media SET phash = ?, fingerprint = NULL WHERE video = ?", [list(phash), name])


def folder_of(report: ReleaseReport) -> Path:
    return Path(report.out)
