"""Who is asking: the secret link becomes a cookie, which is looked up at every request, so that revoking works at once.

The cookie holds the link's token, so a restart of the server logs nobody out. Scripts cannot read it (HttpOnly) and
other sites cannot send it (SameSite=Strict). A change needs more: JSON, an origin that is ours, and a header whose
value only a page of this origin can have read.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from annotations.page.answers import Denied

HEADER = "x-curate-page"
"""Carries the page's token: from the server with each desk, from the page with each change."""


@dataclass(frozen=True)
class Sessions:
    """The cookie of one campaign; ``url`` is where people reach it, "" where that is the address it listens on."""

    campaign: str
    url: str = ""

    @property
    def cookie(self) -> str:
        """Named by the campaign: cookies know no ports, and two campaigns may run on one host."""
        name = hashlib.sha256(self.campaign.encode()).hexdigest()[:12]
        return f"__Host-curate-{name}" if self.secure else f"curate-{name}"

    @property
    def secure(self) -> bool:
        return self.url.startswith("https://")

    def token(self, request: Request) -> str:
        """The token that the request carries; "" where it has none."""
        return request.cookies.get(self.cookie, "")[:256]

    def enter(self, token: str, page: str) -> Response:
        """The page that sets the cookie and goes on to /.

        It is a page, not a redirect: a browser that comes from a mail or a chat sends no SameSite=Strict cookie along
        a redirect, but it does from a page of ours.
        """
        response = HTMLResponse(page)
        response.set_cookie(self.cookie, token, path="/", httponly=True, samesite="strict", secure=self.secure)
        return response

    def leave(self) -> Response:
        """The cookie is gone."""
        response = Response(status_code=204)
        response.delete_cookie(self.cookie, path="/", httponly=True, samesite="strict", secure=self.secure)
        return response

    def check_change(self, request: Request, token: str) -> None:
        """Raises Denied where a page of another origin may have sent this."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Denied(415, "not-json", "only JSON is taken here")
        if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            raise Denied(403, "other-origin", "this came from another site")
        origin = request.headers.get("origin")
        if origin is not None and not self._ours(origin, request):
            raise Denied(403, "other-origin", "this came from another site")
        if not hmac.compare_digest(request.headers.get(HEADER, "").encode(), page_token(token).encode()):
            raise Denied(403, "no-page-token", "this page is out of date: reload it")

    def _ours(self, origin: str, request: Request) -> bool:
        asked = urlsplit(origin)
        if self.url and (asked.scheme, asked.netloc) == urlsplit(self.url)[:2]:
            return True
        return asked.scheme == request.url.scheme and asked.netloc == request.headers.get("host")


def page_token(token: str) -> str:
    """What a page sends with each change: derived from the link's token, which it does not betray."""
    return hmac.new(token.encode(), b"curate page", hashlib.sha256).hexdigest()[:32]
