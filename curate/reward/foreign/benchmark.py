"""What all foreign benchmarks share: reading a file as rows, resolving media, the schema, and helpers of metrics."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from curate.array_types import Float
from curate.reward.data import Example
from curate.reward.figures import Figure, Metric, mean
from curate.reward.metrics import Scores, top1
from curate.shards.rows import BadRowError, Row, read_rows
from schemas.errors import CurateError, MissingError

LISTED = 5
"""Bad rows that an error lists; the others are counted."""
SHARED = re.compile(r"#\d+$")
"""What is appended to an id that several rows share: the row's number."""
SIGNATURES = ((b"\x89PNG\r\n\x1a\n", ".png"), (b"\xff\xd8\xff", ".jpg"), (b"GIF8", ".gif"), (b"BM", ".bmp"))
"""First bytes of an image file -> its suffix. WebP is recognised by its bytes 8 to 12."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One foreign benchmark: how its file is recognised and read, and the metric that its authors report."""

    name: str
    title: str
    required: set[str]
    """Columns of its file. A column that is null in every row counts as absent."""
    one_of: set[str] = field(default_factory=set)
    """At least one of these columns is required; empty: no such rule."""
    absent: set[str] = field(default_factory=set)
    """Columns that only other benchmarks have."""
    parse: Callable[[Row, Media], Example]
    """One row to one example; raises BadRowError."""
    metric: Metric
    citation: str

    def mismatches(self, columns: set[str]) -> list[str]:
        """Why a file with these columns is not this benchmark; empty where it fits."""
        found = [f"no column {column}" for column in sorted(self.required - columns)]
        if self.one_of and not self.one_of & columns:
            found.append(f"no column {' or '.join(sorted(self.one_of))}")
        return found + [f"unexpected column {column}" for column in sorted(self.absent & columns)]

    def examples(self, path: Path, rows: Sequence[Row], media: Media) -> list[Example]:
        """Every row as an example, in file order. Ids that several rows share get the row's number.

        Raises CurateError where the columns do not fit, or any row is invalid: the message lists the first ones.
        """
        mismatches = self.mismatches(columns_of(rows))
        if mismatches:
            raise CurateError(
                f"{path}: not {self.title}: {'; '.join(mismatches)}; columns: {listed(columns_of(rows))}",
                hint="columns with other names can be renamed",
            )
        examples, problems = [], []
        for row in rows:
            try:
                examples.append(self.parse(row, media))
            except BadRowError as error:
                problems.append(f"{path}:{row.number}: {error}")
        _raise_problems(path, problems)
        times = Counter(example.item_id for example in examples)
        return [
            replace(example, item_id=f"{example.item_id}#{row.number}") if times[example.item_id] > 1 else example
            for example, row in zip(examples, rows, strict=True)
        ]


def read_file(path: Path, rename: Mapping[str, str]) -> list[Row]:
    """Every row of a .json (a list of objects), .jsonl or .parquet file, with columns renamed.

    rename: column of the file -> column of the benchmark. Raises CurateError where the file is missing, empty or of
    another type, contains a row that is not an object, or where a column cannot be renamed.
    """
    if not path.is_file():
        raise MissingError(f"{path}: no such file")
    found = list(read_rows(path))
    _raise_problems(path, [problem for problem in found if isinstance(problem, str)])
    rows = [row for row in found if isinstance(row, Row)]
    if not rows:
        raise CurateError(f"{path}: contains no rows")
    columns = columns_of(rows)
    for old, new in rename.items():
        twice = list(rename.values()).count(new) > 1 or (new in columns and new not in rename)
        reason = "there is no such column" if old not in columns else f"two columns would be '{new}'" if twice else ""
        if reason:
            raise CurateError(f"{path}: cannot rename '{old}' to '{new}': {reason}; columns: {listed(columns)}")
    return [Row(row.number, {rename.get(name, name): cell for name, cell in row.cells.items()}) for row in rows]


def columns_of(rows: Sequence[Row]) -> set[str]:
    """Columns with a value in some row."""
    return {name for row in rows for name in row.cells}


def listed(columns: set[str]) -> str:
    return ", ".join(sorted(columns)) or "none"


