"""Markdown of answers as a tree of elements, which the page's script builds without any HTML from others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from html import escape
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from annotations.page.formulas import formulas, mathml

Tree = list[Any]
"""[tag, child, …]; a child is a text or a tree. An ordered list has the tag "ol 3" if it starts at 3. The elements of
a formula have their attributes before their children."""

TEXT = {"text", "softbreak", "paragraph_open", "paragraph_close", "inline"}
"""Tokens of a text without Markdown, which is shown as it is, with its spaces and line breaks."""


@lru_cache(maxsize=8192)
def markup(text: str) -> Tree | None:
    """The tree of a text; None for a text without Markdown.

    HTML stays text. The target of a link and the address of an image are shown and not opened. Formulas in LaTeX become
    MathML; one that cannot be converted is shown as it is written, as code.

    >>> markup("Put it on the **apron**.")
    ['div', ['p', 'Put it on the ', ['strong', 'apron'], '.']]
    >>> markup("No Markdown\\nhere: 2 * 3 * 4 < 5_000_000") is None
    True
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    tokens = formulas(parser).parse(text)
    if all(each.type in TEXT for token in tokens for each in (token, *(token.children or ()))):
        return None
    root: Tree = ["div"]
    _build(tokens, root)
    return root


def html_of(text: str, *, markdown: bool) -> str:
    """The HTML that the page's script builds from ``markup``, for pages without a script.

    >>> html_of("# Why\\n\\n1 < 2 **and** [so](https://a.example) on", markdown=True)
    '<div><h4>Why</h4><p>1 &lt; 2 <strong>and</strong> <u>so (https://a.example)</u> on</p></div>'
    """
    tree = markup(text) if markdown else None
    return escape(text) if tree is None else _html(tree)


def _html(tree: Tree | str) -> str:
    if isinstance(tree, str):
        return escape(tree)
    tag, _, start = re.sub(r"^h\d$", "h4", tree[0]).partition(" ")  # headings are below those of the page
    if tag in ("br", "hr"):
        return f"<{tag}>"
    attribute = f' start="{int(start)}"' if start else ""
    return f"<{tag}{attribute}>{''.join(map(_html, tree[1:]))}</{tag}>"


def _build(tokens: Sequence[Token], root: Tree) -> None:
    """Append the tokens' trees to the root."""
    path = [root]
    for token in tokens:
        parent = path[-1]
        if token.type == "inline":
            _build(token.children or (), parent)
        elif token.nesting == 1:
            start = token.attrGet("start") if token.tag == "ol" else None
            opened: Tree = [f"ol {start}" if start is not None else token.tag]
            if token.type == "link_open":
                opened = ["u"]
            if not token.hidden:  # the paragraphs of a tight list
                parent.append(opened)
            path.append(parent if token.hidden else opened)
        elif token.nesting == -1:
            closed = path.pop()
            if token.type == "link_close":
                _close_link(closed)
        elif token.type in ("softbreak", "hardbreak"):
            parent.append(["br"])
        elif token.type in ("fence", "code_block"):
            parent.append(["pre", token.content.removesuffix("\n")])
        elif token.type == "formula":
            parent.append(mathml(token.content, block=token.block) or ["code", token.markup])
        elif token.type == "code_inline":
            parent.append(["code", token.content])
        elif token.type == "image":
            parent.append(f"[{token.content}] ({token.attrGet('src')})")
        elif token.type == "hr":
            parent.append(["hr"])
        elif token.content:
            parent.append(token.content)
        if token.type == "link_open":
            path[-1].append(["a", str(token.attrGet("href"))])


def _close_link(link: Tree) -> None:
    """Move the target of a link behind its text, or remove it where it is the text."""
    target = link.pop(1)[1]
    if link[1:] != [target]:
        link.append(f" ({target})")
