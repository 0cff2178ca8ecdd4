"""Leakage: which training prompts are too close to a benchmark prompt, by id, video and question.

A prompt is a video and a question, and what must not leak is the two together. Many prompts share one generic question
("What happens in the video?") about videos that have nothing to do with each other: that is no leak, or no benchmark
of videos could have a training set. So:

* the same prompt id, or the same video (bytes; the name, where bytes were not seen), always leaks, whatever is asked:
  a model that trained on a clip has seen it;
* videos whose frames look the same leak (re-encoded, scaled, renamed), from a distance that unrelated clips do not
  reach; where the question is the same as well, a larger distance will do;
* the question alone decides only between prompts without a video, where it is all there is: then also near-duplicates
  leak. With ``unhashed_videos = "suspect"`` it decides also where the bytes of a video were not seen.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.media.crops import near_views
from schemas.leakage import Leak, LeakConfig, LeakRule

Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
Int = npt.NDArray[np.int64]

RULES: tuple[LeakRule, ...] = ("prompt", "video", "near video", "video and question", "question")
"""The strongest first: a pair is told by the first that holds."""
GRAM = 3
"""Words of a run."""
CHUNK = 256
"""Prompts that are compared with all others at a time."""


@dataclass(frozen=True)
class Subject:
    """What a prompt is recognised by."""

    prompt_id: str
    question: str = ""
    """Empty where it is not known."""
    video: str | None = None
    """Its name; None for a prompt without one."""
    sha256: str = ""
    """Of the video's bytes; empty where they were not seen."""
    phash: tuple[int, ...] = ()
    """64-bit perceptual hashes of the frames that were sampled, by view (curate.media.crops); empty where not known."""
    release: str = ""
    """The published release that it is in; empty for what is being built or verified."""


def find_leaks(train: Sequence[Subject], benchmark: Sequence[Subject], config: LeakConfig) -> tuple[Leak, ...]:
    """Every training prompt that is too close to a benchmark prompt; in the order of train, then of benchmark."""
    cleared = set(config.cleared)
    return tuple(
        Leak(
            rule=rule,
            train=a.prompt_id,
            benchmark=b.prompt_id,
            train_release=a.release,
            benchmark_release=b.release,
            distance=round(far, 4) if np.isfinite(far) else None,
            similarity=round(similarity, 4),
            videos=(a.video, b.video),
            questions=(a.question, b.question),
        )
        for a, b, rule, far, similarity in _alike(train, benchmark, config)
        if (a.prompt_id, b.prompt_id) not in cleared
    )


