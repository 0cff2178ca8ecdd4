"""Leakage: training prompts that are too similar to a benchmark prompt, by id, video and question.

A prompt is a video and a question. Many prompts share one generic question ("What happens in the video?") about
unrelated videos, which is no leak. The rules, strongest first:

* the same prompt id, or the same video (by bytes; by name if the bytes are unknown), always leaks;
* videos with similar frames leak (re-encoded, scaled, renamed), up to a distance that unrelated videos do not reach,
  and up to a larger distance if the questions are near-duplicates too;
* the question alone decides only between prompts without a video. With ``unhashed_videos = "suspect"`` it also decides
  if the bytes of a video are unknown.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.media.near_duplicates import near_duplicates
from schemas.leakage import Leak, LeakConfig, LeakRule

Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
Index = npt.NDArray[np.int64]

RULES: tuple[LeakRule, ...] = ("prompt", "video", "near video", "video and question", "question")
"""The strongest first: a leak is reported with the first rule that applies."""
GRAM = 3
"""Words in a run."""
CHUNK = 256
"""Prompts that are compared with all others at once."""


@dataclass(frozen=True)
class Subject:
    """The properties by which prompts are compared."""

    prompt_id: str
    question: str = ""
    """Empty if unknown."""
    video: str | None = None
    """Its name; None for a prompt without one."""
    sha256: str = ""
    """Of the video's bytes; empty if unknown."""
    phash: tuple[int, ...] = ()
    """64-bit perceptual hashes of the sampled frames, by view (curate.media.hashing); empty if unknown."""
    release: str = ""
    """The published release that has it; empty for the one being built or verified."""


def find_leaks(train: Sequence[Subject], benchmark: Sequence[Subject], config: LeakConfig) -> tuple[Leak, ...]:
    """Return all pairs of a training and a benchmark prompt that are too similar, in the order of train, benchmark."""
    cleared = set(config.cleared)
    return tuple(
        Leak(
            rule=rule,
            train=a.prompt_id,
            benchmark=b.prompt_id,
            train_release=a.release,
            benchmark_release=b.release,
            distance=round(distance, 4) if np.isfinite(distance) else None,
            similarity=round(similarity, 4),
            videos=(a.video, b.video),
            questions=(a.question, b.question),
        )
        for a, b, rule, distance, similarity in _similar_pairs(train, benchmark, config)
        if (a.prompt_id, b.prompt_id) not in cleared
    )


