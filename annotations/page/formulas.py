"""Formulas in answers: their LaTeX as MathML, which browsers show without a script or a font of ours."""

from __future__ import annotations

import re
from functools import lru_cache
from html import unescape
from typing import Any
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert_to_element
from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline

FORMULA = re.compile(
    r"\$\$(?P<shown>[^$]{1,2000}?)\$\$"
    r"|\$(?![\s$])(?P<dollars>(?:\\.|[^\\$]){1,2000}?)(?<!\s)\$(?!\d)"  # not "$5 and $10"
    r"|\\\[(?P<brackets>.{1,2000}?)\\\]"
    r"|\\\((?P<parentheses>.{1,2000}?)\\\)",
    re.DOTALL,
)
"""Up to 2,000 characters; a longer one is shown as it is written."""
TAGS = """
    math mrow mi mn mo mtext mspace mfrac msqrt mroot mstyle msub msup msubsup munder mover munderover mmultiscripts
    mprescripts none mtable mtr mtd mpadded mphantom menclose
""".split()  # noqa: SIM905 (a list of one name a line is not easier to read)
ATTRIBUTES = """
    display displaystyle scriptlevel mathvariant mathcolor mathsize stretchy fence separator accent accentunder form
    largeop movablelimits symmetric lspace rspace minsize maxsize linethickness columnalign rowspacing columnspacing
    columnlines rowlines width height depth voffset notation
""".split()  # noqa: SIM905
"""Elements and attributes that reach the page: no links, styles or scripts."""


def formulas(parser: MarkdownIt) -> MarkdownIt:
    r"""The parser with a rule for ``$…$``, ``$$…$$``, ``\(…\)`` and ``\[…\]``: tokens of type "formula"."""
    parser.inline.ruler.before("escape", "formula", _rule)
    return parser


def _rule(state: StateInline, silent: bool) -> bool:
    found = FORMULA.match(state.src, state.pos) if state.src[state.pos] in "$\\" else None
    if found is None or (found["dollars"] and state.src[: state.pos][-1:].isalnum()):  # US$5
        return False
    if not silent:
        token = state.push("formula", "math", 0)
        token.content, token.markup = found[found.lastgroup or 0], found[0]
        token.block = found.lastgroup in ("shown", "brackets")
    state.pos = found.end()
    return True


@lru_cache(maxsize=8192)
def mathml(latex: str, *, block: bool = False) -> list[Any] | None:
    r"""The tree [tag, {attribute: value}, child, …] of a formula; None if it cannot be converted.

    block: on a line of its own.

    >>> mathml(r"x^2")
    ['math', {'display': 'inline'}, ['mrow', {}, ['msup', {}, ['mi', {}, 'x'], ['mn', {}, '2']]]]
    >>> mathml(r"\frac{1}{") is None
    True
    """
    try:
        return _tree(convert_to_element(latex, display="block" if block else "inline"))
    except Exception:  # the converter has no common error: IndexError and others for what is not LaTeX
        return None


def _tree(element: Element) -> list[Any]:
    if element.tag not in TAGS:
        raise ValueError(element.tag)
    kept = {name: value for name, value in element.attrib.items() if name in ATTRIBUTES}
    text = [unescape(element.text)] if element.text else []
    return [element.tag, kept, *text, *map(_tree, element)]
