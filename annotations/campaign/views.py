"""What annotators and managers see: the annotator's view and the campaign's status, computed from the state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import numpy as np

from annotations.campaign.auth import Member
from annotations.campaign.crowd import possible_result
from annotations.campaign.folder import CROWD, TaskReader
from annotations.campaign.log import iso
from annotations.campaign.quality import figures, times_of
from annotations.campaign.records import Annotator, Item, Lease
from annotations.campaign.state import State
from schemas.campaign import (
    AnnotatorStatus,
    AnnotatorView,
    CampaignStatus,
    HourVotes,
    PromptCoverage,
    Question,
    Sheet,
    SkipReason,
    VideoProblem,
)
from schemas.votes import OUTCOMES

SKIP_REASONS, PROBLEMS, COVERAGE, HOURS = 20, 50, 200, 24
"""Reasons, videos, prompts and hours that the status lists."""
NOT_PLAYING, ALERT = "does not ", 2
"""In the page's reasons for skipping a video that does not play, and the annotators after which managers are told."""
IMAGES = (".jpg", ".jpeg", ".png", ".gif", ".webp")


def annotator_view(state: State, texts: TaskReader, annotator: Annotator, now: float, *, goal: int) -> AnnotatorView:
    """The current view of an annotator. now: seconds since 1970. goal: the votes to aim for, 0 if unknown."""
    config, last = state.config, annotator.last
    active = not state.closed and annotator.status != "stopped"
    sheets: dict[str, list[Lease]] = {}
    for lease in annotator.leases if active else ():
        sheets.setdefault(lease.sheet, []).append(lease)
    shown = tuple(_sheet(state, texts, leases) for leases in sheets.values())
    return AnnotatorView(
        campaign=config.name,
        title=config.title or config.name,
        instructions=config.instructions,
        annotator=annotator.name,
        ask_reason=config.ask_reason,
        ask_confidence=config.ask_confidence,
        min_watched=config.min_watched,
        break_minutes=config.break_minutes,
        votes=annotator.votes,
        goal=goal,
        status=annotator.status,
        message=_message(state, annotator),
        can_undo=active and last is not None and now <= last.at + 60 * config.undo_minutes,
        closed=state.closed,
        language=config.language,
        criteria=config.criteria,
        can_finish=annotator.name in state.participants and possible_result(state, annotator.name) is not None,
        sheet=shown[0] if shown else None,
        ahead=shown[1:],
    )


def _sheet(state: State, texts: TaskReader, leases: Sequence[Lease]) -> Sheet:
    item = state.items[leases[0].item]
    image = PurePosixPath(item.video).suffix in IMAGES
    return Sheet(
        sheet_id=leases[0].sheet,
        video=item.video,
        video_seconds=item.video_seconds,
        kind="none" if not item.video else "image" if image else "video",
        questions=tuple(_question(state, texts, lease) for lease in leases),
        expires=datetime.fromtimestamp(min(lease.until for lease in leases), UTC).isoformat(timespec="seconds"),
    )


def _question(state: State, texts: TaskReader, lease: Lease) -> Question:
    item = state.items[lease.item]
    task = texts.read(item.place)
    first, second = task["first_text"], task["second_text"]
    left, right = (first, second) if lease.first_left else (second, first)
    return Question(
        question_id=lease.question,
        question=task["question"],
        criterion=item.criterion,
        left_text=left,
        right_text=right,
    )


def _message(state: State, annotator: Annotator) -> str:
    reasons = "; ".join(annotator.reasons)
    if state.paused and annotator.status != "stopped" and not annotator.leases:
        return "This campaign is paused. Please come back later; this page continues automatically."
    if annotator.status == "stopped":
        return f"You will not get any more questions: {reasons}."
    if annotator.status == "warned":
        left = max(0, state.config.thresholds.patience - (annotator.votes - annotator.warned_at[0])) or 1
        votes = f"{left} more vote" + "s" * (left > 1)
        return f"Please take more care: {reasons}. We will check again after {votes}."
    return ""


