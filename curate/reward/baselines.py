"""What any figure must be shown beside: chance, length, agreement with the others, and data made blind by shuffling."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from curate.reward.examples import Example
from curate.reward.metrics import top1
from schemas.errors import CurateError

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Scorer = Callable[[Sequence[Example]], list[Float]]
"""I examples to I arrays, each (N,) scores of the example's responses; higher is better."""

WORD = re.compile(r"\w+")


def coin(examples: Sequence[Example]) -> list[Float]:
    """Equal scores: ties are counted fairly, so that its top-1 is exactly the chance of the items."""
    return [np.zeros(len(example.responses)) for example in examples]


def longest(examples: Sequence[Example]) -> list[Float]:
    """The number of characters of each response."""
    return [np.array([float(len(text)) for text in example.responses]) for example in examples]


def shortest(examples: Sequence[Example]) -> list[Float]:
    """The number of characters of each response, negated."""
    return [-score for score in longest(examples)]


def overlap(examples: Sequence[Example]) -> list[Float]:
    """Agreement with the other responses: mean share of words in common (Jaccard), 0 to 1; 0 for a lone response."""
    return [_agreement(_jaccard([set(_words(text)) for text in example.responses])) for example in examples]


def similarity(examples: Sequence[Example]) -> list[Float]:
    """Agreement with the other responses: mean cosine of tf-idf vectors, 0 to 1; 0 for a lone response.

    tf = 1 + log count; idf = log((1 + R) / (1 + r)) + 1 for a word in r of all R responses of these examples. No label
    is used.
    """
    words = [[_words(text) for text in example.responses] for example in examples]
    total = sum(len(responses) for responses in words)
    within: dict[str, int] = {}
    for responses in words:
        for response in responses:
            for word in set(response):
                within[word] = within.get(word, 0) + 1
    idf = {word: np.log((1 + total) / (1 + count)) + 1 for word, count in within.items()}
    return [_agreement(_cosine(responses, idf)) for responses in words]


def baselines(training: Sequence[Example] | None = None) -> dict[str, Scorer]:
    """Every baseline by its name.

    training: ranked examples on which longest or shortest is chosen, by top-1 (longest where they tie); both without.
    """
    length: dict[str, Scorer] = {"longest": longest, "shortest": shortest}
    if training is not None:
        ranks = [example.ranks for example in training]
        share = {name: top1(scorer(training), ranks).sum() for name, scorer in length.items()}
        chosen = "longest" if share["longest"] >= share["shortest"] else "shortest"
        length = {chosen: length[chosen]}
    return {"coin": coin, **length, "overlap": overlap, "similarity": similarity}


def shuffled_prompts(examples: Sequence[Example], *, seed: int) -> list[Example]:
    """The examples, each with the prompt of another one whose prompt differs; responses, ranks and media stay.

    What a model still scores above chance on these it does not owe to the question. Raises CurateError where one prompt
    is that of more than half of the examples.
    """
    donors = deranged([example.prompt for example in examples], "prompt", np.random.default_rng(seed))
    return [replace(example, prompt=examples[donor].prompt) for example, donor in zip(examples, donors, strict=True)]


def shuffled_media(examples: Sequence[Example], *, seed: int) -> list[Example]:
    """The examples, each with the video or the images of another one whose video or images differ.

    Videos go to examples that have a video, images to those that have images; what has neither stays as it is. Media
    are told apart by their paths. Raises CurateError where one video (one set of images) is that of more than half.
    """
    blind, rng = list(examples), np.random.default_rng(seed)
    with_video = [i for i, example in enumerate(examples) if example.video is not None]
    with_images = [i for i, example in enumerate(examples) if example.images]
    for i, donor in zip(with_video, deranged([examples[i].video for i in with_video], "video", rng), strict=True):
        blind[i] = replace(blind[i], video=examples[with_video[donor]].video)
    for i, donor in zip(with_images, deranged([examples[i].images for i in with_images], "images", rng), strict=True):
        blind[i] = replace(blind[i], images=examples[with_images[donor]].images)
    return blind


def deranged(keys: Sequence[Hashable], what: str, rng: np.random.Generator) -> Int:
    """(I,) a permutation: i receives from the donor at i, and no donor has the key of its receiver.

    keys: (I,). Shuffled, grouped by key, and moved on by the largest group: no group overlaps itself, as long as none
    is larger than half. Raises CurateError where one is: then no such permutation exists.
    """
    count = len(keys)
    if count == 0:
        return np.empty(0, dtype=np.int64)
    shuffled = rng.permutation(count)
    groups: dict[Hashable, list[int]] = {}
    for i in shuffled.tolist():
        groups.setdefault(keys[i], []).append(i)
    largest = max(len(group) for group in groups.values())
    if 2 * largest > count:
        raise CurateError(
            f"{largest} of {count} examples have one {what}: they cannot all be given another",
            hint="blind data need at least two examples, and none that is more than half of them",
        )
    grouped = np.array([i for group in groups.values() for i in group], dtype=np.int64)
    donors = np.empty(count, dtype=np.int64)
    donors[grouped] = np.roll(grouped, -largest)
    return donors


def _words(text: str) -> list[str]:
    return WORD.findall(text.lower())


def _jaccard(sets: Sequence[set[str]]) -> Float:
    """(N, N) share of words in common; 1 for two responses without words."""
    return np.array([[len(a & b) / len(a | b) if a | b else 1.0 for b in sets] for a in sets])


def _cosine(responses: Sequence[Sequence[str]], idf: dict[str, float]) -> Float:
    """(N, N) cosines of the tf-idf vectors of N responses; 0 for one without words."""
    vocabulary = {word: i for i, word in enumerate(sorted({word for response in responses for word in response}))}
    counts = np.zeros((len(responses), len(vocabulary)))
    for row, response in enumerate(responses):
        np.add.at(counts[row], [vocabulary[word] for word in response], 1.0)
    weights = np.where(counts > 0, 1 + np.log(np.maximum(counts, 1)), 0.0) * [idf[word] for word in vocabulary]
    length = np.sqrt((weights**2).sum(axis=1, keepdims=True))
    unit = weights / np.where(length > 0, length, 1.0)
    cosines: Float = unit @ unit.T
    return cosines


def _agreement(alike: Float) -> Float:
    """(N,) mean likeness to the others. alike: (N, N), symmetric."""
    others = max(1, len(alike) - 1)
    mean: Float = (alike.sum(axis=1) - np.diagonal(alike)) / others
    return mean
