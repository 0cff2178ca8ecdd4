"""The state of a campaign: a replay of its log, in memory proportional to pairs and annotators.

(Each vote adds 21 bytes, its pair, outcome and times, from which the quality figures are computed.)
"""

from __future__ import annotations

from array import array
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TypeVar

from annotations.campaign.chain import Event
from annotations.campaign.folder import GOLD, LOG, Place, batch_path, batches_on_disk, read_campaign, read_tasks
from annotations.campaign.log import read_events, seconds_of
from annotations.campaign.management import manage
from annotations.campaign.participants import ACTS as CROWD_ACTS
from annotations.campaign.participants import Participant
from annotations.campaign.records import SKIPPED, Annotator, Item, LastVote, Lease, PastLease
from annotations.campaign.timing import measure
from schemas.campaign import CampaignConfig, QuestionKind, Task
from schemas.errors import CurateError

REMEMBERED = 64
"""Past questions, votes and videos per annotator that are kept, because a page may send its answers again."""
FIRST, SECOND = 0, 1
V = TypeVar("V")
CODES = {"first": FIRST, "second": SECOND, "tie": 2, "both_bad": 3}


class State:
    """The state after the events so far. Only ``add`` (a batch of tasks) and ``apply`` (one event) change it."""

    def __init__(self, config: CampaignConfig) -> None:
        self.config = config
        self.longest_lease = 60 * config.lease_minutes
        """Seconds, over all settings so far."""
        self.seq = 0
        self.mac = ""
        """Of the last event; see annotations.campaign.chain."""
        self.lost = 0
        """Lines that ``curate campaign repair`` removed, on which later events may depend."""
        self.closed = self.paused = False
        self.batches = 0
        self.torn = 0
        """Bytes of incomplete lines that were removed, over all starts."""
        self.items: list[Item] = []
        self.wins = array("i")
        """Four counts per item: votes for the first, for the second, tie, both bad."""
        self.is_vote = bytearray()
        """One byte per item: 1 for a pair to vote on, 0 for a control question."""
        self.is_first = bytearray()
        """One byte per item: 1 for the first criterion of a pair, 0 for the later ones, which take less time."""
        self.by_task: dict[str, int] = {}
        self.annotators: dict[str, Annotator] = {}
        self.stopped: set[str] = set()
        """Their names."""
        self.participants: dict[str, Participant] = {}
        """Those of the annotators who joined from a crowd."""
        self.controls: dict[QuestionKind, list[list[int]]] = {"gold": [], "attention": []}
        """Kind -> the items of each control question, one for each criterion."""
        self.open: dict[str, list[int]] = {}
        """Group -> its pairs that may still be handed out."""
        self.groups: list[str] = []
        """The keys of ``open`` as a list, so that a search can start at a random one."""
        self._group_index: dict[str, int] = {}
        self._names: dict[str, str] = {}
        """Interned prompts and groups."""
        self.expiring: OrderedDict[str, tuple[float, str]] = OrderedDict()
        """Question -> (until, annotator) of every lease, in the order of expiry."""
        self.votes = self.planned = self.held = self.skips = self.decisive = self.left = 0
        """Counts over pairs, without control questions."""
        self.excluded = 0
        """Votes of stopped annotators that are collected again from others: not part of ``votes`` and of the items'
        votes, but of ``outcomes``, ``decisive`` and ``left``."""
        self.unmet = 0
        """Votes that are still missing: the sum of max(0, quota − votes) over pairs."""
        self.outcomes: Counter[str] = Counter()
        self.skip_reasons: Counter[tuple[str, str]] = Counter()
        """Skips by reason and video (the prompt, without one)."""
        self.load_errors: dict[str, set[str]] = {}
        """Video -> the annotators whose browser could not load it."""
        self.retired: set[str] = set()
        """Prompts that are not asked any more."""
        self.orders: set[str] = set()
        """Ids of the managers' actions."""
        self.by_minute: Counter[int] = Counter()
        """Votes, control questions included, by the minute since 1970."""

    def add(self, tasks: Iterable[tuple[Task, Place]]) -> None:
        """Add pairs and control questions. The quota of a pair that exists already is increased."""
        for task, place in tasks:
            number = self.by_task.get(task.task_id)
            if number is None:
                number = self._new(task, place)
            item = self.items[number]
            if item.kind == "vote":
                self.count(item, quota=task.quota)
                self.planned += 0 if item.retired else task.quota

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
                criterion=self._names.setdefault(task.criterion, task.criterion),
            )
        )
        self.wins.extend((0, 0, 0, 0))
        self.is_vote.append(task.kind == "vote")
        self.is_first.append(task.criterion == self.config.criterion_ids[0])
        if task.kind != "vote":
            known = self.controls[task.kind]
            if known and self.items[known[-1][0]].pair == self.items[number].pair:
                known[-1].append(number)
            else:
                known.append([number])
        return number

    def annotator(self, name: str) -> Annotator:
        """The annotator of that name, created without any votes if it is new."""
        found = self.annotators.get(name)
        if found is None:
            found = self.annotators[name] = Annotator(len(self.annotators), name)
        return found

    def not_stopped(self, names: Collection[str]) -> list[str]:
        """The names among ``names`` that were not stopped."""
        return [name for name in names if name not in self.stopped]

    def apply(self, event: Event) -> None:
        """Apply the next event of the log."""
        self.seq, self.mac = event["seq"], event.get("mac", "")
        act = self.ACTS.get(event["event"])
        if act is not None:
            act(self, event)
        if "annotator" in event and event["event"] not in PASSIVE:
            self.annotator(event["annotator"]).last_at = event["at"]

    # One method per event kind

    def _start(self, event: Event) -> None:
        self.torn += event.get("torn", 0)

    def _lease(self, event: Event) -> None:
        annotator = self.annotator(event["annotator"])
        at, until = seconds_of(event["at"]), seconds_of(event["until"])
        again = event.get("again", False)
        fresh = []
        pairs: set[tuple[str, ...]] = set()
        for asked in event["questions"]:
            item = self.items[self.by_task[asked["task"]]]
            first_left = asked["left"] == "first"
            fresh.append(Lease(asked["question"], event["sheet"], item.number, first_left, at, until))
            _keep(annotator.videos, item.group, annotator.videos.get(item.group, (at, 0.0)))
            self.count(item, held=1, lean=1 if first_left else -1)
            self.expiring[asked["question"]] = until, annotator.name
            if not again and item.pair not in pairs:
                annotator.asked[item.kind] += 1
            pairs.add(item.pair)
        if again or not annotator.leases:
            annotator.begun = event["sheet"]
        annotator.leases = [*fresh, *annotator.leases] if again else [*annotator.leases, *fresh]
        if not again:
            annotator.sheets += 1
            annotator.group = self.items[fresh[0].item].group

    def _renew(self, event: Event) -> None:
        annotator, until = self.annotator(event["annotator"]), seconds_of(event["until"])
        annotator.begun = event["sheet"]
        for index, lease in enumerate(annotator.leases):
            if lease.sheet == event["sheet"]:
                annotator.leases[index] = lease._replace(until=until)
                self.expiring[lease.question] = until, annotator.name
                self.expiring.move_to_end(lease.question)

    def _vote(self, event: Event) -> None:
        annotator = self.annotator(event["annotator"])
        lease = self._released(annotator, event["question"])
        late = annotator.past.get(event["question"])
        if lease is None and late is None and self.lost:
            item = self.items[self.by_task[event["task"]]]
            first_left, leased = event["left"] == item.first, seconds_of(event["leased"])
        elif lease is None:  # a late answer for which there was room
            late = annotator.past[event["question"]]
            item, first_left, leased = self.items[late.item], late.first_left, late.at
            self.count(item, lean=1 if first_left else -1)
        else:
            item, first_left, leased = self.items[lease.item], lease.first_left, lease.at
        outcome, at, watched = event["outcome"], seconds_of(event["at"]), event["watched"]
        claimed: float = event["claimed_seconds"] if "claimed_seconds" in event else event["seconds"]
        annotator.busy = measure(annotator, item, leased, claimed=claimed, watched=watched, arrived=at).end
        first, played = annotator.videos.get(item.group, (leased, 0.0))
        _keep(annotator.videos, item.group, (first, max(played, watched)))
        code = oriented(outcome, first_left)
        left = None if outcome in ("tie", "both_bad") else int(outcome == "left")
        correct = None if item.answer is None else int(CODES[item.answer] == code)
        annotator.last = LastVote(
            question=event["question"],
            vote=event["vote"],
            item=item.number,
            first_left=first_left,
            at=at,
            watched=watched,
            left=left,
            correct=correct,
        )
        annotator.items.append(item.number)
        annotator.outcomes.append(code)
        annotator.seconds.append(event["seconds"])
        annotator.claimed.append(claimed)
        _keep(annotator.sent, event["vote"], None)
        item.seen |= 1 << annotator.number
        self._tally(annotator, annotator.last, code, outcome, 1)
        _keep(annotator.past, event["question"], PastLease(item.number, first_left, leased, event["vote"]))

    def _refuse(self, event: Event) -> None:
        annotator = self.annotator(event["annotator"])
        annotator.too_fast += 1
        annotator.refused = event["question"]

    def _undo(self, event: Event) -> None:
        annotator = self.annotator(event["annotator"])
        last = annotator.last
        if self.lost and (last is None or last.vote != event["vote"]):
            return
        if last is None or last.vote != event["vote"]:
            raise ValueError(f"event {event['seq']} undoes a vote that is not the last")
        item = self.items[last.item]
        annotator.items.pop()
        annotator.claimed.pop()
        code = annotator.outcomes.pop()
        annotator.seconds.pop()
        item.seen &= ~(1 << annotator.number)
        outcome = ("left", "right", "tie", "both_bad")[code if code > 1 else code ^ (not last.first_left)]
        self.count(item, lean=-1 if last.first_left else 1)
        self._tally(annotator, last, code, outcome, -1)
        annotator.undone += 1
        annotator.last = None

    def _tally(self, annotator: Annotator, vote: LastVote, code: int, outcome: str, by: int) -> None:
        """Add a vote to all counts (by = 1) or remove it (by = −1)."""
        item = self.items[vote.item]
        annotator.votes += by
        self.by_minute[int(vote.at // 60)] += by
        annotator.watched += by * vote.watched
        if vote.correct is not None:
            annotator.gold += by
            annotator.gold_correct += by * vote.correct
        if vote.left is not None:
            annotator.decisive += by
            annotator.left += by * vote.left
        self.wins[4 * item.number + code] += by
        if item.kind != "vote":
            return
        self.count(item, votes=by)
        self.votes += by
        self.outcomes[outcome] += by
        if vote.left is not None:
            self.decisive += by
            self.left += by * vote.left

    def _skip(self, event: Event) -> None:
        annotator = self.annotator(event["annotator"])
        lease = self._released(annotator, event["question"])
        if lease is not None:
            item = self.items[lease.item]
            item.seen |= 1 << annotator.number
            self.count(item, lean=-1 if lease.first_left else 1)
            _keep(annotator.past, event["question"], PastLease(item.number, lease.first_left, lease.at, SKIPPED))
            self.skip_reasons[event["reason"], item.video or item.prompt_id] += 1
        annotator.skips += 1
        annotator.last = None
        self.skips += 1

    def _free(self, event: Event) -> None:
        annotator = self.annotator(event["annotator"])
        for question in event["questions"]:
            lease = self._released(annotator, question)
            if lease is not None:
                self.count(self.items[lease.item], lean=-1 if lease.first_left else 1)
                _keep(annotator.past, question, PastLease(lease.item, lease.first_left, lease.at, None))

    def _judge(self, event: Event) -> None:
        annotator = self.annotator(event["annotator"])
        annotator.status = {"warn": "warned", "stop": "stopped", "clear": "ok"}[event["event"]]  # type: ignore[assignment]
        annotator.reasons = tuple(event["reasons"])
        if event["event"] == "stop":
            self.stopped.add(annotator.name)
        annotator.warned_at = (annotator.votes, annotator.gold)
        if event["event"] == "stop" and self.config.reopen_stopped:
            self.exclude(annotator)

    def exclude(self, annotator: Annotator, by: int = 1) -> None:
        """Stop counting the votes of a stopped annotator, whose pairs are handed out again; by = −1: count them."""
        for item in (self.items[number] for number in annotator.items):
            if item.kind == "vote":
                self.count(item, votes=-by)
                self.votes -= by
                self.excluded += by

    def _close(self, _: Event) -> None:
        self.closed = True

    def _problem(self, event: Event) -> None:
        self.load_errors.setdefault(event["video"], set()).add(event["annotator"])

    def _lost(self, _: Event) -> None:
        self.lost += 1

    ACTS = {
        "start": _start,
        "lease": _lease,
        "renew": _renew,
        "vote": _vote,
        "refuse": _refuse,
        "undo": _undo,
        "skip": _skip,
        "free": _free,
        "warn": _judge,
        "stop": _judge,
        "clear": _judge,
        "close": _close,
        "lost": _lost,
        **CROWD_ACTS,
        "problem": _problem,
        "manage": manage,
    }

    def _released(self, annotator: Annotator, question: str) -> Lease | None:
        """Remove and return the annotator's lease of a question; None if there is none."""
        self.expiring.pop(question, None)
        for index, lease in enumerate(annotator.leases):
            if lease.question == question:
                del annotator.leases[index]
                self.count(self.items[lease.item], held=-1)
                return lease
        return None

    def count(self, item: Item, *, quota: int = 0, votes: int = 0, held: int = 0, lean: int = 0) -> None:
        """Change the counts of an item, and update ``open`` accordingly."""
        if item.kind != "vote":
            item.held += held
            item.lean += lean
            return
        before, unmet = item.room, item.unmet
        item.quota += quota
        item.votes += votes
        item.held += held
        item.lean += lean
        self.held += held
        item.retired = item.prompt_id in self.retired
        self.unmet += item.unmet - unmet
        if (before > 0) != (item.room > 0):
            self._open(item) if item.room > 0 else self._close_item(item)

    def _open(self, item: Item) -> None:
        pairs = self.open.get(item.group)
        if pairs is None:
            pairs = self.open[item.group] = []
            self._group_index[item.group] = len(self.groups)
            self.groups.append(item.group)
        pairs.append(item.number)

    def _close_item(self, item: Item) -> None:
        pairs = self.open[item.group]
        pairs.remove(item.number)
        if not pairs:
            del self.open[item.group]
            index, last = self._group_index.pop(item.group), self.groups.pop()
            if last != item.group:
                self.groups[index], self._group_index[last] = last, index


PASSIVE = ("free", "renew", "warn", "stop", "clear")
"""Events about an annotator that are not an action of the annotator."""


def _keep(kept: OrderedDict[str, V], key: str, value: V) -> None:
    """Add or replace a value, and drop the oldest one beyond REMEMBERED."""
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > REMEMBERED:
        kept.popitem(last=False)


def oriented(outcome: str, first_left: bool) -> int:
    """The code (see CODES) of an outcome of left and right."""
    if outcome in ("tie", "both_bad"):
        return CODES[outcome]
    return FIRST if (outcome == "left") == first_left else SECOND


def replay(folder: Path, *, ahead: bool = False) -> State:
    """The state by the log of a campaign, which another process may be writing. Raises CurateError for an invalid log.

    ahead: include batches on the disk that are not in the log yet (before the page runs for the first time).
    """
    state = State(read_campaign(folder).config)
    gold, log = folder / GOLD, folder / LOG
    if gold.exists():
        state.add(read_tasks(gold))
    for event in read_events(log):
        try:
            if event["event"] == "batch" and event["number"] > state.batches:
                add_batch(state, folder, event["number"])
            while state.lost and any(task not in state.by_task for task in _tasks_of(event)):
                add_batch(state, folder, state.batches + 1)  # the line of its batch is lost
            state.apply(event)
        except (KeyError, ValueError, IndexError, OSError) as error:
            message = f"{log}:{event['seq']}: does not follow from the events before it: {type(error).__name__} {error}"
            raise CurateError(message, hint="restore the folder as curate left it") from error
    for number in range(state.batches + 1, batches_on_disk(folder) + 1 if ahead else 0):
        add_batch(state, folder, number)
    return state


def _tasks_of(event: Event) -> list[str]:
    """The tasks that an event refers to."""
    if event["event"] == "lease":
        return [asked["task"] for asked in event["questions"]]
    return [event["task"]] if event["event"] == "vote" else []


def add_batch(state: State, folder: Path, number: int) -> None:
    """Add the tasks of batch ``number`` to the state."""
    state.add(read_tasks(batch_path(folder, number)))
    state.batches = number
