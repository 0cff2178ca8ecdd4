"""Opens a campaign to the people of a platform: its settings, its key, and the study URL."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annotations.campaign.enrolment import CODE_LETTERS, KEY
from annotations.campaign.folder import CLOSING, CROWD, GOLD, read_campaign, read_crowd, read_tasks, write_atomic
from annotations.page.arrivals import study_url
from pipelines.settings import read_text, read_toml, validated
from schemas.crowd import CompletionCodes, CrowdConfig, StudyLink
from schemas.errors import ConflictError, CurateError, UsageError


def crowd_config(path: Path | None, changes: Mapping[str, Any], *, texts: Mapping[str, Path | None]) -> CrowdConfig:
    """The config in a TOML file, updated by the changes that are not None.

    texts: Markdown files by the field that they replace. Codes that are not given are drawn. Raises UsageError for an
    invalid config, and CurateError for a file that cannot be read.
    """
    values = read_toml(path) if path else {}
    values |= {key: value for key, value in changes.items() if value is not None}
    for field, file in texts.items():
        if file is not None:
            values[field] = read_text(file, hint="give a Markdown file")
    if "consent" not in values:
        raise UsageError("the consent text is missing", hint="--consent FILE, or consent = '…' in --config FILE")
    drawn = {name: "".join(secrets.choice(CODE_LETTERS) for _ in range(8)) for name in CompletionCodes.model_fields}
    values["codes"] = drawn | dict(values.get("codes", {}))
    try:
        return validated(values, CrowdConfig, where=str(path or "curate campaign open"))
    except CurateError as error:
        raise UsageError(str(error), hint=error.hint or "see: curate campaign open --help") from error


def open_study(folder: str | Path, config: CrowdConfig | None = None, *, url: str) -> StudyLink:
    """Open a campaign to a crowd and return its study URL; without a config, that of a campaign that is open already.

    url: the public address of the page. Raises CurateError if the campaign is closed, open already, without a limit of
    votes per person, or without enough control questions for the practice.
    """
    folder = Path(folder)
    campaign, existing = read_campaign(folder).config, read_crowd(folder)
    if config is None:
        if existing is None:
            raise UsageError(f"{folder}: not open to a crowd", hint="--prolific, --mturk or --link opens it")
        config = existing
    elif existing is not None:
        raise ConflictError(f"{folder}: already open to {existing.platform}", hint="open without options shows its URL")
    else:
        _check(folder, config)
        write_atomic(folder / KEY, secrets.token_hex(32).encode() + b"\n", mode=0o600)
        write_atomic(folder / CROWD, config.model_dump_json().encode() + b"\n", mode=0o600)
    notes = []
    if not url.startswith("https://") and not config.stand_in and config.platform != "link":
        notes.append(f"{url} is not https, which platforms require: give --url https://…")
    left = sum(sorted(_gold(folder), reverse=True)[config.qualification :])
    if campaign.gold_share and left < campaign.thresholds.min_questions:
        needed = campaign.thresholds.min_questions
        notes.append(f"too few control questions to judge by after the practice: {left} of {needed}")
    if not config.places:
        notes.append("the number of participants is not limited: --places N")
    return StudyLink(
        campaign=campaign.name,
        platform=config.platform,
        url=study_url(url, config.platform),
        codes=config.codes,
        quota=campaign.max_votes,
        qualification=config.qualification,
        places=config.places,
        warnings=tuple(notes),
    )


def _check(folder: Path, config: CrowdConfig) -> None:
    """Raise CurateError if the campaign cannot be open to a crowd."""
    if (folder / CLOSING).exists():
        raise CurateError(f"{folder}: the campaign is closed", hint="create another one: curate campaign create")
    if not read_campaign(folder).config.max_votes:
        hint = "curate campaign create --max-votes N"
        raise CurateError(f"{folder}: no limit of votes per person, so that nobody would be done", hint=hint)
    gold = len(_gold(folder))
    if gold < config.qualification:
        message = f"{folder}: {gold} control questions are too few for {config.qualification} practice questions"
        raise CurateError(message, hint="curate campaign create --gold FILE gives more, or --qualification asks fewer")


def _gold(folder: Path) -> list[int]:
    """The number of known answers of each control question: with criteria, it can have several."""
    path = folder / GOLD
    tasks = [task for task, _ in read_tasks(path) if task.kind == "gold" and task.answer] if path.exists() else []
    return list(Counter((task.prompt_id, task.first, task.second) for task in tasks).values())
