"""A training mixture: its recipe (sources, filters, benchmarks to keep apart from), and the counts of its stages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from schemas.base import Document
from schemas.leakage import LeakConfig, LeakRule

Scalar = bool | int | float | str


class MixtureSource(Document):
    """One preference dataset as downloaded: a snapshot folder of the Hub, or one file."""

    kind: str
    """Which dataset it is: a key of ``curate.mixture.converters.CONVERTERS``."""
    path: Path
    """A folder, or a .parquet, .jsonl or .json file."""
    name: str = ""
    """In counts and in the column source; default: the kind. Unique within the recipe."""
    files: tuple[str, ...] = ()
    """Patterns of the files to read in the folder; default: those of the kind."""
    media: Path | None = None
    """Folder that relative paths of images and videos start from; default: the folder of the path."""
    label: str = ""
    """Which of the dataset's judgments ranks the responses; default and choices depend on the kind."""
    where: dict[str, Scalar | tuple[Scalar, ...]] = {}
    """Column -> the value, or values, of the rows to read."""
    min_responses: Annotated[int, Field(ge=2)] = 2
    max_responses: Annotated[int, Field(ge=2)] | None = None
    """Items with fewer, or more, responses are left out."""
    cap: Annotated[int, Field(ge=1)] | None = None
    """At most so many items, drawn at random; a larger cap draws the same ones and more."""
    weight: Annotated[float, Field(gt=0, le=100)] = 1.0
    """Copies of each item: 0.5 draws half of them at random, 2 writes each twice."""

    @property
    def key(self) -> str:
        return self.name or self.kind


class MixtureBenchmark(Document):
    """Prompts that no training item may repeat: a benchmark's file, one of our releases, or any file of prompts."""

    path: Path
    kind: str = "auto"
    """auto: a release, an export, or a published benchmark by its columns; the name of a published benchmark; or
    prompts: a file with a column prompt, question, query or text, and optionally image or video."""
    name: str = ""
    """In counts; default: the file's or folder's name. Unique within the recipe."""
    media: Path | None = None
    """Folder that relative paths of images and videos start from; default: that of the file."""
    text_only: bool = False
    """Compare questions alone, with every training item, where its media are not at hand."""
    rename: dict[str, str] = {}
    """Column of the file -> column of the benchmark."""

    @property
    def key(self) -> str:
        return self.name or self.path.stem


class MixtureConfig(Document):
    """The recipe of ``curate mix``. Relative paths start from the folder of the recipe."""

    title: str = "Training mixture"
    seed: int = 0
    """Of caps, weights and the order of items."""
    rows_per_shard: Annotated[int, Field(ge=1)] = 10_000
    sources: Annotated[tuple[MixtureSource, ...], Field(min_length=1)]
    """The earlier source keeps what two sources share."""
    benchmarks: tuple[MixtureBenchmark, ...] = ()
    leakage: LeakConfig = LeakConfig()
    """When two prompts count as the same; ``on_leak`` and ``unhashed_videos`` have no effect here."""

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        for what, entries in (("sources", self.sources), ("benchmarks", self.benchmarks)):
            keys = [entry.key for entry in entries]
            if twice := next((key for key in keys if keys.count(key) > 1), ""):
                raise ValueError(f"two of the {what} are called {twice!r}: give each a name")
        return self


class SourceCounts(Document):
    """What became of the rows of one source, stage by stage.

    read + copies = invalid + filtered + merged + contaminated + duplicates + capped + written.
    """

    source: str
    kind: str
    dataset: str
    """On the Hub."""
    licence: str
    """As its card states it; empty if not verified."""
    read: int = 0
    invalid: dict[str, int] = {}
    """Reason -> rows that are not what the kind promises."""
    filtered: dict[str, int] = {}
    """Reason -> rows or items left out by the recipe, or without a preference."""
    merged: int = 0
    """Rows that became part of another item of the same prompt."""
    contaminated: dict[str, int] = {}
    """Benchmark -> items that repeat a prompt or medium of it."""
    duplicates: dict[str, int] = {}
    """Earlier source -> items that it has, too."""
    capped: int = 0
    copies: int = 0
    """Items that the weight added, or (negative) left out."""
    written: int = 0
    kept_apart: int = 0
    """Items of one prompt that give no single order, such as contradictory pairs; they stay as they are."""
    repeated_answers: int = 0
    """Identical answers that were merged within a row."""
    examples: dict[str, str] = {}
    """Reason of invalid -> the first such row, with its value."""


class MixtureReport(Document):
    """The result of ``curate mix``."""

    out: str
    version: str = ""
    """Digest of the files."""
    items: int
    media: int
    """Images and videos."""
    bytes: int = 0
    sources: tuple[SourceCounts, ...]
    benchmarks: dict[str, int]
    """Benchmark -> its prompts."""
    responses: dict[str, int]
    """Number of responses -> items."""

    @property
    def contaminated(self) -> dict[str, int]:
        """Benchmark -> items of all sources that were left out because they repeat it."""
        return {name: sum(one.contaminated.get(name, 0) for one in self.sources) for name in self.benchmarks}


class RemovedItem(Document):
    """One line of removed.jsonl: an item that was left out because of another prompt, with the evidence."""

    item: str
    """source/file:row."""
    why: Literal["contaminated", "duplicates"]
    of: str
    """The benchmark, or the earlier source."""
    other: str
    """The id of its item."""
    rule: LeakRule
    distance: float | None
    """Of the media, 0 (equal) to 1; null if they are not compared."""
    similarity: float
    """Of the questions, 0 to 1."""
