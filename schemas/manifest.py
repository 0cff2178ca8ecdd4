"""manifest.json: the files and counts of an export or release, and the runs behind it."""

from __future__ import annotations

from typing import Any

from pydantic import field_validator

from schemas.base import Document


class ManifestFile(Document):
    path: str
    """Relative to the manifest."""
    sha256: str
    bytes: int
    rows: int | None
    """None if the file is not a table."""


class ManifestBatch(Document):
    """One ingest behind the export."""

    batch: str
    files: tuple[tuple[str, str], ...]
    """(file name, sha256) of the files read."""
    counts: dict[str, Any]


class ManifestRun(Document):
    """One run behind the export."""

    run: str
    step: str
    config: dict[str, Any]
    inputs: dict[str, Any]
    code_version: str


class Ceiling(Document):
    """The score of a judge that knows the true order, given that labels may be wrong: share of items, 0 to 1."""

    mean: float
    """Expected score: the mean confidence of the items."""
    low: float
    """5% quantile over posterior draws of the true strengths. Label errors within a prompt are correlated."""
    high: float
    """95% quantile."""


class Manifest(Document):
    """Written last: a folder without it is no finished export. It holds no time and no path outside the folder."""

    kind: str
    """train | benchmark"""
    schema_version: int
    version: str
    """Digest of the files below: changes with the content."""
    run: ManifestRun
    """The export itself."""
    upstream: tuple[ManifestRun, ...]
    """The denoise run whose rankings are exported."""
    batches: tuple[ManifestBatch, ...]
    """The ingests whose votes the denoise run used, oldest first."""
    counts: dict[str, Any]
    """items, candidates, eligible, difficulty, confidence, ceiling, floor, prompts and excluded, as in ExportReport."""
    files: tuple[ManifestFile, ...]

    @field_validator("counts", mode="before")
    @classmethod
    def _current_names(cls, counts: Any) -> Any:
        """Accept the names of counts in manifests written before 0.2."""
        if not isinstance(counts, dict):
            return counts
        found = {RENAMED_COUNTS.get(name, name): value for name, value in counts.items()}
        if isinstance(found.get("agreement"), dict):
            agreement = found["agreement"]
            found["agreement"] = {RENAMED_COUNTS.get(name, name): value for name, value in agreement.items()}
        return found


RENAMED_COUNTS = {"left_out": "excluded", "contradicted": "disagreement"}
"""Old name -> current name of counts that were renamed."""
