"""The job ``annotate``: a campaign behind the voting page, with fresh batches while it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from annotations.page.serving import address, listen, only_here, serve
from pipelines.campaigns import open_campaign
from schemas.campaign import CampaignStatus
from schemas.errors import UsageError


class Running(NamedTuple):
    """A page that answers now."""

    campaign: str
    address: str
    """Where it listens: http://127.0.0.1:8080."""
    url: str
    """Where people reach it."""
    only_here: bool
    """Whether no other machine can reach where it listens."""
    status: CampaignStatus


def annotate(
    folder: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    url: str = "",
    ready: Callable[[Running], None],
) -> CampaignStatus:
    """Serve the campaign of the folder until SIGINT or SIGTERM; returns how it stands then.

    url: where people reach the page, where that is not the address it listens on (a proxy with TLS before it). ready
    is told once it listens. Raises CurateError where the folder holds no campaign, another process has it open (naming
    it), or the address cannot be had; UsageError for a url that cannot be meant.
    """
    public = _root_of(url)
    with open_campaign(folder) as campaign:
        listener = listen(host, port)
        here = address(listener)
        status = campaign.status()
        ready(Running(status.campaign, here, public or here, only_here(host), status))
        serve(campaign, status.campaign, listener, url=public)
        return campaign.status()


def _root_of(url: str) -> str:
    """Scheme and host of the url, "" of "". Raises UsageError for anything but the root of a site."""
    if not url:
        return ""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UsageError(f"--url {url}: not an address of a site", hint="for example: --url https://votes.example.org")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise UsageError(f"--url {url}: the page needs a host of its own", hint=f"{parts.scheme}://{parts.netloc}")
    return f"{parts.scheme}://{parts.netloc}".lower()
