"""Charts as inline SVG: intervals, histogram, heatmap, reliability diagram and preference graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from curate.report.svg import element, picture, ticks
from schemas.validation import CalibrationBin

Float = npt.NDArray[np.float64]

INTERVAL_WIDTH, INTERVAL_MARGIN = 150.0, 10.0
"""Width and margin of an interval chart, in SVG units; all charts of a column share them."""
BAR = 0.02
"""Width of a bar of the histogram."""
DIVERGING = 11
"""Number of colours from 0 to 1 with the middle at 0.5: classes d0 … d10 of the style sheet."""
SEQUENTIAL = 9
"""Number of colours from 0 to the largest value: classes s0 … s8."""
WITH_TEXT = 30
"""Largest number of rows of a heatmap with values in its cells; larger ones have values in titles and the table."""
LABEL = 26
"""Largest number of characters of a label; longer ones are truncated and shown in full in a title."""
ARC_WIDTHS = 4
"""Number of stroke widths of arcs; the arcs of one width are one path, which keeps the page small."""
DENSE = 80
"""Number of arcs above which all are drawn thinner."""


def interval(
    value: float, low: float, high: float, *, domain: tuple[float, float], mark: float | None = None
) -> Markup:
    """A dot with whiskers. It is hidden from screen readers, because the next cell has the values.

    domain: the values at both ends of the axis. mark: a value with a faint vertical line.
    """
    parts = [element("line", x1=INTERVAL_MARGIN, x2=INTERVAL_WIDTH - INTERVAL_MARGIN, y1=9, y2=9, class_="rail")]
    if mark is not None:
        parts.append(
            element("line", x1=_position(mark, domain), x2=_position(mark, domain), y1=0, y2=18, class_="mark")
        )
    a, b = _position(low, domain), _position(high, domain)
    parts.append(element("line", x1=a, x2=b, y1=9, y2=9, class_="whisker"))
    parts += [element("line", x1=end, x2=end, y1=5, y2=13, class_="whisker") for end in (a, b)]
    parts.append(element("circle", cx=_position(value, domain), cy=9, r=3.6, class_="dot"))
    return _line(parts, 18)


def axis(marks: Sequence[tuple[float, str]], *, domain: tuple[float, float]) -> Markup:
    """The axis of a column of intervals. marks: values and their labels."""
    parts = []
    for value, text in marks:
        x = _position(value, domain)
        parts.append(element("line", x1=x, x2=x, y1=14, y2=18, class_="mark"))
        parts.append(element("text", text, x=x, y=11, text_anchor="middle", class_="label"))
    return _line(parts, 18)


def _position(value: float, domain: tuple[float, float]) -> float:
    low, high = domain
    share = (value - low) / (high - low) if high > low else 0.5
    return INTERVAL_MARGIN + min(max(share, 0.0), 1.0) * (INTERVAL_WIDTH - 2 * INTERVAL_MARGIN)


def _line(parts: Sequence[Markup], height: int) -> Markup:
    return element(
        "svg",
        *parts,
        viewBox=f"0 0 {INTERVAL_WIDTH:g} {height}",
        width=INTERVAL_WIDTH,
        height=height,
        class_="interval",
        aria_hidden="true",
    )


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


def heatmap(
    names: Sequence[str],
    values: Float,
    *,
    scale: Literal["diverging", "sequential"],
    cell: Callable[[float], str],
    title: Callable[[int, int], str],
    label: str,
) -> Markup:
    """A square heatmap. values: (N, N) of row against column; NaN cells are grey.

    scale: diverging for shares from 0 to 1, sequential from 0 to the largest value. cell: text of a value; title: full
    text of row i and column j.
    """
    shown = [_short(name) for name in names]
    width, height = (34.0, 24.0) if len(names) <= WITH_TEXT else (15.0, 15.0)
    left = 14 + 6.7 * max((len(name) for name in shown), default=0)
    top = 16 + 5.9 * max((len(name) for name in shown), default=0)
    parts: list[Markup] = []
    for i, name in enumerate(shown):
        y, x = top + i * height + height / 2 + 4, left + i * width + width / 2
        parts.append(element("text", _full(names[i]), name, x=left - 6, y=y, text_anchor="end", class_="label"))
        turned = f"translate({x + 4:.1f} {top - 6:.1f}) rotate(-60)"
        parts.append(element("text", _full(names[i]), name, transform=turned, class_="label"))
    steps = _steps(values, scale)
    for i, j in np.ndindex(values.shape):
        value = float(values[i, j])
        x, y = left + j * width, top + i * height
        size: dict[str, Any] = {"x": x, "y": y, "width": width - 1, "height": height - 1}
        if np.isnan(value):
            parts.append(element("rect", **size, class_="na"))
            continue
        colour = f"{scale[0]}{steps[i, j]}"
        parts.append(element("rect", element("title", title(i, j)), **size, class_=colour))
        if len(names) <= WITH_TEXT:
            at = {"x": x + (width - 1) / 2, "y": y + height / 2 + 3.5}
            parts.append(element("text", cell(value), **at, text_anchor="middle", class_=f"t {colour}t"))
    right = 8 + 0.5 * top  # room for the slanted label of the last column
    return picture(left + len(names) * width + right, top + len(names) * height + 4, *parts, label=label)


def legend(scale: Literal["diverging", "sequential"], low: str, middle: str, high: str, *, label: str) -> Markup:
    """The colours of a scale with labels at its ends and middle."""
    count = DIVERGING if scale == "diverging" else SEQUENTIAL
    parts = [
        element("rect", x=k * 240 / count, y=0, width=240 / count, height=12, class_=f"{scale[0]}{k}")
        for k in range(count)
    ]
    for x, anchor, text in ((0, "start", low), (120, "middle", middle), (240, "end", high)):
        parts.append(element("text", text, x=x, y=27, text_anchor=anchor, class_="label"))
    return picture(240, 32, *parts, label=label, class_="legend")


def _steps(values: Float, scale: Literal["diverging", "sequential"]) -> npt.NDArray[np.int64]:
    """(N, N) index of the colour of each value."""
    known = np.nan_to_num(values)
    count, largest = (DIVERGING, 1.0) if scale == "diverging" else (SEQUENTIAL, float(known.max(initial=0)) or 1.0)
    found: npt.NDArray[np.int64] = np.minimum(known / largest * count, count - 1).astype(np.int64)
    return found


def _short(name: str) -> str:
    return name if len(name) <= LABEL else name[: LABEL - 1] + "…"


def _full(name: str) -> Markup:
    return element("title", name) if len(name) > LABEL else Markup()


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


@dataclass(frozen=True)
class Node:
    """A response of the graph."""

    rank: int
    """1 is best; equal responses share a rank."""
    name: str


@dataclass(frozen=True)
class Arc:
    """Vote weight that prefers node ``winner`` to node ``loser`` (indices)."""

    winner: int
    loser: int
    weight: float


def preference_graph(nodes: Sequence[Node], arcs: Sequence[Arc], *, label: str) -> Markup:
    """Responses in rank order on a line, and the votes as arcs. nodes: in rank order.

    Below the line: votes for the better-ranked response (grey) and between equal ranks (dashed). Above it, red with
    an arrowhead: votes for the worse-ranked response.
    """
    count = len(nodes)
    step = min(44.0, max(18.0, 780.0 / max(count, 1)))
    radius = min(12.0, step / 2 - 2)
    width = max(step * count + 20, 220.0)
    left = (width - step * (count - 1)) / 2
    height = 40 + min(150.0, 9.0 * count)
    line = height + 4
    most = max((arc.weight for arc in arcs), default=1.0)
    paths: dict[tuple[str, int], list[str]] = {}
    against: list[Markup] = []
    for arc in sorted(arcs, key=lambda arc: abs(arc.winner - arc.loser)):
        kind = _kind(nodes, arc)
        level = max(1, round(arc.weight / most * ARC_WIDTHS))
        a, b = left + arc.winner * step, left + arc.loser * step
        arc_height = 16 + (height - 24) * abs(arc.winner - arc.loser) / max(count - 1, 1)
        y = line - radius if kind == "against" else line + radius
        sweep = int(kind != "against" and a > b)  # an arc below the line that runs from right to left
        path = f"M{a:.1f} {y:g}A{abs(a - b) / 2:.1f} {arc_height - radius:.1f} 0 0 {sweep} {b:.1f} {y:g}"
        if kind == "against":
            winner, loser = nodes[arc.winner], nodes[arc.loser]
            title = f"{winner.name} (rank {winner.rank}) over {loser.name} (rank {loser.rank}): {arc.weight:g}"
            head = f"M{b:.1f} {y:g}l-2.8 -6h5.6z"
            against.append(element("path", element("title", title), d=path, class_=f"arc against w{level}"))
            against.append(element("path", d=head, class_="head"))
        else:
            paths.setdefault((kind, level), []).append(path)
    parts = [
        element("path", d="".join(found), class_=f"arc {kind} w{level}")
        for (kind, level), found in sorted(paths.items())
    ]
    parts += against
    for place, node in enumerate(nodes):
        x = left + place * step
        circle = element("circle", cx=x, cy=line, r=radius, class_="node")
        number = element("text", str(node.rank), x=x, y=line + 3.8, text_anchor="middle", class_="t")
        parts.append(element("g", element("title", f"rank {node.rank}: {node.name}"), circle, number))
    parts.append(element("text", "against the order", x=4, y=12, class_="label"))
    parts.append(element("text", "with the order", x=4, y=2 * line - 4, class_="label"))
    return picture(width, 2 * line, *parts, label=label, class_="chart dense" if len(arcs) > DENSE else "chart")


def _kind(nodes: Sequence[Node], arc: Arc) -> str:
    winner, loser = nodes[arc.winner].rank, nodes[arc.loser].rank
    return "agree" if winner < loser else "against" if winner > loser else "equal"
