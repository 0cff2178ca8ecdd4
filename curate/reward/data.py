"""Examples for the reward model, read from shards of ``curate export``, Parquet files and JSONL files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from curate.shards import atomic
from schemas.errors import CurateError
from schemas.manifest import Manifest

HINT = "expected a folder of curate export, or a Parquet or JSONL file with prompt, responses, and ranks or rankings"


@dataclass(frozen=True)
class Example:
    """One prompt with N ≥ 1 responses. Media are stored as paths; nothing is read from disk."""

    item_id: str
    """Identifies the example in errors and tables; unique within its file."""
    prompt: str
    responses: tuple[str, ...]
    ranks: tuple[int, ...] = ()
    """(N,) 1 is best, equal responses share a rank; empty where unknown."""
    video: Path | None = None
    images: tuple[Path, ...] = ()
    best_probabilities: tuple[float, ...] = ()
    """(N,) P(response i is the best) from the denoiser, sums to 1; empty where unknown."""
    confidence: float | None = None
    """P(the labelled best response is the best); None where the best rank is shared or the value is unknown."""
    source: str = ""
    """Data set or category; metrics are broken down by it."""

    @property
    def best(self) -> tuple[int, ...]:
        """0-based positions of the responses with the best rank."""
        return tuple(i for i, rank in enumerate(self.ranks) if rank == min(self.ranks))

    def permuted(self, order: Sequence[int]) -> Example:
        """The same example with response ``order[k]`` at position k."""
        return replace(
            self,
            responses=tuple(self.responses[i] for i in order),
            ranks=tuple(self.ranks[i] for i in order) if self.ranks else (),
            best_probabilities=tuple(self.best_probabilities[i] for i in order) if self.best_probabilities else (),
        )


def read_examples(path: str | Path, *, media: Path | None = None, config: str = "") -> list[Example]:
    """Read the examples of a folder or file, in file order.

    Parameters
    ----------
    path : str or Path
        A folder of shards, a Parquet file or a JSONL file. Ranks may be missing (files to score).
    media : Path, optional
        Folder that relative paths of videos and images start from; default: the folder of the file.
    config : str
        Config of a benchmark folder (``4way``, ``pairwise``); default: the first one.

    Raises
    ------
    CurateError
        Names file, row and column of the first invalid value.

    Examples
    --------
    >>> read_examples("shards/train")[0].responses  # doctest: +SKIP
    ('A ball falls.', 'Nothing.')
    """
    path = Path(path)
    media = media_folder(path, media)
    if path.is_dir():
        return [example for file in _shards(path, config) for example in read_examples(file, media=media)]
    if not path.exists():
        raise CurateError(f"{path}: no such file or folder", hint=HINT)
    return [_example(row, f"{path}:{number}", path, media) for number, row in enumerate(_rows(path), start=1)]


def media_folder(path: Path, media: Path | None) -> Path:
    """The folder that relative media paths of the data at ``path`` start from."""
    return media or (path if path.is_dir() else path.parent)


def split(
    examples: Sequence[Example], fraction: float, seed: int, *, media: Path = Path()
) -> tuple[list[Example], list[Example]]:
    """Split examples into (training, held out): about ``fraction`` of the videos are held out.

    All examples of a video (of a prompt, where there is no media) fall on the same side, which depends only on the
    seed and on the media path relative to ``media``.
    """
    sides: tuple[list[Example], list[Example]] = ([], [])
    for example in examples:
        files = (example.video,) if example.video else example.images
        names = [path.relative_to(media) if path.is_relative_to(media) else path for path in files]
        unit = "\n".join(path.as_posix() for path in names) or example.prompt
        digest = hashlib.sha256(json.dumps([seed, unit]).encode()).digest()
        sides[int.from_bytes(digest[:8], "big") < fraction * 2**64].append(example)
    return sides


def reason_to_skip(example: Example, *, soft: bool) -> str:
    """Why an example cannot train, before its media are read; empty where it can. soft: needs best_probabilities."""
    if len(example.responses) < 2:
        return "has fewer than two responses"
    if not example.ranks:
        return "has no ranks"
    if len(set(example.ranks)) == 1:
        return "all its ranks are equal"
    if soft and not example.best_probabilities:
        return "has no best_probabilities: export the shards again, or train with targets = labels"
    return ""


def read_manifest(path: Path) -> Manifest | None:
    """The manifest of a shard folder; None where there is none."""
    return atomic.read_manifest(path) if (path / atomic.MANIFEST).exists() else None


def _shards(folder: Path, config: str) -> list[Path]:
    """The files of a folder: those of a config where there is a manifest, else all Parquet or all JSONL files."""
    manifest = read_manifest(folder)
    if manifest is None:
        files = sorted(folder.glob("*.parquet")) or sorted(folder.glob("*.jsonl"))
    else:
        names = list(manifest.counts["items"])
        if config and config not in names:
            raise CurateError(f"{folder}: has no config {config!r}", hint=f"configs: {', '.join(names)}")
        files = sorted(folder.glob(f"{config or names[0]}-*.parquet"))
    if not files:
        raise CurateError(f"{folder}: contains no shards", hint=HINT)
    return files


def _rows(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        try:
            return pl.read_parquet(path).to_dicts()
        except pl.exceptions.PolarsError as error:
            raise CurateError(f"{path}: not Parquet: {error}", hint=HINT) from error
    rows = []
    # Not splitlines, which also splits at characters that are valid inside JSON strings, such as U+2028.
    for number, line in enumerate(path.read_bytes().removesuffix(b"\n").split(b"\n"), start=1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            raise CurateError(f"{path}:{number}: not JSON: {error}", hint=HINT) from error
        if not isinstance(rows[-1], dict):
            raise CurateError(f"{path}:{number}: not an object", hint=HINT)
    return rows


def _example(row: dict[str, Any], where: str, path: Path, media: Path) -> Example:
    """The example of a row. where: path and line, for errors. Raises CurateError naming the column."""

    def invalid(column: str, value: object, expected: str) -> CurateError:
        return CurateError(f"{where}: column {column!r} holds {value!r}; expected {expected}", hint=HINT)

    def text(column: str) -> str:
        value = row.get(column)
        if value is not None and not isinstance(value, str):
            raise invalid(column, value, "a text")
        return value or ""

    prompt, responses = row.get("prompt"), row.get("responses")
    ranks = row["ranks"] if row.get("ranks") is not None else row.get("rankings") or []
    probabilities = row.get("best_probabilities") or []
    images = row.get("images") or ([row["image"]] if row.get("image") else [])
    confidence = row.get("confidence")
    if not isinstance(prompt, str):
        raise invalid("prompt", prompt, "a text")
    if not _is_list_of(str, responses) or not responses:
        raise invalid("responses", responses, "a list of texts")
    if not _is_list_of(int, ranks) or (ranks and (len(ranks) != len(responses) or min(ranks) < 1)):
        raise invalid("ranks", ranks, f"{len(responses)} whole numbers, 1 = best")
    if not _is_list_of((int, float), probabilities) or (
        probabilities
        and (len(probabilities) != len(responses) or min(probabilities) < 0 or not abs(sum(probabilities) - 1) < 1e-3)
    ):
        raise invalid("best_probabilities", probabilities, f"{len(responses)} numbers that sum to 1")
    if not _is_list_of(str, images):
        raise invalid("images" if row.get("images") else "image", images, "a list of paths")
    if confidence is not None and not _is_list_of((int, float), [confidence]):
        raise invalid("confidence", confidence, "a number")
    video = text("video")
    return Example(
        item_id=text("item_id") or f"{path.stem}:{where.rpartition(':')[2]}",
        prompt=prompt,
        responses=tuple(responses),
        ranks=tuple(ranks),
        video=media / video if video else None,
        images=tuple(media / image for image in images),
        best_probabilities=tuple(probabilities),
        confidence=confidence,
        source=text("source"),
    )


def _is_list_of(kind: type | tuple[type, ...], value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) and not isinstance(item, bool) for item in value)
