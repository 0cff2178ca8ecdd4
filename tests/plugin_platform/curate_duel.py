"""The export of a platform of its own: JSONL, one vote per line.

{"duel": 1, "topic": "p1", "sides": [{"id": "a", "text": "…"}, {"id": "b", "text": "…"}], "voter": "u", "better": 0}

``better`` is the position of the better side, the first of which is shown left; null is an abstention.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from annotations.platforms.base import Head, Platform, with_missing
from annotations.readers.files import VoteFile
from annotations.readers.formats import Chunk, read_chunks
from annotations.readers.json_text import query

COLUMNS = ("duel", "topic", "sides", "voter", "better")
ROWS = """
SELECT duel AS vote_id, topic AS prompt_id, sides ->> '$[0].id' AS "left", sides ->> '$[1].id' AS "right",
       sides ->> '$[0].text' AS left_text, sides ->> '$[1].text' AS right_text, voter AS annotator_id,
       CASE better WHEN '0' THEN 'left' WHEN '1' THEN 'right' ELSE better END AS outcome,
       CASE WHEN better IS NULL THEN 'no-answer' END AS reject,
       CASE WHEN better IS NULL THEN 'the voter abstained' END AS reject_text
FROM (SELECT * REPLACE (CASE WHEN json_valid(sides) THEN sides END AS sides) FROM records)
"""


def recognizes(head: Head) -> bool:
    return head.format == "jsonl" and head.has("duel", "topic", "sides", "better")


def read(file: VoteFile, _: datetime) -> Iterator[Chunk]:
    for chunk in read_chunks(file):
        yield replace(chunk, frame=query(ROWS, records=with_missing(chunk.frame, *COLUMNS)))


PLATFORM = Platform(
    name="duel",
    description="JSONL of duels",
    detected_by="the keys duel, topic, sides and better",
    sides="known: the first side is left",
    dropped="nothing",
    recognizes=recognizes,
    read=read,
)
