"""``curate annotate``: the server of the voting pages."""

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
    folders: Annotated[
        list[Path], typer.Argument(help="Folders of campaigns, or a folder with such folders.", metavar="CAMPAIGN...")
    ],
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on. Other machines can reach any but loopback.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0: any free one.")] = 8080,
    url: Annotated[
        str, typer.Option("--url", "--public-url", help="Public address, behind a TLS proxy.", metavar="URL")
    ] = "",
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="Trust the proxy's X-Forwarded-For, -Proto and Forwarded.")
    ] = False,
    metrics: Annotated[
        Path | None,
        typer.Option("--metrics", help="Serve /metrics to clients that send the token in FILE.", metavar="FILE"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Open the voting pages of campaigns: annotators vote on videos, managers see the progress.

    One campaign is served at /, several, and those of a folder, at /c/NAME. curate campaign invite creates the secret
    links. Votes are on the disk before they are confirmed. Ctrl-C answers the accepted requests and stops. curate
    ingest can read the votes while the pages are open. Prints the address of each campaign.

    \b
    Example:
      curate annotate june
      curate annotate june july --port 8090 --behind-proxy --url https://votes.example.org
    """
    import logging

    from pipelines.annotating import annotate as job

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")  # on stderr
    final = job(
        folders,
        host=host,
        port=port,
        url=url,
        behind_proxy=behind_proxy,
        metrics=metrics,
        on_ready=lambda running: print_running(running, behind_proxy=behind_proxy, as_json=as_json),
    )
    for status in final:
        name = f"{status.campaign}: " if len(final) > 1 else ""
        say(f"{name}stopped: {plural(status.votes, 'vote')} of {status.wanted:,}")
        say(f"next: curate ingest {Path(status.folder) / 'log.jsonl'}")


def print_running(running: Running, *, behind_proxy: bool, as_json: bool) -> None:
    """Print the addresses on stdout immediately, and notes on stderr."""
    from schemas.outputs import FailedCampaign, PageAddress, PageAddresses

    several = bool(running.failed) or running.served[0].address != running.address
    if as_json:
        served = tuple(PageAddress(campaign=one.campaign, address=one.address, url=one.url) for one in running.served)
        failed = tuple(FailedCampaign(campaign=one.campaign, error=str(one.error)) for one in running.failed)
        put_json(PageAddresses(campaigns=served, failed=failed) if several else served[0])
    else:
        for page in running.served:
            put(page.address)
    sys.stdout.flush()
    for page in running.served:
        public = f" at {page.url}" if several else ""
        say(f"campaign {page.campaign}: {plural(page.status.votes, 'vote')} of {page.status.wanted:,}{public}")
        if not page.status.annotators and not page.crowd:
            say(f"note: nobody is invited yet: curate campaign invite {page.folder} --annotators 5 --url {page.url}")
    for one in running.failed:
        say(f"error: campaign {one.campaign} is not served: {one.error}")
        if one.hint:
            say(f"hint: {one.hint}")
    say("Ctrl-C stops")
    if not running.loopback and (behind_proxy or running.url.startswith("https://")):
        say("note: other machines can reach this port without TLS: allow only the proxy to connect")
    elif not running.loopback:
        say("note: other machines reach this page over plain http, which exposes links and votes to eavesdropping")
        say("      keep --host 127.0.0.1, put a TLS proxy in front of it, and give --url https://…")