def units(subjects: Sequence[Subject], config: LeakConfig) -> dict[str, str]:
    """Return prompt -> the unit that a split must not divide: the connected component of similar prompts.

    A unit has the name of the first of its videos (prompt ids, for prompts without one), so that a prompt without
    near-duplicates has the same unit whether or not bytes and questions are known.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    place = {subject.prompt_id: i for i, subject in enumerate(subjects)}
    cleared = {frozenset(pair) for pair in config.cleared}
    pairs = [
        (place[a.prompt_id], place[b.prompt_id])
        for a, b, *_ in _similar_pairs(subjects, subjects, config)
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
    """Return the question without case, punctuation, and variants of spacing and Unicode.

    >>> normalised("  What is THIS—really?! ")
    'what is this really'
    """
    text = unicodedata.normalize("NFKC", question).casefold()
    kept = (" " if unicodedata.category(c)[0] in "PSZC" else c for c in unicodedata.normalize("NFKC", text))
    return " ".join("".join(kept).split())


def _similar_pairs(
    one: Sequence[Subject], other: Sequence[Subject], config: LeakConfig
) -> Iterator[tuple[Subject, Subject, LeakRule, float, float]]:
    """Yield similar pairs: the two prompts, the rule, the distance of the videos, the similarity of the questions."""
    if not one or not other:
        return
    questions = _Questions.of([*one, *other])
    right = _Prompts.of(other, np.arange(len(one), len(one) + len(other)))
    for start in range(0, len(one), CHUNK):
        part = one[start : start + CHUNK]
        left = _Prompts.of(part, np.arange(start, start + len(part)))
        rule, distance, similarity = _compare(left, right, questions, config)
        for i, j in np.argwhere(rule >= 0).tolist():
            yield part[i], other[j], RULES[rule[i, j]], float(distance[i, j]), float(similarity[i, j])


@lru_cache(maxsize=1 << 16)
def _runs(question: str) -> frozenset[str]:
    """Return the runs of words in a question. Cached, since a build compares the same questions several times."""
    words = normalised(question).split()
    padded = ["", "", *words, "", ""] if words else []
    return frozenset(" ".join(padded[i : i + GRAM]) for i in range(len(padded) - GRAM + 1))


@dataclass(frozen=True)
class _Questions:
    """The questions of prompts as sets of runs of words."""

    grams: Any
    """(S, G) sparse, 1 if the question has the run."""
    size: Float
    """(S,) number of runs."""

    @classmethod
    def of(cls, subjects: Sequence[Subject]) -> _Questions:
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

    def similarity(self, a: Index, b: Index) -> Float:
        """Return the (A, B) Jaccard similarity of questions; 0 if either is unknown."""
        both = (self.grams[a] @ self.grams[b].T).toarray().astype(np.float64)
        union: Float = self.size[a][:, None] + self.size[b][None, :] - both
        return np.where(both > 0, both / np.maximum(union, 1.0), 0.0)


@dataclass(frozen=True)
class _Prompts:
    """The compared properties of prompts as columns."""

    prompt: npt.NDArray[np.str_]
    sha256: npt.NDArray[np.str_]
    video: npt.NDArray[np.str_]
    """Empty for prompts without one."""
    phash: list[tuple[int, ...]]
    question: Index
    """Row numbers of their questions."""

    @classmethod
    def of(cls, subjects: Sequence[Subject], places: Index) -> _Prompts:
        return cls(
            np.array([subject.prompt_id for subject in subjects]),
            np.array([subject.sha256 for subject in subjects]),
            np.array([subject.video or "" for subject in subjects]),
            [subject.phash for subject in subjects],
            places,
        )


def _compare(
    left: _Prompts, right: _Prompts, questions: _Questions, config: LeakConfig
) -> tuple[npt.NDArray[np.int8], Float, Float]:
    """Return the (A, B) index of the first rule that applies (−1: none), video distances and question similarities."""
    distance = _video_distances(left.phash, right.phash, config)
    similarity = questions.similarity(left.question, right.question)
    seen = (left.sha256 != "")[:, None] & (right.sha256 != "")[None, :]
    both_videos = (left.video != "")[:, None] & (right.video != "")[None, :]
    no_videos = (left.video == "")[:, None] & (right.video == "")[None, :]
    same_bytes = seen & (left.sha256[:, None] == right.sha256[None, :])
    same_name = ~seen & both_videos & (left.video[:, None] == right.video[None, :])
    same_question = similarity >= config.question_similarity
    alone = no_videos | (~no_videos & ~seen) if config.unhashed_videos == "suspect" else no_videos
    holds = (
        left.prompt[:, None] == right.prompt[None, :],
        same_bytes | same_name,
        distance <= config.near_video,
        (distance <= config.near_video_with_question) & same_question,
        alone & same_question,
    )
    rule = np.full(distance.shape, -1, dtype=np.int8)
    for place in reversed(range(len(holds))):
        rule[holds[place]] = place
    return rule, distance, similarity


def _video_distances(left: Sequence[tuple[int, ...]], right: Sequence[tuple[int, ...]], config: LeakConfig) -> Float:
    """Return the (A, B) distances of videos; inf above both thresholds."""
    threshold = max(config.near_video, config.near_video_with_question)
    near = near_duplicates(left, right, threshold=threshold, min_bits=max(1, config.min_bits))
    distances = np.full((len(left), len(right)), np.inf)
    distances[near.left, near.right] = near.distance
    return distances
