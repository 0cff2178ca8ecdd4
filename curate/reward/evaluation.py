"""Evaluation of a model on held-out examples, next to shuffled controls and baselines that need no model.

Controls: the same model with each prompt, or each video, exchanged for another example's. Baselines: random guessing,
length, and agreement with the other responses. A score that a control reaches as well does not show that the model uses
the prompt or the video.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from curate.reward import metrics
from curate.reward.data import Example
from schemas.errors import CurateError
from schemas.reward import EvaluationReport

if TYPE_CHECKING:
    from curate.reward.scoring import Scorer

Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
Baseline = Callable[[Sequence[Example]], list[Float]]
"""I examples to I arrays, each (N,) scores of the example's responses, higher is better."""

ORDERS = 4
"""Orders of the responses in which order sensitivity is measured."""
WORD = re.compile(r"\w+")


def evaluate_model(
    scorer: Scorer,
    examples: Sequence[Example],
    *,
    data: str,
    training: Sequence[Example] | None = None,
    orders: int = ORDERS,
    seed: int = 0,
) -> tuple[list[EvaluationReport], list[Float]]:
    """Reports on the ranked examples (the model, its shuffled controls, then the baselines), and the model's scores.

    training: examples by which the better of the two length baselines is chosen. Examples that no longer fit after
    shuffling are excluded from the control; the reports count their items.
    """
    ranked = [example for example in examples if example.ranks]
    # Layouts that do not depend on the order are checked with a second one.
    tables = scorer.score_orders(ranked, max(2, orders) if scorer.model.config.layout == "causal" else 2)
    scores = [table[: scorer.orders].mean(axis=0) for table in tables]
    reports = [metrics.evaluate("model", data, ranked, scores, orders=tables)]
    for name, shuffled in shuffled_controls(ranked, seed):
        refusals = scorer.refusals(shuffled)
        kept = [(own, other) for own, other, why in zip(ranked, shuffled, refusals, strict=True) if not why]
        if kept:
            scores_of = scorer.score_examples([other for _, other in kept])
            reports.append(metrics.evaluate(name, data, [own for own, _ in kept], scores_of))
    return reports + evaluate_baselines(ranked, data=data, training=training), scores


def evaluate_baselines(
    examples: Sequence[Example], *, data: str, training: Sequence[Example] | None = None
) -> list[EvaluationReport]:
    """Reports of the baselines."""
    return [
        metrics.evaluate(name, data, examples, baseline(examples), logits=False)
        for name, baseline in baselines(training).items()
    ]


def quick_metrics(scorer: Scorer, examples: Sequence[Example]) -> dict[str, Any]:
    """The metrics that are logged during training."""
    row = metrics.evaluate("model", "held out", examples, scorer.score_examples(examples)).overall
    return {"top1": row.top1, "pairwise": row.pairwise, "tau": row.tau, "nll": row.nll, "ece": row.ece}


# Shuffled controls.


def shuffled_controls(examples: Sequence[Example], seed: int) -> list[tuple[str, list[Example]]]:
    """(name, examples) with exchanged prompts, and with exchanged media; without those that cannot be exchanged."""
    controls = [("shuffled-text control", shuffled_prompts)]
    if any(example.video for example in examples):
        controls.append(("shuffled-video control", shuffled_media))
    elif any(example.images for example in examples):
        controls.append(("shuffled-image control", shuffled_media))
    found = []
    for name, shuffle in controls:
        try:
            found.append((name, shuffle(examples, seed=seed)))
        except CurateError:  # most examples share one prompt or video: no exchange gives each another one
            continue
    return found


def shuffled_prompts(examples: Sequence[Example], *, seed: int) -> list[Example]:
    """The examples, each with the prompt of another example whose prompt differs; responses, ranks and media stay.

    Raises CurateError where more than half of the examples share a prompt.
    """
    donors = derangement([example.prompt for example in examples], "prompt", np.random.default_rng(seed))
    return [replace(example, prompt=examples[donor].prompt) for example, donor in zip(examples, donors, strict=True)]


def shuffled_media(examples: Sequence[Example], *, seed: int) -> list[Example]:
    """The examples, each with the video or images of another example whose video or images differ.

    Videos are exchanged among examples with a video, images among those with images; others stay. Media are compared by
    path. Raises CurateError where more than half of them share one video (one set of images).
    """
    shuffled, rng = list(examples), np.random.default_rng(seed)
    with_video = [i for i, example in enumerate(examples) if example.video is not None]
    with_images = [i for i, example in enumerate(examples) if example.images]
    for i, donor in zip(with_video, derangement([examples[i].video for i in with_video], "video", rng), strict=True):
        shuffled[i] = replace(shuffled[i], video=examples[with_video[donor]].video)
    for i, donor in zip(
        with_images, derangement([examples[i].images for i in with_images], "images", rng), strict=True
    ):
        shuffled[i] = replace(shuffled[i], images=examples[with_images[donor]].images)
    return shuffled


