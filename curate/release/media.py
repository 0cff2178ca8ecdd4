"""The media of a release: what is known of each file, and how it comes along: beside, in tar shards, or in the rows."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal

import polars as pl

from curate.media.frames import IMAGE_SUFFIXES
from schemas.errors import CurateError
from schemas.release import MediaAs

FOLDER = "media"
MOST_INSIDE = 1_500_000_000
"""Bytes of media in the rows of one config, at most: a column of bytes ends at 2 GB."""


@dataclass(frozen=True)
class MediaFacts:
    """What is known of the file behind one video (or image) that prompts name."""

    name: str
    """As prompts name it."""
    path: Path
    """Where it lies."""
    status: str = "ok"
    """ok, or the code of what is wrong with it."""
    reason: str = ""
    kind: Literal["video", "image"] = "video"
    bytes: int = 0
    sha256: str = ""
    phash: tuple[int, ...] = ()
    """64-bit perceptual hashes of the frames that were sampled, by view (curate.media.crops); empty where none was
    taken."""
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
        """Its file name in a release: by content, so that no name says where it came from and none occurs twice."""
        return f"{self.sha256[:32]}{self.path.suffix.lower()}"


def public_name(name: str) -> str:
    """The name as a release may state it: as ingested, but of an absolute path only its last part."""
    absolute = PurePosixPath(name).is_absolute() or PureWindowsPath(name).is_absolute()
    return PureWindowsPath(name).name if absolute else name


def placed(names: Sequence[str], facts: Mapping[str, MediaFacts], media_as: MediaAs) -> pl.DataFrame:
    """Where each video is found from the release: name, path, kind and media_sha256 (null where its bytes are not in
    it)."""
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
    """The rows, whose column video names one, with the columns that a release has of it.

    video, image, media_sha256, video_file_name, image_file_name and media_name. contents: path -> bytes, where they go
    into the rows.
    """
    found = rows.rename({"video": "name"}).join(places, on="name", how="left", maintain_order="left")
    moving = pl.col("kind") == "video"
    named = found.with_columns(
        media_name=pl.col("name").map_elements(public_name, return_dtype=pl.String),
        video_file_name=pl.when(moving).then("path"),
        image_file_name=pl.when(moving.not_()).then("path"),
    )
    if contents is None:
        named = named.with_columns(video=pl.col("video_file_name"), image=pl.col("image_file_name"))
    else:
        total = sum(len(contents.get(path, b"")) for path in found["path"].to_list() if path)
        if total > MOST_INSIDE:
            raise CurateError(
                f"{total / 1e9:.1f} GB of media in the rows of one config are too many",
                hint="give the media beside: --media-as files, or webdataset",
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


def copy_media(folder: Path, facts: Iterable[MediaFacts]) -> list[Path]:
    """Write each file once into media/ of the folder; the paths. Raises CurateError where one changed meanwhile."""
    (folder / FOLDER).mkdir(exist_ok=True)
    written = []
    for fact in _once(facts):
        path = folder / FOLDER / fact.member
        path.write_bytes(read_same(fact))
        written.append(path)
    return written


def write_tars(
    folder: Path, side: str, facts: Iterable[MediaFacts], items: Mapping[str, Sequence[Any]], *, per_shard: int
) -> list[Path]:
    """Write WebDataset shards ``media/SIDE-00000-of-00002.tar``; the paths. Equal content gives equal bytes.

    A sample is one video: KEY.mp4 and KEY.json, which holds all its items. items: member -> what KEY.json holds.
    """
    (folder / FOLDER).mkdir(exist_ok=True)
    chosen = _once(facts)
    shards = -(-len(chosen) // per_shard)
    written = []
    for shard in range(shards):
        path = folder / FOLDER / f"{side}-{shard:05d}-of-{shards:05d}.tar"
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for fact in chosen[shard * per_shard : (shard + 1) * per_shard]:
                document = json.dumps({"sha256": fact.sha256, "items": items[fact.member]}, ensure_ascii=False)
                for name, data in (
                    (fact.member, read_same(fact)),
                    (Path(fact.member).stem + ".json", document.encode()),
                ):
                    member = tarfile.TarInfo(name)  # of no one, of no time, always 0644
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
        written.append(path)
    return written


def read_same(fact: MediaFacts) -> bytes:
    """The file's bytes. Raises CurateError where they are no longer those that were looked at."""
    data = fact.path.read_bytes()
    if hashlib.sha256(data).hexdigest() != fact.sha256:
        raise CurateError(f"{fact.path}: changed since it was looked at", hint="run the command again")
    return data


def _once(facts: Iterable[MediaFacts]) -> list[MediaFacts]:
    """One of each content, in the order of their names in the release."""
    return [fact for _, fact in sorted({fact.member: fact for fact in facts}.items())]


def media_table(places: pl.DataFrame, facts: Mapping[str, MediaFacts], sides: Mapping[str, str]) -> pl.DataFrame:
    """One row a video or image of the release: its facts and its side. sides: name -> train, benchmark."""
    rows = [
        {
            "video": name,
            "split": sides[name],
            "bytes": fact.bytes,
            "duration": fact.duration,
            "fps": fact.fps,
            "width": fact.width,
            "height": fact.height,
            "frames": fact.frames,
            "codec": fact.codec,
            "phash": list(fact.phash),
        }
        for name, fact in sorted(facts.items())
        if name in sides
    ]
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        "video": pl.String,
        "split": pl.String,
        "bytes": pl.Int64,
        "duration": pl.Float64,
        "fps": pl.Float64,
        "width": pl.Int32,
        "height": pl.Int32,
        "frames": pl.Int64,
        "codec": pl.String,
        "phash": pl.List(pl.UInt64),
    }
    return attach(pl.DataFrame(rows, schema=schema), places)


def facts_of(media: pl.DataFrame, folder: Path) -> dict[str, MediaFacts]:
    """name -> the facts that probing found, of a frame of media as the store keeps it.

    media: video, path (from the folder), status, reason, kind, bytes, duration, fps, width, height, frames, codec,
    sha256 and phash; all but the first four null where a file is not sound.
    """
    return {
        row["video"]: MediaFacts(
            name=row["video"],
            path=folder / (row["path"] or row["video"]),
            status=row["status"],
            reason=row["reason"] or "",
            kind="image" if row["kind"] == "image" else "video",
            bytes=row["bytes"] or 0,
            sha256=row["sha256"] or "",
            phash=tuple(row["phash"] or ()),
            duration=row["duration"],
            fps=row["fps"],
            width=row["width"],
            height=row["height"],
            frames=row["frames"],
            codec=row["codec"],
        )
        for row in media.iter_rows(named=True)
    }
