"""A campaign in a process of its own, to be killed: votes as fast as it can, and prints what was confirmed."""

from __future__ import annotations

import sys
from pathlib import Path
from threading import Lock, Thread

from annotations.campaign.session import OpenCampaign
from schemas.campaign import Desk, Refusal
from tests.campaigns import ballot

CONFIRMED = Lock()


def main(folder: str, *names: str) -> None:
    """Each of the annotators votes in a thread until nothing is left, or the process is killed."""
    with OpenCampaign.open(Path(folder)) as campaign:
        threads = [Thread(target=_annotate, args=(campaign, name)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _annotate(campaign: OpenCampaign, name: str) -> None:
    desk: Desk | Refusal = campaign.desk(name)
    while isinstance(desk, Desk) and desk.sheet is not None:
        question = desk.sheet.questions[0]
        desk = campaign.vote(name, ballot(question, "tie"))
        told = question.question_id if isinstance(desk, Desk) else f"refused {desk.code}"
        with CONFIRMED:
            sys.stdout.write(told + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
