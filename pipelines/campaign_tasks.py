"""The tasks of a campaign: media for browsers, pairs chosen by the planner, control questions, attention checks."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
from scipy.special import ndtr

from curate.evaluation.overdispersion import widened_fit
from curate.media.frames import MediaError
from curate.media.locate import Locator, open_inside
from curate.media.transcode import encode, playable
from curate.planning.planner import pair_ids, plan_votes, posteriors_of
from curate.store import Store
from curate.store.rankings import load_votes
from curate.votes.arrays import VoteArrays
from curate.votes.texts import comparable, first_equal
from pipelines.annotator_report import read_gold
from pipelines.media import probe_media
from pipelines.progress import Progress, silent
from schemas.campaign import CampaignConfig, MediaLine, QuestionKind, Task
from schemas.errors import CurateError
from schemas.mapping import Mapping as ColumnMapping
from schemas.media import MediaFile

Pair = tuple[str, str, str]
"""Prompt id and two response ids, the smaller first."""

MIN_PROBABILITY, MIN_DIFFERENCE = 0.99, 2.0
"""A pair becomes a control question if one response is better with this probability, by so many logits."""
MAX_CONTROLS = 200
"""Maximum number of control questions from a store, and of attention checks."""
PER_PROMPT = 2
"""Maximum number of control questions per prompt."""
ATTENTION_TEXT = "This is an attention check. Please choose this answer, whatever the question is."

# Media


def prepare_media(
    store: Path, videos: Path, wanted: Sequence[str], folder: Path, *, progress: Progress = silent
) -> tuple[MediaLine, ...]:
    """Put the ``wanted`` videos and images into ``folder``; return one line each: its file, or why it is refused.

    All videos of the store are probed first, as by ``curate media`` (known ones are not read again). A file that
    browsers play is copied, any other is transcoded. Files are named by their digests, so that duplicates share a file.
    """
    found = {file.video: file for file in probe_media(store, media=videos, progress=progress).files}
    locator = Locator(videos)
    lines = []
    for done, video in enumerate(wanted):
        progress("preparing media for browsers", done, len(wanted))
        lines.append(_media_line(found[video], locator, folder))
    return tuple(lines)


def _media_line(file: MediaFile, locator: Locator, folder: Path) -> MediaLine:
    def refused(reason: str) -> MediaLine:
        return MediaLine(video=file.video, file="", kind="none", seconds=None, how="refused", reason=reason)

    if file.status != "ok":
        return refused(f"{file.status}: {file.reason}")
    temporary = folder / ".fresh"
    try:
        path = locator.find(file.video)
        how = playable(path)
        if how.as_is:
            with open_inside(locator.folder, path) as source, temporary.open("wb") as target:
                shutil.copyfileobj(source, target)
        else:
            encode(path, temporary)
    except MediaError as error:
        return refused(str(error))
    with temporary.open("rb") as opened:
        name = hashlib.file_digest(opened, "sha256").hexdigest()[:24] + how.suffix
    temporary.replace(folder / name)
    return MediaLine(
        video=file.video,
        file=name,
        kind="image" if how.image or file.kind == "image" else "video",
        seconds=None if how.image else file.duration,
        how="copied" if how.as_is else "transcoded",
    )


# Pairs


@dataclass(frozen=True)
class Askable:
    """The prompts and responses that a campaign can show."""

    questions: Mapping[str, str]
    """Prompt -> question."""
    media: Mapping[str, MediaLine | None]
    """Prompt -> its file; None without a video."""
    texts: Mapping[str, Mapping[str, str]]
    """Prompt -> response -> text, for responses that have one."""
    distinct: Mapping[str, Sequence[str]]
    """Prompt -> the first response with each text, sorted."""

    def pairs(self) -> list[Pair]:
        """All pairs that can be asked: those of different texts."""
        return [
            (prompt, first, second)
            for prompt in self.questions
            for first, second in combinations(self.distinct.get(prompt, ()), 2)
        ]

    def task(
        self,
        pair: Pair,
        *,
        kind: QuestionKind = "vote",
        answer: str | None = None,
        quota: int = 1,
        criterion: str = "",
    ) -> Task:
        """The task of a pair by a criterion, if the campaign has criteria."""
        prompt, first, second = pair
        media, texts = self.media[prompt], self.texts[prompt]
        return Task.model_validate(
            {
                "task_id": task_id(pair, kind, criterion),
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
                "criterion": criterion,
            }
        )


def task_id(pair: Pair, kind: QuestionKind = "vote", criterion: str = "") -> str:
    """The id of a pair (by a criterion), 16 hex digits, equal in every batch."""
    parts = (kind, *pair, *filter(None, [criterion]))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def control_ids(controls: Sequence[Task]) -> set[str]:
    """The task ids of the pairs that are control questions: they are not voted on."""
    gold = [task for task in controls if task.kind == "gold"]
    return {task_id((task.prompt_id, task.first, task.second), "vote", task.criterion) for task in gold}


def askable(store: Store, config: CampaignConfig, media: Sequence[MediaLine], retired: Collection[str] = ()) -> Askable:
    """What the campaign can show of a store: prompts without a video or with a playable one, responses with a text.

    retired: prompts that are left out.
    """
    files = {line.video: line for line in media}
    questions, shown = {}, {}
    prompts = store.prompts()
    if config.prompts:
        prompts = prompts.filter(prompts["prompt_id"].is_in(list(config.prompts)))
    for prompt, question, video in prompts.select("prompt_id", "question", "video").iter_rows():
        if prompt in retired:
            continue
        line = files.get(video) if video else None
        if video and (line is None or not line.file):
            continue
        questions[prompt], shown[prompt] = question or "", line
    texts: dict[str, dict[str, str]] = {}
    distinct: dict[str, list[str]] = {}
    responses = store.responses().select("prompt_id", "response_id", "text")
    first = first_equal(responses.select("prompt_id", key=comparable(pl.col("text"), "careful")))
    for row, ((prompt, response, text), same) in enumerate(zip(responses.iter_rows(), first, strict=True)):
        if text is not None and prompt in questions:
            texts.setdefault(prompt, {})[response] = text
            if same == row:
                distinct.setdefault(prompt, []).append(response)
    return Askable(questions, shown, texts, distinct)


def choose_pairs(
    store: Path, config: CampaignConfig, can: Askable, votes: int, closed: Collection[str], *, number: int
) -> list[Task]:
    """The tasks of batch ``number``, ``votes`` in total at most, on the most informative pairs, these first.

    closed: task ids that must not be chosen; a pair with one of them by any criterion is not. The planner chooses by
    the votes of the criterion whose turn it is, and by those of the next ones while pairs are missing. Where the store
    has no votes all pairs are equivalent, and are drawn so that prompts get equal numbers.
    """
    criteria = config.criterion_ids
    pairs = [pair for pair in can.pairs() if not any(task_id(pair, "vote", one) in closed for one in criteria)]
    wanted = -(-votes // (config.votes_per_pair * len(criteria)))
    turn = (number - 1) % len(criteria)
    chosen: dict[Pair, None] = {}
    for by in (config.criterion,) if config.criterion else (*criteria[turn:], *criteria[:turn]):
        others = [pair for pair in pairs if pair not in chosen]
        with Store.open(store, read_only=True) as opened:
            counts = opened.counts()
            has_votes = counts["votes"] if config.criterion or not config.criteria else by in counts["criteria"]
            known = load_votes(opened, criterion=by, texts="careful").merged.votes if has_votes else None
        if known is None:
            rng = np.random.default_rng(config.seed + (number if number > 1 else 0))
            found = _balanced_sample(others, wanted - len(chosen), rng)
        else:
            found = _planned(known, others, wanted - len(chosen), config)
        chosen |= dict.fromkeys(found)
        if len(chosen) >= wanted:
            break
    left = votes
    tasks: list[Task] = []
    for pair, criterion in ((pair, criterion) for pair in chosen for criterion in criteria):
        if left > 0:
            tasks.append(can.task(pair, quota=min(config.votes_per_pair, left), criterion=criterion))
        left -= config.votes_per_pair
    return tasks


def _planned(known: VoteArrays, pairs: Sequence[Pair], count: int, config: CampaignConfig) -> list[Pair]:
    """The ``count`` most informative of the pairs, each at most once."""
    slots_of = enumerate(zip(known.response_prompt.tolist(), known.responses, strict=True))
    number = {(known.prompts[prompt], response): slot for slot, (prompt, response) in slots_of}
    allowed = {(number[p, a], number[p, b]) for p, a, b in pairs if (p, a) in number and (p, b) in number}
    posteriors = []
    fit, dependence = widened_fit(known)
    for posterior in posteriors_of(
        known, fit, max_per_pair=1, per_sitting=config.pairs_per_video, overdispersion=dependence.widening
    ):
        room = np.zeros_like(posterior.room)
        for row, i, j in np.argwhere(posterior.room > 0).tolist():
            a, b = posterior.slots[row, [i, j]].tolist()
            if (a, b) in allowed or (b, a) in allowed:
                room[row, i, j] = posterior.room[row, i, j]
        posteriors.append(replace(posterior, room=room))
    plan = plan_votes(posteriors, count, focus=config.focus)
    return [(prompt, *sorted(pair)) for prompt, *pair in pair_ids(known, posteriors, plan)]  # type: ignore[misc]


def _balanced_sample(pairs: Sequence[Pair], count: int, rng: np.random.Generator) -> list[Pair]:
    """A random sample of pairs in which the counts per prompt differ by at most one."""
    rounds: dict[str, int] = {}
    order: list[tuple[int, int, Pair]] = []
    for place in rng.permutation(len(pairs)).tolist():
        prompt = pairs[place][0]
        rounds[prompt] = rounds.get(prompt, 0) + 1
        order.append((rounds[prompt], len(order), pairs[place]))
    return [pair for _, _, pair in sorted(order)[:count]]


# Control questions


Answers = dict[Pair, dict[str, str]]
"""Pair -> criterion -> the known answer."""


def control_tasks(can: Askable, config: CampaignConfig, answers: Answers, kind: QuestionKind = "gold") -> list[Task]:
    """The tasks of control questions: of each pair by every criterion, also those without a known answer."""
    return [
        can.task(pair, kind=kind, answer=known.get(criterion), criterion=criterion)
        for pair, known in answers.items()
        for criterion in config.criterion_ids
    ]


def gold_from_file(
    path: Path, can: Askable, config: CampaignConfig, mapping: ColumnMapping = ColumnMapping()
) -> tuple[Answers, dict[str, int]]:
    """Known answers from a file of votes in any format that ingest reads, and the counts of unused rows by reason.

    In a campaign with criteria, an answer is by the criterion of its row, or by the first one if the row has none. The
    annotators in the file are ignored. Raises CurateError if no row can be used.
    """
    rows, rejects = read_gold(path, mapping)
    found: dict[tuple[Pair, str], set[str]] = {}
    unknown = others = 0
    for prompt, left, right, outcome, given in rows.iter_rows():
        criterion = given if given and config.criteria else config.criterion_ids[0]
        if criterion not in config.criterion_ids:
            others += 1
            continue
        if left not in can.texts.get(prompt, ()) or right not in can.texts.get(prompt, ()):
            unknown += 1
            continue
        first, second = sorted((left, right))
        sides = {"left": "first" if left == first else "second", "right": "second" if left == first else "first"}
        found.setdefault(((prompt, first, second), criterion), set()).add(sides.get(outcome, outcome))
    answers: Answers = {}
    for (pair, criterion), answer in sorted(found.items()):
        if len(answer) == 1:
            answers.setdefault(pair, {})[criterion] = next(iter(answer))
    dropped = {
        "rows that cannot be read": rejects,
        "rows by another criterion": others,
        "rows on pairs that cannot be asked": unknown,
        "pairs with more than one answer": sum(len(answer) > 1 for answer in found.values()),
    }
    if not answers:
        why = ", ".join(f"{count} {reason}" for reason, count in dropped.items() if count) or "the file has no rows"
        hint = "give prompt_id, left, right and outcome"
        if unknown:
            hint = "the store must have both responses with their texts, and the video must be one that browsers play"
        raise CurateError(f"{path}: no usable known answer: {why}", hint=hint)
    return answers, {reason: count for reason, count in dropped.items() if count}


def gold_from_store(store: Path, can: Askable, config: CampaignConfig) -> Answers:
    """Known answers on pairs whose order the latest denoise run is certain of, the clearest first.

    With criteria, of the latest run by each. Empty without a run. Certain: P(better) ≥ MIN_PROBABILITY by the posterior
    of the hierarchical ranker, and a difference of at least MIN_DIFFERENCE logits. The covariance between the two
    strengths is not stored; ignoring it makes P(better) slightly too low, because the covariance is mostly positive.
    """
    answers: Answers = {}
    for criterion in config.criterion_ids:
        with Store.open(store, read_only=True) as opened:
            try:
                ranking = opened.rankings(criterion=criterion or config.criterion)
            except CurateError:
                continue
        for pair, answer in _certain_pairs(ranking, can).items():
            answers.setdefault(pair, {})[criterion] = answer
    return answers


def _certain_pairs(ranking: pl.DataFrame, can: Askable) -> dict[Pair, str]:
    """Pair -> first or second, the clearest first, of those whose order a ranking is certain of."""
    columns = ["prompt_id", "response_id", "component", "strength", "strength_se"]
    one = ranking.select(columns).drop_nulls()
    pairs = one.join(one, on=["prompt_id", "component"], suffix="_b").filter(
        pl.col("response_id") < pl.col("response_id_b")
    )
    difference = (pairs["strength"] - pairs["strength_b"]).to_numpy()
    deviation = np.hypot(pairs["strength_se"].to_numpy(), pairs["strength_se_b"].to_numpy())
    probability = ndtr(np.abs(difference) / np.maximum(deviation, 1e-9))
    certain = (
        pairs.with_columns(difference=pl.Series(difference), size=pl.Series(np.abs(difference)))
        .filter(pl.Series((probability >= MIN_PROBABILITY) & (np.abs(difference) >= MIN_DIFFERENCE), dtype=pl.Boolean))
        .sort(["size", "prompt_id", "response_id", "response_id_b"], descending=[True, False, False, False])
    )
    answers: dict[Pair, str] = {}
    taken: dict[str, int] = {}
    for row in certain.iter_rows(named=True):
        prompt, pair = row["prompt_id"], (row["prompt_id"], row["response_id"], row["response_id_b"])
        texts: Mapping[str, str] = can.texts.get(prompt, {})
        shown = pair[1] in texts and pair[2] in texts and {*pair[1:]} <= {*can.distinct[prompt]}
        if shown and taken.get(prompt, 0) < PER_PROMPT and len(answers) < MAX_CONTROLS:
            taken[prompt] = taken.get(prompt, 0) + 1
            answers[pair] = "first" if row["difference"] > 0 else "second"
    return answers


def attention_checks(can: Askable, config: CampaignConfig, tasks: Sequence[Task]) -> list[Task]:
    """Attention checks on pairs of the first batch, one per prompt: one answer is replaced by ATTENTION_TEXT."""
    one_each = {task.prompt_id: (task.prompt_id, task.first, task.second) for task in tasks}
    answers = {pair: dict.fromkeys(config.criterion_ids, "first") for pair in list(one_each.values())[:MAX_CONTROLS]}
    checks = control_tasks(can, config, answers, "attention")
    return [check.model_copy(update={"first_text": ATTENTION_TEXT}) for check in checks]
