"""How a vote file is read: which column holds which field, what its values mean, and how its bytes are read."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from schemas.base import Document
from schemas.choices import Sides


class Constant(Document):
    """The same value in every row, for example one prompt for a leaderboard without prompts: {const = "all"}."""

    const: str


class Joined(Document):
    """The values of several columns as one id: {concat = ["language", "segment"]}."""

    concat: Annotated[tuple[str, ...], Field(min_length=1)]
    sep: str = "-"


class Part(Document):
    """One part of a column, counted from 1: {split = "matchup", by = "__vs__", part = 1}."""

    split: str
    by: Annotated[str, Field(min_length=1)]
    part: Annotated[int, Field(ge=1)]


class Digest(Document):
    """An id computed from a text that has none: {hash = "instruction"}; equal texts have equal ids."""

    hash: str


class ListOf(Document):
    """Several columns as a list, for K responses and their ranks: {list = ["rank1", "rank2", "rank3"]}."""

    list: Annotated[tuple[str, ...], Field(min_length=1)]


Source = str | Constant | Joined | Part | Digest | ListOf
"""Where a field comes from. A text is the name of a column, or short for one of the others: ``'all'`` (in quotes) is a
constant, ``language+segment`` joins columns, ``data.prompt`` is a key of a column of JSON objects. An empty text
disables the field."""


class Scale(Document):
    """A numeric preference between two ends, for example 1.0 (the first response is better) to 2.0 (the second is).

    The cut point is the middle of both ends.
    """

    first: float
    """The end at which the first response is better."""
    second: float
    """The end at which the second response is better."""
    tie_within: Annotated[float, Field(ge=0)] = 0.0
    """Values at most this far from the cut point are ties."""

    @model_validator(mode="after")
    def _check_ends(self) -> Scale:
        if self.first == self.second:
            raise ValueError("the two ends are equal")
        return self


class Melt(Document):
    """Several columns of outcomes, each the vote of one annotator or on one criterion."""

    into: Literal["annotator_id", "criterion"]
    """The field that takes the name of the column."""
    columns: Annotated[tuple[str, ...], Field(min_length=1)]


class Mapping(Document):
    """How to read a vote file whose columns and values have no well-known names."""

    columns: dict[str, Source] = {}
    """Field -> source, for example {"annotator_id": "user"}; an empty column name disables a field."""
    prompt_columns: dict[str, Source] = {}
    """The same for the file of prompts."""
    response_columns: dict[str, Source] = {}
    """The same for the file of responses."""
    outcomes: dict[str, str] = {}
    """Value -> left | right | tie | both_bad, for example {"1": "left"}."""
    scale: Scale | None = None
    """The outcome is a number between two ends."""
    melt: Melt | None = None
    """The outcome is in several columns."""
    sides: Sides = "auto"
    """Whether a row's first response was shown left. "auto": only if the columns are named left and right."""
    time_format: str = ""
    """How times are written, for example "%d/%m/%Y %H:%M" (strftime). Default: ISO 8601 or a number since 1970, or the
    only format that fits the whole column."""
    separator: Annotated[str, Field(max_length=1)] = ""
    """The character between the fields of a CSV file. Default: the most frequent of comma, tab, semicolon and bar in
    the header."""
    quoting: bool = True
    """Whether fields of a CSV file may be quoted. false: a quote is an ordinary character, as in many TSV files."""
    comment: str = ""
    """The first characters of lines of a CSV file that are ignored, for example "#"."""
    rows: str = ""
    """Where the rows of a file that is one JSON object are: the keys of a list of objects, for example "data.items"."""
    encoding: str = ""
    """The encoding of a text file, for example "latin-1". Default: UTF-8."""


class FileMapping(Mapping):
    """The mapping of the files that match a pattern; it takes precedence over the common one."""

    match: str
    """A file name, path or glob."""
    format: str = ""
    """The platform that wrote these files; see IngestConfig.format."""


class Limits(Document):
    """What an input file may contain. Beyond a limit a record becomes a reject, and a whole file an error."""

    depth: Annotated[int, Field(ge=1, le=1000)] = 100
    """Nested lists and objects in a JSON record."""
    uncompressed_gib: Annotated[float, Field(gt=0)] = 64.0
    """Size of a compressed file after decompression, and of what is copied from stdin or a URL."""
    ratio: Annotated[float, Field(gt=1)] = 200.0
    """Size of a gzip file of more than 64 MiB after decompression, as a multiple of its own size."""
    record_mib: Annotated[float, Field(gt=0, le=1024)] = 64.0
    """Size of one record: a line of CSV or JSONL, or an item of a JSON array."""
    digits: Annotated[int, Field(ge=20)] = 1000
    """Consecutive digits of a JSON number."""
    memory_gib: Annotated[float, Field(gt=0)] = 8.0
    """Memory of the process that reads a file (where the system limits it); beyond it the file is damaged there."""
    seconds: Annotated[float, Field(gt=0)] = 600.0
    """Time in which that process must return the next part of a file."""
