"""A hook of the site: the search in files that a browser opens from disk needs worker.js, which is not fetched."""

from __future__ import annotations

from typing import Any

from mkdocs.utils import get_relative_url

FETCHED = "https://unpkg.com/iframe-worker/shim"


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Return a page with our own script in place of the one that the theme would fetch."""
    return output.replace(FETCHED, get_relative_url("worker.js", page.url))


def on_post_template(output_content: str, **_: Any) -> str:
    """The same for pages without a source, which are at the top of the site."""
    return output_content.replace(FETCHED, "worker.js")
