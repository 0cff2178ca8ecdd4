"""Headers that every answer carries: nothing from elsewhere runs, nothing is framed, guessed, leaked or kept."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "media-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",  # a browser that knows it refuses innerHTML altogether
    )
)
FIXED = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"camera=(), microphone=(), geolocation=()",
    b"x-robots-tag": b"noindex, nofollow",
}
CACHE = b"cache-control"


class SafeHeaders:
    """ASGI middleware: FIXED on every answer, and Cache-Control: no-store where the answer says nothing of caches."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [header for header in message.get("headers", ()) if header[0] not in FIXED]
                if all(name != CACHE for name, _ in own):
                    own.append((CACHE, b"no-store"))
                message["headers"] = [*own, *FIXED.items()]
            await send(message)

        await self.app(scope, receive, guarded if scope["type"] == "http" else send)
