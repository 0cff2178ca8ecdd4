"""A campaign's folder into its state: the log from its first line on, and the tasks that it takes in on the way."""

from __future__ import annotations

from pathlib import Path

from annotations.campaign.folder import GOLD, LOG, batch_path, read_campaign, read_tasks
from annotations.campaign.log import read_events
from annotations.campaign.state import State
from schemas.errors import CurateError


def replay(folder: Path) -> State:
    """Where the campaign stands by its log; nothing is written, and a page may run meanwhile. Raises CurateError."""
    state = State(read_campaign(folder).config)
    gold, log = folder / GOLD, folder / LOG
    if gold.exists():
        state.add(read_tasks(gold))
    if not log.exists():
        return state
    for event in read_events(log):
        try:
            if event["event"] == "batch":
                take_batch(state, folder, event["number"])
            state.apply(event)
        except (KeyError, ValueError, IndexError, OSError) as error:
            message = f"{log}:{event['seq']}: does not fit what came before it: {type(error).__name__} {error}"
            raise CurateError(message, hint="take back the folder as curate left it") from error
    return state


def take_batch(state: State, folder: Path, number: int) -> None:
    """Add the tasks of a batch to the state."""
    state.add(read_tasks(batch_path(folder, number)))
    state.batches = number