def _raise_problems(path: Path, problems: list[str]) -> None:
    """Raise CurateError with the first problems and the number of all, if there are any."""
    if problems:
        count = f"{len(problems)} bad row{'s' if len(problems) > 1 else ''}"
        more = [f"… and {len(problems) - LISTED} more"] if len(problems) > LISTED else []
        raise CurateError(
            "\n".join([f"{path}: {count}, nothing was read", *problems[:LISTED], *more]),
            hint="fix or remove these rows; figures over the other rows would not be those of the benchmark",
        )


# Media.


@dataclass(frozen=True)
class Media:
    """Resolves the paths of a row's media and writes embedded images to a cache folder. Does not open the files."""

    folder: Path
    """Folder that relative paths start from."""
    cache: Path | None = None
    """Folder for embedded images, named by the SHA-256 of their bytes; equal images are one file."""

    def images(self, row: Row, column: str) -> tuple[Path, ...]:
        """No image, one or a list: each a path, or {bytes, path} as Hugging Face's ``Image`` stores it.

        Raises BadRowError for any other value and for a path that leaves the folder, and CurateError where there are
        bytes and no cache folder.
        """
        value = row.cells.get(column)
        if value is None:
            return ()
        return tuple(self._image(row, column, image) for image in (value if isinstance(value, list) else [value]))

    def video(self, row: Row, column: str) -> Path | None:
        """Path of the video, a file or a folder of frames; None where there is none. Raises BadRowError."""
        return None if row.cells.get(column) is None else row.media(column, row.text(column), self.folder)

    def _image(self, row: Row, column: str, image: Any) -> Path:
        if isinstance(image, str) and image.strip():
            return row.media(column, image, self.folder)
        if isinstance(image, dict) and isinstance(image.get("bytes"), bytes):
            return self._write(column, image["bytes"])
        if isinstance(image, dict) and isinstance(image.get("path"), str) and image["path"].strip():
            return row.media(column, image["path"], self.folder)
        raise BadRowError(column, image, "a path, or an image as {bytes, path}")

    def _write(self, column: str, content: bytes) -> Path:
        if self.cache is None:
            raise CurateError(
                f"images are embedded in column '{column}', and there is no folder to write them to",
                hint="name a cache folder",
            )
        path = self.cache / (hashlib.sha256(content).hexdigest() + _suffix(column, content))
        if not path.exists():
            self.cache.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
            partial.write_bytes(content)
            partial.replace(path)
        return path


def _suffix(column: str, content: bytes) -> str:
    for begin, suffix in SIGNATURES:
        if content.startswith(begin):
            return suffix
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return ".webp"
    raise BadRowError(column, content[:16], "the bytes of a PNG, JPEG, GIF, BMP or WebP image")


# Helpers of parsers and metrics.


def preferred(
    item_id: str,
    prompt: str,
    chosen: Sequence[str],
    rejected: Sequence[str],
    *,
    source: str,
    images: tuple[Path, ...] = (),
    video: Path | None = None,
) -> Example:
    """An example whose chosen responses share rank 1 and whose rejected responses share the next rank.

    The responses are ordered by a digest of item and response: files list the chosen ones first, which would reveal the
    best position to a model that reads all responses at once.
    """
    ranked = [(text, 1) for text in chosen] + [(text, 1 + len(chosen)) for text in rejected]
    ranked.sort(key=lambda pair: hashlib.sha256(f"{item_id}\0{prompt}\0{pair[0]}".encode()).digest())
    return Example(
        item_id=item_id,
        prompt=prompt,
        responses=tuple(text for text, _ in ranked),
        ranks=tuple(rank for _, rank in ranked),
        images=images,
        video=video,
        source=source,
    )


def hits(examples: Sequence[Example], scores: Scores) -> Float:
    """(I,) top-1 of each example; a tie of the highest scores counts as the share of them that are best."""
    return top1(scores, [example.ranks for example in examples])


def by_group(values: Float, groups: Sequence[str], names: Sequence[str] | None = None) -> dict[str, Figure]:
    """The mean of the values of each group; names: default the groups that occur, in alphabetical order."""
    group = np.array(groups)
    return {name: mean(values, group == name) for name in names or np.unique(group).tolist()}
