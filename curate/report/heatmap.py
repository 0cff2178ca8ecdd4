"""A square heatmap of every row against every column: colour by class, the value in each cell and in its title."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from curate.report.svg import element, picture

DIVERGING = 11
"""Colours from 0 to 1 with the middle at 0.5: classes d0 … d10 of the style sheet."""
SEQUENTIAL = 9
"""Colours from 0 to the largest: classes s0 … s8."""
WITH_TEXT = 30
"""Rows up to which cells are wide enough for their values; above, the titles and the table hold them."""
LABEL = 26
"""Characters of a label that are shown; the title holds all of it."""

Float = npt.NDArray[np.float64]


def heatmap(
    names: Sequence[str],
    values: Float,
    *,
    scale: Literal["diverging", "sequential"],
    cell: Callable[[float], str],
    title: Callable[[int, int], str],
    label: str,
) -> Markup:
    """values: (N, N) of row against column, NaN where there is nothing to show.

    scale: diverging for shares, 0 to 1; sequential from 0 to the largest. cell: what a value reads in its cell; title:
    what row i and column j say in full.
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
    right = 8 + 0.5 * top  # the last column's label leans over
    return picture(left + len(names) * width + right, top + len(names) * height + 4, *parts, label=label)


def legend(scale: Literal["diverging", "sequential"], low: str, middle: str, high: str, *, label: str) -> Markup:
    """The colours of a scale in their order, with what its ends and its middle mean."""
    count = DIVERGING if scale == "diverging" else SEQUENTIAL
    parts = [
        element("rect", x=k * 240 / count, y=0, width=240 / count, height=12, class_=f"{scale[0]}{k}")
        for k in range(count)
    ]
    for x, anchor, text in ((0, "start", low), (120, "middle", middle), (240, "end", high)):
        parts.append(element("text", text, x=x, y=27, text_anchor=anchor, class_="label"))
    return picture(240, 32, *parts, label=label, class_="legend")


def _steps(values: Float, scale: Literal["diverging", "sequential"]) -> npt.NDArray[np.int64]:
    """(N, N) the colour of each value."""
    known = np.nan_to_num(values)
    count, largest = (DIVERGING, 1.0) if scale == "diverging" else (SEQUENTIAL, float(known.max(initial=0)) or 1.0)
    found: npt.NDArray[np.int64] = np.minimum(known / largest * count, count - 1).astype(np.int64)
    return found


def _short(name: str) -> str:
    return name if len(name) <= LABEL else name[: LABEL - 1] + "…"


def _full(name: str) -> Markup:
    return element("title", name) if len(name) > LABEL else Markup()
