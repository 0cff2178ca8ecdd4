"""The reliability diagram: what share of votes came out as a method said, over the chance that it gave them."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from curate.report.svg import element, picture, ticks
from schemas.validation import CalibrationBin

SIZE, LEFT, TOP, BOTTOM = 300.0, 46.0, 10.0, 42.0
"""Of the square, and what its axes take."""


def reliability_diagram(bins: Sequence[CalibrationBin], *, errors: float, label: str) -> Markup:
    """Points on the diagonal are calibrated; below it a method is too sure of itself.

    errors: standard errors that a whisker reaches either way.
    """
    ends = [bin_.observed - errors * (bin_.observed_se or 0) for bin_ in bins]
    low = min(0.5, *(max(0.0, end) for end in ends)) if ends else 0.5
    low = int(low * 10 + 1e-9) / 10

    def x(chance: float) -> float:
        return LEFT + (chance - low) / (1 - low) * SIZE

    def y(share: float) -> float:
        return TOP + SIZE - (min(max(share, low), 1.0) - low) / (1 - low) * SIZE

    parts = [element("rect", x=LEFT, y=TOP, width=SIZE, height=SIZE, class_="plot")]
    for mark in ticks(low, 1.0):
        parts.append(element("line", x1=LEFT, x2=LEFT + SIZE, y1=y(mark), y2=y(mark), class_="grid"))
        parts.append(element("text", f"{mark:.0%}", x=LEFT - 6, y=y(mark) + 4, text_anchor="end", class_="label"))
        parts.append(element("text", f"{mark:.0%}", x=x(mark), y=TOP + SIZE + 16, text_anchor="middle", class_="label"))
    parts.append(element("line", x1=x(low), y1=y(low), x2=x(1), y2=y(1), class_="mark"))
    for bin_ in bins:
        at, error = x(bin_.probability), errors * (bin_.observed_se or 0)
        said = f"chance {bin_.probability:.1%}, chosen {bin_.observed:.1%} of {bin_.votes:,} votes"
        top, bottom = y(bin_.observed + error), y(bin_.observed - error)
        parts.append(element("line", x1=at, x2=at, y1=top, y2=bottom, class_="whisker"))
        parts.append(element("circle", element("title", said), cx=at, cy=y(bin_.observed), r=4, class_="dot"))
    parts.append(
        element("text", "chance given to the likelier response", x=LEFT + SIZE / 2, y=TOP + SIZE + 35, **_MIDDLE)
    )
    turned = f"translate(11 {TOP + SIZE / 2:g}) rotate(-90)"
    parts.append(element("text", "share of votes for it", transform=turned, **_MIDDLE))
    return picture(LEFT + SIZE + 22, TOP + SIZE + BOTTOM, *parts, label=label, class_="chart small")


_MIDDLE = {"text_anchor": "middle", "class_": "label"}
