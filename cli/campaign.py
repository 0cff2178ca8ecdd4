"""``curate campaign``: create a campaign, invite, show its status, check its log, close it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import manage
from cli.manage import BY, ByOption, FolderArgument
from cli.options import JsonOption, PromptOption, StoreOption, settings, store_path
from cli.output import listed, plural, progress_bar, put, put_json, put_table, say
from cli.release import print_funnel
from schemas.choices import Focus
from schemas.errors import CHECK_FAILED

if TYPE_CHECKING:
    from schemas.campaign import CampaignReport, CampaignStatus, LogCheck

app = typer.Typer(
    name="campaign",
    help="Collect votes: create a campaign, invite annotators, show its status, close it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

URL = "http://127.0.0.1:8080"
MAX_REFUSED = 10
"""Refused videos that are listed without --json."""


@app.command()
def create(
    folder: Annotated[Path, typer.Argument(help="The folder to create.", metavar="DIR")],
    votes: Annotated[int | None, typer.Option("--votes", min=1, help="Votes wanted in total.", metavar="N")] = None,
    store: StoreOption = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="A TOML file with the fields of CampaignConfig.", metavar="FILE")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the campaign. Default: the folder's.", metavar="NAME")
    ] = None,
    title: Annotated[str | None, typer.Option("--title", help="Title of the page.", metavar="TEXT")] = None,
    instructions: Annotated[
        Path | None, typer.Option("--instructions", help="Markdown instructions for annotators.", metavar="FILE")
    ] = None,
    videos: Annotated[
        Path | None,
        typer.Option(
            "--media", help="Folder that video names are relative to. Default: the store's folder.", metavar="DIR"
        ),
    ] = None,
    gold: Annotated[
        Path | None,
        typer.Option("--gold", help="A file of votes: pairs with known outcomes.", metavar="FILE"),
    ] = None,
    votes_per_pair: Annotated[
        int | None, typer.Option("--votes-per-pair", help="Votes per pair, each by another annotator.", metavar="N")
    ] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", help="Votes that the planner chooses at a time.", metavar="N")
    ] = None,
    focus: Annotated[
        Focus | None, typer.Option("--focus", help="Goal: the whole order of each prompt, or its best response.")
    ] = None,
    prompts: PromptOption = None,
    gold_share: Annotated[
        float | None, typer.Option("--gold-share", help="Share of questions with a known answer.", metavar="P")
    ] = None,
    attention_share: Annotated[
        float | None, typer.Option("--attention-share", help="Share of attention checks.", metavar="P")
    ] = None,
    min_watched: Annotated[
        float | None, typer.Option("--min-watched", help="Share of a video to play before voting.", metavar="P")
    ] = None,
    max_votes: Annotated[
        int | None, typer.Option("--max-votes", help="Maximum votes per annotator; 0: no limit.", metavar="N")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of sides, order and control questions.", metavar="N")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Create a campaign: the planner's first batch of pairs, control questions, and videos that browsers play.

    A video that browsers do not play is transcoded once, or refused by name; its prompts are then not asked. The folder
    appears completely or not at all. Further fields of CampaignConfig go into --config.

    \b
    Example:
      curate campaign create june --votes 5000 --votes-per-pair 2 --media videos --gold gold.csv
    """
    from pipelines.campaigns import create as job
    from pipelines.campaigns import load_config

    changes = {
        "votes": votes,
        "name": name,
        "title": title,
        "votes_per_pair": votes_per_pair,
        "batch": batch,
        "focus": focus,
        "prompts": prompts,
        "gold_share": gold_share,
        "attention_share": attention_share,
        "min_watched": min_watched,
        "max_votes": max_votes,
        "seed": seed,
    }
    chosen = load_config(config, changes, instructions=instructions, default_name=folder.resolve().name)
    with progress_bar() as progress:
        mapping = settings().ingest.mapping_of(str(gold or ""))
        report = job(folder, store_path(store), chosen, videos=videos, gold=gold, mapping=mapping, progress=progress)
    put_json(report) if as_json else print_campaign(report)


