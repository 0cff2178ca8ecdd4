"""``curate campaign``: ask people for votes: make a campaign, invite, look how it goes, close it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import JsonOption, StoreOption, store_path
from cli.output import listed, plural, progress_bar, put, put_json, put_table, say
from cli.release import print_funnel
from schemas.plan import Focus

if TYPE_CHECKING:
    from schemas.campaign import CampaignReport, CampaignStatus

app = typer.Typer(
    name="campaign",
    help="Ask people for votes: make a campaign, invite annotators, look how it goes, close it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

FolderArgument = Annotated[Path, typer.Argument(help="The folder of a campaign.", metavar="DIR")]
URL = "http://127.0.0.1:8080"
SHOWN = 10
"""Refused videos that are printed for people; --json has all."""


@app.command()
def create(
    folder: Annotated[Path, typer.Argument(help="The folder to make.", metavar="DIR")],
    votes: Annotated[int | None, typer.Option("--votes", min=1, help="Votes wanted in all.", metavar="N")] = None,
    store: StoreOption = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="A TOML file with the fields of CampaignConfig.", metavar="FILE")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="What it is called. Default: as its folder.", metavar="NAME")
    ] = None,
    title: Annotated[str | None, typer.Option("--title", help="Shown to annotators.", metavar="TEXT")] = None,
    instructions: Annotated[
        Path | None, typer.Option("--instructions", help="A Markdown file, shown to annotators.", metavar="FILE")
    ] = None,
    videos: Annotated[
        Path | None,
        typer.Option("--videos", help="Where the names of videos begin. Default: the store's folder.", metavar="DIR"),
    ] = None,
    gold: Annotated[
        Path | None,
        typer.Option("--gold", help="Pairs whose outcome is known, as a file of votes.", metavar="FILE"),
    ] = None,
    votes_per_pair: Annotated[
        int | None, typer.Option("--votes-per-pair", help="Votes on a pair, each another annotator's.", metavar="N")
    ] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", help="Votes that the planner chooses at a time.", metavar="N")
    ] = None,
    focus: Annotated[
        Focus | None, typer.Option("--focus", help="What to settle: the whole order of a prompt, or who is its best.")
    ] = None,
    prompts: Annotated[
        list[str] | None, typer.Option("--prompts", help="Ask about this prompt only; may be repeated.", metavar="ID")
    ] = None,
    gold_share: Annotated[
        float | None, typer.Option("--gold-share", help="Share of questions whose answer is known.", metavar="P")
    ] = None,
    attention_share: Annotated[
        float | None, typer.Option("--attention-share", help="Share of checks of attention.", metavar="P")
    ] = None,
    min_watched: Annotated[
        float | None, typer.Option("--min-watched", help="Share of a video to play before voting on it.", metavar="P")
    ] = None,
    max_votes: Annotated[
        int | None, typer.Option("--max-votes", help="Votes of one annotator, at most; 0: no limit.", metavar="N")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of sides, order and checks.", metavar="N")] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a campaign: the planner's first batch of pairs, known answers, and videos that browsers play.

    A video that browsers do not play is encoded once, or refused by name; prompts on it are not asked. The folder
    appears whole or not at all. Every other field of CampaignConfig goes into --config.

    \b
    Example:
      curate campaign create june --votes 5000 --votes-per-pair 2 --videos videos --gold gold.csv
    """
    from pipelines.campaigns import create as job
    from pipelines.campaigns import settle

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
    chosen = settle(config, changes, instructions=instructions, default_name=folder.resolve().name)
    with progress_bar() as progress:
        report = job(folder, store_path(store), chosen, videos=videos, gold=gold, progress=progress)
    put_json(report) if as_json else print_campaign(report)


def print_campaign(report: CampaignReport) -> None:
    """What was made, in words; the folder on stdout."""
    say(f"campaign {report.campaign} ({report.campaign_id}) from {report.store}")
    print_funnel(report.funnel)
    for video, reason in list(report.refused.items())[:SHOWN]:
        say(f"    {video}: {reason}")
    if len(report.refused) > SHOWN:
        say(f"    … and {len(report.refused) - SHOWN:,} more (--json has all)")
    say(f"  first batch: {plural(report.batch_votes, 'vote')} on {plural(report.batch_pairs, 'pair')}")
    say(f"  wanted in all: {plural(report.wanted, 'vote')}; fresh batches are planned while the page runs")
    checks = plural(report.attention, "check") + " of attention"
    say(f"  {plural(report.gold, 'known answer')} ({report.gold_from}); {checks}")
    for warning in report.warnings:
        say(f"note: {warning}")
    say(f"next: curate campaign invite {report.folder} --annotators 5, then curate annotate {report.folder}")
    put(report.folder)


