"""The report as one self-contained HTML page: readable without scripts, with interactive views where they run.

Templates escape all values (jinja2's autoescape); only charts, which escape their own text, are markup. The script
inserts texts as text only, and a Content Security Policy allows no other script, and requests only for linked videos.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from curate.report.data import NO_MEDIA, PageMedia, packed
from curate.report.figures import ReportView
from curate.report.panels import (
    calibration_panel,
    disagreement_panel,
    leaderboard_panel,
    matrix_panel,
    sides_panel,
)
from curate.report.svg import signed

GENERATOR = "curate report"
"""Content of the meta tag ``generator``, by which a report is recognised and may be replaced."""
LISTED = 200
"""Annotators on the page at most, worst first."""
TABS = (
    ("leaderboard", "Leaderboard"),
    ("prompts", "Prompts"),
    ("pair", "Compare"),
    ("annotators", "Annotators"),
    ("quality", "Certainty"),
    ("origin", "Data"),
)
"""id and name of the views that the page begins with."""
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#1d5fa8"/>'
    '<g stroke="#fff" stroke-width="2.5" stroke-linecap="round"><path d="M12 9h14M7 16h14M6 23h9"/></g>'
    '<g fill="#fff"><circle cx="19" cy="9" r="3.4"/><circle cx="14" cy="16" r="3.4"/>'
    '<circle cx="10" cy="23" r="3.4"/></g></svg>'
)
FIRST_SCRIPT = 'if (window.DecompressionStream) document.documentElement.classList.add("js");'
"""Hides the views that are not shown, before anything is drawn; an old browser shows the page without scripts."""


@cache
def _environment() -> Environment:
    """Return the templates, which are compiled when they are first used."""
    environment = Environment(
        loader=PackageLoader("curate.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(n=_whole, many=_many, pct=_percent, num=_number)
    return environment


def render(view: ReportView, data: Mapping[str, Any], *, title: str, media: PageMedia = NO_MEDIA) -> str:
    """Return the page; equal values give equal text. data: of ``page_data``."""
    environment = _environment()
    assert environment.loader is not None
    css, script = (environment.loader.get_source(environment, name)[0] for name in ("page.css", "page.js"))
    shown = {prompt.video for prompt in view.shown if prompt.video}
    values: dict[str, Any] = {
        "view": view,
        "title": title,
        "description": _description(view),
        "generator": GENERATOR,
        "icon": "data:image/svg+xml," + quote(ICON),
        "policy": _policy(css, [FIRST_SCRIPT, script]),
        "css": Markup(css),
        "first_script": Markup(FIRST_SCRIPT),
        "script": Markup(script),
        "data": packed(data),
        "pictures": Markup(pictures_text(media, data["videos"]["name"])),
        "tabs": TABS,
        "figures": _figures(view),
        "notes": _notes(view),
        "exported": any(block.title.startswith(("Export", "Release")) for block in view.funnel),
        **(leaderboard_panel(view.models) | matrix_panel(view.models) if view.models else {}),
        "listed_people": view.people.annotators[:LISTED],
        "known": {name for row in view.people.annotators for name, value in row if value is not None},
        "hidden_people": max(len(view.people.annotators) - LISTED, 0),
        "recommended": _recommended(view),
        **sides_panel(view.sides),
        **disagreement_panel(view.disagreement),
        **calibration_panel(view.run, view.validation),
        "floors": any(row.floor is not None for row in view.ceilings),
        "media": media,
        "stills": {video: _uri(picture) for video, picture in media.pictures.items() if video in shown},
    }
    return environment.get_template("page.html").render(values)


def _policy(css: str, scripts: list[str]) -> str:
    """The page's own style and scripts, its pictures, and videos beside it."""

    def digests(*texts: str) -> str:
        return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(t.encode()).digest()).decode()}'" for t in texts)

    own = f"script-src {digests(*scripts)}; style-src {digests(css)}; img-src data: blob:; media-src 'self' file:"
    return f"default-src 'none'; {own}; base-uri 'none'; form-action 'none'"


def pictures_text(media: PageMedia, videos: list[str]) -> str:
    """Return the pictures of the videos as JSON: pairs of the digest of the video, or "", and base64, or null."""
    return json.dumps(
        [
            [media.digests.get(video, ""), base64.b64encode(picture).decode() if picture else None]
            for video in videos
            for picture in [media.pictures.get(video)]
        ],
        separators=(",", ":"),
    )


def pictures_of(page: bytes) -> dict[str, bytes]:
    """Return the pictures of a report by the digest of their video; those without a digest are not there."""
    start = page.find(b'id="pictures">')
    text = page[start + len(b'id="pictures">') : page.find(b"</script>", start)] if start >= 0 else b"[]"
    try:
        return {digest: base64.b64decode(picture) for digest, picture in json.loads(text) if digest and picture}
    except ValueError:
        return {}


def _description(view: ReportView) -> str:
    """What the page is about, in a sentence or two."""
    votes = view.run.votes if view.run else view.people.votes
    judging = len(view.people.annotators) - (view.run.spammers if view.run else 0)
    judges = f" by {_many(judging, 'annotator')}" if judging > 0 else ""
    count = f"{_many(len(view.models.frame), 'model')} on " if view.models else ""
    by = view.run.by_criterion if view.run else ""
    text = f"{count}{_many(view.prompts, 'prompt')}, ranked from {_many(votes, 'vote')}{judges}{by}."
    if view.models:
        frame = view.models.frame
        best = frame.filter((frame["class"] == frame["class"][0]) & (frame["component"] == frame["component"][0]))
        names = best["model"].to_list()
        text += f" Best: {', '.join(names[:3])}" + (f" and {len(names) - 3} more." if len(names) > 3 else ".")
    return text


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


def _uri(picture: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"


def _whole(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _many(count: int, noun: str) -> str:
    """ "1 vote", "1,234 votes"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _percent(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{signed(100 * value, digits)}%"


def _number(value: float | None, digits: int = 2) -> str:
    return "" if value is None else signed(value, digits)
