"""The jobs of a campaign: create, invite, revoke, serve the page, status, close."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Mapping as MappingType
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from annotations.campaign.auth import change_members, read_members, with_invited, write_members
from annotations.campaign.folder import (
    CAMPAIGN,
    CLOSING,
    GOLD,
    LOCK,
    LOG,
    MEDIA,
    MEDIA_LIST,
    ORDERS,
    PEOPLE_LOCK,
    TASKS,
    batch_path,
    locked,
    read_campaign,
    read_lines,
    read_tasks,
    write_atomic,
    write_lines,
)
from annotations.campaign.log import read_events
from annotations.campaign.management import check_action
from annotations.campaign.refill import BatchRequest, PlanBatch
from annotations.campaign.repair import check_log, repair_log
from annotations.campaign.session import CampaignSession
from annotations.campaign.state import replay
from annotations.campaign.views import campaign_status
from curate.shards.atomic import publishing
from curate.store import Store
from curate.store.people import annotator_counts
from pipelines.campaign_tasks import (
    Askable,
    askable,
    attention_checks,
    choose_pairs,
    gold_from_file,
    gold_from_store,
    prepare_media,
    task_id,
)
from pipelines.ingestion import ingest
from pipelines.progress import Progress, silent
from pipelines.settings import read_toml, validated
from schemas.campaign import (
    CampaignConfig,
    CampaignFile,
    CampaignReport,
    CampaignStatus,
    Invitation,
    LogCheck,
    MediaLine,
    Role,
    Task,
)
from schemas.errors import ConflictError, CurateError, MissingError, UsageError
from schemas.management import Action, Add, Invite, Order, Revoke
from schemas.mapping import Mapping
from schemas.release import Funnel, FunnelStage

# Create


def load_config(
    path: Path | None, changes: MappingType[str, Any], *, instructions: Path | None = None, default_name: str
) -> CampaignConfig:
    """The config in a TOML file, updated by the changes that are not None.

    instructions: a Markdown file that replaces the instructions in the config. default_name: the name of a campaign
    whose config has none; characters that a name cannot have become dashes. Raises UsageError for an invalid config,
    and CurateError for a file that cannot be read.
    """
    values = read_toml(path) if path else {}
    values |= {key: value for key, value in changes.items() if value is not None}
    values.setdefault("name", re.sub(r"[^A-Za-z0-9._-]+", "-", default_name).strip("._-") or "campaign")
    if "votes" not in values:
        raise UsageError("the number of votes is missing", hint="--votes N, or votes = N in --config FILE")
    if instructions is not None:
        try:
            values["instructions"] = instructions.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CurateError(f"{instructions}: cannot be read: {error}", hint="give a Markdown file") from error
    try:
        return validated(values, CampaignConfig, where=str(path or "curate campaign create"))
    except CurateError as error:
        raise UsageError(str(error), hint=error.hint or "see: curate campaign create --help") from error


def create(
    folder: str | Path,
    store: str | Path,
    config: CampaignConfig,
    *,
    videos: str | Path | None = None,
    gold: str | Path | None = None,
    mapping: Mapping = Mapping(),
    progress: Progress = silent,
) -> CampaignReport:
    """Create the folder of a campaign: the first batch, control questions, and media that browsers play.

    videos: the folder that video names are relative to (default: the folder of the store). gold: a file of pairs with
    known outcomes, in any format that ingest reads with the mapping; without it, control questions come from pairs that
    the latest denoise run is certain of. The folder appears completely or not at all, and equal stores, files and
    configs give equal bytes. Raises CurateError if the folder exists or nothing can be asked.
    """
    folder, store = Path(folder), Path(store)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConflictError(f"{folder}: already exists", hint="give another folder, or remove this one first")
    if videos is not None and not Path(videos).is_dir():
        raise UsageError(f"--media {videos}: no such folder", hint="give the folder that video names are relative to")
    with Store.open(store, read_only=True) as opened:
        prompts = opened.prompts()
    unknown = sorted(set(config.prompts) - set(prompts["prompt_id"]))
    if unknown:
        raise MissingError(f"{store}: no prompt {unknown[0]!r}", hint="curate rankings lists the prompts")
    if config.prompts:
        prompts = prompts.filter(prompts["prompt_id"].is_in(list(config.prompts)))
    with publishing(folder) as fresh:
        (fresh / MEDIA).mkdir()
        (fresh / TASKS).mkdir()
        named = prompts["video"].drop_nulls().unique().sort().to_list()
        base = Path(videos or store.parent)
        lines = prepare_media(store, base, named, fresh / MEDIA, progress=progress) if named else ()
        with Store.open(store, read_only=True) as opened:
            can = askable(opened, config, lines)
        progress("choosing pairs", 0, 0)
        controls, source, notes = _controls(gold, store, can, config, mapping)
        votes = min(config.batch, config.votes)
        chosen = choose_pairs(store, config, can, votes, _pair_ids(controls), seed=config.seed)
        if not chosen:
            raise _nothing_to_ask(store, can, lines)
        tasks = [can.task(pair, quota=quota) for pair, quota in chosen]
        checks = attention_checks(can, [pair for pair, _ in chosen]) if config.attention_share else []
        write_lines(fresh / MEDIA_LIST, lines)
        write_lines(fresh / GOLD, [*controls, *checks])
        write_lines(batch_path(fresh, 1), tasks)
        content = (batch_path(fresh, 1).read_bytes(), (fresh / GOLD).read_bytes(), config.model_dump_json().encode())
        file = CampaignFile(
            campaign_id=hashlib.sha256(b"\0".join(content)).hexdigest()[:8],
            config=config,
            store=os.path.relpath(store.resolve(), folder.resolve()),
        )
        write_atomic(fresh / CAMPAIGN, (file.model_dump_json(indent=2) + "\n").encode())
    return CampaignReport(
        folder=str(folder),
        campaign=config.name,
        campaign_id=file.campaign_id,
        store=str(store),
        funnel=_funnel(lines, can, len(prompts)),
        refused={line.video: line.reason for line in lines if not line.file},
        wanted=config.votes,
        batch_votes=sum(task.quota for task in tasks),
        batch_pairs=len(tasks),
        gold=len(controls),
        gold_source=source,
        attention=len(checks),
        warnings=tuple(notes + _warnings(config, tasks)),
    )


def _controls(
    gold: str | Path | None, store: Path, can: Askable, config: CampaignConfig, mapping: Mapping
) -> tuple[list[Task], str, list[str]]:
    """The control questions, their source, and warnings."""
    required = config.thresholds.min_questions
    if gold is not None:
        tasks, dropped = gold_from_file(Path(gold), can, mapping)
        source, notes = str(gold), [f"excluded from {gold}: {count:,} {reason}" for reason, count in dropped.items()]
    elif not config.gold_share:
        return [], "none", []
    else:
        tasks, source, notes = gold_from_store(store, can), "denoise", []
        if not tasks:
            note = "no control questions: no denoise run is certain of a clear pair; --gold FILE gives some"
            return [], "none", [note]
    if config.gold_share and len(tasks) < required:  # no annotator gets one twice
        notes.append(f"too few control questions to judge by: {len(tasks)} of {required}; --gold FILE gives more")
    return tasks, source, notes


def _pair_ids(controls: Sequence[Task]) -> set[str]:
    """The task ids of the pairs that are control questions: they are not voted on."""
    return {task_id((task.prompt_id, task.first, task.second)) for task in controls if task.kind == "gold"}


def _nothing_to_ask(store: Path, can: Askable, lines: Sequence[MediaLine]) -> CurateError:
    refused = [line for line in lines if not line.file]
    if not can.questions and refused:
        why = f"none of {len(refused)} videos can be shown ({refused[0].video}: {refused[0].reason})"
        return CurateError(f"{store}: {why}", hint="--media DIR gives the folder that video names are relative to")
    if not can.pairs():
        hint = "curate ingest --prompts FILE --responses FILE gives questions and texts"
        return CurateError(f"{store}: no prompt has two responses with a text", hint=hint)
    return CurateError(f"{store}: nothing to ask: the order of every pair is certain", hint="curate denoise ranks them")


def _funnel(lines: Sequence[MediaLine], can: Askable, prompts: int) -> Funnel:
    codes = (line.reason.partition(":")[0] for line in lines if not line.file)
    refused = Counter(code if " " not in code else "not playable" for code in codes)
    asked = sum(len(can.texts.get(prompt, ())) > 1 for prompt in can.questions)
    dropped = {"video refused": prompts - len(can.questions), "fewer than two texts": len(can.questions) - asked}
    stages = (
        FunnelStage(
            stage="shown by browsers",
            unit="videos",
            input=len(lines),
            kept=len(lines) - refused.total(),
            dropped=dict(refused),
        ),
        FunnelStage(
            stage="can be asked",
            unit="prompts",
            input=prompts,
            kept=asked,
            dropped={reason: count for reason, count in dropped.items() if count},
        ),
    )
    return Funnel(stages=stages)


def _warnings(config: CampaignConfig, tasks: Sequence[Task]) -> list[str]:
    found = []
    wanted = min(config.batch, config.votes)
    asked = sum(task.quota for task in tasks)
    if asked < wanted:
        found.append(f"the first batch asks for {asked:,} of {wanted:,} votes: no other pair is uncertain")
    if config.min_watched and not any(task.video_seconds for task in tasks):
        found.append("min_watched has no effect: no task has a video")
    return found


# People


COMMAND_LINE = "command line"
"""Who did it, in the log, without another name."""


def invite(
    folder: str | Path,
    names: Sequence[str],
    *,
    managers: Sequence[str] = (),
    url: str,
    now: datetime | None = None,
    by: str = COMMAND_LINE,
) -> tuple[Invitation, ...]:
    """Invite annotators and managers; return their secret links, which are stored nowhere else.

    url: the address of the page, such as http://127.0.0.1:8080. A member whose link was revoked gets a new one. Raises
    CurateError for a name whose link is valid and for a closed campaign; then nobody is invited.
    """
    folder = Path(folder)
    read_campaign(folder)
    if names and (folder / CLOSING).exists():
        raise UsageError(f"{folder}: the campaign is closed", hint="create another one: curate campaign create")
    found: list[Invitation] = []
    roles: tuple[tuple[Role, Sequence[str]], ...] = (("annotator", names), ("manager", managers))
    with locked(folder / PEOPLE_LOCK):
        members = read_members(folder)
        for role, wanted in roles:
            members, tokens = with_invited(members, wanted, role, now or datetime.now(UTC))
            links = {name: f"{url.rstrip('/')}/a/{token}" for name, token in tokens.items()}
            found += [Invitation(name=name, role=role, link=link) for name, link in links.items()]
        write_members(folder, members)
    for role, wanted in roles:
        if wanted:
            put_order(folder, by, Invite(names=tuple(wanted), role=role))
    return tuple(found)


def new_names(folder: str | Path, count: int) -> list[str]:
    """The next names of a01, a02, … that are new to the campaign and to its store.

    The same name in two campaigns of one store would be one annotator. Raises CurateError if the store cannot be read.
    """
    folder = Path(folder)
    taken = {member.name for member in read_members(folder)}
    store = folder / read_campaign(folder).store
    if store.exists():
        with Store.open(store, read_only=True) as opened:
            taken |= set(annotator_counts(opened)["annotator_id"])
    names: list[str] = []
    number = 0
    while len(names) < count:
        number += 1
        name = f"a{number:02d}"
        if name not in taken:
            names.append(name)
    return names


def revoke(folder: str | Path, names: Sequence[str], *, now: datetime | None = None, by: str = COMMAND_LINE) -> None:
    """Revoke the links of members, from the next request on. Raises UsageError for a name without a valid link."""
    folder = Path(folder)
    read_campaign(folder)
    action = Revoke(names=tuple(names))
    change_members(folder, action, now or datetime.now(UTC))
    put_order(folder, by, action)


def manage(folder: str | Path, action: Action, *, by: str = COMMAND_LINE) -> bool:
    """Do what a manager wants; False if a page is running, which does it in a moment. Each action is in the log.

    by: who wants it. Raises UsageError for an action that is not possible, and CurateError without a campaign.
    """
    folder = Path(folder)
    names = [member.name for member in read_members(folder) if member.role == "annotator"]
    check_action(replay(folder, ahead=True), action, names)
    order = put_order(folder, by, action)
    try:
        with CampaignSession.open(folder):
            return True
    except CurateError:
        if not _is_locked(folder / LOCK):
            raise
    for _ in range(20):
        if not order.exists():
            return True
        time.sleep(0.1)
    return False


def put_order(folder: Path, by: str, action: Action) -> Path:
    """Leave an action for the page, or for the next one that is started; return the file, which it removes."""
    path = folder / ORDERS / f"{time.time_ns():020d}-{secrets.token_hex(4)}.json"
    while True:
        path.parent.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):  # the page removes the folder when it is empty
            write_atomic(path, Order(by=by, action=action).model_dump_json().encode())
            return path


def add_prompts(
    folder: str | Path,
    prompts: Sequence[str],
    *,
    videos: str | Path | None = None,
    by: str = COMMAND_LINE,
    progress: Progress = silent,
) -> bool:
    """Ask about retired prompts again, or about others of the store, whose videos are prepared first.

    videos: the folder that video names are relative to (default: the folder of the store). Returns as ``manage``.
    Raises CurateError for a prompt that is not in the store, and for a video that browsers cannot play.
    """
    folder = Path(folder)
    store = folder / read_campaign(folder).store
    with Store.open(store, read_only=True) as opened:
        known = opened.prompts()
    unknown = sorted(set(prompts) - set(known["prompt_id"]))
    if unknown:
        raise MissingError(f"{store}: no prompt {unknown[0]!r}", hint="curate ingest --prompts FILE adds prompts")
    lines = read_lines(folder / MEDIA_LIST, MediaLine)
    have = {line.video for line in lines}
    named = known.filter(known["prompt_id"].is_in(list(prompts)))["video"].drop_nulls().unique().sort().to_list()
    fresh = [video for video in named if video not in have]
    if fresh:
        made = prepare_media(store, Path(videos or store.parent), fresh, folder / MEDIA, progress=progress)
        refused = [line for line in made if not line.file]
        if refused:
            hint = "--media DIR gives the folder that video names are relative to"
            raise CurateError(f"{refused[0].video}: {refused[0].reason}", hint=hint)
        write_lines(folder / MEDIA_LIST, [*lines, *made])
    return manage(folder, Add(prompts=tuple(prompts)), by=by)


# Status and end


def status(folder: str | Path, *, now: datetime | None = None) -> CampaignStatus:
    """The status of a campaign by its log; another process may have it open. Raises CurateError."""
    folder = Path(folder)
    state = replay(folder, ahead=True)
    return campaign_status(state, folder, read_members(folder), (now or datetime.now(UTC)).timestamp())


def check(folder: str | Path) -> LogCheck:
    """The lines of a campaign's log that are not as curate wrote them. Raises CurateError without a campaign."""
    return check_log(Path(folder))


