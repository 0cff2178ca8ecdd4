"""A recipe: the jobs of one build, in their fixed order, each with its files and its config. Paths are relative."""

from __future__ import annotations

from pathlib import Path

from schemas.base import Document
from schemas.config import DenoiseConfig, ExportConfig, IngestConfig, SimulateConfig
from schemas.release import ReleaseConfig
from schemas.reward import TrainConfig


class SimulateStep(Document):
    out: Path
    config: SimulateConfig = SimulateConfig()


class IngestStep(Document):
    paths: tuple[str, ...]
    prompts: Path | None = None
    responses: Path | None = None
    config: IngestConfig = IngestConfig()


class DenoiseStep(Document):
    config: DenoiseConfig = DenoiseConfig()


class ExportStep(Document):
    train: Path | None = None
    """Folder of the training shards; none are made when absent."""
    benchmark: Path | None = None
    config: ExportConfig = ExportConfig()
    train_config: ExportConfig | None = None
    """Of the training shards, where theirs is another; the split must be the same."""


class ReleaseStep(Document):
    out: Path = Path("releases")
    """Folder in which NAME-VERSION appears; what is there already is kept apart from."""
    media: Path | None = None
    """Folder that the names of videos start from."""
    previous: tuple[Path, ...] = ()
    """Earlier releases elsewhere to keep apart from."""
    config: ReleaseConfig = ReleaseConfig()


class ReportStep(Document):
    out: Path = Path("report.html")


class CompareStep(Document):
    truth: Path


class TrainStep(Document):
    out: Path
    config: TrainConfig


class Recipe(Document):
    """What ``curate run`` does: simulate, ingest, denoise, export, release (built, then verified), compare, report,
    train, in this order, leaving out absent steps. ``curate refresh`` does ingest, denoise and release for what is new.
    """

    title: str
    store: Path = Path("curate.duckdb")
    simulate: SimulateStep | None = None
    ingest: IngestStep | None = None
    denoise: DenoiseStep | None = None
    export: ExportStep | None = None
    release: ReleaseStep | None = None
    compare: CompareStep | None = None
    report: ReportStep | None = None
    train: TrainStep | None = None
