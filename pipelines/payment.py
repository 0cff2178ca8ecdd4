"""Pays the participants of a crowd: working time by the server's clock, bonuses, batches, and the platforms' files.

Working time is the sum of the intervals between a participant's actions (joining, consent, tutorial, practice answers,
votes, undos, skips, the end), by the time at which the server recorded them. Of an interval counts at most
``idle_seconds``, plus the duration of the video if it ends with an answer. Votes that were given without a connection
arrive together: of the time that did not count before the first one, each counts what the page measured for it, within
the same limit. Nothing that a page claims can thus extend the time beyond the server's.
"""

from __future__ import annotations

import csv
import io
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

from annotations.campaign.chain import Event
from annotations.campaign.enrolment import PARTICIPANTS, PrivateLine, read_private
from annotations.campaign.folder import LOG, locked, read_campaign, read_crowd, read_lines, write_atomic
from annotations.campaign.log import read_events, seconds_of
from annotations.campaign.state import State, replay
from curate.shards.atomic import publish_file
from schemas.crowd import CrowdConfig, CrowdPlatform, PaymentBatch, PaymentReport, PaymentRow
from schemas.errors import ConflictError, CurateError, UsageError

PAYMENTS, PAYMENTS_LOCK = "payments.jsonl", "payments.lock"
ACTIONS = ("join", "consent", "ready", "practice", "vote", "undo", "skip", "finish")
"""Events that are an action of the participant. (A page that is open by itself leases questions, too.)"""
ANSWERS = ("practice", "vote", "skip")
CENT = Decimal("0.01")
ZERO = Decimal("0.00")


def pay(
    folder: str | Path, rate: str | None, out: str | Path, *, batch: int | None = None, now: datetime | None = None
) -> PaymentReport:
    """Compute what is due, record it as a batch, and write the payment files; nobody is paid twice.

    rate: such as "12/h", in the currency of the study. out: the CSV for people; the platform's files get its name
    and an ending of their own.
    batch: write the files of this recorded batch again instead. Without anything due, nothing is written and no batch
    is recorded. Equal logs, earlier batches and rates give equal files. Raises CurateError if the campaign is not open
    to a crowd, if a file exists, or if the platform's id of someone who is due is missing.
    """
    folder, out = Path(folder), Path(out)
    campaign, config = read_campaign(folder), read_crowd(folder)
    if config is None:
        raise CurateError(f"{folder}: not open to a crowd, so that nobody is paid", hint="see: curate campaign open")
    with locked(folder / PAYMENTS_LOCK):
        path = folder / PAYMENTS
        earlier = read_lines(path, PaymentBatch) if path.exists() else []
        if batch is not None:
            if not 1 <= batch <= len(earlier):
                raise UsageError(f"--batch {batch}: there are {len(earlier)} batches", hint=f"see {path}")
            due, before = earlier[batch - 1], batch - 1
        else:
            rows, before = _rows(folder, config, earlier, _rate(rate)), len(earlier)
            when = (now or datetime.now(UTC)).isoformat(timespec="seconds")
            due = PaymentBatch(batch=before + 1, at=when, rate=_rate(rate), rows=rows)
        name, platform = campaign.config.name, config.platform
        report = PaymentReport(campaign=name, platform=platform, batch=None, earlier=before, files=())
        if not any(row.amount or row.approve for row in due.rows):
            return report
        files = _files(due, platform, _private(folder, due), campaign.campaign_id, out)
        for file in files:
            if file.exists():
                raise ConflictError(f"{file}: already exists", hint="give another name, so that no payment is lost")
        if batch is None:
            write_atomic(path, b"".join(one.model_dump_json().encode() + b"\n" for one in (*earlier, due)), mode=0o600)
        for file, content in files.items():
            publish_file(file, content)
            os.chmod(file, 0o600)  # noqa: PTH101
    return report.model_copy(update={"batch": due, "files": tuple(map(str, files))})


def _rate(text: str | None) -> Decimal:
    """The amount per hour of a text such as 12/h or 12.50/h. Raises UsageError."""
    number, _, unit = (text or "").partition("/")
    try:
        value = Decimal(number)
        if unit == "h" and value.is_finite() and value > 0 and value == value.quantize(CENT):
            return value.quantize(CENT)
    except ArithmeticError:
        pass
    raise UsageError(f"--rate {text or ''}: not an amount per hour", hint="for example: --rate 12/h or --rate 12.50/h")


# Working time


def working_seconds(events: Iterable[Event], state: State, idle_seconds: float) -> dict[str, float]:
    """Seconds of work of each participant, by the rule above. state: after these events, or the first of them."""
    total: dict[str, float] = defaultdict(float)
    last: dict[str, float] = {}
    spare: dict[str, float] = defaultdict(float)
    for event in events:
        name, kind = event.get("annotator", ""), event["event"]
        if event["seq"] > state.seq or name not in state.participants or kind not in ACTIONS:
            continue
        at = seconds_of(event["at"])
        gap = max(0.0, at - last.get(name, at))
        video = state.items[state.by_task[event["task"]]].video_seconds if kind in ANSWERS else None
        most = idle_seconds + (video or 0.0)
        seconds: float = 0.0
        if kind == "vote":
            seconds = event["claimed_seconds" if "claimed_seconds" in event else "seconds"]
        offline = min(spare[name], max(0.0, min(most, seconds) - gap))  # given before the connection came back
        total[name] += min(gap, most) + offline
        spare[name] = max(0.0, gap - most) + (spare[name] - offline if offline else 0.0)
        last[name] = at
    return total