def repair(folder: str | Path) -> LogCheck:
    """Move such lines into a file next to the log, so that the campaign opens. Raises CurateError while it is open."""
    folder = Path(folder)
    read_campaign(folder)
    with locked(folder / LOCK):
        return repair_log(folder)


def close(folder: str | Path) -> bool:
    """Accept no more votes, permanently. False if a page is running, which will close the campaign in a moment.

    Raises CurateError without a campaign.
    """
    folder = Path(folder)
    read_campaign(folder)
    write_atomic(folder / CLOSING, b"")
    try:
        with CampaignSession.open(folder) as campaign:
            campaign.close()
    except CurateError:
        closed = any(event["event"] == "close" for event in read_events(folder / LOG))
        if closed or _is_locked(folder / LOCK):
            return closed
        raise
    return True


def _is_locked(path: Path) -> bool:
    try:
        with locked(path):
            return False
    except CurateError:
        return True


# The page


class RunningPage(NamedTuple):
    """A page that accepts requests."""

    campaign: str
    address: str
    """The address of the server, such as http://127.0.0.1:8080."""
    url: str
    """The public address."""
    loopback: bool
    """Whether only this machine can reach the server."""
    crowd: bool
    """Whether it is open to a crowd."""
    status: CampaignStatus


def annotate(
    folder: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    url: str = "",
    on_ready: Callable[[RunningPage], None],
) -> CampaignStatus:
    """Serve the page of a campaign until SIGINT or SIGTERM; return the final status.

    url: the public address, if it differs from the server's (behind a TLS proxy). on_ready is called once the server
    listens. Raises CurateError without a campaign, if another process has it open, or if the address is not available;
    UsageError for an invalid url.
    """
    from annotations.page.server import address, is_loopback, listen, serve

    public = _site_of(url)
    with open_campaign(folder) as campaign:
        listener = listen(host, port)
        here = address(listener)
        status = campaign.status()
        on_ready(
            RunningPage(status.campaign, here, public or here, is_loopback(host), campaign.crowd is not None, status)
        )
        serve(campaign, status.campaign, listener, url=public)
        return campaign.status()


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
        config = request.config
        with Store.open(store, read_only=True):
            pass  # raises without a store, which ingest would create
        ingest(folder / LOG, store)
        with Store.open(store, read_only=True) as opened:
            can = askable(opened, config, read_lines(folder / MEDIA_LIST, MediaLine), request.retired)
        closed = _pair_ids([task for task, _ in read_tasks(folder / GOLD)]) | request.unavailable
        chosen = choose_pairs(store, config, can, request.votes, closed, seed=config.seed + request.number)
        votes = sum(quota for _, quota in chosen)
        if votes < request.least:
            return 0
        write_lines(batch_path(folder, request.number), [can.task(pair, quota=quota) for pair, quota in chosen])
        return votes

    return plan
