"""The page as a server of its own: how it starts, and how it stops in order."""

from __future__ import annotations

import contextlib
import ipaddress
import socket

import uvicorn

from annotations.campaign.service import Service
from annotations.page.app import Page
from annotations.page.limits import STANDARD, Limits
from annotations.page.sessions import Sessions
from schemas.errors import CurateError

HEAD_BYTES = 65_536
"""Of a request's line and headers; who sends more is cut off."""
CONNECTIONS = 2_000
"""At once; more are answered with 503."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises CurateError where the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        message = f"cannot listen on {host}:{port}: {error.strerror or error}"
        raise CurateError(message, hint="choose another --host or --port") from error


def address(listener: socket.socket) -> str:
    """http://127.0.0.1:8080"""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def only_here(host: str) -> bool:
    """Whether only this machine can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def server(service: Service, campaign: str, *, url: str = "", limits: Limits = STANDARD) -> uvicorn.Server:
    """A server of the page that nobody runs yet. No request is logged: its path may be a secret link."""
    app = Page(service, Sessions(campaign, url), limits).app()
    config = uvicorn.Config(
        app,
        http="h11",  # httptools, which uvicorn takes where it is installed, holds heads of any size
        h11_max_incomplete_event_size=HEAD_BYTES,
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=5,
    )
    return uvicorn.Server(config)


def serve(service: Service, campaign: str, listener: socket.socket, *, url: str = "") -> None:
    """Serve until SIGINT or SIGTERM. What was accepted is answered first, downloads of videos for 5 seconds at most."""
    running = server(service, campaign, url=url)
    with contextlib.suppress(KeyboardInterrupt):  # raised again by uvicorn after it has stopped in order
        running.run(sockets=[listener])