def campaign_status(
    state: State, folder: Path, members: Sequence[Member], now: float, warnings: Sequence[str] = ()
) -> CampaignStatus:
    """The current status. members: everyone who was ever invited. warnings: listed before those of the state."""
    config = state.config
    invited = [member for member in members if member.role == "annotator"]
    rows = tuple(_annotator_status(state, member, now) for member in invited)
    seconds = np.concatenate([np.empty(0), *(times_of(state, one) for one in state.annotators.values())])
    gold = sum(annotator.gold for annotator in state.annotators.values())
    correct = sum(annotator.gold_correct for annotator in state.annotators.values())
    pairs = [item for item in state.items if item.kind == "vote"]
    return CampaignStatus(
        campaign=config.name,
        folder=str(folder),
        closed=state.closed,
        paused=state.paused,
        rules=config,
        wanted=config.votes,
        votes=state.votes,
        excluded=state.excluded,
        open=0 if state.closed else state.held,
        planned=state.planned,
        pairs=len({item.pair for item in pairs}),
        prompts=len({item.prompt_id for item in pairs}),
        batches=state.batches,
        skips=state.skips,
        skip_reasons=tuple(
            SkipReason(reason=reason, video=video, skips=skips)
            for (reason, video), skips in sorted(state.skip_reasons.items(), key=lambda found: (-found[1], found[0]))
        )[:SKIP_REASONS],
        problems=_problems(state),
        coverage=_coverage(pairs),
        hourly=_hourly(state),
        last_hour=sum(votes for minute, votes in state.by_minute.items() if minute > now // 60 - 60),
        criteria={one.id: sum(item.votes for item in pairs if item.criterion == one.id) for one in config.criteria},
        outcomes={outcome: state.outcomes[outcome] for outcome in OUTCOMES},
        left_share=state.left / state.decisive if state.decisive else None,
        median_seconds=float(np.median(seconds)) if len(seconds) else None,
        gold_accuracy=correct / gold if gold else None,
        annotators=rows,
        warnings=(*warnings, *_warnings(state, invited, crowd=(folder / CROWD).exists())),
    )


def _problems(state: State) -> tuple[VideoProblem, ...]:
    reasons: dict[str, dict[str, int]] = {video: {} for video in state.load_errors}
    for (reason, video), skips in state.skip_reasons.items():
        reasons.setdefault(video, {})[reason] = skips
    prompts: dict[str, dict[str, None]] = {video: {} for video in reasons}
    for item in state.items if reasons else ():
        place = item.video or item.prompt_id
        if place in prompts:
            prompts[place][item.prompt_id] = None
    found = [
        VideoProblem(
            video=video,
            prompts=tuple(prompts[video])[:20],
            skips=sum(counts.values()),
            reasons=counts,
            load_errors=len(state.load_errors.get(video, ())),
        )
        for video, counts in reasons.items()
    ]
    return tuple(sorted(found, key=lambda one: (-one.skips - one.load_errors, one.video))[:PROBLEMS])


def _coverage(pairs: Sequence[Item]) -> tuple[PromptCoverage, ...]:
    prompts: dict[str, list[Item]] = {}
    for item in pairs:
        prompts.setdefault(item.prompt_id, []).append(item)
    lacking = {prompt: sum(item.unmet for item in items) for prompt, items in prompts.items()}
    order = sorted(prompts, key=lambda prompt: (-lacking[prompt], prompt))[:COVERAGE]
    return tuple(
        PromptCoverage(
            prompt_id=prompt,
            pairs=len({item.pair for item in prompts[prompt]}),
            votes=sum(item.votes for item in prompts[prompt]),
            wanted=sum(item.votes + item.unmet for item in prompts[prompt]),
            retired=all(item.retired for item in prompts[prompt]),
        )
        for prompt in order
    )


def _hourly(state: State) -> tuple[HourVotes, ...]:
    hours: Counter[int] = Counter()
    for minute, votes in state.by_minute.items():
        hours[minute // 60] += votes
    last = sorted(hour for hour, votes in hours.items() if votes)[-HOURS:]
    return tuple(HourVotes(hour=iso(hour * 3600), votes=hours[hour]) for hour in last)


def _annotator_status(state: State, member: Member, now: float) -> AnnotatorStatus:
    annotator = state.annotators.get(member.name) or Annotator(0, member.name)
    return AnnotatorStatus(
        annotator=member.name,
        invited=member.invited,
        revoked=not member.active,
        status=annotator.status,
        reasons=annotator.reasons,
        votes=annotator.votes,
        skips=annotator.skips,
        undone=annotator.undone,
        gold=annotator.gold,
        too_fast=annotator.too_fast,
        **figures(state, annotator)._asdict(),
        open=sum(lease.until > now for lease in annotator.leases),
        last_active=annotator.last_at,
    )


def _warnings(state: State, invited: Sequence[Member], *, crowd: bool) -> list[str]:
    found = []
    active = [member.name for member in invited if member.active]
    known = [state.annotators[name] for name in active if name in state.annotators]
    found += [f"{one.name} is {one.status}: {'; '.join(one.reasons)}" for one in known if one.status != "ok"]
    if state.paused:
        found.append("the campaign is paused: nobody gets new questions")
    for one in _problems(state):
        skips = sum(count for reason, count in one.reasons.items() if NOT_PLAYING in reason)
        broken = max(one.load_errors, skips)  # the same people do both
        if broken >= ALERT:
            found.append(f"{one.video} does not play for {broken} annotators ({', '.join(one.prompts[:3])})")
    if state.lost:
        found.append(f"{state.lost} lines of the log are lost; see log.quarantine.jsonl")
    if not invited and not crowd:
        found.append("no annotator has been invited yet: curate campaign invite")
    if known and len(known) == len(active) and not state.closed:
        able = sum(1 << annotator.number for annotator in known if annotator.status != "stopped")
        open_items = [state.items[number] for numbers in state.open.values() for number in numbers]
        stuck = len({item.pair for item in open_items if not able & ~item.seen})
        if stuck:
            found.append(f"{stuck:,} pairs lack votes, but all annotators have judged or skipped them: invite more")
    if state.torn:
        found.append(f"{state.torn} bytes of incomplete lines were removed at a start; none was a confirmed vote")
    return found
