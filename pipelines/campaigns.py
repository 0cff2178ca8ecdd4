"""The jobs of a campaign: create, status, check and repair its log, close."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Mapping as MappingType
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from annotations.campaign.auth import read_members
from annotations.campaign.folder import (
    CAMPAIGN,
    CLOSING,
    GOLD,
    LOCK,
    LOG,
    MEDIA,
    MEDIA_LIST,
    TASKS,
    batch_path,
    is_locked,
    locked,
    read_campaign,
    write_atomic,
    write_lines,
)
from annotations.campaign.log import read_events
from annotations.campaign.repair import check_log, repair_log
from annotations.campaign.session import CampaignSession
from annotations.campaign.state import replay
from annotations.campaign.views import campaign_status
from curate.shards.atomic import publishing
from curate.store import Store
from pipelines.campaign_tasks import (
    Askable,
    askable,
    attention_checks,
    choose_pairs,
    control_ids,
    control_tasks,
    gold_from_file,
    gold_from_store,
    prepare_media,
)
from pipelines.progress import Progress, silent
from pipelines.settings import read_text, read_toml, validated
from schemas.campaign import (
    CampaignConfig,
    CampaignFile,
    CampaignReport,
    CampaignStatus,
    LogCheck,
    MediaLine,
    Task,
)
from schemas.errors import ConflictError, CurateError, MissingError, UsageError
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
        values["instructions"] = read_text(instructions, hint="give a Markdown file")
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
        raise MissingError(f"{videos}: no such folder", hint="give the folder that video names are relative to")
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
        if not can.pairs():
            raise _nothing_to_ask(store, can, lines)
        progress("choosing pairs", 0, 0)
        controls, source, notes = _controls(gold, store, can, config, mapping)
        votes = min(config.batch, config.votes)
        tasks = choose_pairs(store, config, can, votes, control_ids(controls), number=1)
        if not tasks:
            raise _nothing_to_ask(store, can, lines)
        checks = attention_checks(can, config, tasks) if config.attention_share else []
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
        batch_pairs=len(_pairs(tasks)),
        gold=len(_pairs(controls)),
        gold_source=source,
        attention=len(_pairs(checks)),
        warnings=tuple(notes + _warnings(config, tasks)),
    )


def _controls(
    gold: str | Path | None, store: Path, can: Askable, config: CampaignConfig, mapping: Mapping
) -> tuple[list[Task], str, list[str]]:
    """The control questions, their source, and warnings."""
    required = config.thresholds.min_questions
    if gold is not None:
        answers, dropped = gold_from_file(Path(gold), can, config, mapping)
        source, notes = str(gold), [f"excluded from {gold}: {count:,} {reason}" for reason, count in dropped.items()]
    elif not config.gold_share:
        return [], "none", []
    else:
        answers, source, notes = gold_from_store(store, can, config), "denoise", []
        if not answers:
            note = "no control questions: no denoise run is certain of a clear pair; --gold FILE gives some"
            return [], "none", [note]
    known = sum(map(len, answers.values()))
    if config.gold_share and known < required:  # no annotator gets one twice
        notes.append(f"too few control questions to judge by: {known} of {required}; --gold FILE gives more")
    return control_tasks(can, config, answers), source, notes


def _pairs(tasks: Sequence[Task]) -> set[tuple[str, str, str]]:
    """The pairs of tasks."""
    return {(task.prompt_id, task.first, task.second) for task in tasks}


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
        if closed or is_locked(folder / LOCK):
            return closed
        raise
    return True
