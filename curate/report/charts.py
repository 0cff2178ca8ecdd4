"""Charts as inline SVG: intervals, histogram and reliability diagram."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from curate.report.svg import element, picture, ticks
from schemas.validation import CalibrationBin

MARGIN = 4.0
"""Distance of the ends of an axis of intervals from the edges of the chart, percent of its width."""
BAR = 0.02
"""Width of a bar of the histogram."""


def interval(
    value: float, low: float, high: float, *, domain: tuple[float, float], mark: float | None = None
) -> Markup:
    """A dot with whiskers, as wide as its place; hidden from screen readers, because the next cell has the values.

    domain: the values at both ends of the axis. mark: a value with a faint vertical line.
    """
    parts = []
    if mark is not None:
        at = _position(mark, domain)
        parts.append(element("line", x1=at, x2=at, y1=0, y2=18, class_="mark"))
    a, b = _position(low, domain), _position(high, domain)
    parts.append(element("line", x1=a, x2=b, y1=9, y2=9, class_="whisker"))
    parts.append(element("circle", cx=_position(value, domain), cy=9, r=4, class_="dot"))
    return _line(parts)


def axis(marks: Sequence[tuple[float, str]], *, domain: tuple[float, float]) -> Markup:
    """The axis of a column of intervals. marks: values and their labels."""
    texts = [
        element("text", text, x=_position(value, domain), y=13, text_anchor="middle", class_="label")
        for value, text in marks
    ]
    return _line(texts)


def _position(value: float, domain: tuple[float, float]) -> str:
    low, high = domain
    share = (value - low) / (high - low) if high > low else 0.5
    return f"{MARGIN + min(max(share, 0.0), 1.0) * (100 - 2 * MARGIN):.1f}%"


def _line(parts: Sequence[Markup]) -> Markup:
    return element("svg", *parts, height=18, class_="interval", aria_hidden="true")


def histogram(shares: Sequence[float], *, axis: str, label: str) -> Markup:
    """Bars of the number of shares, from 0 to 1, in bins of width BAR, and a line at their mean. axis: its label."""
    width, height, left, bottom = 460.0, 150.0, 34.0, 38.0
    values = np.asarray(shares, dtype=np.float64)
    bins = max(10, int(np.ceil(values.max(initial=0) / BAR - 1e-9)))
    counts = np.bincount(np.minimum((values / BAR + 1e-9).astype(np.int64), bins - 1), minlength=bins)
    most, bar = max(int(counts.max()), 1), width / bins
    parts = []
    for mark in ticks(0, most, 3):
        if mark != int(mark):
            continue
        y = 8 + height * (1 - mark / most)
        parts.append(element("line", x1=left, x2=left + width, y1=y, y2=y, class_="grid"))
        parts.append(element("text", f"{mark:g}", x=left - 5, y=y + 4, text_anchor="end", class_="label"))
    for k, count in enumerate(counts):
        if count:
            bar_height = height * count / most
            title = element("title", f"{k * BAR:.0%} to {(k + 1) * BAR:.0%}: {count:,}")
            place = {"x": left + k * bar + 0.5, "y": 8 + height - bar_height, "width": bar - 1, "height": bar_height}
            parts.append(element("rect", title, **place, class_="bar"))
    for mark in ticks(0, bins * BAR, 6):
        x = left + mark / BAR * bar
        parts.append(element("text", f"{mark:.0%}", x=x, y=height + 22, text_anchor="middle", class_="label"))
    if len(values):
        x = left + float(values.mean()) / BAR * bar
        parts.append(element("line", x1=x, x2=x, y1=4, y2=8 + height, class_="mean"))
    parts.append(element("text", axis, x=left + width / 2, y=height + 38, text_anchor="middle", class_="label"))
    return picture(left + width + 16, height + bottom + 6, *parts, label=label, class_="chart small")


def reliability_diagram(bins: Sequence[CalibrationBin], *, errors: float, label: str) -> Markup:
    """Observed share over stated probability: points on the diagonal are calibrated, below it overconfident.

    errors: half the length of the whiskers, in standard errors.
    """
    size, left, top, bottom = 300.0, 46.0, 10.0, 42.0
    middle = {"text_anchor": "middle", "class_": "label"}
    ends = [bin_.observed - errors * (bin_.observed_se or 0) for bin_ in bins]
    low = min(0.5, *(max(0.0, end) for end in ends)) if ends else 0.5
    low = int(low * 10 + 1e-9) / 10

    def x(probability: float) -> float:
        return left + (probability - low) / (1 - low) * size

    def y(share: float) -> float:
        return top + size - (min(max(share, low), 1.0) - low) / (1 - low) * size

    parts = [element("rect", x=left, y=top, width=size, height=size, class_="plot")]
    for mark in ticks(low, 1.0):
        parts.append(element("line", x1=left, x2=left + size, y1=y(mark), y2=y(mark), class_="grid"))
        parts.append(element("text", f"{mark:.0%}", x=left - 6, y=y(mark) + 4, text_anchor="end", class_="label"))
        parts.append(element("text", f"{mark:.0%}", x=x(mark), y=top + size + 16, text_anchor="middle", class_="label"))
    parts.append(element("line", x1=x(low), y1=y(low), x2=x(1), y2=y(1), class_="mark"))
    for bin_ in bins:
        at, error = x(bin_.probability), errors * (bin_.observed_se or 0)
        title = f"probability {bin_.probability:.1%}, observed {bin_.observed:.1%} of {bin_.votes:,} votes"
        high, low_end = y(bin_.observed + error), y(bin_.observed - error)
        parts.append(element("line", x1=at, x2=at, y1=high, y2=low_end, class_="whisker"))
        parts.append(element("circle", element("title", title), cx=at, cy=y(bin_.observed), r=4, class_="dot"))
    parts.append(
        element("text", "stated probability of the likelier response", x=left + size / 2, y=top + size + 35, **middle)
    )
    turned = f"translate(11 {top + size / 2:g}) rotate(-90)"
    parts.append(element("text", "observed share of votes", transform=turned, **middle))
    return picture(left + size + 22, top + size + bottom, *parts, label=label, class_="chart small")