def print_campaign(report: CampaignReport) -> None:
    """Print a summary on stderr and the folder on stdout."""
    say(f"campaign {report.campaign} ({report.campaign_id}) from {report.store}")
    print_funnel(report.funnel)
    for video, reason in list(report.refused.items())[:MAX_REFUSED]:
        say(f"    {video}: {reason}")
    if len(report.refused) > MAX_REFUSED:
        say(f"    … and {len(report.refused) - MAX_REFUSED:,} more (--json lists all)")
    say(f"  first batch: {plural(report.batch_votes, 'vote')} on {plural(report.batch_pairs, 'pair')}")
    say(f"  total: {plural(report.wanted, 'vote')}; further batches are planned while the page runs")
    source = {"denoise": "pairs that the latest denoise run is certain of"}.get(report.gold_source, report.gold_source)
    checks = plural(report.attention, "attention check")
    say(f"  {plural(report.gold, 'control question')} ({source}); {checks}")
    for warning in report.warnings:
        say(f"note: {warning}")
    say(f"next: curate campaign invite {report.folder} --annotators 5, then curate annotate {report.folder}")
    put(report.folder)


@app.command()
def invite(
    folder: FolderArgument,
    names: Annotated[
        list[str] | None, typer.Option("--name", help="Name of an annotator; repeatable.", metavar="NAME")
    ] = None,
    annotators: Annotated[
        int | None, typer.Option("--annotators", min=1, help="Number of annotators, named a01, a02, …", metavar="N")
    ] = None,
    managers: Annotated[
        list[str] | None, typer.Option("--manager", help="Name of a manager; repeatable.", metavar="NAME")
    ] = None,
    url: Annotated[str, typer.Option("--url", help="Public address of the page.", metavar="URL")] = URL,
    by: ByOption = BY,
    as_json: JsonOption = False,
) -> None:
    """Print a secret link for each person, once: only its digest is stored. A running page accepts it immediately.

    Votes are stored under these names: do not use real names that you would not publish.

    \b
    Example:
      curate campaign invite june --annotators 5 --manager boss --url https://votes.example.org
    """
    from pipelines.campaign_management import invite as job
    from pipelines.campaign_management import new_names
    from schemas.errors import UsageError

    wanted = [*(names or []), *(new_names(folder, annotators) if annotators else [])]
    if not wanted and not managers:
        raise UsageError("nobody to invite", hint="--name NAME, --annotators N or --manager NAME")
    found = list(job(folder, wanted, managers=managers or (), url=url, by=by))
    if as_json:
        put_json(found)
        return
    put_table(("name", "role", "link"), [(one.name, one.role, one.link) for one in found])
    say("these links are shown only once; whoever has one can vote under its name (curate campaign revoke ends that)")


@app.command()
def revoke(
    folder: FolderArgument,
    names: Annotated[list[str], typer.Option("--name", help="Name of a member; repeatable.", metavar="NAME")],
    by: ByOption = BY,
    as_json: JsonOption = False,
) -> None:
    """Revoke links, from the next request on. Votes are kept, and open questions go to others.

    \b
    Example:
      curate campaign revoke june --name a03
    """
    from pipelines.campaign_management import revoke as job
    from schemas.outputs import RevokedLinks

    job(folder, names, by=by)
    if as_json:
        put_json(RevokedLinks(revoked=tuple(names)))
    else:
        say(f"revoked: {', '.join(names)}; invite gives a new link")


for command in manage.COMMANDS:
    app.command()(command)


@app.command()
def status(folder: FolderArgument, as_json: JsonOption = False) -> None:
    """Show the progress of a campaign and its annotators, also while the page runs.

    \b
    Example:
      curate campaign status june --json
    """
    from pipelines.campaigns import status as job

    report = job(folder)
    put_json(report) if as_json else print_status(report)


COLUMNS = {
    "annotator": "annotator",
    "votes": "votes",
    "skips": "skips",
    "undone": "undone",
    "gold": "controls",
    "gold_accuracy": "correct",
    "median_seconds": "seconds",
    "claimed_seconds": "claimed",
    "excess_claims": "excess",
    "too_fast": "too fast",
    "left_share": "left",
    "agreement": "agreement",
    "compared": "compared",
    "open": "open",
}
"""Field of AnnotatorStatus -> header."""


