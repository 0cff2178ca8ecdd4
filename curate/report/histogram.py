"""A histogram of shares, and the line at which their mean stands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from curate.report.svg import element, picture, ticks

WIDTH, HEIGHT, LEFT, BOTTOM = 460.0, 150.0, 34.0, 38.0
STEP = 0.02
"""Width of a bar."""


def histogram(shares: Sequence[float], *, axis: str, label: str) -> Markup:
    """Bars of how many of the shares, 0 to 1, lie in each step of two in a hundred. axis: what is shared."""
    values = np.asarray(shares, dtype=np.float64)
    bins = max(10, int(np.ceil(values.max(initial=0) / STEP - 1e-9)))
    counts = np.bincount(np.minimum((values / STEP + 1e-9).astype(np.int64), bins - 1), minlength=bins)
    most, bar = max(int(counts.max()), 1), WIDTH / bins
    parts = []
    for mark in ticks(0, most, 3):
        if mark != int(mark):
            continue
        y = 8 + HEIGHT * (1 - mark / most)
        parts.append(element("line", x1=LEFT, x2=LEFT + WIDTH, y1=y, y2=y, class_="grid"))
        parts.append(element("text", f"{mark:g}", x=LEFT - 5, y=y + 4, text_anchor="end", class_="label"))
    for k, count in enumerate(counts):
        if count:
            high = HEIGHT * count / most
            said = element("title", f"{k * STEP:.0%} to {(k + 1) * STEP:.0%}: {count:,}")
            place = {"x": LEFT + k * bar + 0.5, "y": 8 + HEIGHT - high, "width": bar - 1, "height": high}
            parts.append(element("rect", said, **place, class_="bar"))
    for mark in ticks(0, bins * STEP, 6):
        x = LEFT + mark / STEP * bar
        parts.append(element("text", f"{mark:.0%}", x=x, y=HEIGHT + 22, text_anchor="middle", class_="label"))
    if len(values):
        x = LEFT + float(values.mean()) / STEP * bar
        parts.append(element("line", x1=x, x2=x, y1=4, y2=8 + HEIGHT, class_="mean"))
    parts.append(element("text", axis, x=LEFT + WIDTH / 2, y=HEIGHT + 38, text_anchor="middle", class_="label"))
    return picture(LEFT + WIDTH + 16, HEIGHT + BOTTOM + 6, *parts, label=label, class_="chart small")
