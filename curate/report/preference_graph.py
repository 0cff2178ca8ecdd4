"""A prompt's preference graph: responses in rank order on a line, the votes as arcs below it and, against it, above."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from curate.report.svg import element, picture

WIDTHS = 4
"""Widths that an arc may have; those of one width are one path, which keeps a page small."""
DENSE = 80
"""Arcs from which all are drawn thinner."""


@dataclass(frozen=True)
class Node:
    """A response in its place."""

    rank: int
    """1 = best; equals share it."""
    name: str


@dataclass(frozen=True)
class Arc:
    """Vote weight that prefers the node at place ``winner`` to the one at place ``loser``."""

    winner: int
    loser: int
    weight: float


def preference_graph(nodes: Sequence[Node], arcs: Sequence[Arc], *, label: str) -> Markup:
    """nodes: in rank order. Below the line: votes for the better-ranked (grey), and for equals (dashed).

    Above the line, red and with an arrowhead: votes for the worse-ranked of two.
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
    loud: list[Markup] = []
    for arc in sorted(arcs, key=lambda arc: abs(arc.winner - arc.loser)):
        kind = _kind(nodes, arc)
        level = max(1, round(arc.weight / most * WIDTHS))
        a, b = left + arc.winner * step, left + arc.loser * step
        high = 16 + (height - 24) * abs(arc.winner - arc.loser) / max(count - 1, 1)
        y = line - radius if kind == "against" else line + radius
        sweep = int(kind != "against" and a > b)  # below from right to left; else below, or over the top, the other way
        path = f"M{a:.1f} {y:g}A{abs(a - b) / 2:.1f} {high - radius:.1f} 0 0 {sweep} {b:.1f} {y:g}"
        if kind == "against":
            winner, loser = nodes[arc.winner], nodes[arc.loser]
            said = f"{winner.name} (rank {winner.rank}) over {loser.name} (rank {loser.rank}): {arc.weight:g}"
            head = f"M{b:.1f} {y:g}l-2.8 -6h5.6z"
            loud.append(element("path", element("title", said), d=path, class_=f"arc against w{level}"))
            loud.append(element("path", d=head, class_="head"))
        else:
            paths.setdefault((kind, level), []).append(path)
    parts = [
        element("path", d="".join(found), class_=f"arc {kind} w{level}")
        for (kind, level), found in sorted(paths.items())
    ]
    parts += loud
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
