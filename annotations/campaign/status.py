"""What a manager is told of a campaign, from its state."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from annotations.campaign.people import Guest
from annotations.campaign.quality import figures
from annotations.campaign.records import Person
from annotations.campaign.state import State
from schemas.campaign import AnnotatorStatus, CampaignStatus
from schemas.votes import OUTCOMES


def status_of(
    state: State, folder: Path, people: Sequence[Guest], now: datetime, warnings: Sequence[str] = ()
) -> CampaignStatus:
    """The campaign now. people: all who were ever invited. warnings: told before what the state itself warns of."""
    config = state.config
    guests = [guest for guest in people if guest.role == "annotator"]
    rows = tuple(_annotator(state, guest, now) for guest in guests)
    seconds = np.frombuffer(b"".join(person.seconds.tobytes() for person in state.people.values()), np.float64)
    gold = sum(person.gold for person in state.people.values())
    pairs = [item for item in state.items if item.kind == "vote"]
    return CampaignStatus(
        campaign=config.name,
        folder=str(folder),
        closed=state.closed,
        wanted=config.votes,
        votes=state.votes,
        set_aside=state.set_aside,
        open=0 if state.closed else state.held,
        planned=state.planned,
        pairs=len(pairs),
        prompts=len({item.prompt_id for item in pairs}),
        batches=state.batches,
        skips=state.skips,
        outcomes={outcome: state.outcomes[outcome] for outcome in OUTCOMES},
        left=state.left / state.decided if state.decided else None,
        median_seconds=float(np.median(seconds)) if len(seconds) else None,
        gold_right=sum(person.gold_right for person in state.people.values()) / gold if gold else None,
        annotators=rows,
        warnings=(*warnings, *_warnings(state, guests)),
    )


def _annotator(state: State, guest: Guest, now: datetime) -> AnnotatorStatus:
    person = state.people.get(guest.name) or Person(0, guest.name)
    found = figures(state, person)
    return AnnotatorStatus(
        annotator=guest.name,
        invited=guest.invited,
        revoked=guest.revoked is not None,
        standing=person.standing,
        reasons=person.reasons,
        votes=person.votes,
        skips=person.skips,
        undone=person.undone,
        gold=person.gold,
        gold_right=found.gold_right,
        seconds=found.seconds,
        left=found.left,
        agreement=found.agreement,
        agreement_on=found.agreement_on,
        watched=found.watched,
        open=sum(lease.until > now.timestamp() for lease in person.leases),
        last=person.last_at,
    )


def _warnings(state: State, guests: Sequence[Guest]) -> list[str]:
    found = []
    working = [guest.name for guest in guests if guest.revoked is None]
    for name in working:
        person = state.people.get(name)
        if person and person.standing != "ok":
            found.append(f"{name} is {person.standing}: {'; '.join(person.reasons)}")
    if not guests:
        found.append("nobody is invited yet: curate campaign invite")
    able = 0
    for name in working:
        person = state.people.get(name)
        if person and person.standing != "stopped":
            able |= 1 << person.number
    fresh = any(name not in state.people for name in working)
    if working and not fresh and not state.closed:
        stuck = [state.items[number] for numbers in state.open.values() for number in numbers]
        stuck = [item for item in stuck if not able & ~item.seen]
        if stuck:
            found.append(
                f"{len(stuck):,} pairs lack votes, and everyone who may vote has judged or skipped them: invite more"
            )
    if state.torn:
        found.append(
            f"{state.torn} bytes of half-written lines were cut off at a start: nobody had been told they stand"
        )
    return found
