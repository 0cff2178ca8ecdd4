"""Prolific: the demographic export of a study, which has no votes and is joined to them by participant id.

Shape: "Download demographic data" at docs.prolific.com: Submission id, Participant id, Status, Started at, Completed
at, Reviewed at, Archived at, Time taken (seconds, of the whole submission), Completion code, Total approvals, then
demographics (Age, Sex, ...). DATA_EXPIRED, CONSENT_REVOKED and Not Applicable are absent values.

The demographics and the times go into the votes' meta, the ids and the completion code do not. The votes of submissions
that were returned, rejected or timed out are rejects.
"""

from __future__ import annotations

import json
from typing import Any

from annotations.platforms.base import Head, Participants, Platform, all_records
from annotations.readers.files import VoteFile
from schemas.errors import CurateError

ID, STATUS = "Participant id", "Status"
OLD = {"participant_id": ID, "session_id": "Submission id", "status": STATUS}
"""Column names of exports before 2022."""
SECRET = ("Submission id", ID, "Completion code", "Entered code")
ABSENT = ("DATA_EXPIRED", "CONSENT_REVOKED", "Not Applicable", "")
REFUSED = ("RETURNED", "REJECTED", "TIMED-OUT", "TIMED OUT")


def _recognizes(head: Head) -> bool:
    return head.has("Submission id", ID, STATUS) or head.has("participant_id", "session_id", "status", "time_taken")


def _participants(file: VoteFile) -> Participants:
    """Return the participants. Raises CurateError for a file that is damaged or names nobody."""
    facts: dict[str, dict[str, Any]] = {}
    refused: dict[str, str] = {}
    accepted: set[str] = set()
    records, _, broken = all_records(file)
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
        if person not in facts or status not in REFUSED:
            facts[person] = {n: v for n, v in own.items() if n not in SECRET and v is not None and v not in ABSENT}
    if not facts:
        raise CurateError(f"{file.path}: no participants", hint=f"needed: a column {ID!r} with values")
    texts = {person: json.dumps(known, ensure_ascii=False) for person, known in facts.items()}
    # A participant with a refused and an accepted submission did the work.
    return Participants(str(file.path), texts, {p: why for p, why in refused.items() if p not in accepted})


PLATFORM = Platform(
    name="prolific",
    description="demographic export of a study (CSV), without votes; joined to them by participant id",
    detected_by="Submission id, Participant id and Status",
    sides="no votes",
    dropped="submission ids and completion codes",
    recognizes=_recognizes,
    read=lambda *_: iter(()),
    read_participants=_participants,
)
