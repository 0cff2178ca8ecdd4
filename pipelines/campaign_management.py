"""Managing a campaign from outside its page: invite and revoke people, and the actions of managers."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from annotations.campaign.auth import change_members, read_members, with_invited, write_members
from annotations.campaign.folder import (
    CLOSING,
    LOCK,
    MEDIA,
    MEDIA_LIST,
    ORDERS,
    PEOPLE_LOCK,
    is_locked,
    locked,
    read_campaign,
    read_lines,
    write_atomic,
    write_lines,
)
from annotations.campaign.management import check_action
from annotations.campaign.session import CampaignSession
from annotations.campaign.state import replay
from curate.store import Store
from curate.store.people import annotator_counts
from pipelines.campaign_tasks import prepare_media
from pipelines.progress import Progress, silent
from schemas.campaign import Invitation, MediaLine, Role
from schemas.errors import CurateError, MissingError, UsageError
from schemas.management import Action, Add, Invite, Order, Revoke

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
        if not is_locked(folder / LOCK):
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
