"""Recipes: the jobs of one build in fixed order, each with its files and config. Paths are relative."""

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
    """Folder of the training shards; without it none are written."""
    benchmark: Path | None = None
    config: ExportConfig = ExportConfig()
    train_config: ExportConfig | None = None
    """Config of the training shards if it differs; the split must be the same."""


class ReleaseStep(Document):
    out: Path = Path("releases")
    """Folder in which NAME-VERSION appears; earlier releases in it are checked for leakage."""
    media: Path | None = None
    """Folder that video paths are relative to."""
    previous: tuple[Path, ...] = ()
    """Earlier releases in other folders that are checked for leakage."""
    config: ReleaseConfig = ReleaseConfig()


class ReportStep(Document):
    out: Path = Path("report.html")


class CompareStep(Document):
    truth: Path


class TrainStep(Document):
    out: Path
    config: TrainConfig


class Recipe(Document):
    """The steps of ``curate run``: simulate, ingest, denoise, export, release (built and verified), compare, report,
    train, in this order; absent steps are skipped. ``curate refresh`` runs ingest, denoise and release on new files.
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