def units(subjects: Sequence[Subject], config: LeakConfig) -> dict[str, str]:
    """prompt -> the unit that a split must not divide: all prompts that a chain of likeness connects share it.

    A unit is named after the first of its members' videos (prompts, where there is none), so that a prompt that
    resembles no other keeps the unit that it has without a look at bytes and words.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    place = {subject.prompt_id: i for i, subject in enumerate(subjects)}
    cleared = {frozenset(pair) for pair in config.cleared}
    pairs = [
        (place[a.prompt_id], place[b.prompt_id])
        for a, b, *_ in _alike(subjects, subjects, config)
        if frozenset((a.prompt_id, b.prompt_id)) not in cleared
    ]
    rows, columns = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(rows), dtype=np.bool_), (rows, columns)), shape=(len(subjects), len(subjects)))
    labels = connected_components(graph, directed=False)[1]
    first: dict[int, str] = {}
    for subject, label in zip(subjects, labels.tolist(), strict=True):
        own = subject.video or subject.prompt_id
        first[label] = min(first.get(label, own), own)
    return {subject.prompt_id: first[label] for subject, label in zip(subjects, labels.tolist(), strict=True)}


def normalised(question: str) -> str:
    """The question without case, punctuation, accidents of spacing and of Unicode.

    >>> normalised("  What is THIS—really?! ")
    'what is this really'
    """
    text = unicodedata.normalize("NFKC", question).casefold()
    kept = (" " if unicodedata.category(c)[0] in "PSZC" else c for c in unicodedata.normalize("NFKC", text))
    return " ".join("".join(kept).split())


def _alike(
    one: Sequence[Subject], other: Sequence[Subject], config: LeakConfig
) -> Iterator[tuple[Subject, Subject, LeakRule, float, float]]:
    """The pairs that any rule holds for: the two, the rule, the distance of their videos, and that of their words."""
    if not one or not other:
        return
    words = _Words.of([*one, *other])
    right = _Side.of(other, np.arange(len(one), len(one) + len(other)))
    for start in range(0, len(one), CHUNK):
        part = one[start : start + CHUNK]
        left = _Side.of(part, np.arange(start, start + len(part)))
        rule, distance, similarity = _compare(left, right, words, config)
        for i, j in np.argwhere(rule >= 0).tolist():
            yield part[i], other[j], RULES[rule[i, j]], float(distance[i, j]), float(similarity[i, j])


@lru_cache(maxsize=1 << 16)
def _runs(question: str) -> frozenset[str]:
    """The runs of words in a question. Kept, since a release compares the same questions several times."""
    words = normalised(question).split()
    padded = ["", "", *words, "", ""] if words else []
    return frozenset(" ".join(padded[i : i + GRAM]) for i in range(len(padded) - GRAM + 1))


@dataclass(frozen=True)
class _Words:
    """The questions of some prompts as sets of runs of words."""

    grams: Any
    """(S, G) sparse, 1 where the question has the run."""
    size: Float
    """(S,) runs of each."""

    @classmethod
    def of(cls, subjects: Sequence[Subject]) -> _Words:
        from scipy.sparse import csr_array

        number: dict[str, int] = {}
        columns: list[int] = []
        ends = [0]
        for subject in subjects:
            columns += sorted(number.setdefault(run, len(number)) for run in _runs(subject.question))
            ends.append(len(columns))
        shape = (len(subjects), max(1, len(number)))
        grams = csr_array((np.ones(len(columns), dtype=np.int32), columns, ends), shape=shape)
        return cls(grams, np.diff(ends).astype(np.float64))

    def similarity(self, a: Int, b: Int) -> Float:
        """(A, B) share of the runs of two questions that both have; 0 where either is not known."""
        both = (self.grams[a] @ self.grams[b].T).toarray().astype(np.float64)
        union: Float = self.size[a][:, None] + self.size[b][None, :] - both
        return np.where(both > 0, both / np.maximum(union, 1.0), 0.0)


@dataclass(frozen=True)
class _Side:
    """What is compared of some prompts, column by column."""

    prompt: npt.NDArray[np.str_]
    sha256: npt.NDArray[np.str_]
    video: npt.NDArray[np.str_]
    """Empty where there is none."""
    phash: list[tuple[int, ...]]
    words: Int
    """Where their questions stand."""

    @classmethod
    def of(cls, subjects: Sequence[Subject], places: Int) -> _Side:
        return cls(
            np.array([subject.prompt_id for subject in subjects]),
            np.array([subject.sha256 for subject in subjects]),
            np.array([subject.video or "" for subject in subjects]),
            [subject.phash for subject in subjects],
            places,
        )


def _compare(left: _Side, right: _Side, words: _Words, config: LeakConfig) -> tuple[npt.NDArray[np.int8], Float, Float]:
    """(A, B) place of the first rule that holds, −1 for none; and the distances of videos and of questions."""
    distance = _video_distances(left.phash, right.phash, config)
    similarity = words.similarity(left.words, right.words)
    seen = (left.sha256 != "")[:, None] & (right.sha256 != "")[None, :]
    filmed = (left.video != "")[:, None] & (right.video != "")[None, :]
    textual = (left.video == "")[:, None] & (right.video == "")[None, :]
    same_bytes = seen & (left.sha256[:, None] == right.sha256[None, :])
    same_name = ~seen & filmed & (left.video[:, None] == right.video[None, :])
    asked_alike = similarity >= config.question_similarity
    alone = textual | (~textual & ~seen) if config.unhashed_videos == "suspect" else textual
    holds = (
        left.prompt[:, None] == right.prompt[None, :],
        same_bytes | same_name,
        distance <= config.near_video,
        (distance <= config.near_video_with_question) & asked_alike,
        alone & asked_alike,
    )
    rule = np.full(distance.shape, -1, dtype=np.int8)
    for place in reversed(range(len(holds))):
        rule[holds[place]] = place
    return rule, distance, similarity


def _video_distances(left: Sequence[tuple[int, ...]], right: Sequence[tuple[int, ...]], config: LeakConfig) -> Float:
    """(A, B) distances of those that are near enough for any rule; inf elsewhere."""
    threshold = max(config.near_video, config.near_video_with_question)
    near = near_views(left, right, threshold=threshold, least_bits=max(1, config.least_bits))
    distances = np.full((len(left), len(right)), np.inf)
    distances[near.left, near.right] = near.distance
    return distances
