"""The client's address and scheme behind a reverse proxy, and a limit on the requests of one address."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

AT_ONCE = 500
"""Requests of one address that are answered at once: a quarter of all. Whole offices share an address."""
PAIR = re.compile(r'(?:^|;)\s*(for|proto)\s*=\s*("[^"]*"|[^;]*)', re.IGNORECASE)


def outer_client(headers: Headers) -> tuple[str, str]:
    """Address and scheme of the client by the headers of the proxy; "" for what they do not say, or say wrongly.

    A client can send such headers, too, and proxies append to them: only the last entry is the proxy's own. Forwarded
    (RFC 7239) counts where there is no X-Forwarded-For.

    >>> outer_client(Headers({"x-forwarded-for": "10.9.9.9, 203.0.113.7", "x-forwarded-proto": "https"}))
    ('203.0.113.7', 'https')
    >>> outer_client(Headers({"forwarded": 'for=1.2.3.4, for="[2001:db8::1]:4711";proto=https'}))
    ('2001:db8::1', 'https')
    """
    address, scheme = _last(headers, "x-forwarded-for"), _last(headers, "x-forwarded-proto")
    if not address:
        pairs = {name.lower(): value.strip().strip('"') for name, value in PAIR.findall(_last(headers, "forwarded"))}
        address, scheme = pairs.get("for", ""), scheme or pairs.get("proto", "")
    scheme = scheme.lower()
    return _address(address), scheme if scheme in ("http", "https") else ""


def _last(headers: Headers, name: str) -> str:
    return ",".join(headers.getlist(name)).rpartition(",")[2].strip()


def _address(text: str) -> str:
    """An IP address, without its port and brackets; "" for anything else."""
    bracketed = re.fullmatch(r"\[(.*)\](:\d+)?", text)
    bare = bracketed[1] if bracketed else re.sub(r"^([\d.]+):\d+$", r"\1", text)
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return ""
    return str(getattr(address, "ipv4_mapped", None) or address)  # ::ffff:127.0.0.1 where the server listens on ::


class BehindProxy:
    """ASGI middleware: the client and the scheme are those that the proxy names.

    The proxy is on this machine or in a private network: what other peers say is ignored.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        peer = _address((scope.get("client") or ("",))[0])
        if scope["type"] == "http" and peer and ipaddress.ip_address(peer).is_private:
            address, scheme = outer_client(Headers(scope=scope))
            scope["client"] = (address, 0) if address else scope["client"]
            scope["scheme"] = scheme or scope["scheme"]
        await self.app(scope, receive, send)


class PerAddress:
    """ASGI middleware: at most ``AT_ONCE`` requests of an address are answered at once, and more get 429."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.running: Counter[str] = Counter()
        """Address -> requests that are being answered."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        address = (scope.get("client") or ("",))[0]
        if self.running[address] >= AT_ONCE:
            refusal = PlainTextResponse("too many requests at once", 429, headers={"retry-after": "5"})
            return await refusal(scope, receive, send)
        self.running[address] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.running[address] -= 1
            if not self.running[address]:
                del self.running[address]
