"""The report as one self-contained HTML page, without scripts and requests.

Templates escape all values (jinja2's autoescape); only charts, which escape their own text, are markup. A Content
Security Policy in the page forbids scripts and requests.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from curate.report.charts import preference_graph
from curate.report.figures import ReportView
from curate.report.panels import (
    calibration_panel,
    disagreement_panel,
    heatmap_panel,
    leaderboard_panel,
    rank_column,
    sides_panel,
)
from curate.report.prompts import ShownPrompt
from curate.report.svg import signed

GENERATOR = "curate report"
"""Content of the meta tag ``generator``, by which a report is recognised and may be replaced."""
VISIBLE, LISTED = 20, 200
"""Annotators in the visible table, worst first, and on the page at most."""
SECTIONS = (
    ("funnel", "Funnel"),
    ("models", "Models"),
    ("annotators", "Annotators"),
    ("sides", "Position bias"),
    ("disagreement", "Disagreement"),
    ("certainty", "Calibration and reliability"),
    ("prompts", "Single prompts"),
    ("about", "Provenance"),
)


@dataclass(frozen=True)
class DrawnPrompt:
    """The charts and the picture of one prompt."""

    graph: Markup | None
    axis: Markup | None
    """Axis of the ranks; None if nothing is ranked."""
    intervals: tuple[Markup, ...]
    """One per response; empty if it is unranked."""
    has_texts: bool
    """Whether the text of any response is known."""
    components: int
    """Number of connected components if there are several, else 0."""
    picture: str | None
    """Data URI."""


def render(
    view: ReportView,
    *,
    title: str = "Preference report",
    pictures: Mapping[str, bytes] | None = None,
    picture_errors: Mapping[str, str] | None = None,
) -> str:
    """Return the page; equal values give equal text.

    pictures: prompt_id -> a PNG or JPEG that is shown with the prompt. picture_errors: prompt_id -> why there is none.
    """
    environment = Environment(
        loader=PackageLoader("curate.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(n=_whole, many=_many, pct=_percent, num=_number, weight=_weight, short=_short)
    assert environment.loader is not None
    css, _, _ = environment.loader.get_source(environment, "page.css")
    values: dict[str, Any] = {
        "view": view,
        "title": title,
        "generator": GENERATOR,
        "css": Markup(css),
        "sections": SECTIONS,
        "figures": _figures(view),
        "notes": _notes(view),
        "exported": any(block.title.startswith(("Export", "Release")) for block in view.funnel),
        **(leaderboard_panel(view.models) if view.models else {}),
        **(heatmap_panel(view.models) if view.models else {}),
        "first_people": view.people.annotators[:VISIBLE],
        "more_people": view.people.annotators[VISIBLE:LISTED],
        "known": {name for row in view.people.annotators for name, value in row if value is not None},
        "hidden_people": max(len(view.people.annotators) - LISTED, 0),
        "recommended": _recommended(view),
        **sides_panel(view.sides),
        **disagreement_panel(view.disagreement),
        **calibration_panel(view.run, view.validation),
        "graphs": [_drawn(prompt, (pictures or {}).get(prompt.prompt_id)) for prompt in view.shown],
        "picture_errors": picture_errors or {},
    }
    return environment.get_template("page.html").render(values)


def _figures(view: ReportView) -> list[tuple[str, str]]:
    """The key figures at the top of the page."""
    run, people = view.run, view.people
    found: list[tuple[str, str]] = [("pairwise votes in the store", _whole(people.votes))]
    if people.annotators:
        found.append(("annotators", _whole(len(people.annotators))))
    if run:
        found.append((f"of {_whole(run.prompts)} prompts ranked in full", _whole(run.ranked)))
    found.append(("responses", _whole(view.responses)))
    if view.models:
        found.append(("models", _whole(len(view.models.frame))))
    if view.disagreement.share is not None:
        found.append(("disagreement of votes with the orders", _percent(view.disagreement.share)))
    if run and run.expected_tau is not None:
        found.append(("expected Kendall tau", _number(run.expected_tau)))
    if people.alpha is not None:
        found.append((f"Krippendorff's alpha, on {_many(people.judged_twice, 'pair')}", _number(people.alpha)))
    return found


def _notes(view: ReportView) -> list[str]:
    """Caveats that precede the figures."""
    notes = []
    if view.source.newer_votes:
        notes.append(
            f"{_many(view.source.newer_votes, 'vote')} ingested after this run: not in its ranking, but counted in the "
            "figures on annotators and sides. To include them: curate denoise"
        )
    if view.run and view.run.excluded_votes:
        counted = "Only the figures on annotators" if view.run.spammer_ids else "The figures of this page"
        spammers = _many(view.run.spammers, "likely spammer")
        notes.append(f"The run excluded {_many(view.run.excluded_votes, 'vote')} by {spammers}. {counted} count them.")
    texts = view.run.equal_texts if view.run else None
    if texts and texts.groups:
        how = "share a rank" if texts.handling == "merge" else "are ranked separately"
        groups = f"{_many(texts.groups, 'group')} of equal texts on {_many(texts.prompts, 'prompt')}"
        notes.append(f"{groups} {how}; {_many(texts.near_groups, 'further group')} have the same words.")
    if view.run and view.run.strengths and view.run.strengths.shape != "normal":
        notes.append(f"Hierarchical model: {view.run.strengths.summary}.")
    if view.run and view.run.perception and view.run.perception.status not in ("absent", "negligible"):
        notes.append(f"Hierarchical model: {view.run.perception.summary}.")
    if view.run and view.run.overdispersion and view.run.overdispersion.widening > 1:
        notes.append(f"Votes are dependent: {view.run.overdispersion.summary}.")
    if view.run is None:
        notes.append("This version cannot read the report of the run. Run curate denoise again for all figures.")
    return notes


def _recommended(view: ReportView) -> list[tuple[str, int]]:
    """(recommendation, number of annotators), in the order of the table."""
    found: dict[str, int] = {}
    for row in view.people.annotators:
        found[row.recommendation] = found.get(row.recommendation, 0) + 1
    return list(found.items())


def _drawn(prompt: ShownPrompt, picture: bytes | None) -> DrawnPrompt:
    axis, intervals = rank_column(prompt.responses)
    components = {response.component for response in prompt.ranked}
    graph = (
        preference_graph(prompt.nodes(), prompt.arcs, label=_graph_label(prompt)) if len(prompt.ranked) > 1 else None
    )
    has_texts = any(response.text for response in prompt.responses)
    count = len(components) if len(components) > 1 else 0
    return DrawnPrompt(graph, axis, intervals, has_texts, count, _uri(picture))


def _graph_label(prompt: ShownPrompt) -> str:
    share = "" if prompt.disagreement is None else f", disagreement {_percent(prompt.disagreement)}"
    return f"Preference graph of {prompt.prompt_id}: {len(prompt.ranked)} responses in rank order{share}"


def _uri(picture: bytes | None) -> str | None:
    if picture is None:
        return None
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def _whole(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _many(count: int, noun: str) -> str:
    """ "1 vote", "1,234 votes"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _percent(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{signed(100 * value, digits)}%"


def _number(value: float | None, digits: int = 2) -> str:
    return "" if value is None else signed(value, digits)


def _weight(value: float) -> str:
    """A vote weight; without decimals if it is a whole number."""
    return f"{value:,.0f}" if abs(value - round(value)) < 1e-9 else f"{value:,.2f}"


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
