"""The HTTP server of the page: listening, serving, and an orderly stop."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import signal
import socket
import threading

import uvicorn

from annotations.page import connections
from annotations.page.connections import BACKLOG, Quiet, allow_connections, protocol
from annotations.page.site import Site
from schemas.errors import ConflictError


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises CurateError if the address is not available."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        message = f"cannot listen on {host}:{port}: {error.strerror or error}"
        raise ConflictError(message, hint="choose another --host or --port") from error


def address(listener: socket.socket) -> str:
    """The URL of a listening socket, such as http://127.0.0.1:8080."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def make_server(site: Site, *, behind_proxy: bool = False) -> uvicorn.Server:
    """A server of the site, not yet running. It writes no access log, because a path may contain a secret link.

    behind_proxy: all connections come from a proxy, whose headers name the clients.
    """
    most = allow_connections()
    for name in ("asyncio", "uvicorn.error"):
        logger = logging.getLogger(name)
        if not any(isinstance(each, Quiet) for each in logger.filters):
            logger.addFilter(Quiet())
    config = uvicorn.Config(
        site.app(behind_proxy=behind_proxy),
        http=protocol(most, per_address=most if behind_proxy else connections.WAITING_PER_ADDRESS),
        lifespan="off",  # the site has none; a second Ctrl-C would print its traceback
        log_config=None,
        access_log=False,
        proxy_headers=False,  # only with behind_proxy, and the last proxy's only
        server_header=False,
        limit_concurrency=most + BACKLOG,  # more get 503: all of them are answered at the moment
        backlog=BACKLOG,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    site.connections = lambda: len(server.server_state.connections)
    for page in site.pages:
        page.stopping = lambda: server.should_exit  # live views would hold up the stop
    return server


def serve(site: Site, listener: socket.socket, *, behind_proxy: bool = False) -> None:
    """Serve until SIGINT or SIGTERM. Accepted requests are answered first; downloads get 5 more seconds."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # else uvicorn ends the process: campaigns stay open
    server = make_server(site, behind_proxy=behind_proxy)
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again after the orderly stop
        server.run(sockets=[listener])
