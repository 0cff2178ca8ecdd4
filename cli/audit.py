"""``curate audit``: how few votes the conclusions rest on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import CriterionOption, JsonOption, RunOption, StoreOption, criterion_of, store_path
from cli.output import plural, progress_bar, put_json, put_table, say

if TYPE_CHECKING:
    from schemas.audit import AuditReport


def audit(
    release: Annotated[
        Path | None,
        typer.Argument(help="A release: audit the labels of its benchmark items.", metavar="[RELEASE]"),
    ] = None,
    store: StoreOption = None,
    run: RunOption = "",
    criterion: CriterionOption = None,
    show: Annotated[int, typer.Option("--show", min=0, help="Labels to list with their votes.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """Find the smallest sets of votes, and of annotators, whose removal changes a label.

    A label is the best response of a prompt, or of a benchmark item of the release. The strengths are fitted again
    without each set that is named, and the label does change; a smaller set of other votes may exist. A label that one
    or two votes change is fragile: ask for more votes on its prompt (curate plan), or leave it out. The top of the
    leaderboard is audited, too.

    \b
    Example:
      curate audit
      curate audit releases/mr2bench-video-1.0.0 --show 20 --json
    """
    from pipelines import audit as job

    with progress_bar() as progress:
        report = job(
            store_path(store),
            run=run,
            criterion=criterion_of(criterion, run),
            release=release,
            show=show,
            progress=progress,
        )
    put_json(report) if as_json else print_audit(report)


def print_audit(report: AuditReport) -> None:
    """Print the most fragile labels and their votes on stdout, and a summary on stderr."""
    rows = []
    for label in report.fragile:
        name = f"{label.prompt_id} {label.item_id}".strip()
        for number, vote in enumerate(label.votes):
            where = (f"{vote.file}:{vote.line}", vote.annotator_id or "", f"{vote.left} / {vote.right}: {vote.outcome}")
            rows.append((name, label.best, label.rival, *where) if number == 0 else ("", "", "", *where))
        if not label.votes:
            why = "no set of votes changes it" if label.units is None else "the strengths favour the rival"
            rows.append((name, label.best, label.rival or "", why, "", ""))
    if rows:
        put_table(("label", "best", "without these votes", "vote", "annotator", "responses: outcome"), rows)
    what = f"benchmark labels of {report.release}" if report.release else "best responses"
    say(f"run {report.run}: {plural(report.labels, 'label')} ({what}) from {plural(report.votes, 'vote')}")
    for unit, counts in (("votes", report.by_votes), ("annotators", report.by_annotators)):
        few = ", ".join(f"{count:,} by {units}" for units, count in list(counts.items())[:6])
        say(f"  labels that change without as many {unit}: {few}" + (", …" if len(counts) > 6 else ""))
    for top in report.top:
        of_votes = f" ({plural(top.votes, 'vote')})" if top.unit == "annotators" else ""
        removed = plural(top.units, top.unit.removesuffix("s"))
        say(f"  {top.model} leads the leaderboard; without {removed}{of_votes}, {top.rival} does")
