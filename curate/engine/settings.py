"""An engine from its settings."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from curate.engine.local import LocalEngine
from curate.engine.pool import Engine
from curate.processors import cores
from schemas.engine import EngineConfig


def open_engine(config: EngineConfig | None, *, workers: int | None = None) -> Engine:
    """Return the engine of the settings; None: processes of this machine.

    workers: their number where the settings have none; default: one per core.

    Raises CurateError where ray is not installed, or no cluster answers at the address.
    """
    config = config or EngineConfig()
    size = config.workers or workers or cores()
    if config.kind == "local":
        return LocalEngine(workers=size)
    from curate.engine.ray import RayEngine

    return RayEngine(workers=size, address=config.address, cpus=config.cpus, gpus=config.gpus, memory=config.memory)


def engine_or_none(config: EngineConfig | None, *, workers: int | None = None) -> AbstractContextManager[Engine | None]:
    """Return the engine of the settings; None where there are none: the job then computes in its own process."""
    return nullcontext() if config is None else open_engine(config, workers=workers)
