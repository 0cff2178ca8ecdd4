"""What a campaign asks next: pairs chosen by the planner from all votes of the store, as tasks with their texts."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl

from curate.planning.information import Beliefs
from curate.planning.planner import beliefs_of, plan_votes
from curate.rankers.hierarchical import Hierarchical
from curate.store import Store
from curate.store.rankings import load_votes
from schemas.campaign import CampaignConfig, Kind, MediaLine, Task

Pair = tuple[str, str, str]
"""Prompt, and two of its responses, the smaller id first."""


@dataclass(frozen=True)
class Askable:
    """What a campaign may ask about, with all that is shown."""

    questions: Mapping[str, str]
    """Prompt -> question, of those prompts that may be asked."""
    media: Mapping[str, MediaLine | None]
    """Prompt -> its file; None where the prompt has no video."""
    texts: Mapping[str, Mapping[str, str]]
    """Prompt -> response -> text, of those that have one."""

    def pairs(self) -> list[Pair]:
        """Every pair that could be shown."""
        return [
            (prompt, first, second)
            for prompt in self.questions
            for first, second in combinations(sorted(self.texts.get(prompt, ())), 2)
        ]

    def task(self, pair: Pair, *, kind: Kind = "vote", answer: str | None = None, quota: int = 1) -> Task:
        """The pair as a question."""
        prompt, first, second = pair
        media, texts = self.media[prompt], self.texts[prompt]
        return Task.model_validate(
            {
                "task_id": task_id(pair, kind),
                "kind": kind,
                "prompt_id": prompt,
                "question": self.questions[prompt],
                "video": media.file if media else "",
                "video_seconds": media.seconds if media else None,
                "first": first,
                "second": second,
                "first_text": texts[first],
                "second_text": texts[second],
                "answer": answer,
                "quota": quota,
            }
        )


def task_id(pair: Pair, kind: Kind = "vote") -> str:
    """16 hex digits: the same pair of any batch is the same task."""
    return hashlib.sha256("\0".join((kind, *pair)).encode()).hexdigest()[:16]


def askable(prompts: pl.DataFrame, responses: pl.DataFrame, media: Sequence[MediaLine]) -> Askable:
    """What can be shown: prompts without a video, and those whose video has a file; responses that have a text.

    prompts, responses: as the store tells them.
    """
    files = {line.video: line for line in media}
    questions, shown = {}, {}
    for prompt, question, video in prompts.select("prompt_id", "question", "video").iter_rows():
        line = files.get(video) if video else None
        if video and (line is None or not line.file):
            continue
        questions[prompt], shown[prompt] = question or "", line
    texts: dict[str, dict[str, str]] = {}
    for prompt, response, text in responses.select("prompt_id", "response_id", "text").iter_rows():
        if text is not None and prompt in questions:
            texts.setdefault(prompt, {})[response] = text
    return Askable(questions, shown, texts)


def choose_pairs(
    store: Path, config: CampaignConfig, can: Askable, votes: int, closed: Collection[str], *, seed: int
) -> list[tuple[Pair, int]]:
    """The pairs to ask next, most telling first, each with its votes; ``votes`` votes in all, or fewer.

    closed: ids of tasks that are not to be chosen. By the planner where the store has votes; without any vote all
    pairs are alike, and are drawn so that each prompt gets as many.
    """
    pairs = [pair for pair in can.pairs() if task_id(pair) not in closed]
    wanted = -(-votes // config.votes_per_pair)
    with Store.open(store, read_only=True) as opened:
        known = load_votes(opened).votes if opened.counts()["votes"] else None
    if known is None:
        chosen = _evenly(pairs, wanted, np.random.default_rng(seed))
    else:
        fit = Hierarchical().fit(known)
        slots_of = enumerate(zip(known.response_prompt.tolist(), known.responses, strict=True))
        number = {(known.prompts[prompt], response): slot for slot, (prompt, response) in slots_of}
        allowed = {(number[p, a], number[p, b]) for p, a, b in pairs if (p, a) in number and (p, b) in number}
        beliefs = [_restricted(part, allowed) for part in beliefs_of(known, fit, most=1)]
        found = plan_votes(beliefs, wanted, focus=config.focus)
        chosen = []
        for batch, row, (i, j) in zip(found.batch.tolist(), found.row.tolist(), found.pair.tolist(), strict=True):
            slots = beliefs[batch].slots[row]
            first, second = sorted((known.responses[slots[i]], known.responses[slots[j]]))
            chosen.append((known.prompts[beliefs[batch].prompts[row]], first, second))
    left = votes
    with_votes: list[tuple[Pair, int]] = []
    for pair in chosen:
        with_votes.append((pair, min(config.votes_per_pair, left)))
        left -= config.votes_per_pair
    return with_votes


def _restricted(belief: Beliefs, allowed: Collection[tuple[int, int]]) -> Beliefs:
    """The same with room on allowed pairs only. allowed: numbers of responses, in the order of their ids."""
    room = np.zeros_like(belief.room)
    for row, slots in enumerate(belief.slots.tolist()):
        for i, j in np.argwhere(belief.room[row] > 0).tolist():
            if (slots[i], slots[j]) in allowed or (slots[j], slots[i]) in allowed:
                room[row, i, j] = belief.room[row, i, j]
    return replace(belief, room=room)


def _evenly(pairs: Sequence[Pair], count: int, rng: np.random.Generator) -> list[Pair]:
    """Pairs drawn at random, each prompt as often as any other, to one."""
    turns: dict[str, int] = {}
    order: list[tuple[int, int, Pair]] = []
    for place in rng.permutation(len(pairs)).tolist():
        prompt = pairs[place][0]
        turns[prompt] = turns.get(prompt, 0) + 1
        order.append((turns[prompt], len(order), pairs[place]))
    return [pair for _, _, pair in sorted(order)[:count]]
