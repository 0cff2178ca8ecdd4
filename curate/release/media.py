"""The media of a release: facts about each file, and its packaging as files, tar shards or bytes in the rows."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import Any, Literal

import polars as pl

from curate.engine import Engine, Part, map_parts
from curate.media.fingerprints import Fingerprint
from curate.media.frames import IMAGE_SUFFIXES
from curate.media.locate import open_inside, why_outside
from curate.shards.atomic import describe
from schemas.errors import CurateError
from schemas.manifest import ManifestFile
from schemas.release import MediaAs

FOLDER = "media"
MAX_EMBEDDED = 1_500_000_000
"""Largest number of media bytes in the rows of one config: a column of bytes ends at 2 GB."""


@dataclass(frozen=True)
class MediaFacts:
    """Facts about the file of one video or image."""

    name: str
    """Its name in the prompts."""
    path: Path
    """Its path on this machine, which begins with folder."""
    folder: Path = Path()
    """The media folder."""
    status: str = "ok"
    """ok, or the code of the problem."""
    reason: str = ""
    kind: Literal["video", "image"] = "video"
    bytes: int = 0
    sha256: str = ""
    phash: tuple[int, ...] = ()
    """64-bit perceptual hashes of the sampled frames, by view (curate.media.hashing); empty if none were computed."""
    fingerprint: Fingerprint = b""
    """Waves of more frames (curate.media.fingerprints); empty if none were computed."""
    duration: float | None = None
    """Seconds."""
    fps: float | None = None
    width: int | None = None
    """Pixels."""
    height: int | None = None
    frames: int | None = None
    codec: str | None = None

    @property
    def member(self) -> str:
        """File name in a release: the digest of the content, so that names are unique and reveal no source."""
        return f"{self.sha256[:32]}{self.path.suffix.lower()}"


FACTS: dict[str, pl.DataType | type[pl.DataType]] = {
    "bytes": pl.Int64,
    "duration": pl.Float64,
    "fps": pl.Float64,
    "width": pl.Int32,
    "height": pl.Int32,
    "frames": pl.Int64,
    "codec": pl.String,
    "phash": pl.List(pl.String),
    "fingerprint": pl.String,
}
"""Columns of the media table that are fields of MediaFacts; hashes as 16 hex digits each, fingerprints in base64."""


def public_name(name: str) -> str:
    """Return the name for publication: as ingested, but only the last part of a path that may leave the media folder,
    and "" if that may, too."""
    last = PureWindowsPath(name).name if why_outside(name) else name
    return "" if why_outside(last) else last


def placed(names: Sequence[str], facts: Mapping[str, MediaFacts], media_as: MediaAs) -> pl.DataFrame:
    """Return where each medium is in the release: name, path, kind and media_sha256 (null if its bytes are not)."""
    rows = []
    for name in sorted(set(names)):
        known = facts.get(name) if media_as != "none" else None
        image = Path(name).suffix.lower() in IMAGE_SUFFIXES
        rows.append(
            {
                "name": name,
                "path": f"{FOLDER}/{known.member}" if known else public_name(name),
                "kind": known.kind if known else "image" if image else "video",
                "media_sha256": known.sha256 if known else None,
            }
        )
    texts = ("name", "path", "kind", "media_sha256")
    return pl.DataFrame(rows, schema=dict.fromkeys(texts, pl.String))


def attach(rows: pl.DataFrame, places: pl.DataFrame, *, contents: Mapping[str, bytes] | None = None) -> pl.DataFrame:
    """Return the rows with the media columns of a release: video, image, media_sha256, *_file_name and media_name.

    rows: their column video is a name in places. contents: path -> bytes, if they are embedded in the rows.
    """
    found = rows.rename({"video": "name"}).join(places, on="name", how="left", maintain_order="left")
    is_video = pl.col("kind") == "video"
    named = found.with_columns(
        media_name=pl.col("name").map_elements(public_name, return_dtype=pl.String),
        video_file_name=pl.when(is_video).then("path"),
        image_file_name=pl.when(is_video.not_()).then("path"),
    )
    if contents is None:
        named = named.with_columns(video=pl.col("video_file_name"), image=pl.col("image_file_name"))
    else:
        total = sum(len(contents.get(path, b"")) for path in found["path"].to_list() if path)
        if total > MAX_EMBEDDED:
            raise CurateError(
                f"{total / 1e9:.1f} GB of media are too many to embed in the rows of one config",
                hint="use --media-as files or webdataset",
            )
        data = pl.Series("data", [contents.get(path) for path in found["path"].to_list()], dtype=pl.Binary)
        named = named.with_columns(data)
        named = named.with_columns(
            pl.when(pl.col(f"{kind}_file_name").is_not_null())
            .then(pl.struct(bytes=pl.col("data"), path=pl.col("path").str.split("/").list.last()))
            .alias(kind)
            for kind in ("video", "image")
        )
    return named


def copy_media(folder: Path, facts: Iterable[MediaFacts], *, engine: Engine | None = None) -> list[ManifestFile]:
    """Write each file once into media/ of the folder. Raises CurateError if one changed meanwhile."""
    (folder / FOLDER).mkdir(exist_ok=True)
    parts = [Part(fact.member, fact) for fact in _unique(facts)]
    return list(map_parts(partial(_copy, folder), parts, engine=engine))


def _copy(folder: Path, fact: MediaFacts) -> ManifestFile:
    path = folder / FOLDER / fact.member
    path.write_bytes(read_unchanged(fact))
    return describe(path, root=folder)


def write_webdataset(
    folder: Path,
    side: str,
    facts: Iterable[MediaFacts],
    items: Mapping[str, Sequence[Any]],
    *,
    per_shard: int,
    engine: Engine | None = None,
) -> list[ManifestFile]:
    """Write WebDataset shards ``media/SIDE-00000-of-00002.tar``. Equal content gives equal bytes.

    A sample is one video: KEY.mp4, and KEY.json with all its items. items: member -> its items.
    """
    (folder / FOLDER).mkdir(exist_ok=True)
    chosen = _unique(facts)
    shards = -(-len(chosen) // per_shard)
    parts = []
    for shard in range(shards):
        own = [(fact, items[fact.member]) for fact in chosen[shard * per_shard : (shard + 1) * per_shard]]
        name = f"{side}-{shard:05d}-of-{shards:05d}.tar"
        parts.append(Part(name, (name, own)))
    return list(map_parts(partial(_write_shard, folder), parts, engine=engine))


def _write_shard(folder: Path, shard: tuple[str, Sequence[tuple[MediaFacts, Sequence[Any]]]]) -> ManifestFile:
    path = folder / FOLDER / shard[0]
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for fact, items in shard[1]:
            document = json.dumps({"sha256": fact.sha256, "items": items}, ensure_ascii=False)
            for name, data in (
                (fact.member, read_unchanged(fact)),
                (Path(fact.member).stem + ".json", document.encode()),
            ):
                member = tarfile.TarInfo(name)  # no owner, no time, mode 0644
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return describe(path, root=folder)


def read_unchanged(fact: MediaFacts) -> bytes:
    """Return the file's bytes. Raises CurateError if they changed since it was probed, or it is a link now."""
    with open_inside(fact.folder, fact.path) as file:
        data = file.read()
    if hashlib.sha256(data).hexdigest() != fact.sha256:
        raise CurateError(f"{fact.path}: changed since it was probed", hint="run the command again")
    return data


