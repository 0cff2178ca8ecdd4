"""manifest.json: what an export holds, and the chain of runs behind it."""

from __future__ import annotations

from typing import Any

from schemas.base import Document


class ManifestFile(Document):
    path: str
    """Relative to the manifest."""
    sha256: str
    bytes: int
    rows: int | None
    """None where the file is not a table."""


class ManifestBatch(Document):
    """One ingest behind the export."""

    batch: str
    files: tuple[tuple[str, str], ...]
    """(file name, sha256) of what was read."""
    counts: dict[str, Any]


class ManifestRun(Document):
    """One run behind the export."""

    run: str
    step: str
    config: dict[str, Any]
    inputs: dict[str, Any]
    code_version: str


class Ceiling(Document):
    """What a judge who knows the true order would score, given that labels may be wrong: shares of items, 0 to 1."""

    mean: float
    """Expected: the mean confidence of the items."""
    low: float
    """5% of the posterior draws of the truth are below. Labels of one prompt err together."""
    high: float
    """5% are above."""


class Manifest(Document):
    """Written last: a folder without it is not a finished export. Holds no time and no path outside the folder."""

    kind: str
    """train | benchmark"""
    schema_version: int
    version: str
    """Digest of the files below: moves with the content."""
    run: ManifestRun
    """The export itself."""
    upstream: tuple[ManifestRun, ...]
    """The denoise run it reads."""
    batches: tuple[ManifestBatch, ...]
    """The ingests whose votes the denoise run read, oldest first."""
    counts: dict[str, Any]
    """items, candidates, eligible, difficulty, confidence, ceiling, floor, prompts and left_out, as in ExportReport."""
    files: tuple[ManifestFile, ...]
