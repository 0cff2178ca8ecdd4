"""Leakage: training prompts that are too similar to a benchmark prompt, by id, video and question.

A prompt is a video and a question. Many prompts share one generic question ("What happens in the video?") about
unrelated videos, which is no leak. The rules, strongest first:

* the same prompt id, or the same video (by bytes; by name if the bytes are unknown), always leaks;
* copies of videos leak (curate.media.copies: re-encoded, mirrored, cropped, cut, …), up to a distance that unrelated
  videos do not reach, and up to a larger distance if the questions are near-duplicates too;
* the question alone decides only between prompts without a video. With ``unhashed_videos = "suspect"`` it also decides
  if the bytes of a video are unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from curate.engine import Engine
from curate.leakage.questions import Questions
from curate.media.copies import find_copies, has_detail
from curate.media.near_duplicates import near_duplicates
from schemas.leakage import Leak, LeakConfig, LeakRule

RULES: tuple[LeakRule, ...] = ("prompt", "video", "near video", "video and question", "question")
"""The strongest first: a leak is reported with the first rule that applies."""


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
    fingerprint: bytes = field(default=b"", repr=False)
    """Of the video (curate.media.fingerprints); empty if unknown, as in releases of earlier versions."""
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
        for a, b, rule, distance, similarity in similar_pairs(train, benchmark, config)
        if (a.prompt_id, b.prompt_id) not in cleared
    )


def compare_videos(fingerprints: Iterable[bytes], config: LeakConfig, *, engine: Engine | None = None) -> None:
    """Compare all these videos with an engine. The searches that follow, among any of them, use the result."""
    if engine is not None:
        _copies(frozenset(fingerprints) - {b""}, _largest_distance(config), engine)


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
        for a, b, *_ in similar_pairs(subjects, subjects, config)
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


def similar_pairs(
    one: Sequence[Subject], other: Sequence[Subject], config: LeakConfig
) -> Iterator[tuple[Subject, Subject, LeakRule, float, float]]:
    """Yield similar pairs: the two prompts, the rule, the distance of the videos, the similarity of the questions."""
    if not one or not other:
        return
    distances = _video_distances(one, other, config)
    questions = Questions([subject.question for subject in (*one, *other)])
    near = np.array(sorted(distances), dtype=np.int64).reshape(-1, 2)
    same_question = dict(
        zip(map(tuple, near.tolist()), questions.similarity(near[:, 0], near[:, 1] + len(one)).tolist(), strict=True)
    )
    rules: dict[tuple[int, int], int] = {}

    def holds(pair: tuple[int, int], rule: LeakRule) -> None:
        rules[pair] = min(rules.get(pair, len(RULES)), RULES.index(rule))

    for pair in _equal([s.prompt_id for s in one], [s.prompt_id for s in other]):
        holds(pair, "prompt")
    for pair in _equal([s.sha256 for s in one], [s.sha256 for s in other]):
        holds(pair, "video")
    for i, j in _equal([s.video or "" for s in one], [s.video or "" for s in other]):
        if not (one[i].sha256 and other[j].sha256):
            holds((i, j), "video")
    for pair, distance in distances.items():
        if distance <= config.near_video:
            holds(pair, "near video")
        elif distance <= config.near_video_with_question and same_question[pair] >= config.question_similarity:
            holds(pair, "video and question")
    for pair in _same_questions(one, other, questions, config):
        holds(pair, "question")
    found = sorted(rules)
    places = np.array(found, dtype=np.int64).reshape(-1, 2)
    similarity = questions.similarity(places[:, 0], places[:, 1] + len(one)).tolist()
    for (i, j), alike in zip(found, similarity, strict=True):
        yield one[i], other[j], RULES[rules[i, j]], distances.get((i, j), np.inf), alike


def _equal(one: Sequence[str], other: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield the places of equal values, except empty ones."""
    places: dict[str, list[int]] = {}
    for j, value in enumerate(other):
        places.setdefault(value, []).append(j)
    return ((i, j) for i, value in enumerate(one) if value for j in places.get(value, ()))


