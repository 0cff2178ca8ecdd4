"""Where a campaign stands: a replay of its log, with room for each pair and each person, none for each vote.

(Each vote leaves 13 bytes, its pair, outcome and seconds; they make the figures of quality.)
"""

from __future__ import annotations

from array import array
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable
from datetime import datetime

from annotations.campaign.folder import Place
from annotations.campaign.log import Event
from annotations.campaign.records import SKIPPED, Item, Last, Lease, Past, Person
from schemas.campaign import CampaignConfig, Kind, Task

REMEMBERED = 64
"""Answered or expired questions of one person that are known by their ids: what a page may still send again."""
FIRST, SECOND = 0, 1
CODES = {"first": FIRST, "second": SECOND, "tie": 2, "both_bad": 3}


class State:
    """All that the log says. ``add`` takes a batch of tasks, ``apply`` one event; nothing else changes it."""

    def __init__(self, config: CampaignConfig) -> None:
        self.config = config
        self.seq = 0
        self.closed = False
        self.batches = 0
        self.torn = 0
        """Bytes that were cut off half-written lines, over all starts."""
        self.items: list[Item] = []
        self.wins = array("i")
        """Four numbers an item: votes for the first, for the second, tie, both bad."""
        self.is_vote = bytearray()
        """One byte an item: 1 for a pair, 0 for a question whose answer is known."""
        self.by_task: dict[str, int] = {}
        self.people: dict[str, Person] = {}
        self.controls: dict[Kind, list[int]] = {"gold": [], "attention": []}
        self.open: dict[str, list[int]] = {}
        """Group -> its pairs with room."""
        self.groups: list[str] = []
        """Those of ``open``, in any order, to be entered anywhere."""
        self._spot: dict[str, int] = {}
        self._names: dict[str, str] = {}
        """Prompts and groups, each held once."""
        self.expiring: OrderedDict[str, tuple[float, str]] = OrderedDict()
        """Question -> (until, annotator) of every lease, in the order of time."""
        self.votes = self.planned = self.held = self.skips = self.decided = self.left = 0
        """On pairs, without known answers."""
        self.set_aside = 0
        """Votes of people who were stopped, for which others are asked: ``votes`` and their pairs leave them out, while
        outcomes, ``decided`` and ``left`` do not."""
        self.unmet = 0
        """Votes that the batches so far ask for and that are not in: quota less votes, where that is above 0."""
        self.outcomes: Counter[str] = Counter()

    def add(self, tasks: Iterable[tuple[Task, Place]]) -> None:
        """Take in pairs, and questions with known answers. A pair that is there already is asked so much more often."""
        for task, place in tasks:
            number = self.by_task.get(task.task_id)
            if number is None:
                number = self._new(task, place)
            item = self.items[number]
            if item.kind == "vote":
                self._count(item, quota=task.quota)
                self.planned += task.quota

    def _new(self, task: Task, place: Place) -> int:
        number = self.by_task[task.task_id] = len(self.items)
        prompt = self._names.setdefault(task.prompt_id, task.prompt_id)
        group = task.video or f"\0{prompt}"
        group = self._names.setdefault(group, group)
        self.items.append(
            Item(
                number=number,
                task_id=task.task_id,
                kind=task.kind,
                prompt_id=prompt,
                first=task.first,
                second=task.second,
                answer=task.answer,
                video=group if task.video else "",
                video_seconds=task.video_seconds,
                group=group,
                place=place,
            )
        )
        self.wins.extend((0, 0, 0, 0))
        self.is_vote.append(task.kind == "vote")
        if task.kind != "vote":
            self.controls[task.kind].append(number)
        return number

    def person(self, name: str) -> Person:
        """Whoever is so called; they have done nothing where nobody was so far."""
        found = self.people.get(name)
        if found is None:
            found = self.people[name] = Person(len(self.people), name)
        return found

    def in_good_standing(self, names: Collection[str]) -> list[str]:
        """Those of these people who were not stopped."""
        return [name for name in names if name not in self.people or self.people[name].standing != "stopped"]

    def apply(self, event: Event) -> None:
        """Take in the next event of the log."""
        self.seq = event["seq"]
        act = self.ACTS.get(event["event"])
        if act is not None:
            act(self, event)
        if "annotator" in event and event["event"] not in BY_ITSELF:
            self.person(event["annotator"]).last_at = event["at"]

    # One method an event.

    def _start(self, event: Event) -> None:
        self.torn += event.get("torn", 0)

    def _lease(self, event: Event) -> None:
        person = self.person(event["annotator"])
        until = seconds_of(event["until"])
        again = event.get("again", False)
        fresh = []
        for asked in event["questions"]:
            item = self.items[self.by_task[asked["task"]]]
            first_left = asked["left"] == "first"
            fresh.append(Lease(asked["question"], event["sheet"], item.number, first_left, until))
            self._count(item, held=1, lean=1 if first_left else -1)
            self.expiring[asked["question"]] = until, person.name
            if not again:
                person.asked[item.kind] += 1
        person.leases = [*fresh, *person.leases] if again else [*person.leases, *fresh]
        if not again:
            person.sheets += 1
            person.group = self.items[fresh[0].item].group

    def _vote(self, event: Event) -> None:
        person = self.person(event["annotator"])
        lease = self._released(person, event["question"])
        if lease is None:  # it came late, and there was room
            late = person.past[event["question"]]
            item, first_left = self.items[late.item], late.first_left
            self._count(item, lean=1 if first_left else -1)
        else:
            item, first_left = self.items[lease.item], lease.first_left
        outcome = event["outcome"]
        code = oriented(outcome, first_left)
        left = None if outcome in ("tie", "both_bad") else int(outcome == "left")
        right = None if item.answer is None else int(CODES[item.answer] == code)
        person.last = Last(
            question=event["question"],
            vote=event["vote"],
            item=item.number,
            first_left=first_left,
            at=seconds_of(event["at"]),
            watched=event["watched"],
            left=left,
            right=right,
        )
        person.items.append(item.number)
        person.outcomes.append(code)
        person.seconds.append(event["seconds"])
        person.fast += event["seconds"] < self.config.bars.seconds
        person.sent[event["vote"]] = None
        if len(person.sent) > REMEMBERED:
            person.sent.popitem(last=False)
        item.seen |= 1 << person.number
        self._tally(person, person.last, code, outcome, 1)
        self._remember(person, event["question"], Past(item.number, first_left, event["vote"]))

    def _undo(self, event: Event) -> None:
        person = self.person(event["annotator"])
        last = person.last
        if last is None or last.vote != event["vote"]:
            raise ValueError(f"event {event['seq']} takes back a vote that is not the last")
        item = self.items[last.item]
        person.items.pop()
        code = person.outcomes.pop()
        person.fast -= person.seconds.pop() < self.config.bars.seconds
        item.seen &= ~(1 << person.number)
        outcome = ("left", "right", "tie", "both_bad")[code if code > 1 else code ^ (not last.first_left)]
        self._count(item, lean=-1 if last.first_left else 1)
        self._tally(person, last, code, outcome, -1)
        person.undone += 1
        person.last = None

    def _tally(self, person: Person, vote: Last, code: int, outcome: str, by: int) -> None:
        """Count a vote (by = 1), or take it out of all counts (−1)."""
        item = self.items[vote.item]
        person.votes += by
        person.watched += by * vote.watched
        if vote.right is not None:
            person.gold += by
            person.gold_right += by * vote.right
        if vote.left is not None:
            person.decided += by
            person.left += by * vote.left
        self.wins[4 * item.number + code] += by
        if item.kind != "vote":
            return
        self._count(item, votes=by)
        self.votes += by
        self.outcomes[outcome] += by
        if vote.left is not None:
            self.decided += by
            self.left += by * vote.left

    def _skip(self, event: Event) -> None:
        person = self.person(event["annotator"])
        lease = self._released(person, event["question"])
        if lease is not None:
            item = self.items[lease.item]
            item.seen |= 1 << person.number
            self._count(item, lean=-1 if lease.first_left else 1)
            self._remember(person, event["question"], Past(item.number, lease.first_left, SKIPPED))
        person.skips += 1
        person.last = None
        self.skips += 1

    def _free(self, event: Event) -> None:
        person = self.person(event["annotator"])
        for question in event["questions"]:
            lease = self._released(person, question)
            if lease is not None:
                self._count(self.items[lease.item], lean=-1 if lease.first_left else 1)
                self._remember(person, question, Past(lease.item, lease.first_left, None))

    def _judge(self, event: Event) -> None:
        person = self.person(event["annotator"])
        person.standing = {"warn": "warned", "stop": "stopped", "clear": "ok"}[event["event"]]  # type: ignore[assignment]
        person.reasons = tuple(event["reasons"])
        person.warned_at = (person.votes, person.gold)
        if event["event"] == "stop" and self.config.reopen_stopped:
            self._set_aside(person)

    def _set_aside(self, person: Person) -> None:
        """Let the votes of one who is stopped count for no pair: where they were needed, others are asked."""
        for item in (self.items[number] for number in person.items):
            if item.kind == "vote":
                self._count(item, votes=-1)
                self.votes -= 1
                self.set_aside += 1

    def _close(self, _: Event) -> None:
        self.closed = True

    ACTS = {
        "start": _start,
        "lease": _lease,
        "vote": _vote,
        "undo": _undo,
        "skip": _skip,
        "free": _free,
        "warn": _judge,
        "stop": _judge,
        "clear": _judge,
        "close": _close,
    }

    def _released(self, person: Person, question: str) -> Lease | None:
        """Take the question out of their hands; None where they do not hold it."""
        self.expiring.pop(question, None)
        for spot, lease in enumerate(person.leases):
            if lease.question == question:
                del person.leases[spot]
                self._count(self.items[lease.item], held=-1)
                return lease
        return None

    def _remember(self, person: Person, question: str, past: Past) -> None:
        person.past[question] = past
        person.past.move_to_end(question)
        if len(person.past) > REMEMBERED:
            person.past.popitem(last=False)

    def _count(self, item: Item, *, quota: int = 0, votes: int = 0, held: int = 0, lean: int = 0) -> None:
        """Change the counts of an item, and keep in step what is open."""
        if item.kind != "vote":
            item.held += held
            item.lean += lean
            return
        before, unmet = item.room, max(0, item.quota - item.votes)
        item.quota += quota
        item.votes += votes
        item.held += held
        item.lean += lean
        self.held += held
        self.unmet += max(0, item.quota - item.votes) - unmet
        if (before > 0) != (item.room > 0):
            self._open(item) if item.room > 0 else self._shut(item)

    def _open(self, item: Item) -> None:
        pairs = self.open.get(item.group)
        if pairs is None:
            pairs = self.open[item.group] = []
            self._spot[item.group] = len(self.groups)
            self.groups.append(item.group)
        pairs.append(item.number)

    def _shut(self, item: Item) -> None:
        pairs = self.open[item.group]
        pairs.remove(item.number)
        if not pairs:
            del self.open[item.group]
            spot, last = self._spot.pop(item.group), self.groups.pop()
            if last != item.group:
                self.groups[spot], self._spot[last] = last, spot


BY_ITSELF = ("free", "warn", "stop", "clear")
"""Events that are about someone, but that they did not bring about."""


def oriented(outcome: str, first_left: bool) -> int:
    """The code of CODES of what was said of left and right."""
    if outcome in ("tie", "both_bad"):
        return CODES[outcome]
    return FIRST if (outcome == "left") == first_left else SECOND


def seconds_of(time: str) -> float:
    """Seconds since 1970 of an ISO 8601 time."""
    return datetime.fromisoformat(time).timestamp()
