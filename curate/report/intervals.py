"""A value with its interval as one thin line, to stand in a table's cell; and the axis that stands in its header."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from curate.report.svg import element

WIDTH, MARGIN = 150.0, 10.0
"""Of a line, in its own units; all lines of a column share their scale."""


def interval(
    value: float, low: float, high: float, *, domain: tuple[float, float], mark: float | None = None
) -> Markup:
    """A dot with whiskers; hidden from screen readers, as the cells beside it hold the figures.

    domain: the values at both ends of the line. mark: a value that a faint line stands at.
    """
    parts = [element("line", x1=MARGIN, x2=WIDTH - MARGIN, y1=9, y2=9, class_="rail")]
    if mark is not None:
        parts.append(element("line", x1=_at(mark, domain), x2=_at(mark, domain), y1=0, y2=18, class_="mark"))
    a, b = _at(low, domain), _at(high, domain)
    parts.append(element("line", x1=a, x2=b, y1=9, y2=9, class_="whisker"))
    parts += [element("line", x1=end, x2=end, y1=5, y2=13, class_="whisker") for end in (a, b)]
    parts.append(element("circle", cx=_at(value, domain), cy=9, r=3.6, class_="dot"))
    return _line(parts, 18)


def axis(marks: Sequence[tuple[float, str]], *, domain: tuple[float, float]) -> Markup:
    """The scale of a column of intervals. marks: values and what they read."""
    parts = []
    for value, text in marks:
        x = _at(value, domain)
        parts.append(element("line", x1=x, x2=x, y1=14, y2=18, class_="mark"))
        parts.append(element("text", text, x=x, y=11, text_anchor="middle", class_="label"))
    return _line(parts, 18)


def _at(value: float, domain: tuple[float, float]) -> float:
    low, high = domain
    share = (value - low) / (high - low) if high > low else 0.5
    return MARGIN + min(max(share, 0.0), 1.0) * (WIDTH - 2 * MARGIN)


def _line(parts: Sequence[Markup], height: int) -> Markup:
    return element(
        "svg",
        *parts,
        viewBox=f"0 0 {WIDTH:g} {height}",
        width=WIDTH,
        height=height,
        class_="interval",
        aria_hidden="true",
    )
