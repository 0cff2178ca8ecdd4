"""A campaign session as a separate process, to be killed: votes continuously and prints the confirmed questions."""

from __future__ import annotations

import sys
from pathlib import Path
from threading import Lock, Thread

from annotations.campaign.session import CampaignSession
from schemas.campaign import AnnotatorView, Refusal
from tests.campaigns import ballot

CONFIRMED = Lock()


def main(folder: str, *names: str) -> None:
    """Each of the annotators votes in a thread until nothing is left, or the process is killed."""
    with CampaignSession.open(Path(folder)) as campaign:
        threads = [Thread(target=_annotate, args=(campaign, name)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _annotate(campaign: CampaignSession, name: str) -> None:
    view: AnnotatorView | Refusal = campaign.view(name)
    while isinstance(view, AnnotatorView) and view.sheet is not None:
        question = view.sheet.questions[0]
        view = campaign.vote(name, ballot(question, "tie"))
        told = question.question_id if isinstance(view, AnnotatorView) else f"refused {view.code}"
        with CONFIRMED:
            sys.stdout.write(told + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
