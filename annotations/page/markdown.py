"""A campaign's instructions as HTML: Markdown in which HTML is text, and which loads nothing."""

from __future__ import annotations

from collections.abc import Sequence

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict


def rendered(text: str) -> str:
    """HTML of the Markdown.

    Tags in it are shown, not run; links are those that markdown-it holds to be safe (no javascript:), and open beside
    the page. An image becomes a link to it, since the page may load none from elsewhere.

    >>> rendered("Be *fair* to <b>both</b>.")
    '<p>Be <em>fair</em> to &lt;b&gt;both&lt;/b&gt;.</p>\\n'
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    parser.add_render_rule("link_open", _beside)
    return str(parser.render(text))


def _beside(renderer: RendererHTML, tokens: Sequence[Token], at: int, options: OptionsDict, _: EnvType) -> str:
    """A link that leaves the page, and the question on it, where it is."""
    tokens[at].attrs |= {"target": "_blank", "rel": "noopener noreferrer"}
    return renderer.renderToken(tokens, at, options, _)
