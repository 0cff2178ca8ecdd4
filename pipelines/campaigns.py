"""Campaigns as jobs: made from a store, people invited and revoked, opened with fresh batches, told of, closed."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as Lookup
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from annotations.campaign.folder import (
    CAMPAIGN,
    CLOSING,
    GOLD,
    LOCK,
    LOG,
    MEDIA,
    MEDIA_LIST,
    TASKS,
    appear,
    batch_path,
    read_campaign,
    read_lines,
    read_tasks,
    write_lines,
)
from annotations.campaign.lock import locked
from annotations.campaign.log import read_events
from annotations.campaign.people import read_people, with_invited, with_revoked, write_people
from annotations.campaign.refill import More, Need
from annotations.campaign.replay import replay
from annotations.campaign.session import OpenCampaign
from annotations.campaign.status import status_of
from curate.shards.atomic import publishing
from curate.store import Store
from curate.store.people import people as who_voted
from pipelines.campaign_batches import Askable, askable, choose_pairs, task_id
from pipelines.campaign_gold import attention_checks, gold_of_file, gold_of_store
from pipelines.campaign_media import prepare
from pipelines.ingestion import ingest
from pipelines.progress import Progress, silent
from pipelines.settings import read_toml, validated
from schemas.campaign import (
    CampaignConfig,
    CampaignFile,
    CampaignReport,
    CampaignStatus,
    Invitation,
    MediaLine,
    Role,
    Task,
)
from schemas.config import Mapping
from schemas.errors import CurateError, UsageError
from schemas.release import Funnel, FunnelStage

PEOPLE_LOCK = "people.lock"


def settle(
    path: Path | None, changes: Lookup[str, Any], *, instructions: Path | None = None, default_name: str
) -> CampaignConfig:
    """The config of a TOML file with changes (None: none). instructions: a file of Markdown, in place of what it says.
    default_name: of what its name is made, where it has none.

    Raises UsageError, or CurateError naming the file, for what cannot be meant.
    """
    values = read_toml(path) if path else {}
    values |= {key: value for key, value in changes.items() if value is not None}
    values.setdefault("name", re.sub(r"[^A-Za-z0-9._-]+", "-", default_name).strip("._-") or "campaign")
    if "votes" not in values:
        raise UsageError("how many votes are wanted is not said", hint="--votes N, or votes = N in --config FILE")
    if instructions is not None:
        try:
            values["instructions"] = instructions.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CurateError(f"{instructions}: cannot be read: {error}", hint="give a file of Markdown") from error
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
    """Make the folder of a campaign: its first batch, known answers, and media that browsers play.

    videos: the folder that the names of videos start from; that of the store when None. gold: a file of pairs whose
    outcome is known, in any format that ingest reads by the mapping; without one the latest denoise run gives those
    that it is certain of. The folder appears whole or not at all; equal stores, files and configs give equal bytes.
    Raises CurateError where the folder is there, and where nothing can be asked.
    """
    folder, store = Path(folder), Path(store)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CurateError(f"{folder}: is there already", hint="give another folder, or remove this one first")
    if videos is not None and not Path(videos).is_dir():
        raise UsageError(
            f"--videos {videos}: no such folder", hint="give the folder that the names of videos start from"
        )
    with Store.open(store, read_only=True) as opened:
        prompts, responses = opened.prompts(), opened.responses()
    unknown = sorted(set(config.prompts) - set(prompts["prompt_id"]))
    if unknown:
        raise CurateError(f"{store}: no prompt {unknown[0]!r}", hint="curate rankings lists the prompts")
    if config.prompts:
        prompts = prompts.filter(prompts["prompt_id"].is_in(list(config.prompts)))
    with publishing(folder) as fresh:
        (fresh / MEDIA).mkdir()
        (fresh / TASKS).mkdir()
        named = prompts["video"].drop_nulls().unique().sort().to_list()
        lines = prepare(store, Path(videos or store.parent), named, fresh, progress=progress) if named else ()
        can = askable(prompts, responses, lines)
        progress("choosing pairs", 0, 0)
        known, told, notes = _known(gold, store, can, config, mapping)
        closed = _closed(known)
        chosen = choose_pairs(store, config, can, min(config.batch, config.votes), closed, seed=config.seed)
        if not chosen:
            raise _nothing_to_ask(store, can, lines)
        tasks = [can.task(pair, quota=quota) for pair, quota in chosen]
        checks = attention_checks(can, [pair for pair, _ in chosen]) if config.attention_share else []
        write_lines(fresh / MEDIA_LIST, lines)
        write_lines(fresh / GOLD, [*known, *checks])
        write_lines(batch_path(fresh, 1), tasks)
        asked = (batch_path(fresh, 1).read_bytes(), (fresh / GOLD).read_bytes(), config.model_dump_json().encode())
        made = CampaignFile(
            campaign_id=hashlib.sha256(b"\0".join(asked)).hexdigest()[:8],
            config=config,
            store=os.path.relpath(store.resolve(), folder.resolve()),
        )
        appear(fresh / CAMPAIGN, (made.model_dump_json(indent=2) + "\n").encode())
    return CampaignReport(
        folder=str(folder),
        campaign=config.name,
        campaign_id=made.campaign_id,
        store=str(store),
        funnel=_funnel(lines, can, len(prompts)),
        refused={line.video: line.reason for line in lines if not line.file},
        wanted=config.votes,
        batch_votes=sum(task.quota for task in tasks),
        batch_pairs=len(tasks),
        gold=len(known),
        gold_from=told,
        attention=len(checks),
        warnings=tuple(notes + _warnings(config, tasks)),
    )


def _known(
    gold: str | Path | None, store: Path, can: Askable, config: CampaignConfig, mapping: Mapping
) -> tuple[list[Task], str, list[str]]:
    """Known answers, where they come from, and what is to be said of them."""
    if gold is not None:
        tasks, dropped = gold_of_file(Path(gold), can, mapping)
        notes = [f"of {gold} left out: {count:,} {what}" for what, count in dropped.items()]
        return tasks, str(gold), notes + _few(tasks, config)
    if not config.gold_share:
        return [], "none: gold_share is 0", []
    tasks = gold_of_store(store, can)
    if tasks:
        return tasks, "pairs that the latest denoise run is certain of", _few(tasks, config)
    note = "no known answers: no denoise run is certain of a clear pair; --gold FILE gives some, else nobody is tested"
    return [], "none", [note]


def _few(known: Sequence[Task], config: CampaignConfig) -> list[str]:
    """What is to be said where nobody can be judged by so few known answers: nobody gets one twice."""
    least = config.bars.least
    if not config.gold_share or len(known) >= least:
        return []
    return [f"too few known answers to judge by ({len(known)}, and {least} are needed): --gold FILE gives more"]


def _closed(known: Sequence[Task]) -> set[str]:
    """Ids of the pairs whose answer is known: they are not voted on."""
    return {task_id((task.prompt_id, task.first, task.second)) for task in known}


def _nothing_to_ask(store: Path, can: Askable, lines: Sequence[MediaLine]) -> CurateError:
    refused = [line for line in lines if not line.file]
    if not can.questions and refused:
        why = f"{store}: not one of {len(refused)} videos can be shown ({refused[0].video}: {refused[0].reason})"
        return CurateError(why, hint="--videos DIR gives the folder that their names start from")
    if not can.pairs():
        hint = "curate ingest --prompts FILE --responses FILE gives questions and texts"
        return CurateError(f"{store}: no prompt has two responses with a text", hint=hint)
    return CurateError(
        f"{store}: nothing to ask: the order of every pair is as good as certain", hint="curate denoise ranks them"
    )


def _funnel(lines: Sequence[MediaLine], can: Askable, prompts: int) -> Funnel:
    refused: dict[str, int] = {}
    for line in lines:
        if not line.file:
            code = line.reason.partition(":")[0] if " " not in line.reason.partition(":")[0] else "not playable"
            refused[code] = refused.get(code, 0) + 1
    shown = sum(bool(line.file) for line in lines)
    askable_prompts = sum(len(can.texts.get(prompt, ())) > 1 for prompt in can.questions)
    unseen = {
        "video refused": prompts - len(can.questions),
        "fewer than two texts": len(can.questions) - askable_prompts,
    }
    stages = [
        FunnelStage(stage="shown by browsers", unit="videos", input=len(lines), kept=shown, dropped=refused),
        FunnelStage(
            stage="can be asked",
            unit="prompts",
            input=prompts,
            kept=askable_prompts,
            dropped={why: count for why, count in unseen.items() if count},
        ),
    ]
    return Funnel(stages=tuple(stages))


def _warnings(config: CampaignConfig, tasks: Sequence[Task]) -> list[str]:
    found = []
    wanted = min(config.batch, config.votes)
    asked = sum(task.quota for task in tasks)
    if asked < wanted:
        found.append(
            f"the first batch asks for {asked:,} votes, of {wanted:,}: the planner finds no more pairs in doubt"
        )
    unwatched = config.min_watched and not any(task.video_seconds for task in tasks)
    if unwatched:
        found.append("min_watched says nothing here: no video is asked about")
    return found


def invite(
    folder: str | Path,
    names: Sequence[str],
    *,
    managers: Sequence[str] = (),
    url: str,
    now: datetime | None = None,
) -> tuple[Invitation, ...]:
    """Links for these annotators and managers, told this once: only digests of them are kept.

    url: where the page is reached, such as http://127.0.0.1:8080. Whoever was revoked gets a new link. Raises
    CurateError for a name whose link works, and where the campaign is closed; then nobody is invited.
    """
    folder = Path(folder)
    read_campaign(folder)
    if names and (folder / CLOSING).exists():
        raise UsageError(f"{folder}: is closed, and takes no more votes", hint="make another: curate campaign create")
    found: list[Invitation] = []
    roles: tuple[tuple[Role, Sequence[str]], ...] = (("annotator", names), ("manager", managers))
    with locked(folder / PEOPLE_LOCK):
        people = read_people(folder)
        for role, asked in roles:
            people, tokens = with_invited(people, asked, role, now or datetime.now(UTC))
            links = {name: f"{url.rstrip('/')}/a/{token}" for name, token in tokens.items()}
            found += [Invitation(name=name, role=role, link=link) for name, link in links.items()]
        write_people(folder, people)
    return tuple(found)


def fresh_names(folder: str | Path, count: int) -> list[str]:
    """The next names of the row a01, a02, …, that nobody was ever invited by, nor voted under in the store.

    One name in two campaigns of a store would be one person to denoise. Raises CurateError where the store, if there
    is one, cannot be read now.
    """
    folder = Path(folder)
    taken = {guest.name for guest in read_people(folder)}
    home = folder / read_campaign(folder).store
    if home.exists():
        with Store.open(home, read_only=True) as opened:
            taken |= set(who_voted(opened)["annotator_id"])
    names: list[str] = []
    number = 0
    while len(names) < count:
        number += 1
        name = f"a{number:02d}"
        if name not in taken:
            names.append(name)
    return names


def revoke(folder: str | Path, names: Sequence[str], *, now: datetime | None = None) -> None:
    """Let the links of these people open nothing any more, from the next request on. Raises CurateError."""
    folder = Path(folder)
    read_campaign(folder)
    with locked(folder / PEOPLE_LOCK):
        write_people(folder, with_revoked(read_people(folder), names, now or datetime.now(UTC)))


def status(folder: str | Path, *, now: datetime | None = None) -> CampaignStatus:
    """Where a campaign stands by its log; it may be open meanwhile. Raises CurateError."""
    folder = Path(folder)
    state = replay(folder, ahead=True)
    return status_of(state, folder, read_people(folder), now or datetime.now(UTC))


def close(folder: str | Path) -> bool:
    """Take no more votes, for good. True where that is done; False where a page runs, which will do it within moments.

    Raises CurateError where there is no campaign.
    """
    folder = Path(folder)
    read_campaign(folder)
    appear(folder / CLOSING, b"")
    try:
        with OpenCampaign.open(folder) as campaign:
            campaign.close()
    except CurateError:
        closed = any(event["event"] == "close" for event in read_events(folder / LOG))
        if closed or _is_held(folder):
            return closed
        raise
    return True


def _is_held(folder: Path) -> bool:
    try:
        with locked(folder / LOCK):
            return False
    except CurateError:
        return True


@contextmanager
def open_campaign(folder: str | Path, *, store: str | Path | None = None) -> Iterator[OpenCampaign]:
    """The campaign of the folder, open for the block, with fresh batches by the planner while it runs.

    store: the votes that the planner chooses by, where it is not the one that the campaign was made from. Raises
    CurateError, naming the holder, where it is open already.
    """
    folder = Path(folder)
    made = read_campaign(folder)
    home = Path(store) if store is not None else folder / made.store
    with OpenCampaign.open(folder, more=batches_by_planner(folder, home)) as campaign:
        yield campaign


def batches_by_planner(folder: Path, store: Path) -> More:
    """What makes a batch: read the log into the store, plan from all its votes, write the tasks."""

    def more(need: Need) -> int:
        config = read_campaign(folder).config
        with Store.open(store, read_only=True):
            pass  # ingest would make one where there is none
        ingest(folder / LOG, store)
        with Store.open(store, read_only=True) as opened:
            prompts, responses = opened.prompts(), opened.responses()
        if config.prompts:
            prompts = prompts.filter(prompts["prompt_id"].is_in(list(config.prompts)))
        can = askable(prompts, responses, read_lines(folder / MEDIA_LIST, MediaLine))
        known = [task for task, _ in read_tasks(folder / GOLD) if task.kind == "gold"]
        closed = _closed(known) | need.closed
        chosen = choose_pairs(store, config, can, need.votes, closed, seed=config.seed + need.number)
        if chosen:
            write_lines(batch_path(folder, need.number), [can.task(pair, quota=quota) for pair, quota in chosen])
        return sum(quota for _, quota in chosen)

    return more
