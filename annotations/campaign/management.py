"""What the actions of managers do to a campaign's state. Each is an event ``manage`` of the log: by, id, action."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from pydantic import ValidationError

from annotations.campaign.records import Item, Tally
from schemas.errors import UsageError
from schemas.management import ACTION, Action, Add, Edit, Extend, Pardon, Pause, Reset, Resume, Retire
from schemas.messages import described

if TYPE_CHECKING:
    from annotations.campaign.chain import Event
    from annotations.campaign.state import State


def check_action(state: State, action: Action, annotators: Collection[str]) -> None:
    """Raise UsageError, with what to do next, for an action that is not possible. annotators: all that were invited."""
    problem, hint = "", ""
    if state.closed:
        problem, hint = "the campaign is closed", "create another one: curate campaign create"
    elif isinstance(action, Pause | Resume) and state.paused == isinstance(action, Pause):
        problem = f"the campaign is {'already' if state.paused else 'not'} paused"
    elif isinstance(action, Pardon):
        known = state.annotators.get(action.annotator)
        if action.annotator not in annotators or known is None or known.status == "ok":
            stopped = [one.name for one in state.annotators.values() if one.status != "ok"]
            problem = f"{action.annotator} is neither stopped nor warned"
            hint = f"stopped or warned: {', '.join(stopped) or 'nobody'}"
    elif isinstance(action, Retire | Reset) or (isinstance(action, Extend) and action.prompt is not None):
        prompts = {item.prompt_id for item in state.items}
        wanted = (action.prompt,) if isinstance(action, Extend) else action.prompts
        unknown = [prompt for prompt in wanted if prompt not in prompts]
        problem = f"no prompt {unknown[0]!r} in this campaign" if unknown else ""
    elif isinstance(action, Extend):
        limit = state.config.max_votes
        if action.votes is not None and action.votes < state.config.votes:
            problem, hint = f"the campaign wants {state.config.votes:,} votes already", "close it to stop earlier"
        elif action.max_votes and (not limit or action.max_votes < limit):
            problem = f"annotators may give {f'{limit:,} votes' if limit else 'any number of votes'} already"
    elif isinstance(action, Edit):
        try:
            action.of(state.config)
        except ValidationError as error:
            problem = described(error)
        except ValueError as error:
            problem, hint = str(error), "see CampaignConfig in docs/data.md; extend and add change votes and prompts"
    if problem:
        raise UsageError(problem, hint=hint)


def manage(state: State, event: Event) -> None:
    """Apply an event ``manage`` to the state."""
    action = ACTION.validate_python(event["action"])
    state.orders.add(event["id"])
    if isinstance(action, Pause | Resume):
        state.paused = isinstance(action, Pause)
    elif isinstance(action, Pardon):
        _pardon(state, action.annotator)
    elif isinstance(action, Extend):
        _extend(state, action)
    elif isinstance(action, Edit):
        state.config = action.of(state.config)
        state.longest_lease = max(state.longest_lease, 60 * state.config.lease_minutes)
    elif isinstance(action, Retire):
        _retire(state, state.retired | set(action.prompts))
    elif isinstance(action, Add):
        for prompt in action.prompts:
            if prompt not in state.retired and state.config.prompts:
                known = dict.fromkeys((*state.config.prompts, prompt))
                state.config = state.config.model_copy(update={"prompts": tuple(known)})
        _retire(state, state.retired - set(action.prompts))
    elif isinstance(action, Reset):
        _reset(state, set(action.prompts))


def _items(state: State, prompts: Iterable[str]) -> list[Item]:
    wanted = set(prompts)
    return [item for item in state.items if item.prompt_id in wanted]


def _retire(state: State, retired: set[str]) -> None:
    """Ask no more about these prompts, and again about all others."""
    changed, state.retired = retired ^ state.retired, retired
    for item in _items(state, changed):
        before = item.unmet
        state.count(item)
        state.planned += item.unmet - before


def _raise_quota(state: State, item: Item, quota: int) -> int:
    """Give a pair at least this quota; return the votes that are wanted in addition."""
    more = max(0, quota - item.quota) if item.kind == "vote" else 0
    state.count(item, quota=more)
    state.planned += more
    return more


def _pardon(state: State, name: str) -> None:
    one = state.annotator(name)
    if one.status == "stopped" and state.config.reopen_stopped:
        state.exclude(one, by=-1)
    one.status, one.reasons, one.last = "ok", (), None
    state.stopped.discard(name)
    one.judged_from = Tally(one.votes, one.gold, one.gold_correct, one.decisive, one.left)


def _extend(state: State, action: Extend) -> None:
    changes: dict[str, int] = {}
    if action.votes is not None:
        changes["votes"] = action.votes
    if action.max_votes is not None:
        changes["max_votes"] = action.max_votes
    if action.votes_per_pair is not None:
        if action.prompt is None:
            changes["votes_per_pair"] = max(action.votes_per_pair, state.config.votes_per_pair)
        items = state.items if action.prompt is None else _items(state, (action.prompt,))
        live = [item for item in items if item.prompt_id not in state.retired]
        more = sum(_raise_quota(state, item, action.votes_per_pair) for item in live)
        changes["votes"] = max(changes.get("votes", 0), state.config.votes + more)
    state.config = state.config.model_copy(update=changes)


def _reset(state: State, prompts: set[str]) -> None:
    """Nobody has seen the items but those who voted on them."""
    items = {item.number: item for item in _items(state, prompts)}
    for item in items.values():
        item.seen = 0
    for one in state.annotators.values():
        for number in one.items:
            if number in items:
                items[number].seen |= 1 << one.number
    places = {item.video or item.prompt_id for item in items.values()}
    for reason, place in [key for key in state.skip_reasons if key[1] in places]:
        del state.skip_reasons[reason, place]
    for place in places:
        state.load_errors.pop(place, None)
