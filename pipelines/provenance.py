"""Run ids: digests of step, config, inputs and code, by which a finished run is recognised."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("schemas", "annotations", "curate", "pipelines")


@cache
def code_version() -> str:
    """Return the installed version and a digest of the sources, so that changed code gives another run id."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{version('mr2-curate')}+{digest.hexdigest()[:12]}"


def run_id(step: str, config: dict[str, Any], inputs: dict[str, Any]) -> str:
    """Return 12 hex digits, equal for equal step, config, inputs and code. Config and inputs are JSON values."""
    document = json.dumps([step, config, inputs, code_version()], sort_keys=True)
    return hashlib.sha256(document.encode()).hexdigest()[:12]
