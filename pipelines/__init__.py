"""Whole jobs over a store, as plain functions: ``from pipelines import ingest, denoise, export``."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.annotator_report import annotators
    from pipelines.auditing import audit
    from pipelines.comparison import compare
    from pipelines.denoising import denoise
    from pipelines.examples import example
    from pipelines.explanation import explain
    from pipelines.exporting import export
    from pipelines.ingestion import ingest
    from pipelines.media import probe_files, probe_media
    from pipelines.mixing import mix
    from pipelines.ranking import rank
    from pipelines.recipe import load_recipe, run
    from pipelines.refreshing import refresh
    from pipelines.reporting import report
    from pipelines.simulation import simulate
    from pipelines.store_status import status
    from pipelines.validation import validate

__all__ = [
    "annotators",
    "audit",
    "compare",
    "denoise",
    "example",
    "explain",
    "export",
    "ingest",
    "load_recipe",
    "mix",
    "probe_files",
    "probe_media",
    "rank",
    "refresh",
    "report",
    "run",
    "simulate",
    "status",
    "validate",
]

_MODULES = {
    "annotators": "annotator_report",
    "audit": "auditing",
    "compare": "comparison",
    "denoise": "denoising",
    "example": "examples",
    "explain": "explanation",
    "export": "exporting",
    "ingest": "ingestion",
    "load_recipe": "recipe",
    "mix": "mixing",
    "probe_files": "media",
    "probe_media": "media",
    "rank": "ranking",
    "refresh": "refreshing",
    "report": "reporting",
    "run": "recipe",
    "simulate": "simulation",
    "status": "store_status",
    "validate": "validation",
}
"""Job -> its module, imported at first use. No job has the name of a module: an import would hide the job."""


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"pipelines.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'pipelines' has no attribute {name!r}")
