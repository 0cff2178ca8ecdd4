"""The Hub: the release itself, as a folder that ``huggingface_hub`` uploads."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path, PurePosixPath

from curate.media.locate import inside
from curate.release.clients.base import Client, Source, Written
from curate.release.manifest import CARD, release_config
from curate.release.tables import loader_of_release
from curate.shards.atomic import MANIFEST, SIGNATURE
from schemas.errors import CurateError

MOST_FILES = 10_000
"""Files that the Hub takes in one folder."""
USAGE = """
```sh
hf repos create lab/name --type dataset
hf upload lab/name DIR . --type dataset
```
"""


def _write(source: Source, out: Path) -> Written:
    release = source.release
    _check(source)
    source.link(source.files, out)
    for name in (MANIFEST, SIGNATURE):
        if (source.folder / name).is_file():
            shutil.copyfile(inside(source.folder, name), out / name)  # not digested: a link may lead anywhere
    rows = {file.path: file.rows for file in release.files if file.path.endswith(".parquet") and file.rows is not None}
    return Written(rows, sum(path.startswith("media/") for path in source.files), notes=tuple(_notes(source)))


def _check(source: Source) -> None:
    """Raise CurateError if the Hub or datasets would not take the release."""
    folders = Counter(PurePosixPath(path).parent for path in source.files)
    for folder, count in folders.items():
        if count > MOST_FILES:
            raise CurateError(
                f"{source.folder / folder}: {count:,} files; the Hub takes {MOST_FILES:,} in a folder",
                hint="build the release with --media-as webdataset or embedded",
            )
    card = (source.folder / CARD).read_text(encoding="utf-8")
    if loader_of_release(source.release) != "parquet" and "decode_num_threads" not in card:
        raise CurateError(
            f"{source.folder / CARD}: is of an earlier version, whose configs do not list the media",
            hint="build the release again",
        )


def _notes(source: Source) -> list[str]:
    release, config = source.release, release_config(source.release)
    kinds = release.counts.get("media_kinds", {})
    notes = []
    if config is not None and not config.licence:
        notes.append("the card states no licence: set licence in the release config")
    if config is not None and not config.language:
        notes.append("the card states no language: set language in the release config")
    if release.media_as == "files" and all(kinds.get(kind) for kind in ("video", "image")):
        notes.append("datasets downloads the videos only, not the images: build with --media-as embedded for both")
    if release.media_as == "webdataset":
        notes.append("rows name the videos, which are in tar shards: the viewer shows them in no row")
    if release.media_as == "none":
        notes.append("rows name the videos, which are not part of the release")
    return notes


CLIENT = Client(
    "hub", "The release with its card, manifest and signature, to upload with huggingface_hub.", USAGE, _write
)
