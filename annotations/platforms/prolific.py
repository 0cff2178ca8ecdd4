"""Prolific: the demographic export of a study, which has no votes and is joined to them by participant id.

Shape: "Download demographic data" at docs.prolific.com: Submission id, Participant id, Status, Started at, Completed
at, Reviewed at, Archived at, Time taken (seconds, of the whole submission), Completion code, Total approvals, then
demographics (Age, Sex, ...). DATA_EXPIRED, CONSENT_REVOKED and Not Applicable are absent values.

The demographics and the times go into the votes' meta, the ids and the completion code do not. The votes of submissions
that were returned, rejected or timed out are rejects.
"""

from __future__ import annotations

import polars as pl

from annotations.platforms.base import Head, Participants, Platform, read_whole, with_missing
from annotations.readers.files import VoteFile
from annotations.readers.privacy import encode_meta
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
    whole = read_whole(file)
    if whole.broken:
        first = whole.broken[0]
        raise CurateError(f"{file.path}:{first.line}: {first.message}", hint="download the export again")
    people = with_missing(whole.frame.rename(OLD, strict=False), ID, STATUS).rename({ID: "person"})
    people = people.with_columns(pl.col("person").str.strip_chars()).filter(pl.col("person") != "")
    if people.is_empty():
        raise CurateError(f"{file.path}: no participants", hint=f"needed: a column {ID!r} with values")
    is_refused = pl.col(STATUS).str.to_uppercase().is_in(REFUSED).fill_null(False)
    accepted = people.filter(~is_refused).unique("person", keep="last", maintain_order=True)
    # A participant with a refused and an accepted submission did the work.
    refused = people.filter(is_refused).join(accepted, on="person", how="anti")
    refused = refused.unique("person", keep="last", maintain_order=True)
    why = "the participant's submission is " + refused[STATUS].str.to_lowercase()
    known = pl.concat([accepted, refused])
    facts = known.select(
        pl.when(~pl.col(name).is_in(ABSENT)).then(name).alias(name)
        for name in known.columns
        if name not in ("person", *SECRET)
    )
    texts = encode_meta(facts)[0].fill_null("{}")
    return Participants(
        str(file.path),
        dict(zip(known["person"], texts, strict=True)),
        dict(zip(refused["person"], why, strict=True)),
    )


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
