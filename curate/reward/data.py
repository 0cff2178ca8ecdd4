"""Examples for the reward model, read from shards of ``curate export``, Parquet files and JSONL files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from curate.shards import atomic
from curate.shards.rows import BadRowError, Row, read_rows
from schemas.errors import CurateError, MissingError
from schemas.manifest import Manifest

HINT = "expected a folder of curate export, or a Parquet or JSONL file with prompt, responses, and ranks or rankings"


@dataclass(frozen=True)
class Example:
    """One prompt with N ≥ 1 responses. Media are stored as paths; none is opened."""

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
            ranks=tuple(self.ranks[i] for i in order if self.ranks),
            best_probabilities=tuple(self.best_probabilities[i] for i in order if self.best_probabilities),
        )


def read_examples(path: str | Path, *, media: Path | None = None, config: str = "") -> list[Example]:
    """The examples of a folder of shards, a Parquet or a JSONL file, in file order; ranks may be missing.

    media: folder that relative paths of videos and images start from; default: that of the file. config: of a benchmark
    folder (``4way``, ``pairwise``); default: the first one. Raises CurateError naming file, row and column of the first
    invalid value.

    >>> read_examples("shards/train")[0].responses  # doctest: +SKIP
    ('A ball falls.', 'Nothing.')
    """
    path = Path(path)
    media = media_folder(path, media)
    if path.is_dir():
        return [example for file in _shards(path, config) for example in read_examples(file, media=media)]
    if not path.exists():
        raise MissingError(f"{path}: no such file or folder", hint=HINT)
    examples = []
    for row in read_rows(path):
        if isinstance(row, str):
            raise CurateError(row, hint=HINT)
        try:
            examples.append(_example(row, path, media))
        except BadRowError as error:
            raise CurateError(f"{path}:{row.number}: {error}", hint=HINT) from error
    return examples


def media_folder(path: Path, media: Path | None) -> Path:
    """The folder that relative media paths of the data at ``path`` start from."""
    return media or (path if path.is_dir() else path.parent)


def split(
    examples: Sequence[Example], fraction: float, seed: int, *, media: Path = Path()
) -> tuple[list[Example], list[Example]]:
    """Split examples into (training, held out): about ``fraction`` of the videos (prompts without media) are held out.

    The side of a video depends only on the seed and on its path relative to ``media``.
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


def _example(row: Row, path: Path, media: Path) -> Example:
    """The example of a row. Raises BadRowError."""
    responses = row.texts("responses")
    ranked_by = next((column for column in ("ranks", "rankings") if row.cells.get(column)), "")
    ranks = row.integers(ranked_by, len(responses)) if ranked_by else ()
    if ranks and min(ranks) < 1:
        raise BadRowError(ranked_by, list(ranks), "ranks from 1, 1 = best")
    images = row.texts("images") if row.cells.get("images") else (row.optional_text("image"),)
    confidence, video = row.cells.get("confidence"), row.optional_text("video")
    if confidence is not None and type(confidence) not in (int, float):
        raise BadRowError("confidence", confidence, "a number")
    return Example(
        item_id=row.optional_text("item_id") or f"{path.stem}:{row.number}",
        prompt=row.text("prompt", empty=True),
        responses=responses,
        ranks=ranks,
        video=row.media("video", video, media) if video else None,
        images=tuple(row.media("image", image, media) for image in images if image),
        best_probabilities=row.probabilities("best_probabilities", len(responses)),
        confidence=confidence,
        source=row.optional_text("source"),
    )
