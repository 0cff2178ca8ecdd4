"""Pages that need no script, in the languages of the voting page: messages, and the frame of the crowd's pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from types import MappingProxyType

from starlette.requests import Request
from starlette.responses import HTMLResponse

from annotations.page.files import template
from annotations.page.security import page_token, policy
from annotations.page.texts import choose_language, direction, plain_texts

NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Plain:
    """Makes pages for one visitor. root: the path of the campaign on the server. token: of the visitor's link."""

    language: str
    root: str = ""
    token: str = ""

    @classmethod
    def of(cls, request: Request, wanted: str = "", *, root: str = "", token: str = "") -> Plain:
        """In the wanted language, else in that of the browser."""
        return cls(choose_language(wanted, request.headers.get("accept-language", "")), root, token)

    def text(self, key: str) -> str:
        """The text of a key."""
        found = plain_texts(self.language)[key]
        assert isinstance(found, str), f"{key} has plural forms"
        return found

    def t(self, key: str, **values: object) -> str:
        """The text of a key as HTML, with {name} replaced by the value of that name."""
        return escape(self.text(key).format_map(values))

    def page(
        self,
        title: str,
        body: str,
        *,
        status: int = 200,
        refresh: bool = False,
        wide: bool = False,
        directives: Mapping[str, str] = NONE,
    ) -> HTMLResponse:
        """A page of HTML. refresh: open the campaign's page at once. directives: of its content security policy."""
        head = f'<meta http-equiv="refresh" content="0;url={self.root}/">' if refresh else ""
        parts = {"lang": self.language, "dir": direction(self.language), "kind": "wide" if wide else "message"}
        text = template("plain.html", **parts, head=head, title=title, body=body)
        response = HTMLResponse(text, status, headers={"vary": "accept-language"})
        own = {"form-action": "'self'"} if "<form" in body else {}
        if own or directives:
            response.headers["content-security-policy"] = policy({**own, **directives})
            # With no-referrer, browsers send a form with Origin: null.
            response.headers["referrer-policy"] = "same-origin"
        return response

    def message(self, title: str, *texts: str, status: int = 200, directives: Mapping[str, str] = NONE) -> HTMLResponse:
        """A page of one paragraph, by the keys of its title and its sentences."""
        body = f"<p>{' '.join(map(self.t, texts))}</p>"
        return self.page(self.t(title), body, status=status, directives=directives)

    def welcome(self, link: str) -> HTMLResponse:
        """A page of ours that opens the campaign's: only then do browsers send a SameSite=Strict cookie."""
        return self.page(self.t("welcome"), f"<p>{self.link('', link)}</p>", refresh=True)

    def link(self, path: str, key: str, kind: str = "") -> str:
        """A link to a path of the campaign. kind: the classes of a link that looks like a button."""
        look = f' class="{kind}"' if kind else ""
        return f'<a{look} href="{self.root}/{path}">{self.t(key)}</a>'

    def form(self, step: str, content: str) -> str:
        """A form that is posted to /join/{step} with the page token."""
        hidden = f'<input type="hidden" name="page" value="{page_token(self.token)}">'
        return f'<form method="post" action="{self.root}/join/{step}">{hidden}{content}</form>'

    def button(self, key: str) -> str:
        """The main button of a form."""
        return f'<button class="main">{self.t(key)}</button>'
