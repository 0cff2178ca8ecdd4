"""An engine from its settings, and maps with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from curate.engine.local import LocalEngine
from curate.engine.pool import Engine, Part
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


def cluster(config: EngineConfig | None) -> AbstractContextManager[object]:
    """Keep one Ray cluster for all engines that are opened meanwhile, if this process starts it; else do nothing."""
    return open_engine(config) if config is not None else nullcontext()


def map_parts(
    function: Callable[[Any], Any],
    parts: Iterable[Part],
    *,
    engine: EngineConfig | None,
    workers: int | None = None,
    timeout: float = math.inf,
) -> Iterator[Any]:
    """Yield the function's result for each part in order; None: without an engine, in this process.

    function: picklable. workers: as of ``open_engine``. timeout: seconds for one part, with an engine. Raises what the
    function raised, and PartError for a part whose worker died or took too long.

    Examples
    --------
    >>> list(map_parts(len, [Part("a", [1, 2]), Part("b", [])], engine=None))
    [2, 0]
    """
    given = list(parts)
    if engine is None or not given:
        yield from (function(part.argument) for part in given)
        return
    with open_engine(engine, workers=workers) as opened:
        yield from opened.results(function, given, timeout=timeout)