def _unique(facts: Iterable[MediaFacts]) -> list[MediaFacts]:
    """Return one medium per content, sorted by name in the release."""
    return [fact for _, fact in sorted({fact.member: fact for fact in facts}.items())]


def media_table(places: pl.DataFrame, facts: Mapping[str, MediaFacts], sides: Mapping[str, str]) -> pl.DataFrame:
    """Return one row per medium of the release: its facts and its side. sides: name -> train, benchmark."""
    rows = [
        {
            "video": name,
            "split": sides[name],
            **{field: getattr(fact, field) for field in FACTS},
            "phash": [f"{value:016x}" for value in fact.phash],
            "fingerprint": base64.b64encode(fact.fingerprint).decode() or None,
        }
        for name, fact in sorted(facts.items())
        if name in sides
    ]
    return attach(pl.DataFrame(rows, schema={"video": pl.String, "split": pl.String, **FACTS}), places)


def facts_of(media: pl.DataFrame, folder: Path) -> dict[str, MediaFacts]:
    """Return name -> the facts found by probing.

    media: the store's table: video, path (relative to the folder), status, reason, kind, bytes, duration, fps, width,
    height, frames, codec, sha256, phash and fingerprint; all but the first four null if a file is not usable.
    """
    found = {}
    for row in media.iter_rows(named=True):
        known = {field: row[field] for field in ("sha256", *FACTS) if row[field] is not None}
        found[row["video"]] = MediaFacts(
            name=row["video"],
            path=folder / row["path"],
            folder=folder,
            status=row["status"],
            reason=row["reason"] or "",
            kind="image" if row["kind"] == "image" else "video",
            **(known | {"phash": tuple(row["phash"] or ())}),
        )
    return found