def print_status(report: CampaignStatus) -> None:
    """Print the annotators as a table on stdout, and a summary on stderr."""
    rows = [
        ("revoked" if row.revoked else row.status, *(getattr(row, field) for field in COLUMNS))
        for row in report.annotators
    ]
    if rows:
        put_table(("status", *COLUMNS.values()), rows)
    share = f" ({report.votes / report.wanted:.0%})"
    state = ", closed" if report.closed else ", paused" * report.paused
    say(f"{report.campaign}: {report.votes:,} of {plural(report.wanted, 'vote')}{share}{state}")
    planned = f"  {report.planned:,} planned in {plural(report.batches, 'batch', 'batches')}"
    say(f"{planned} on {plural(report.pairs, 'pair')} of {plural(report.prompts, 'prompt')}; {report.open:,} open now")
    if report.criteria:
        say(f"  by criterion: {listed(report.criteria)}")
    if report.excluded:
        say(f"  excluded: {plural(report.excluded, 'vote')} of stopped annotators, collected again from others")
    if report.votes:
        say(f"  outcomes: {listed(report.outcomes)}")
    if report.skips:
        say(f"  skips: {report.skips:,}")
    for one in report.problems:
        reasons = [f"{reason} ({count:,})" for reason, count in one.reasons.items()]
        reasons += [f"did not load for {plural(one.load_errors, 'annotator')}"] * bool(one.load_errors)
        say(f"    {one.video} ({', '.join(one.prompts[:3])}): {'; '.join(reasons)}")
    facts = {
        "left side": None if report.left_share is None else f"{report.left_share:.0%} of decisive votes",
        "time": None if report.median_seconds is None else f"{report.median_seconds:.1f} s per question (median)",
        "control questions correct": None if report.gold_accuracy is None else f"{report.gold_accuracy:.0%}",
    }
    for name, fact in facts.items():
        if fact:
            say(f"  {name}: {fact}")
    for warning in report.warnings:
        say(f"note: {warning}")


@app.command()
def check(folder: FolderArgument, as_json: JsonOption = False) -> None:
    """Find lines of a campaign's log that were edited, damaged, reordered or duplicated, and missing ones.

    Exits with 7 if there are any. Every line has a keyed hash of itself and of the line before (docs/campaign.md).

    \b
    Example:
      curate campaign check june
    """
    from pipelines.campaigns import check as job

    report = job(folder)
    put_json(report) if as_json else print_check(report)
    if report.findings:
        if not as_json:
            say(f"next: curate campaign repair {folder}")
        raise typer.Exit(CHECK_FAILED)


@app.command()
def repair(folder: FolderArgument, as_json: JsonOption = False) -> None:
    """Move the lines that ``check`` finds into log.quarantine.jsonl, so that the campaign opens.

    Sound lines stay as they are, in their order. A line `lost` takes the place of each event that is gone, and pairs
    whose votes are gone are asked again. The page must not run.

    \b
    Example:
      curate campaign repair june
    """
    from pipelines.campaigns import repair as job

    report = job(folder)
    put_json(report) if as_json else print_check(report)
    if report.quarantine and not as_json:
        say(f"moved to {report.quarantine}; the campaign opens again")


def print_check(report: LogCheck) -> None:
    """Print the findings as a table on stdout, and a summary on stderr."""
    if report.findings:
        put_table(("line", "kind", "event", "what"), [(f.line, f.kind, f.seq, f.about) for f in report.findings])
    found = plural(len(report.findings), "finding") if report.findings else "as curate wrote them"
    say(f"{report.log}: {plural(report.lines, 'line')} ({report.chained:,} chained), {found}")


@app.command()
def close(folder: FolderArgument, as_json: JsonOption = False) -> None:
    """Accept no more votes, permanently. A running page tells everyone.

    \b
    Example:
      curate campaign close june
    """
    from pipelines.campaigns import close as job
    from schemas.outputs import ClosedCampaign

    done = job(folder)
    if as_json:
        put_json(ClosedCampaign(folder=str(folder), closed=done))
        return
    say(f"{folder}: closed" if done else f"{folder}: the running page closes it with its next request")
    say(f"next: curate ingest {folder / 'log.jsonl'}")
