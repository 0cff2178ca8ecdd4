"""``curate annotate``: a campaign's voting page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import JsonOption
from cli.output import plural, put, put_json, say

if TYPE_CHECKING:
    from pipelines.annotating import Running


def annotate(
    folder: Annotated[Path, typer.Argument(help="The folder of a campaign.", metavar="CAMPAIGN")],
    host: Annotated[
        str, typer.Option("--host", help="Listen here. Anything but loopback is reached from other machines.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")] = 8080,
    url: Annotated[
        str, typer.Option("--url", help="Where people reach it, behind a proxy with TLS.", metavar="URL")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Open a campaign's page: annotators vote on video side by side, managers watch, each by a secret link.

    curate campaign invite makes the links. Votes are on the disk before they are acknowledged; Ctrl-C answers what was
    accepted, then stops. curate ingest reads the votes while the page runs. Prints the address it listens on.

    \b
    Example:
      curate annotate june
      curate annotate june --port 8090 --url https://votes.example.org
    """
    import logging

    from pipelines.annotating import annotate as job

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")  # on stderr
    status = job(folder, host=host, port=port, url=url, ready=lambda running: _tell(running, folder, as_json=as_json))
    say(f"stopped: {plural(status.votes, 'vote')} of {status.wanted:,}")
    say(f"next: curate ingest {folder / 'log.jsonl'}")


def _tell(running: Running, folder: Path, *, as_json: bool) -> None:
    """Where the page is: on stdout at once, for whoever waits for it."""
    if as_json:
        put_json({"campaign": running.campaign, "address": running.address, "url": running.url})
    else:
        put(running.address)
    sys.stdout.flush()
    status = running.status
    say(f"campaign {running.campaign}: {plural(status.votes, 'vote')} of {status.wanted:,}; Ctrl-C stops")
    if not status.annotators:
        say(f"note: nobody is invited yet: curate campaign invite {folder} --annotators 5 --url {running.url}")
    secure = running.url.startswith("https://")
    if not running.only_here and secure:
        say("note: other machines reach this port without TLS: let only the proxy through")
    elif not running.only_here:
        say("note: other machines reach this page over plain http: links and votes can be read on the way")
        say("      keep --host 127.0.0.1, put a proxy with TLS before it, and give --url https://…")
