"""Whole jobs over a store, as plain functions: ``from pipelines import ingest, denoise, export``."""

from pipelines.annotators import annotators
from pipelines.comparison import compare
from pipelines.denoising import denoise
from pipelines.exporting import export
from pipelines.ingestion import ingest
from pipelines.media import probe_files, probe_media
from pipelines.recipe import load_recipe, run
from pipelines.refreshing import refresh
from pipelines.reporting import report
from pipelines.simulation import simulate
from pipelines.status import status
from pipelines.validation import validate

__all__ = [
    "annotators",
    "compare",
    "denoise",
    "export",
    "ingest",
    "load_recipe",
    "probe_files",
    "probe_media",
    "refresh",
    "report",
    "run",
    "simulate",
    "status",
    "validate",
]