# What is due


def _rows(folder: Path, config: CrowdConfig, earlier: list[PaymentBatch], rate: Decimal) -> tuple[PaymentRow, ...]:
    """What each participant is due, by pseudonym."""
    state = replay(folder)
    seconds = working_seconds(read_events(folder / LOG), state, config.payment.idle_seconds)
    paid: dict[str, Decimal] = defaultdict(lambda: ZERO)
    approved = set()
    for row in (row for batch in earlier for row in batch.rows):
        paid[row.participant] += row.amount
        if row.approve:
            approved.add(row.participant)
    return tuple(
        _row(state, config, name, seconds[name], rate, paid[name], name in approved)
        for name in sorted(state.participants)
    )


def _row(
    state: State, config: CrowdConfig, name: str, seconds: float, rate: Decimal, before: Decimal, approved: bool
) -> PaymentRow:
    annotator, rules = state.annotator(name), config.payment
    result = state.participants[name].result
    worked = Decimal(str(round(seconds, 3)))
    accuracy = annotator.gold_correct / annotator.gold if annotator.gold else None
    time, bonus, reward, reasons = (worked * rate / 3600).quantize(CENT, ROUND_HALF_UP), ZERO, ZERO, []
    due = result in rules.paid
    if result is None:
        reasons.append("unfinished: not paid yet")
    elif not due:
        reasons.append(f"{result.replace('_', ' ')}: not paid")
    else:
        reasons.append(f"{worked / 60:.1f} minutes at {rate}/h")
        bonus = _bonus(state, config, name, accuracy) if result == "completed" else ZERO
        reward = rules.rewards.get(result, ZERO)
    if bonus:
        reasons.append(f"bonus: {annotator.gold_correct} of {annotator.gold} control questions correct")
    if reward:
        reasons.append(f"{reward} is paid by the platform")
    if before:
        reasons.append(f"{before} was paid before")
    return PaymentRow(
        participant=name,
        result=result or "unfinished",
        votes=annotator.votes,
        hours=(worked / 3600).quantize(Decimal("0.0001"), ROUND_HALF_UP),
        gold_accuracy=accuracy,
        time_amount=time,
        bonus=bonus,
        reward=reward,
        paid_before=before,
        amount=max(ZERO, (time if due else ZERO) + bonus - reward - before),
        approve=config.platform == "mturk" and due and not approved,
        reasons=tuple(reasons),
    )


def _bonus(state: State, config: CrowdConfig, name: str, accuracy: float | None) -> Decimal:
    """The highest bonus that a participant reached."""
    enough = state.annotator(name).gold >= state.config.thresholds.min_questions
    reached = [one.amount for one in config.payment.bonuses if enough and (accuracy or 0.0) >= one.gold_accuracy - 1e-9]
    return max(reached, default=ZERO).quantize(CENT)


# Files


def _private(folder: Path, batch: PaymentBatch) -> dict[str, PrivateLine]:
    """The platform's ids of those who are due: of the last submission. Raises CurateError if one is missing."""
    known = {line.participant: line for line in read_private(folder)}
    missing = [row.participant for row in batch.rows if (row.amount or row.approve) and row.participant not in known]
    if missing:
        message = f"{folder / PARTICIPANTS}: no platform id of {len(missing)} participants, such as {missing[0]}"
        raise CurateError(message, hint="restore the file: without it nobody can be paid")
    return known


def _files(
    batch: PaymentBatch, platform: CrowdPlatform, known: Mapping[str, PrivateLine], campaign_id: str, out: Path
) -> dict[Path, bytes]:
    """The CSV for people, with pseudonyms, and the platform's files.

    Prolific's bulk bonus payments take lines of participant id and amount, without a header. MTurk's results page takes
    HITId, AssignmentId, WorkerId, Approve and Reject, where X approves; bonuses are calls of SendBonus with the
    parameters in the header, and a token that keeps a repeated call from paying twice.
    """
    fields = [name for name in PaymentRow.model_fields if name not in ("approve", "reasons")]
    plain = [[getattr(row, field) for field in fields] + ["; ".join(row.reasons)] for row in batch.rows]
    found = {out: _csv([[*fields, "reasons"], *plain])}
    due = [(row, known[row.participant]) for row in batch.rows if row.amount]
    if platform == "mturk":
        reason = "Time and quality bonus of the study"
        header = ["WorkerId", "AssignmentId", "BonusAmount", "Reason", "UniqueRequestToken"]
        bonuses = [
            [line.person, line.session, row.amount, reason, f"{campaign_id}-{batch.batch}-{row.participant}"]
            for row, line in due
        ]
        approved = [known[row.participant] for row in batch.rows if row.approve]
        review = [[line.study, line.session, line.person, "X", ""] for line in approved]
        columns = ["HITId", "AssignmentId", "WorkerId", "Approve", "Reject"]
        found[out.with_suffix(".approve.csv")] = _csv([columns, *review])
        found[out.with_suffix(".bonus.csv")] = _csv([header, *bonuses])
    else:
        found[out.with_suffix(f".{platform}.csv")] = _csv([line.person, row.amount] for row, line in due)
    return found


def _csv(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(["" if cell is None else cell for cell in row] for row in rows)
    return text.getvalue().encode()
