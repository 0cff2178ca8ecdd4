"""The job of the server: it opens campaigns, serves their pages, and plans their next batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from annotations.campaign.folder import (
    CAMPAIGN,
    GOLD,
    LOG,
    MEDIA_LIST,
    batch_path,
    read_campaign,
    read_lines,
    read_tasks,
    write_lines,
)
from annotations.campaign.refill import BatchRequest, PlanBatch
from annotations.campaign.session import CampaignSession
from curate.store import Store
from pipelines.campaign_tasks import askable, choose_pairs, control_ids
from pipelines.ingestion import ingest
from pipelines.settings import read_text
from schemas.campaign import CampaignStatus, MediaLine
from schemas.errors import CurateError, UsageError

if TYPE_CHECKING:
    from annotations.page.app import Page
    from annotations.page.security import Sessions

TOKEN_LENGTH = 16
"""Characters of the token of /metrics, at least."""
PLANNING = Lock()
"""Held while a batch is planned: campaigns may share a store, which one thread at a time may open for writing."""


class Served(NamedTuple):
    """A campaign whose page accepts requests."""

    folder: Path
    campaign: str
    address: str
    """On the server, such as http://127.0.0.1:8080/c/june."""
    url: str
    """The public address."""
    crowd: bool
    """Whether it is open to a crowd."""
    status: CampaignStatus


class Failed(NamedTuple):
    """A campaign that could not be opened."""

    folder: Path
    campaign: str
    error: Exception

    @property
    def hint(self) -> str:
        """What to do; "" where that is unknown."""
        return str(getattr(self.error, "hint", ""))


class Running(NamedTuple):
    """A server that accepts requests."""

    address: str
    """Such as http://127.0.0.1:8080."""
    url: str
    """The public address."""
    loopback: bool
    """Whether only this machine can reach the server."""
    served: tuple[Served, ...]
    failed: tuple[Failed, ...]


def annotate(
    folders: Sequence[str | Path],
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    url: str = "",
    behind_proxy: bool = False,
    metrics: str | Path | None = None,
    on_ready: Callable[[Running], None],
) -> tuple[CampaignStatus, ...]:
    """Serve the pages of campaigns until SIGINT or SIGTERM; return their final statuses.

    One campaign is served at /. Several, and those of a folder of campaigns, are served at /c/NAME; one that cannot be
    opened is reported, and the others are served. url: the public address, if it differs from the server's (behind a
    TLS proxy). behind_proxy: trust the headers of that proxy. metrics: a file with the token of /metrics, which is
    off without it. on_ready is called once the server listens. Raises CurateError if no campaign can be opened (none in
    the folder, or another process has it open), or if the address is not available; UsageError for an invalid url or
    token, and for two campaigns of one name.
    """
    from annotations.page.security import Sessions
    from annotations.page.server import address, is_loopback, listen, serve
    from annotations.page.site import Site

    public, token = _site_of(url), _token(metrics)
    found = campaign_folders(folders)
    several = [Path(folder) for folder in folders] != found or len(found) > 1
    pages: list[Page] = []
    failed: list[Failed] = []
    with ExitStack() as stack:
        for folder, name in _names(found).items():
            sessions = Sessions(name, public, f"/c/{name}" if several else "")
            try:
                pages.append(stack.enter_context(_page(folder, sessions)))
            except (CurateError, OSError, ValueError) as error:  # such as a file that is missing or edited
                if not several:
                    raise
                failed.append(Failed(folder, name, error))
        if not pages:
            none = CurateError("\n".join(str(one.error) for one in failed), hint=failed[0].hint)
            none.exit_code = getattr(failed[0].error, "exit_code", CurateError.exit_code)
            raise none
        listener = listen(host, port)
        here = address(listener)
        served = tuple(_served(page, here, public or here) for page in pages)
        on_ready(Running(here, public or here, is_loopback(host), served, tuple(failed)))
        site = Site(pages, failed=[one.campaign for one in failed], token=token)
        serve(site, listener, behind_proxy=behind_proxy)
        return tuple(page.session.status() for page in pages)


