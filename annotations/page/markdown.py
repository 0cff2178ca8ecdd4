"""A campaign's instructions as HTML: Markdown in which HTML is text, and which loads nothing."""

from __future__ import annotations

from markdown_it import MarkdownIt


def rendered(text: str) -> str:
    """HTML of the Markdown.

    Tags in it are shown, not run; links are those that markdown-it holds to be safe (no javascript:), and images are
    left as text, since the page may load none from elsewhere.

    >>> rendered("Be *fair* to <b>both</b>.")
    '<p>Be <em>fair</em> to &lt;b&gt;both&lt;/b&gt;.</p>\\n'
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    return str(parser.render(text))