@app.command()
def invite(
    folder: FolderArgument,
    names: Annotated[
        list[str] | None, typer.Option("--name", help="An annotator's name; may be repeated.", metavar="NAME")
    ] = None,
    annotators: Annotated[
        int | None, typer.Option("--annotators", min=1, help="So many, named a01, a02, …", metavar="N")
    ] = None,
    managers: Annotated[
        list[str] | None, typer.Option("--manager", help="A manager's name; may be repeated.", metavar="NAME")
    ] = None,
    url: Annotated[str, typer.Option("--url", help="Where people reach the page.", metavar="URL")] = URL,
    as_json: JsonOption = False,
) -> None:
    """Print a secret link for each person, this once: only its digest is kept. A running page knows it at once.

    The names are what votes are stored by: give no names of people that you would not publish.

    \b
    Example:
      curate campaign invite june --annotators 5 --manager boss --url https://votes.example.org
    """
    from pipelines.campaigns import fresh_names
    from pipelines.campaigns import invite as job
    from schemas.errors import UsageError

    wanted = [*(names or []), *(fresh_names(folder, annotators) if annotators else [])]
    if not wanted and not managers:
        raise UsageError("nobody to invite", hint="--name NAME, --annotators N or --manager NAME")
    found = list(job(folder, wanted, managers=managers or (), url=url))
    if as_json:
        put_json([invitation.model_dump(mode="json") for invitation in found])
        return
    put_table(("name", "role", "link"), [(one.name, one.role, one.link) for one in found])
    say("these links are shown this once; who has one votes under its name: curate campaign revoke ends it")


@app.command()
def revoke(
    folder: FolderArgument,
    names: Annotated[list[str], typer.Option("--name", help="Whose link; may be repeated.", metavar="NAME")],
    as_json: JsonOption = False,
) -> None:
    """Let links open nothing any more, from the next request on; votes stay, open questions go to others.

    \b
    Example:
      curate campaign revoke june --name a03
    """
    from pipelines.campaigns import revoke as job

    job(folder, names)
    put_json({"revoked": names}) if as_json else say(f"revoked: {', '.join(names)}; invite gives a new link")


@app.command()
def status(folder: FolderArgument, as_json: JsonOption = False) -> None:
    """Show how far a campaign is and how its annotators do; works while the page runs.

    \b
    Example:
      curate campaign status june --json
    """
    from pipelines.campaigns import status as job

    report = job(folder)
    put_json(report) if as_json else print_status(report)


COLUMNS = (
    "annotator",
    "standing",
    "votes",
    "skips",
    "undone",
    "known",
    "right",
    "seconds",
    "left",
    "agree",
    "on",
    "open",
)


def print_status(report: CampaignStatus) -> None:
    """The annotators as a table on stdout, the campaign in words."""
    rows = [
        (
            row.annotator,
            "revoked" if row.revoked else row.standing,
            row.votes,
            row.skips,
            row.undone,
            row.gold,
            row.gold_right,
            row.seconds,
            row.left,
            row.agreement,
            row.agreement_on,
            row.open,
        )
        for row in report.annotators
    ]
    if rows:
        put_table(COLUMNS, rows)
    share = f" ({report.votes / report.wanted:.0%})"
    say(f"{report.campaign}: {report.votes:,} of {plural(report.wanted, 'vote')}{share}" + " closed" * report.closed)
    planned = f"  {report.planned:,} planned in {plural(report.batches, 'batch', 'batches')}"
    say(f"{planned} on {plural(report.pairs, 'pair')} of {plural(report.prompts, 'prompt')}; {report.open:,} held now")
    if report.set_aside:
        say(f"  set aside: {plural(report.set_aside, 'vote')} of annotators who were stopped; others are asked")
    if report.votes:
        say(f"  outcomes: {listed(report.outcomes)}")
    facts = {
        "left side": None if report.left is None else f"{report.left:.0%} of decided votes",
        "time": None if report.median_seconds is None else f"{report.median_seconds:.1f} s on a question (median)",
        "known answers met": None if report.gold_right is None else f"{report.gold_right:.0%}",
    }
    for name, fact in facts.items():
        if fact:
            say(f"  {name}: {fact}")
    for warning in report.warnings:
        say(f"note: {warning}")


@app.command()
def close(folder: FolderArgument, as_json: JsonOption = False) -> None:
    """Take no more votes, for good; a page that runs says so to everyone.

    \b
    Example:
      curate campaign close june
    """
    from pipelines.campaigns import close as job

    done = job(folder)
    if as_json:
        put_json({"folder": str(folder), "closed": done})
        return
    say(f"{folder}: closed" if done else f"{folder}: the page that runs closes it with its next request")
    say(f"votes into a store: curate ingest {folder / 'log.jsonl'}")
