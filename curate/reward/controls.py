"""What a model is compared with: itself on shuffled examples, and baselines that need no model.

A shuffled control is the same model with each prompt, or each video, exchanged for another example's. A score that a
control reaches as well does not show that the model uses the prompt or the video. Baselines: random guessing, length,
and agreement with the other responses.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

import numpy as np

from curate.array_types import Float, Index
from curate.reward.data import Example
from curate.reward.metrics import top1
from schemas.errors import CurateError

Baseline = Callable[[Sequence[Example]], list[Float]]
"""I examples to I arrays, each (N,) scores of the example's responses, higher is better."""
WORD = re.compile(r"\w+")


def shuffled_controls(examples: Sequence[Example], seed: int) -> list[tuple[str, list[Example]]]:
    """(name, examples) with exchanged prompts, and with exchanged media; without those that cannot be exchanged."""
    fields = {"shuffled-text control": ["prompt"]}
    if any(example.video for example in examples):
        fields["shuffled-video control"] = ["video", "images"]
    elif any(example.images for example in examples):
        fields["shuffled-image control"] = ["images"]
    found = []
    for name, own in fields.items():
        try:
            found.append((name, shuffle(examples, own, seed=seed)))
        except CurateError:  # most examples share one prompt or video: no exchange gives each another one
            continue
    return found


def shuffle(examples: Sequence[Example], fields: Sequence[str], *, seed: int) -> list[Example]:
    """The examples, each with the prompt, video or images of another one whose own differ; all else stays.

    Videos are exchanged among examples with a video, images among those with images. Media are compared by path. Raises
    CurateError where more than half of these share one.
    """
    shuffled, rng = list(examples), np.random.default_rng(seed)
    for name in fields:
        places = [i for i, example in enumerate(examples) if name == "prompt" or getattr(example, name)]
        values = [getattr(examples[i], name) for i in places]
        for i, donor in zip(places, derangement(values, name, rng), strict=True):
            shuffled[i] = replace(shuffled[i], **{name: values[donor]})
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
