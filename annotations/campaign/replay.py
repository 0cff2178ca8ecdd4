"""A campaign's folder into its state: the log from its first line on, and the tasks that it takes in on the way."""

from __future__ import annotations

from pathlib import Path

from annotations.campaign.folder import GOLD, LOG, batch_path, batches_on_disk, read_campaign, read_tasks
from annotations.campaign.log import read_events
from annotations.campaign.state import State
from schemas.errors import CurateError


def replay(folder: Path, *, ahead: bool = False) -> State:
    """Where the campaign stands by its log; nothing is written, and a page may run meanwhile. Raises CurateError.

    ahead: with the batches that are there and not taken in yet, as they are before a page runs for the first time.
    """
    state = State(read_campaign(folder).config)
    gold, log = folder / GOLD, folder / LOG
    if gold.exists():
        state.add(read_tasks(gold))
    for event in read_events(log) if log.exists() else ():
        try:
            if event["event"] == "batch":
                take_batch(state, folder, event["number"])
            state.apply(event)
        except (KeyError, ValueError, IndexError, OSError) as error:
            message = f"{log}:{event['seq']}: does not fit what came before it: {type(error).__name__} {error}"
            raise CurateError(message, hint="take back the folder as curate left it") from error
    for number in range(state.batches + 1, batches_on_disk(folder) + 1 if ahead else 0):
        take_batch(state, folder, number)
    return state


def take_batch(state: State, folder: Path, number: int) -> None:
    """Add the tasks of a batch to the state."""
    state.add(read_tasks(batch_path(folder, number)))
    state.batches = number
