"""A real server of the reward model on a loopback port."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import uvicorn

from curate.reward.serving.server import Service


class Running:
    """A server in a thread, and a client."""

    def __init__(self, service: Service) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.server = uvicorn.Server(uvicorn.Config(service.app(), log_config=None))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listener]})
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.client = httpx.Client(base_url=self.url, timeout=20, trust_env=False)
        self.thread.start()

    def post(self, path: str, body: Any) -> httpx.Response:
        return self.client.post(path, json=body)

    def status(self) -> int:
        return self.client.get("/health").status_code

    def depth(self) -> int:
        return int(self.client.get("/health").json()["queue_depth"])

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive()
        self.client.close()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)
