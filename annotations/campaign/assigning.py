"""Who is asked what next: pairs on one video, and among them questions whose answer is known."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from annotations.campaign.records import Item, Person
from annotations.campaign.state import State
from schemas.campaign import Kind


def draw(*what: object) -> int:
    """A number below 2⁶⁴ that looks random, the same for the same things."""
    text = "\0".join(map(str, what)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def next_sheet(state: State, person: Person) -> list[Item]:
    """What to ask someone in one viewing, in order; empty where no pair is left that they may be asked.

    Nobody gets a pair that they voted on, skipped or hold. Questions whose answer is known stand among pairs of the
    same video as far as there are any, and are asked only while there are pairs to ask.
    """
    config = state.config
    size = config.pairs_per_video
    if config.max_votes:
        size = min(size, config.max_votes - person.votes - len(person.leases))
    group = _group(state, person)
    if size < 1 or group is None:
        return []
    chosen: list[Item] = []
    kinds: tuple[Kind, Kind] = ("gold", "attention")
    for kind in kinds:
        if len(chosen) < size and due(state, person, kind, size) > person.asked[kind]:
            control = _control(state, person, kind, chosen[0].group if chosen else None)
            if control is not None:
                chosen.append(control)
                group = control.group
    for item in _offers(state, person, group):
        if len(chosen) >= size:
            break
        chosen.append(item)
    return sorted(chosen, key=lambda item: draw(config.seed, person.name, item.task_id, "order"))


def due(state: State, person: Person, kind: Kind, ahead: int) -> int:
    """How many questions of a kind someone should have been asked, ``ahead`` questions from now.

    With a share of 1 in n, each n questions in a row have one, at a place drawn by seed and annotator. Known answers
    come twice as often until there are enough to judge by, and to one who is warned.
    """
    share = state.config.gold_share if kind == "gold" else state.config.attention_share
    if not share:
        return 0
    until = sum(person.asked.values()) + ahead
    early = state.config.bars.least if kind == "gold" else 0
    count, begin = person.due.get(kind, (0, 0.0))
    if begin > until:
        count, begin = 0, 0.0
    while begin < until:
        length = max(2.0, 0.5 / share) if count < early else 1 / share
        if int(begin) + draw(state.config.seed, person.name, kind, count) % int(length) >= until:
            break
        count, begin = person.due[kind] = count + 1, begin + length
    if kind == "gold" and person.standing == "warned":
        count += (person.votes - person.warned_at[0] + ahead) // max(2, round(0.5 / share))
    return count


def first_left(state: State, person: Person, item: Item) -> bool:
    """Whether the first response stands left: where it did less often than the second, else drawn."""
    if item.lean:
        return item.lean < 0
    return draw(state.config.seed, person.name, item.task_id, "side") % 2 == 0


def _group(state: State, person: Person) -> str | None:
    """The video to ask about, searched from a drawn one on; rather another one than the last."""
    groups = state.groups
    start = draw(state.config.seed, person.name, person.sheets, "video") % max(1, len(groups))
    again = None
    for step in range(len(groups)):
        group = groups[(start + step) % len(groups)]
        if next(_offers(state, person, group), None) is None:
            continue
        if group != person.group:
            return group
        again = group
    return again


def _offers(state: State, person: Person, group: str) -> Iterator[Item]:
    """The pairs of a group that they may be asked, those first that others have voted on or hold."""
    bit = 1 << person.number
    held = {lease.item for lease in person.leases}
    found = [state.items[number] for number in state.open.get(group, ())]
    found = [item for item in found if not item.seen & bit and item.number not in held]
    found.sort(key=lambda item: -(item.votes + item.held))
    return iter(found)


def _control(state: State, person: Person, kind: Kind, group: str | None) -> Item | None:
    """A question whose answer is known that they have not seen; on a video with pairs to ask, where there is one."""
    numbers = state.controls[kind]
    bit = 1 << person.number
    held = {lease.item for lease in person.leases}
    start = draw(state.config.seed, person.name, kind, person.asked[kind]) % max(1, len(numbers))
    alone = None
    for step in range(len(numbers)):
        item = state.items[numbers[(start + step) % len(numbers)]]
        if item.seen & bit or item.number in held or (group is not None and item.group != group):
            continue
        if next(_offers(state, person, item.group), None) is not None:
            return item
        alone = alone or item
    return alone
