"""Published reward benchmarks, read from local files: one module each, registered in ``BENCHMARKS``."""

from __future__ import annotations

from curate.reward.foreign.benchmark import Benchmark
from curate.reward.foreign.registry import BENCHMARKS, detect, read

__all__ = ["BENCHMARKS", "Benchmark", "detect", "read"]
