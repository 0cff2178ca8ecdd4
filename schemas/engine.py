"""The settings of the engine: where heavy work runs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Document

EngineKind = Literal["local", "ray"]


class EngineConfig(Document):
    """Where heavy work runs. Results do not depend on it."""

    kind: EngineKind = "local"
    """local: processes of this machine; ray: actors of a Ray cluster (extra "ray")."""
    workers: Annotated[int, Field(ge=1)] | None = None
    """Workers; null: as many as the job can use on this machine."""
    address: str = "local"
    """Of a running Ray cluster: HOST:PORT, ray://HOST:PORT, or auto. local: one on this machine, for this job only."""
    cpus: Annotated[float, Field(ge=0)] = 1.0
    """Cores of Ray that a worker takes."""
    gpus: Annotated[float, Field(ge=0)] = 0.0
    """GPUs of Ray that a worker takes."""
    memory: Annotated[int, Field(ge=1)] | None = None
    """MiB of memory of Ray that a worker takes; null: not counted."""