def derangement(keys: Sequence[Hashable], what: str, rng: np.random.Generator) -> Index:
    """(I,) permutation: position i receives from the donor at i, whose key differs. keys: (I,).

    The positions are shuffled, grouped by key, and rotated by the size of the largest group: no group overlaps itself
    unless one is larger than half. Then there is no such permutation, and CurateError is raised.
    """
    count = len(keys)
    if count == 0:
        return np.empty(0, dtype=np.int64)
    groups: dict[Hashable, list[int]] = {}
    for i in rng.permutation(count).tolist():
        groups.setdefault(keys[i], []).append(i)
    largest = max(len(group) for group in groups.values())
    if 2 * largest > count:
        raise CurateError(
            f"{largest} of {count} examples have the same {what}: they cannot all get another one",
            hint="a shuffled control needs at least two examples, and none shared by more than half of them",
        )
    grouped = np.array([i for group in groups.values() for i in group], dtype=np.int64)
    donors = np.empty(count, dtype=np.int64)
    donors[grouped] = np.roll(grouped, -largest)
    return donors


# Baselines.


def baselines(training: Sequence[Example] | None = None) -> dict[str, Baseline]:
    """All baselines by name.

    training: ranked examples by whose top-1 one of longest and shortest is chosen (longest where they tie); without
    them both are returned.
    """
    length: dict[str, Baseline] = {"longest": longest, "shortest": shortest}
    if training is not None:
        ranks = [example.ranks for example in training]
        hits = {name: metrics.top1(baseline(training), ranks).sum() for name, baseline in length.items()}
        chosen = "longest" if hits["longest"] >= hits["shortest"] else "shortest"
        length = {chosen: length[chosen]}
    return {"random": random, **length, "overlap": overlap, "similarity": similarity}


def random(examples: Sequence[Example]) -> list[Float]:
    """Equal scores: since ties count as shares, their top-1 is exactly the chance level."""
    return [np.zeros(len(example.responses)) for example in examples]


def longest(examples: Sequence[Example]) -> list[Float]:
    """The number of characters of each response."""
    return [np.array([float(len(text)) for text in example.responses]) for example in examples]


def shortest(examples: Sequence[Example]) -> list[Float]:
    """The negated number of characters of each response."""
    return [-score for score in longest(examples)]


def overlap(examples: Sequence[Example]) -> list[Float]:
    """Agreement with the other responses: mean Jaccard index of their words, 0 to 1; 0 for a single response."""
    return [_mean_of_others(_jaccard([set(_words(text)) for text in example.responses])) for example in examples]


def similarity(examples: Sequence[Example]) -> list[Float]:
    """Agreement with the other responses: mean cosine of tf-idf vectors, 0 to 1; 0 for a single response.

    tf = 1 + log count; idf = log((1 + R) / (1 + r)) + 1 for a word in r of all R responses of these examples.
    """
    words = [[_words(text) for text in example.responses] for example in examples]
    total = sum(len(responses) for responses in words)
    documents = Counter(word for responses in words for response in responses for word in set(response))
    idf = {word: np.log((1 + total) / (1 + count)) + 1 for word, count in documents.items()}
    return [_mean_of_others(_cosine(responses, idf)) for responses in words]


def _words(text: str) -> list[str]:
    return WORD.findall(text.lower())


def _jaccard(sets: Sequence[set[str]]) -> Float:
    """(N, N) Jaccard indices; 1 for two responses without words."""
    return np.array([[len(a & b) / len(a | b) if a | b else 1.0 for b in sets] for a in sets])


def _cosine(responses: Sequence[Sequence[str]], idf: dict[str, float]) -> Float:
    """(N, N) cosines of the tf-idf vectors of N responses; 0 for a response without words."""
    vocabulary = {word: i for i, word in enumerate(sorted({word for response in responses for word in response}))}
    counts = np.zeros((len(responses), len(vocabulary)))
    for row, response in enumerate(responses):
        np.add.at(counts[row], [vocabulary[word] for word in response], 1.0)
    weights = np.where(counts > 0, 1 + np.log(np.maximum(counts, 1)), 0.0) * [idf[word] for word in vocabulary]
    length = np.sqrt((weights**2).sum(axis=1, keepdims=True))
    unit = weights / np.where(length > 0, length, 1.0)
    cosines: Float = unit @ unit.T
    return cosines


def _mean_of_others(matrix: Float) -> Float:
    """(N,) row means without the diagonal. matrix: (N, N)."""
    mean: Float = (matrix.sum(axis=1) - np.diagonal(matrix)) / max(1, len(matrix) - 1)
    return mean
