"""Reverse proxies for tests, such as one that terminates TLS with a certificate of its own, as Caddy does."""

from __future__ import annotations

import datetime
import http.client
import ipaddress
import ssl
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOP = {"connection", "transfer-encoding", "keep-alive", "content-length", "server", "date"}
"""Headers that belong to one connection, or that the proxy writes itself."""


def certificate(folder: Path) -> Path:
    """A file with a key and a certificate of 127.0.0.1 that signs itself."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    private = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    path = folder / "certificate.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


class Forwarding(BaseHTTPRequestHandler):
    """Forwards each request to a server and sends its answer back."""

    protocol_version = "HTTP/1.1"
    upstream: str
    """host:port."""
    added: Mapping[str, str] = MappingProxyType({})
    """Headers of each request that is forwarded."""

    def do_GET(self) -> None:
        self.answer(*self.forward(self.body()))

    def do_POST(self) -> None:
        self.do_GET()

    def body(self) -> bytes:
        """The body of the request."""
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the server's answer. Raises OSError or HTTPException without one."""
        there = http.client.HTTPConnection(self.upstream, timeout=20)
        try:
            there.request(self.command, self.path, body, {**dict(self.headers), **self.added})
            answer = there.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            there.close()

    def answer(self, status: int, headers: Mapping[str, str], body: bytes, *, cut: int | None = None) -> None:
        """Send an answer; with ``cut``, so many bytes of the body, and close the connection."""
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in HOP:
                self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut])
        self.close_connection = self.close_connection or cut is not None

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """A server that ends with its block, and is silent about clients that close a connection."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handle_error(*_)  # type: ignore[arg-type]


@contextmanager
def proxy(handler: type[Forwarding], pem: Path | None = None) -> Iterator[str]:
    """The address of a proxy with this handler; by https with the key and certificate in ``pem``."""
    server = Server(("127.0.0.1", 0), handler)
    if pem:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"{'https' if pem else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@contextmanager
def tls_proxy(upstream: str, pem: Path, client: str = "203.0.113.7") -> Iterator[str]:
    """The https address of a proxy to a server; it says that each request comes from ``client``."""

    class Handler(Forwarding):
        added = MappingProxyType({"X-Forwarded-For": client, "X-Forwarded-Proto": "https"})

    Handler.upstream = urlsplit(upstream).netloc
    with proxy(Handler, pem) as address:
        yield address
