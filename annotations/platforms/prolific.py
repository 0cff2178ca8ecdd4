"""Prolific: the demographic export of a study, which holds no votes and is joined to them by participant id.

Shape: "Download demographic data" at docs.prolific.com: Submission id, Participant id, Status, Started at, Completed
at, Reviewed at, Archived at, Time taken (seconds, of the whole submission), Completion code, Total approvals, then
demographics (Age, Sex, ...). DATA_EXPIRED, CONSENT_REVOKED and Not Applicable say nothing.

A vote's meta gets the demographics and the times, and not the ids or the completion code. Submissions that were
returned, rejected or timed out do not count: their votes are rejects.
"""

from __future__ import annotations

import json
from typing import Any

from annotations.platforms.base import Platform, records_of
from annotations.platforms.sniffing import Head
from annotations.readers.files import VoteFile
from annotations.readers.participants import Participants
from schemas.errors import CurateError

ID, STATUS = "Participant id", "Status"
OLD = {"participant_id": ID, "session_id": "Submission id", "status": STATUS}
"""Names of columns in exports before 2022."""
SECRET = ("Submission id", ID, "Completion code", "Entered code")
NOTHING = ("DATA_EXPIRED", "CONSENT_REVOKED", "Not Applicable", "")
REFUSED = ("RETURNED", "REJECTED", "TIMED-OUT", "TIMED OUT")


def _recognises(head: Head) -> bool:
    return head.has("Submission id", ID, STATUS) or head.has("participant_id", "session_id", "status", "time_taken")


def _participants(file: VoteFile) -> Participants:
    """Raises CurateError for a file that is damaged or names nobody."""
    facts: dict[str, dict[str, Any]] = {}
    refused: dict[str, str] = {}
    accepted: set[str] = set()
    for _, records, broken in records_of(file):
        if broken:
            raise CurateError(f"{file.path}:{broken[0].line}: {broken[0].message}", hint="download the export again")
        for record in records:
            own = {OLD.get(name, name): value for name, value in record.items()}
            person = str(own.get(ID) or "").strip()
            if not person:
                continue
            status = str(own.get(STATUS) or "").upper()
            if status in REFUSED:
                refused[person] = f"the participant's submission is {status.lower()}"
            else:
                accepted.add(person)
            known = {n: v for n, v in own.items() if n not in SECRET and v is not None and v not in NOTHING}
            if person not in facts or status not in REFUSED:
                facts[person] = known
    if not facts:
        raise CurateError(f"{file.path}: no participant in it", hint=f"needed: a column {ID!r}, filled in")
    texts = {person: json.dumps(known, ensure_ascii=False) for person, known in facts.items()}
    # Who was refused once and accepted later did the work.
    return Participants(str(file.path), texts, {p: why for p, why in refused.items() if p not in accepted})


PLATFORM = Platform(
    name="prolific",
    about="demographic export of a study (CSV): no votes, joined to them by participant id",
    told_by="Submission id, Participant id and Status",
    sides="not said",
    dropped="submission ids and completion codes",
    recognises=_recognises,
    read=lambda _: iter(()),
    joins=_participants,
)
