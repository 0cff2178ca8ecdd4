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
    config: dict[str, Any] = {}
    """How the files were read: mapping and rules (IngestConfig); empty in a manifest of an earlier version."""


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


class FragilityFigures(Document):
    """How few votes the labels of some items rest on."""

    labels: int
    """Items with a best response."""
    disagreeing: int
    """Labels of fragility 0: the strengths favour another response with all votes."""
    one: int
    """Labels of fragility 1."""
    none: int
    """Labels without a fragility: no set of votes that changes them was found."""
    median: int | None
    """At least half of the labels have this fragility, or none; null if at least half have none."""

    @property
    def summary(self) -> str:
        """That in a sentence."""
        parts = [f"{self.one:,} of {self.labels:,} labels change without one vote"]
        parts += [f"{self.disagreeing:,} disagree with the strengths by all votes"] if self.disagreeing else []
        parts += [f"half of the labels need at least {self.median:,} votes"] if self.median is not None else []
        parts += [f"no set of votes was found that changes {self.none:,}"] if self.none else []
        return ", ".join(parts)


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
