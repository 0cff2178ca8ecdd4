"""Our own campaigns: the log that the voting page writes, also while the page runs.

Shape: docs/campaign.md, one event per line. A vote is read once it can no longer be undone; the others are left for the
next reading. An incomplete last line is ignored. Answers to known questions and attention checks are control questions.
Sides are those of the event. Annotator ids are the campaign's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import numpy as np
import polars as pl
import pyarrow as pa

from annotations.campaign.folder import CAMPAIGN, LOG
from annotations.campaign.log import GRACE, read_events
from annotations.campaign.repair import check_log
from annotations.platforms.base import Head, Platform
from annotations.readers.blocks import Blocks
from annotations.readers.files import VoteFile
from annotations.readers.formats import BrokenRecord, Chunk
from annotations.readers.json_text import query
from annotations.readers.records import NEWLINE, Records, split_lines
from annotations.readers.times import parse_times
from schemas.errors import CurateError

INTEGER, TEXT = ("UBIGINT", "BIGINT"), ("VARCHAR",)
NUMBER = (*INTEGER, "DOUBLE")
NEEDED: dict[str, dict[str, tuple[str, ...]]] = {
    "begin": {"campaign_id": TEXT, "undo_minutes": NUMBER},
    "vote": dict.fromkeys(("at", "annotator", "prompt_id", "left", "right", "outcome"), TEXT)
    | {"seq": INTEGER, "seconds": NUMBER, "watched": NUMBER},
    "skip": {"annotator": TEXT},
    "undo": {"annotator": TEXT},
    "finish": {"annotator": TEXT},
}
"""Kind of event -> the keys that are read, and their types in JSON."""
OPTIONAL = ("control", "criterion", "reason", "confidence", "late", "leased", "claimed_seconds")
KEYS = ("event", *dict.fromkeys(key for needed in NEEDED.values() for key in needed), *OPTIONAL)
OWN = ("prompt_id", "left", "right", "outcome", "seconds", "watched", *OPTIONAL)
"""Keys of a vote whose names are ours, too."""
NO_EVENT = "not an event of a campaign log"


def _recognizes(head: Head) -> bool:
    return head.format == "jsonl" and head.has("seq", "at", "event", "campaign_id")


def _read(file: VoteFile, now: datetime) -> Iterator[Chunk]:
    """Yield the votes that are final at the time ``now`` (naive UTC) as one chunk."""
    parts: list[pl.DataFrame] = []
    broken = _findings(file)
    refused = {record.line for record in broken}
    blocks, last = Blocks(file), 0
    for records in split_lines(iter(blocks), blocks.most, blocks.oversized):
        if len(records) and NEWLINE not in records.data[records.end[-1] :]:  # the page is writing this line
            records = records.take(np.arange(len(records) - 1))
        last = int(records.line[-1]) if len(records) else last
        events = _events(records)
        lost = [(int(records.line[i]), records.text(i)) for i in map(int, np.flatnonzero(~events["sound"].to_numpy()))]
        lost = [(line, text) for line, text in lost if line not in refused]
        broken += [BrokenRecord(line, "broken-record", NO_EVENT, text, damage=True) for line, text in lost]
        parts.append(events.filter(pl.col("sound") & ~pl.col("line").is_in(refused)))
    broken += [BrokenRecord(line, "broken-record", NO_EVENT, "", damage=True) for line in blocks.oversized]
    if blocks.damage:
        broken.append(BrokenRecord(last + 1, "broken-record", blocks.damage, "", damage=True))
    if not parts:
        yield Chunk(pl.DataFrame(), pl.Series("line", [], pl.Int64), tuple(broken))
        return
    events = pl.concat(parts)
    begun = events.filter(pl.col("event") == "begin").tail(1)
    votes = _with_fate(events, begun, now)
    others = {
        "undone votes": events.filter(pl.col("event") == "undo").height,
        "votes that can still be undone": votes.filter(pl.col("fate") == "pending").height,
    }
    final = votes.filter(pl.col("fate") == "final")
    campaign = pl.lit(begun["campaign_id"].first(), pl.String)
    rows = final.select(
        vote_id=campaign.fill_null("") + "-" + pl.col("seq").str.zfill(7),
        annotator_id="annotator",
        voted_at="at",
        campaign=campaign,
        **{name: pl.col(name) for name in OWN},
    )
    skipped = {kind: count for kind, count in others.items() if count}
    yield Chunk(rows if rows.height else pl.DataFrame(), final["line"], tuple(broken), skipped)


def _findings(file: VoteFile) -> list[BrokenRecord]:
    """What the page refuses in the log of a campaign folder; of a log without its folder, nothing is known."""
    folder = file.path.parent
    if file.gzipped or file.path.name != LOG or not (folder / CAMPAIGN).exists():
        return []
    try:
        for _ in read_events(file.path):
            pass
    except CurateError:
        return [
            BrokenRecord(found.line, "broken-record", f"{found.kind}: {found.about}", "", damage=True)
            for found in check_log(folder).findings
        ]
    return []


def _events(records: Records) -> pl.DataFrame:
    """Return (line, sound, each of KEYS as text) of lines. Not sound: no event, or one without a key that is read."""
    found = query(
        "SELECT TRY(json_extract_string(text, $1)) AS value, TRY(json_type(text, $1)) AS type FROM chunk",
        [[f"/{key}" for key in KEYS]],
        chunk=pa.table({"text": records.texts()}),
    )
    types = {key: pl.col("type").list.get(i) for i, key in enumerate(KEYS)}
    values = {key: pl.col("value").list.get(i) for i, key in enumerate(KEYS)}
    lacks = [
        (values["event"] == kind)
        & ~pl.all_horizontal(types[key].is_in(known).fill_null(False) for key, known in needed.items())
        for kind, needed in NEEDED.items()
    ]
    events = found.select(
        pl.Series("line", records.line, pl.Int64),
        sound=types["event"].is_in((*TEXT, *NUMBER, "BOOLEAN")).fill_null(False)
        & ~pl.any_horizontal(lacks).fill_null(False),
        **values,
    )
    no_time = parse_times(events["at"])[0].is_null() & (events["event"] == "vote").fill_null(False)
    return events.with_columns(sound=events["sound"] & ~no_time)


def _with_fate(events: pl.DataFrame, begun: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Return the votes with their fate: final, undone, or pending.

    A vote is final after a later vote or skip of the same annotator or the end of their participation, after
    ``undo_minutes`` plus GRACE, and when the campaign is closed.
    """
    closed = pl.when(pl.col("event") == "close").then("line").backward_fill().alias("closed")
    own = events.with_columns(closed).filter(pl.col("event").is_in(("vote", "skip", "undo", "finish")))
    following = own.with_columns(pl.col("event", "line").shift(-1).over("annotator").name.prefix("next_"))
    votes = following.filter(pl.col("event") == "vote")
    undo_seconds = pl.lit(begun["undo_minutes"].cast(pl.Float64).sum()) * 60
    age = (pl.lit(now) - parse_times(votes["at"])[0]).dt.total_microseconds() / 1e6
    return votes.with_columns(
        fate=pl.when((pl.col("closed") < pl.col("next_line")).fill_null(pl.col("closed").is_not_null()))
        .then(pl.lit("final"))
        .when(pl.col("next_event") == "undo")
        .then(pl.lit("undone"))
        .when(pl.col("next_event").is_not_null() | (age > undo_seconds + GRACE))
        .then(pl.lit("final"))
        .otherwise(pl.lit("pending"))
    )


PLATFORM = Platform(
    name="campaign",
    description="the log of a campaign of ours, also while its page runs",
    detected_by="events with seq, at, event and campaign_id",
    sides="known",
    dropped="undone votes; skips, leases and all other events",
    recognizes=_recognizes,
    read=_read,
    personal_ids=False,
)
