"""Question assignment: sheets of pairs on one video, with control questions at a given share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from annotations.campaign.records import Annotator, Item
from annotations.campaign.state import State
from schemas.campaign import QuestionKind


def draw(*key: object) -> int:
    """A pseudo-random 64-bit number, determined by the key."""
    text = "\0".join(map(str, key)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def next_sheet(state: State, annotator: Annotator) -> list[tuple[Item, bool]]:
    """The items of an annotator's next sheet, in order, each with whether its first response is shown left; empty if no
    pair is left for them.

    Nobody gets a pair that they voted on, skipped or hold. With criteria, a pair is asked by each in their order, with
    the same sides. Control questions are placed among pairs of the same video if there are any, and only while there
    are pairs to ask.
    """
    config = state.config
    size = config.pairs_per_video
    room = config.max_votes - annotator.votes - len(annotator.leases) if config.max_votes else None
    if room is not None:
        size = min(size, room)
    group = _next_group(state, annotator)
    if size < 1 or group is None:
        return []
    chosen: list[list[Item]] = []
    kinds: tuple[QuestionKind, QuestionKind] = ("gold", "attention")
    for kind in kinds:
        if len(chosen) < size and controls_due(state, annotator, kind, size) > annotator.asked[kind]:
            control = _control(state, annotator, kind, chosen[0][0].group if chosen else None)
            if control:
                chosen.append(control)
                group = control[0].group
    pairs: dict[tuple[str, ...], list[Item]] = {}
    for item in _available(state, annotator, group):
        if item.pair not in pairs and len(chosen) + len(pairs) >= size:
            continue
        pairs.setdefault(item.pair, []).append(item)
    chosen += (sorted(items, key=lambda item: item.number) for items in pairs.values())
    chosen.sort(key=lambda items: draw(config.seed, annotator.name, items[0].task_id, "order"))
    shown = [(item, first_left(state, annotator, items[0])) for items in chosen for item in items]
    return shown[:room]


def controls_due(state: State, annotator: Annotator, kind: QuestionKind, ahead: int) -> int:
    """The number of control questions that an annotator should have been asked, ``ahead`` pairs from now.

    With a share of 1 in n, each block of n questions has one control question, at a position drawn by seed and
    annotator. The blocks are half as long until there are enough answers to judge by, and after a warning.
    """
    share = state.config.gold_share if kind == "gold" else state.config.attention_share
    if not share:
        return 0
    until = sum(annotator.asked.values()) + ahead
    early = state.config.thresholds.min_questions if kind == "gold" else 0
    count, begin = annotator.due.get(kind, (0, 0.0))
    if begin > until:
        count, begin = 0, 0.0
    while begin < until:
        length = max(2.0, 0.5 / share) if count < early else 1 / share
        if int(begin) + draw(state.config.seed, annotator.name, kind, count) % int(length) >= until:
            break
        count, begin = annotator.due[kind] = count + 1, begin + length
    if kind == "gold" and annotator.status == "warned":
        pairs = (annotator.votes - annotator.warned_at[0]) // len(state.config.criterion_ids)
        count += (pairs + ahead) // max(2, round(0.5 / share))
    return count


def first_left(state: State, annotator: Annotator, item: Item) -> bool:
    """Whether to show the first response left: the side that it had less often, or a random one if balanced."""
    if item.lean:
        return item.lean < 0
    return draw(state.config.seed, annotator.name, item.task_id, "side") % 2 == 0


def _next_group(state: State, annotator: Annotator) -> str | None:
    """The video of the next sheet: the first one with available pairs from a random start, preferably a new one."""
    groups = state.groups
    start = draw(state.config.seed, annotator.name, annotator.sheets, "video") % max(1, len(groups))
    repeated = None
    for step in range(len(groups)):
        group = groups[(start + step) % len(groups)]
        if next(_available(state, annotator, group), None) is None:
            continue
        if group != annotator.group:
            return group
        repeated = group
    return repeated


def _available(state: State, annotator: Annotator, group: str) -> Iterator[Item]:
    """The pairs of a group that the annotator may get; pairs with votes or leases first."""
    bit = 1 << annotator.number
    held = {lease.item for lease in annotator.leases}
    found = [state.items[number] for number in state.open.get(group, ())]
    found = [item for item in found if not item.seen & bit and item.number not in held]
    found.sort(key=lambda item: -(item.votes + item.held))
    return iter(found)


def _control(state: State, annotator: Annotator, kind: QuestionKind, group: str | None) -> list[Item]:
    """The items of a control question that is new to the annotator, preferably on a video with available pairs.

    With criteria, there is one for each, whether its answer is known or not: else they would look unlike a vote.
    """
    questions = state.controls[kind]
    bit = 1 << annotator.number
    held = {lease.item for lease in annotator.leases}
    start = draw(state.config.seed, annotator.name, kind, annotator.asked[kind]) % max(1, len(questions))
    without_pairs: list[Item] = []
    for step in range(len(questions)):
        items = [state.items[number] for number in questions[(start + step) % len(questions)]]
        other = group is not None and items[0].group != group
        if other or items[0].prompt_id in state.retired or any(one.seen & bit or one.number in held for one in items):
            continue
        if next(_available(state, annotator, items[0].group), None) is not None:
            return items
        without_pairs = without_pairs or items
    return without_pairs
