"""Baselines that need no model: random guessing, length, and agreement with the other responses."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from curate.reward.data import Example
from curate.reward.metrics import Float, top1

Baseline = Callable[[Sequence[Example]], list[Float]]
"""I examples to I arrays, each (N,) scores of the example's responses, higher is better."""
WORD = re.compile(r"\w+")


def baselines(training: Sequence[Example] | None = None) -> dict[str, Baseline]:
    """All baselines by name.

    training: ranked examples by whose top-1 one of longest and shortest is chosen (longest where they tie); without
    them both are returned.
    """
    length: dict[str, Baseline] = {"longest": longest, "shortest": shortest}
    if training is not None:
        ranks = [example.ranks for example in training]
        hits = {name: top1(baseline(training), ranks).sum() for name, baseline in length.items()}
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
