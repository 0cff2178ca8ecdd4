"""The engine ``ray``: actors of a Ray cluster. A lost actor or node costs one more computation of its part."""

from __future__ import annotations

import logging
import math
import os
import re
import socket
import time
from typing import Any

from curate.engine.fork_server import search_path
from curate.engine.pool import START, Engine, Worker, WorkerDied, call, load
from schemas.errors import MissingError

MIB = 1 << 20
SAFE = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_worker_niceness": "0"}
"""Environment of a cluster that this process starts: no statistics are sent, every socket is on 127.0.0.1, and workers
have this process's priority, as local ones have (Ray's default is 15 lower)."""
CONNECT = 5.0
"""Seconds within which a cluster must accept a connection."""
NO_CLUSTER = 'start one, or use address = "local"'
ANSI = re.compile(r"\x1b\[[0-9;]*m")


class _Actor:
    """What runs in a worker of Ray."""

    def load(self, function: bytes) -> None:
        self.function = load(function)

    def compute(self, argument: Any) -> Any:
        return call(self.function, argument)


class _Handle:
    """An actor, and the reference of what it computes."""

    def __init__(self, actor: Any, function: bytes) -> None:
        self.actor = actor
        self.reference = actor.load.remote(function)


class RayEngine(Engine):
    """Actors of a Ray cluster, one part at a time each."""

    tries = 3

    def __init__(
        self,
        *,
        workers: int,
        address: str = "local",
        cpus: float = 1.0,
        gpus: float = 0.0,
        memory: int | None = None,
    ) -> None:
        """workers: actors; those that the cluster has no room for start later. address: as of ``EngineConfig``.

        cpus, gpus, memory (MiB): of Ray's resources that each actor takes. Raises CurateError.
        """
        super().__init__(workers=workers)
        try:
            os.environ.update({name: value for name, value in SAFE.items() if name not in os.environ})
            import ray
        except ImportError as error:
            raise MissingError("the engine ray needs Ray", hint="pip install 'mr2-curate[ray]'") from error
        self._ray = ray
        self._owns = not ray.is_initialized()
        if self._owns:
            host = _reachable(address)
            own: dict[str, Any] = {}
            if host in ("local", "127.0.0.1", "localhost"):  # the actors see the same files
                own["runtime_env"] = {"env_vars": {"PYTHONPATH": search_path()}}
            if address == "local":
                own |= {"num_cpus": max(1, math.ceil(workers * cpus)), "include_dashboard": False}
            try:
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise MissingError(f"no Ray cluster at {address}: {error}", hint=NO_CLUSTER) from error
        options: dict[str, Any] = {"num_cpus": cpus, "num_gpus": gpus, "max_restarts": 0}
        if memory is not None:
            options["memory"] = memory * MIB
        self._actors = ray.remote(**options)(_Actor)

    def close(self) -> None:
        """End the actors, and the cluster if this engine has started it."""
        super().close()
        if self._owns and self._ray.is_initialized():
            self._ray.shutdown()

    def _start(self, function: bytes) -> _Handle:
        return _Handle(self._actors.remote(), function)

    def _load(self, worker: Worker) -> None:
        worker.handle.reference = worker.handle.actor.load.remote(self._function)
        worker.started, worker.deadline = False, time.monotonic() + START

    def _give(self, handle: _Handle, argument: Any) -> None:
        handle.reference = handle.actor.compute.remote(argument)

    def _ready(self, handles: list[_Handle], timeout: float) -> list[_Handle]:
        of = {handle.reference: handle for handle in handles}
        if not of:
            return []
        ready, _ = self._ray.wait(list(of), num_returns=1, timeout=timeout)
        return [of[reference] for reference in ready]

    def _result(self, handle: _Handle) -> Any:
        try:
            return self._ray.get(handle.reference)
        except self._ray.exceptions.RayError as error:
            lines = [line for line in ANSI.sub("", str(error)).splitlines() if line.strip()]
            raise WorkerDied(
                lines[-1 if isinstance(error, self._ray.exceptions.RayTaskError) else 0].strip(". ")
            ) from error

    def _end(self, handle: _Handle) -> None:
        self._ray.kill(handle.actor)

    def _start_hint(self) -> str:
        return "ray status shows free resources; ray logs what an actor printed"


def _reachable(address: str) -> str:
    """The host of an address. Raises CurateError where nothing listens; Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return address
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT).close()
    except (OSError, ValueError) as error:
        raise MissingError(f"no Ray cluster at {address}: {error}", hint=NO_CLUSTER) from error
    return host