@contextmanager
def _page(folder: Path, sessions: Sessions) -> Iterator[Page]:
    """The page of a campaign, which is open for the block."""
    from annotations.page.app import Page

    with open_campaign(folder) as campaign:
        yield Page(campaign, sessions)


def _served(page: Page, here: str, public: str) -> Served:
    session, root = page.session, page.sessions.root
    crowd = session.crowd is not None
    return Served(session.folder, page.sessions.campaign, here + root, public + root, crowd, session.status())


def campaign_folders(paths: Sequence[str | Path]) -> list[Path]:
    """The folders of campaigns: those given, and in place of a folder of campaigns those in it, by name."""
    found: list[Path] = []
    for path in map(Path, paths):
        inside = [] if (path / CAMPAIGN).exists() else sorted(one.parent for one in path.glob(f"*/{CAMPAIGN}"))
        found += [one for one in inside or [path] if one not in found]
    return found


def _names(folders: Sequence[Path]) -> dict[Path, str]:
    """The names of the campaigns, which are in their addresses. Raises UsageError for two of one name."""
    names: dict[Path, str] = {}
    for folder in folders:
        try:
            name = read_campaign(folder).config.name
        except CurateError:
            name = folder.resolve().name
        same = next((other for other, its in names.items() if its == name), None)
        if same is not None:
            raise UsageError(f"{same} and {folder}: two campaigns named {name}", hint="serve them by two commands")
        names[folder] = name
    return names


def _token(path: str | Path | None) -> str:
    """The token in a file; "" without one. Raises CurateError for a file that cannot be read or holds no token."""
    if path is None:
        return ""
    hint = f"openssl rand -hex 24 > {path}"
    token = read_text(Path(path), hint=hint).strip()
    if len(token) < TOKEN_LENGTH or token.split() != [token] or not token.isascii():
        raise CurateError(f"{path}: not a token: one word of at least {TOKEN_LENGTH} ASCII characters", hint=hint)
    return token


def _site_of(url: str) -> str:
    """Scheme and host of a URL; "" for "". Raises UsageError unless the URL is the root of a site."""
    if not url:
        return ""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UsageError(f"--url {url}: not a web address", hint="for example: --url https://votes.example.org")
    site = f"{parts.scheme}://{parts.netloc}"
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise UsageError(f"--url {url}: the page needs its own host name", hint=f"for example: --url {site}")
    return site.lower()


@contextmanager
def open_campaign(folder: str | Path, *, store: str | Path | None = None) -> Iterator[CampaignSession]:
    """Open a campaign for the block, with batches that the planner adds in the background.

    store: the votes that the planner reads (default: the store that the campaign was created from). Raises CurateError,
    with the holder, if the campaign is already open.
    """
    folder = Path(folder)
    path = Path(store) if store is not None else folder / read_campaign(folder).store
    with CampaignSession.open(folder, plan=batch_planner(folder, path)) as campaign:
        yield campaign


def batch_planner(folder: Path, store: Path) -> PlanBatch:
    """A function that plans a batch: it ingests the log into the store, chooses pairs, and writes the tasks."""

    def plan(request: BatchRequest) -> int:
        with PLANNING:
            return planned(request)

    def planned(request: BatchRequest) -> int:
        config = request.config
        with Store.open(store, read_only=True):
            pass  # raises without a store, which ingest would create
        ingest(folder / LOG, store)
        with Store.open(store, read_only=True) as opened:
            can = askable(opened, config, read_lines(folder / MEDIA_LIST, MediaLine), request.retired)
        closed = control_ids([task for task, _ in read_tasks(folder / GOLD)]) | request.unavailable
        tasks = choose_pairs(store, config, can, request.votes, closed, number=request.number)
        votes = sum(task.quota for task in tasks)
        if votes < request.least:
            return 0
        write_lines(batch_path(folder, request.number), tasks)
        return votes

    return plan
