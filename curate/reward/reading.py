"""Examples of shards: folders that ``curate export`` makes, their Parquet files, and the JSONL of the paper's code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from curate.reward.examples import Example
from curate.shards import atomic as publish
from schemas.errors import CurateError
from schemas.manifest import Manifest

HINT = "expected a folder of curate export, or a Parquet or JSONL file with prompt, responses, and ranks or rankings"


def read_examples(path: str | Path, *, media: Path | None = None, config: str = "") -> list[Example]:
    """The examples of a folder or a file, in its order.

    media: the folder that relative paths of videos and images start from; that of the file when None. config: of a
    benchmark's folder, 4way or pairwise; the first one when empty. Ranks may be missing where a file is only scored.
    Raises CurateError naming the file, the row and the column where it is not as it should be.
    """
    path = Path(path)
    media = media_folder(path, media)
    if path.is_dir():
        return [example for file in _shards(path, config) for example in read_examples(file, media=media)]
    if not path.exists():
        raise CurateError(f"{path}: no such file or folder", hint=HINT)
    rows = _rows(path)
    return [_example(row, f"{path}:{number}", path, media) for number, row in enumerate(rows, start=1)]


def media_folder(path: Path, media: Path | None) -> Path:
    """The folder that relative paths of videos and images in the shards at ``path`` start from."""
    return media or (path if path.is_dir() else path.parent)


def split(
    examples: Sequence[Example], fraction: float, seed: int, *, media: Path = Path()
) -> tuple[list[Example], list[Example]]:
    """(training, held out): of the videos (prompts, where there is none) about ``fraction`` are held out, whole.

    Which side one is on depends on the seed and on its name alone: its path from the folder ``media``.
    """
    sides: tuple[list[Example], list[Example]] = ([], [])
    for example in examples:
        shown = (example.video,) if example.video else example.images
        names = [path.relative_to(media) if path.is_relative_to(media) else path for path in shown]
        unit = "\n".join(path.as_posix() for path in names) or example.prompt
        digest = hashlib.sha256(json.dumps([seed, unit]).encode()).digest()
        sides[int.from_bytes(digest[:8], "big") < fraction * 2**64].append(example)
    return sides


def unfit(example: Example, *, soft: bool) -> str:
    """Why the example cannot train, whatever its media hold; empty where it can. soft: its probabilities are needed."""
    if len(example.responses) < 2:
        return "has fewer than two responses"
    if not example.ranks:
        return "has no ranks"
    if len(set(example.ranks)) == 1:
        return "all its ranks are equal: it says nothing"
    if soft and not example.best_probabilities:
        return "has no best_probabilities: export the shards anew, or train on targets = labels"
    return ""


def read_manifest(path: Path) -> Manifest | None:
    """The manifest of a shard folder; None for anything else."""
    return publish.read_manifest(path) if (path / publish.MANIFEST).exists() else None


def _shards(folder: Path, config: str) -> list[Path]:
    manifest = read_manifest(folder)
    if manifest is None:
        files = sorted(folder.glob("*.parquet")) or sorted(folder.glob("*.jsonl"))
    else:
        names = list(manifest.counts["items"])
        if config and config not in names:
            raise CurateError(f"{folder}: has no config {config!r}", hint=f"it has: {', '.join(names)}")
        files = sorted(folder.glob(f"{config or names[0]}-*.parquet"))
    if not files:
        raise CurateError(f"{folder}: holds no shards", hint=HINT)
    return files


def _rows(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        try:
            return pl.read_parquet(path).to_dicts()
        except pl.exceptions.PolarsError as error:
            raise CurateError(f"{path}: not Parquet: {error}", hint=HINT) from error
    rows = []
    # Not splitlines: it also ends a line at characters that JSON texts may hold, such as U+2028.
    for number, line in enumerate(path.read_bytes().removesuffix(b"\n").split(b"\n"), start=1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            raise CurateError(f"{path}:{number}: not JSON: {error}", hint=HINT) from error
        if not isinstance(rows[-1], dict):
            raise CurateError(f"{path}:{number}: not an object", hint=HINT)
    return rows


def _example(row: dict[str, Any], where: str, path: Path, media: Path) -> Example:
    prompt, responses = row.get("prompt"), row.get("responses")
    ranks = row["ranks"] if row.get("ranks") is not None else row.get("rankings") or []
    chances = row.get("best_probabilities") or []
    images = row.get("images") or ([row["image"]] if row.get("image") else [])
    confidence = row.get("confidence")
    if not isinstance(prompt, str):
        raise _bad(where, "prompt", prompt, "a text")
    if not _list_of(str, responses) or not responses:
        raise _bad(where, "responses", responses, "a list of texts")
    if not _list_of(int, ranks) or (ranks and (len(ranks) != len(responses) or min(ranks) < 1)):
        raise _bad(where, "ranks", ranks, f"{len(responses)} whole numbers, 1 = best")
    if not _list_of((int, float), chances) or (
        chances and (len(chances) != len(responses) or min(chances) < 0 or not abs(sum(chances) - 1) < 1e-3)
    ):
        raise _bad(where, "best_probabilities", chances, f"{len(responses)} numbers that sum to 1")
    if not _list_of(str, images):
        raise _bad(where, "images" if row.get("images") else "image", images, "a list of paths")
    if confidence is not None and not _list_of((int, float), [confidence]):
        raise _bad(where, "confidence", confidence, "a number")
    video = _text(row, "video", where)
    return Example(
        item_id=_text(row, "item_id", where) or f"{path.stem}:{where.rpartition(':')[2]}",
        prompt=prompt,
        responses=tuple(responses),
        ranks=tuple(ranks),
        video=media / video if video else None,
        images=tuple(media / image for image in images),
        best_probabilities=tuple(chances),
        confidence=confidence,
        source=_text(row, "source", where),
    )


def _bad(where: str, column: str, value: object, expected: str) -> CurateError:
    return CurateError(f"{where}: column {column!r} holds {value!r}; expected {expected}", hint=HINT)


def _text(row: dict[str, Any], column: str, where: str) -> str:
    """What the column holds; empty where it holds nothing."""
    value = row.get(column)
    if value is not None and not isinstance(value, str):
        raise _bad(where, column, value, "a text")
    return value or ""


def _list_of(kind: type | tuple[type, ...], value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) and not isinstance(item, bool) for item in value)
