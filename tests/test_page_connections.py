"""Clients that open connections and send no requests do not keep others out."""

from __future__ import annotations

import logging
import socket
import time
from pathlib import Path

import pytest

from annotations.page import connections, server
from annotations.page.connections import Quiet
from tests.campaigns import make_campaign, pair
from tests.pages import Here, page_of


def slow_clients(here: Here, number: int, sent: bytes = b"GET / HTTP/1.1\r\nhost: x\r\n") -> list[socket.socket]:
    port = int(here.url.rpartition(":")[2])
    found = []
    for _ in range(number):
        found.append(socket.create_connection(("127.0.0.1", port), timeout=5))
        if sent:
            found[-1].sendall(sent)
    return found


def closed(client: socket.socket) -> bool:
    """Whether the server has closed the connection; waits a moment for it."""
    client.settimeout(3)
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nhost: x\r\n"])
def test_half_open_requests_are_closed_and_others_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1.0)
    with page_of(make_campaign(tmp_path / "c", [pair(0)])) as here:
        visit = here.visit("ann")  # a connection that stays open
        clients = slow_clients(here, 150, sent)
        begin = time.monotonic()
        assert visit.vote(visit.open()[0]).status_code == 200
        assert here.visit("max").get("/api/status").status_code == 200
        assert time.monotonic() - begin < 20
        assert all(closed(client) for client in clients)  # some at once, the others after a second
        assert visit.get("/api/view").status_code == 200


def test_the_oldest_of_too_many_waiting_connections_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "WAITING_PER_ADDRESS", 5)
    monkeypatch.setattr(connections, "BRIEF", 0.5)
    with page_of(make_campaign(tmp_path / "c", [pair(0)])) as here:
        clients = slow_clients(here, 7)
        time.sleep(0.6)
        clients += slow_clients(here, 1)
        assert [closed(client) for client in clients[:3]] == [True] * 3
        for client in clients[3:]:
            client.sendall(b"connection: close\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.1 401"


def test_a_class_that_starts_at_the_same_moment_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "BRIEF", 30.0)  # so that a busy machine opens all of them within the time
    with page_of(make_campaign(tmp_path / "c", [pair(0)])) as here:
        clients = slow_clients(here, 3 * connections.WAITING_PER_ADDRESS, sent=b"")
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert {client.recv(12) for client in clients} <= {b"HTTP/1.1 401", b"HTTP/1.1 429"}


def test_connections_beyond_the_limit_replace_those_that_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "allow_connections", lambda: 10)
    with page_of(make_campaign(tmp_path / "c", [pair(0)])) as here:
        visit = here.visit("ann")
        clients = slow_clients(here, 30)
        assert sum(closed(client) for client in clients[:20]) == 20
        assert visit.vote(visit.open()[0]).status_code == 200


def test_messages_beyond_the_limit_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    logger = logging.getLogger("test of a flood")
    quiet = Quiet(lambda: now[0])
    logger.addFilter(quiet)
    try:
        for _ in range(1000):
            logger.warning("accept failed")
        now[0] = 61.0
        logger.warning("accept failed")
    finally:
        logger.removeFilter(quiet)
    assert len(caplog.messages) == connections.MESSAGES + 1
    assert caplog.messages[-1] == "accept failed (980 messages before it were omitted)"