def _same_questions(
    one: Sequence[Subject], other: Sequence[Subject], questions: Questions, config: LeakConfig
) -> Iterator[tuple[int, int]]:
    """Yield the places of prompts whose questions are near-duplicates and decide alone."""

    def compared(video: bool) -> Iterator[tuple[int, int]]:
        a, b = (np.flatnonzero([bool(s.video) == video for s in side]) for side in (one, other))
        for i, j in questions.similar(a, b + len(one), config.question_similarity):
            yield i, j - len(one)

    yield from compared(False)
    if config.unhashed_videos == "suspect":
        yield from ((i, j) for i, j in compared(True) if not (one[i].sha256 and other[j].sha256))


Media = tuple[bytes, tuple[int, ...]]
"""Fingerprint and perceptual hashes of a video; many prompts may have the same."""


def _video_distances(
    one: Sequence[Subject], other: Sequence[Subject], config: LeakConfig
) -> dict[tuple[int, int], float]:
    """Return the places of prompts -> distance of their videos, up to the larger threshold.

    Fingerprints are compared; perceptual hashes only if a video, of an earlier release, has no fingerprint.
    """
    threshold = _largest_distance(config)
    sides: list[dict[Media, list[int]]] = [{}, {}]
    for side, subjects in zip(sides, (one, other), strict=True):
        for place, subject in enumerate(subjects):
            if subject.fingerprint or subject.phash:
                side.setdefault((subject.fingerprint, subject.phash), []).append(place)
    left, right = list(sides[0]), list(sides[1])
    found = dict(_near_hashes(left, right, threshold, max(1, config.min_bits)))
    prints = {media[0] for media in (*left, *right)} - {b""}
    copies = _copies(frozenset(prints), threshold) if sides[0].keys() and sides[1].keys() else {}
    by_print: dict[bytes, list[int]] = {}
    for j, media in enumerate(right):
        by_print.setdefault(media[0], []).append(j)
    for i, (own, _) in enumerate(left):
        near = copies.get(own, {}) if own else {}
        found |= {(i, j): distance for theirs, distance in near.items() for j in by_print.get(theirs, ())}
    return {
        (a, b): distance for (i, j), distance in found.items() for a in sides[0][left[i]] for b in sides[1][right[j]]
    }


def _near_hashes(
    left: Sequence[Media], right: Sequence[Media], threshold: float, min_bits: int
) -> Iterator[tuple[tuple[int, int], float]]:
    """Yield places of videos and their distance by perceptual hashes, if either has no fingerprint."""
    if all(own for own, _ in (*left, *right)):
        return
    near = near_duplicates([h for _, h in left], [h for _, h in right], threshold=threshold, min_bits=min_bits)
    for i, j, distance in zip(near.left.tolist(), near.right.tolist(), near.distance.tolist(), strict=True):
        if not (left[i][0] and right[j][0]):
            yield (i, j), distance


_last: list[tuple[frozenset[bytes], float, dict[bytes, dict[bytes, float]]]] = []
"""The last fingerprints that were compared, the threshold and the result: a build compares parts of them again."""


def _largest_distance(config: LeakConfig) -> float:
    return max(config.near_video, config.near_video_with_question)


def _copies(
    prints: frozenset[bytes], threshold: float, engine: Engine | None = None
) -> dict[bytes, dict[bytes, float]]:
    """Return fingerprint -> fingerprints of its copies and their distances, itself included, in both directions."""
    if _last and prints <= _last[0][0] and threshold == _last[0][1]:
        return _last[0][2]
    ordered = sorted(prints)
    found = {own: {own: 0.0} for own in ordered if has_detail(own)}
    pairs = find_copies(ordered, threshold=threshold, engine=engine)
    for i, j, distance in zip(pairs.left.tolist(), pairs.right.tolist(), pairs.distance.tolist(), strict=True):
        found.setdefault(ordered[i], {})[ordered[j]] = distance
        found.setdefault(ordered[j], {})[ordered[i]] = distance
    _last[:] = [(prints, threshold, found)]
    return found
