"""The report as one HTML page: no script, nothing from elsewhere, and everything that people wrote stays text.

Templates escape what they are given (jinja2's autoescape); only the charts, which escape their own text, are markup.
The page forbids itself scripts and requests (its Content-Security-Policy), so that a mistake could do no harm.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from curate.report.charts import Leaderboard, calibration_part, leaderboard, maps, rank_column, side_part
from curate.report.histogram import histogram
from curate.report.models import DRAWS
from curate.report.preference_graph import preference_graph
from curate.report.prompts import ShownPrompt
from curate.report.svg import signed
from curate.report.view import ReportView

GENERATOR = "curate report"
"""What the page says it was made by; by this a report may be replaced by a newer one."""
FIRST, PEOPLE = 20, 200
"""Annotators that are seen at once, the worst first, and those that the page holds at most."""
SECTIONS = (
    ("funnel", "Funnel"),
    ("models", "Models"),
    ("annotators", "Annotators"),
    ("sides", "Position bias"),
    ("contradictions", "Contradictions"),
    ("certainty", "Calibration and reliability"),
    ("prompts", "Single prompts"),
    ("about", "How it was made"),
)


@dataclass(frozen=True)
class DrawnPrompt:
    """The pictures of one prompt."""

    graph: Markup | None
    axis: Markup | None
    """Of the ranks; None where nothing is ranked."""
    intervals: tuple[Markup, ...]
    """One for each response; empty for those that are not ranked."""
    answers: bool
    """Whether any response's text is known."""
    parts: int
    """Components, where there are several; else 0."""
    picture: str | None
    """Data URI."""


def render(
    view: ReportView,
    *,
    title: str = "Preference report",
    pictures: Mapping[str, bytes] | None = None,
    no_picture: Mapping[str, str] | None = None,
) -> str:
    """The page. Equal values give equal text.

    pictures: prompt_id -> a PNG or JPEG (say, a contact sheet) that is shown with the prompt; of other prompts none is.
    no_picture: prompt_id -> why there is none, in words.
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
    board = leaderboard(view.models) if view.models else Leaderboard()
    values: dict[str, Any] = {
        "view": view,
        "title": title,
        "generator": GENERATOR,
        "css": Markup(css),
        "sections": SECTIONS,
        "figures": _figures(view),
        "notes": _notes(view),
        "exported": any(block.title.startswith(("Export", "Release")) for block in view.funnel),
        "draws": DRAWS,
        "by_strength": board.by_strength,
        "strength_axis": board.strength_axis,
        "rank_axis": board.rank_axis,
        "strengths": board.strengths,
        "model_ranks": board.ranks,
        **(maps(view.models) if view.models else {}),
        "first_people": view.people.annotators[:FIRST],
        "more_people": view.people.annotators[FIRST:PEOPLE],
        "known": {name for row in view.people.annotators for name, value in row if value is not None},
        "left_people": max(len(view.people.annotators) - PEOPLE, 0),
        "recommended": _recommended(view),
        **side_part(view.sides),
        "contradiction_chart": histogram(
            view.contradictions.shares,
            axis="share of the vote weight against the order",
            label=f"Histogram of contradiction over {len(view.contradictions.shares)} prompts",
        ),
        **calibration_part(view.run, view.validation),
        "graphs": [_drawn(view, k, (pictures or {}).get(shown.prompt_id)) for k, (shown, _) in enumerate(view.shown)],
        "no_picture": no_picture or {},
    }
    return environment.get_template("page.html").render(values)


def _figures(view: ReportView) -> list[tuple[str, str]]:
    """The few figures that stand at the top."""
    run, people = view.run, view.people
    found: list[tuple[str, str]] = [("pairwise votes in the store", _whole(people.votes))]
    if people.annotators:
        found.append(("annotators", _whole(len(people.annotators))))
    if run:
        found.append((f"of {_whole(run.prompts)} prompts ranked in full", _whole(run.ranked)))
    found.append(("responses", _whole(view.responses)))
    if view.models:
        found.append(("models", _whole(len(view.models.rows))))
    if view.contradictions.share is not None:
        found.append(("of the vote weight against the orders", _percent(view.contradictions.share)))
    if run and run.expected_tau is not None:
        found.append(("expected Kendall tau to the truth", _number(run.expected_tau)))
    if people.alpha is not None:
        found.append((f"Krippendorff's alpha, on {_many(people.judged_twice, 'pair')}", _number(people.alpha)))
    return found


def _notes(view: ReportView) -> list[str]:
    """What a reader must know before the figures."""
    notes = []
    if view.source.newer_votes:
        notes.append(
            f"{_many(view.source.newer_votes, 'vote')} came after this run, which ranks without: curate denoise takes "
            "newer votes in. The figures on annotators and sides count them."
        )
    if view.run and view.run.excluded_votes:
        told = "The figures on annotators and sides count them." if view.run.spammer_ids else "This page counts them."
        spammers = _many(view.run.spammers, "likely spammer")
        notes.append(f"The run left out {_many(view.run.excluded_votes, 'vote')} of {spammers}. {told}")
    if view.run and view.run.strengths and view.run.strengths.shape != "normal":
        notes.append(f"The joint model found that {view.run.strengths.summary}.")
    if view.run is None:
        notes.append("What the run wrote down is not readable by this version; rank anew for all figures.")
    return notes


def _recommended(view: ReportView) -> list[tuple[str, int]]:
    """(what to do, of how many), in the order of the table."""
    found: dict[str, int] = {}
    for row in view.people.annotators:
        found[row.recommendation] = found.get(row.recommendation, 0) + 1
    return list(found.items())


def _drawn(view: ReportView, k: int, picture: bytes | None) -> DrawnPrompt:
    prompt, arcs = view.shown[k]
    axis, intervals = rank_column(prompt.responses)
    parts = {response.component for response in prompt.ranked}
    graph = preference_graph(prompt.nodes(), arcs, label=_graph_label(prompt)) if len(prompt.ranked) > 1 else None
    answers = any(response.text for response in prompt.responses)
    return DrawnPrompt(graph, axis, intervals, answers, len(parts) if len(parts) > 1 else 0, _uri(picture))


def _graph_label(prompt: ShownPrompt) -> str:
    against = "" if prompt.contradicted is None else f"; {_percent(prompt.contradicted)} of the vote weight against it"
    return f"Preference graph of {prompt.prompt_id}: {len(prompt.ranked)} responses in rank order{against}"


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
    """A vote weight: a whole number where votes count one each."""
    return f"{value:,.0f}" if abs(value - round(value)) < 1e-9 else f"{value:,.2f}"


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
