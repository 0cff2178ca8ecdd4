"""The job ``example``: the files of the tutorial, a video campaign whose vote file is as messy as real ones."""

from __future__ import annotations

import csv
import io
import random
import shutil
from pathlib import Path

from curate.shards.atomic import publishing
from pipelines.simulation import simulate
from schemas.config import SimulateConfig
from schemas.errors import ConflictError
from schemas.reports import SimulateReport

VOTES = "votes.csv"
WORLD = SimulateConfig(
    video=True,
    shapes=1,
    prompts=60,
    prompts_per_video=3,
    models=6,
    annotators=24,
    votes_per_pair=3.3,
    spammers=0.1,
    seed=7,
)
HEADER = ("Item", "Answer A", "Answer B", "Which is better?", "Worker", "Submitted", "Minutes", "Comment")
ANSWERS = {"left": "A", "right": "B", "tie": "Both are good", "both_bad": "Neither"}
COMMENTS = (
    *[""] * 4,
    "the video stutters",
    "A is right, but rude",
    'he says "blue"; it is green',
    "很难",
    "same\nthing",
)


def example(out: str | Path) -> SimulateReport:
    """Write ``out`` with votes.csv, prompts.csv, responses.csv and videos/; return what it contains.

    The 3,000 rows of votes.csv come from a simulated campaign with careless annotators. They have column names and
    answers of their own, duplicates, misspelt and empty answers, unknown responses, pairs of a response with itself,
    a line break in a comment and a row that was cut off. Equal versions of curate write equal bytes. Raises CurateError
    if ``out`` exists.

    Examples
    --------
    >>> from pipelines import example
    >>> example("campaign")  # doctest: +SKIP
    """
    out = Path(out)
    if out.exists():
        raise ConflictError(f"{out}: exists already", hint="give a new folder")
    with publishing(out) as folder:
        report = simulate(folder / "world", config=WORLD)
        with (folder / "world" / VOTES).open(encoding="utf-8", newline="") as file:
            rows = _messy(list(csv.DictReader(file))[:2950], random.Random(WORLD.seed))
        (folder / VOTES).write_text(_as_csv(rows), encoding="utf-8-sig", newline="")
        files = ("prompts.csv", "responses.csv", "videos")
        for name in files:
            (folder / "world" / name).rename(folder / name)
        shutil.rmtree(folder / "world")
    return report.model_copy(update={"out": str(out), "votes": len(rows), "files": (VOTES, *files)})


def _messy(votes: list[dict[str, str]], chance: random.Random) -> list[list[str]]:
    """Return the votes as rows of HEADER: 32 damaged, 16 spelled otherwise, 49 repeated, and a last one cut off."""
    rows = [
        [
            vote["prompt_id"],
            vote["left"],
            vote["right"],
            ANSWERS[vote["winner"]],
            vote["annotator_id"],
            vote["submitted_at"].replace("T", " ").partition(".")[0],
            f"{float(vote['seconds']) / 60:.1f}",
            chance.choice(COMMENTS),
        ]
        for vote in votes
    ]
    damaged = chance.sample(range(len(rows)), 48)
    for row in damaged[:20]:
        rows[row][3] = chance.choice(("", "", "a or b", "AA", "dont know"))
    for row in damaged[20:28]:
        rows[row][1] += "x"
    for row in damaged[28:32]:
        rows[row][2] = rows[row][1]
    for row in damaged[32:]:
        rows[row][3] = rows[row][3].upper() if row % 2 else f" {rows[row][3]}"
    return [*rows, *(list(rows[row]) for row in chance.sample(range(len(rows)), 49)), rows[-1][:3]]


def _as_csv(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=";", lineterminator="\r\n").writerows([HEADER, *rows])
    return text.getvalue()
