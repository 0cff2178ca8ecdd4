"""``curate campaign open`` and ``curate campaign pay``: a campaign for the people of a platform."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import JsonOption
from cli.output import plural, put, put_json, put_table, say

FolderArgument = Annotated[Path, typer.Argument(help="The folder of a campaign.", metavar="DIR")]


def open_study(
    folder: FolderArgument,
    prolific: Annotated[bool, typer.Option("--prolific", help="Open to participants of Prolific.")] = False,
    mturk: Annotated[bool, typer.Option("--mturk", help="Open to workers of Amazon Mechanical Turk.")] = False,
    link: Annotated[bool, typer.Option("--link", help="Open to everyone who has the link.")] = False,
    consent: Annotated[
        Path | None, typer.Option("--consent", help="Markdown that participants must accept.", metavar="FILE")
    ] = None,
    tutorial: Annotated[
        Path | None, typer.Option("--tutorial", help="Markdown. Default: the instructions.", metavar="FILE")
    ] = None,
    qualification: Annotated[
        int | None, typer.Option("--qualification", help="Number of practice questions.", metavar="N")
    ] = None,
    pass_mark: Annotated[
        float | None, typer.Option("--pass-mark", help="Share of them to answer correctly.", metavar="P")
    ] = None,
    places: Annotated[
        int | None, typer.Option("--places", help="Maximum participants; 0: no limit.", metavar="N")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="A TOML file with the fields of CrowdConfig.", metavar="FILE")
    ] = None,
    url: Annotated[
        str, typer.Option("--url", help="Public address of the page.", metavar="URL")
    ] = "http://127.0.0.1:8080",
    as_json: JsonOption = False,
) -> None:
    """Open a campaign to a crowd, before its page starts, and print the study URL.

    The quota of a participant is the campaign's --max-votes. Without options it prints the URL of an open campaign.
    The four completion codes go into the platform's study settings.

    \b
    Example:
      curate campaign open june --prolific --consent consent.md --qualification 5 --url https://votes.example.org
    """
    from pipelines.crowd import crowd_config
    from pipelines.crowd import open_study as job
    from schemas.errors import UsageError

    flags = {"prolific": prolific, "mturk": mturk, "link": link}
    chosen = [name for name, wanted in flags.items() if wanted]
    if len(chosen) > 1:
        raise UsageError("several platforms", hint="give one of --prolific, --mturk and --link")
    settings = None
    if chosen or config:
        changes = {
            "platform": chosen[0] if chosen else None,
            "qualification": qualification,
            "pass_mark": pass_mark,
            "places": places,
        }
        settings = crowd_config(config, changes, texts={"consent": consent, "tutorial": tutorial})
    found = job(folder, settings, url=url)
    if as_json:
        put_json(found)
        return
    put(found.url)
    say(f"campaign {found.campaign} is open to {found.platform}: {plural(found.quota, 'vote')} per participant")
    for result, code in found.codes.model_dump().items():
        say(f"  completion code, {result.replace('_', ' ')}: {code}")
    for warning in found.warnings:
        say(f"note: {warning}")
    say(f"next: curate annotate {folder}")


def pay(
    folder: FolderArgument,
    out: Annotated[Path, typer.Option("--out", help="The CSV file; the platform's get its name.", metavar="FILE")],
    rate: Annotated[str | None, typer.Option("--rate", help="Amount per hour, such as 12/h.", metavar="X/h")] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", help="Write the files of this recorded batch again.", metavar="N")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compute what the participants of a crowd are due, and write the files for the platform.

    Time is measured by the server, with idle time capped. Each call pays only what is new, and records it as a batch:
    nobody is paid twice. Payments themselves are made on the platform.

    \b
    Example:
      curate campaign pay june --rate 12/h --out june-1.csv
    """
    from pipelines.payment import pay as job
    from schemas.errors import UsageError

    if (rate is None) == (batch is None):
        raise UsageError("what to pay is missing", hint="--rate X/h, or --batch N for a recorded batch")
    report = job(folder, rate, out, batch=batch)
    if as_json:
        put_json(report)
        return
    if report.batch is None:
        say(f"{report.campaign}: nothing new is due; {plural(report.earlier, 'batch', 'batches')} before")
        return
    columns = ("participant", "result", "votes", "hours", "bonus", "reward", "paid_before", "amount")
    put_table(columns, [[getattr(row, name) for name in columns] for row in report.batch.rows])
    due = sum(row.amount > 0 for row in report.batch.rows)
    say(f"{report.campaign}, batch {report.batch.batch}: {report.batch.total} to {plural(due, 'participant')}")
    for file in report.files:
        say(f"  {file}")
