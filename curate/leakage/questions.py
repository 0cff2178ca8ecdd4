"""Similarity of questions: the words that they share, without inflection and words that carry no content.

The weights of words are fixed. Weights from their frequency in the compared questions would make a pair near-duplicate
in a release and not in the store that it was built from.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from curate.array_types import Float, Index

CHUNK = 256
"""Questions that are compared with all others at once."""
NO_CONTENT = frozenset(
    """a an the this that these those there here it its he she they him her his their them i you we me my your our one
    s t is are was were be been being am do does did doing done have has had having can could will would shall should
    may might must of to by with for from as into and or so if than then that please tell describe say shown seen show
    see""".split()  # noqa: SIM905 (a list is four times as long)
)
"""Words that questions share or lack without a difference in what they ask."""
SAME = (
    (r"\b((in|of|from|at|on|during) )?(the|this|that) (video|clip|film|footage|scene|image|picture|photo)\b", ""),
    (r"\b(what is|what s|give|count|state) the (total )?number of\b|\bhow much\b|\bcount (all )?the\b", "how many"),
    (r"\bwhich\b", "what"),
    (r"\bwearing\b", "in"),
    (r"\bwhom\b", "who"),
    (r"\b(for what reason|how come|what is the reason (for|that|why))\b", "why"),
    (r"\bwhat (person|people|man or woman)\b", "who"),
    (r"\bin what order\b", "order"),
    (r"\bwhat (place|location)\b", "where"),
    (r"\b(at )?what (time|moment|point)\b", "when"),
)
"""Phrases that ask for the same, and their common form."""


def normalised(question: str) -> str:
    """Return the question without case, punctuation, and variants of spacing and Unicode.

    >>> normalised("  What is THIS—really?! ")
    'what is this really'
    """
    text = unicodedata.normalize("NFKC", question).casefold()
    kept = (" " if unicodedata.category(c)[0] in "PSZC" else c for c in unicodedata.normalize("NFKC", text))
    return " ".join("".join(kept).split())


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """Return an English word without inflection, in American spelling: a shorter Porter (1980).

    >>> [stem(word) for word in ("colours", "running", "cried", "boxes", "waving", "glass", "centre")]
    ['color', 'run', 'cry', 'box', 'wav', 'glass', 'center']
    """
    word = re.sub(r"(?<=..)(ies|ied)$", "y", word)
    word = re.sub(r"(?<=s|x|z|h)es$|(?<=..[^siu])s$", "", word)
    if bare := re.fullmatch(r"(.*[aeiouy].*?)(ing|(?<!e)ed)", word):
        word = re.sub(r"([bdfgkmnprt])\1$", r"\1", bare[1])
    word = re.sub(r"(?<=...)our$", "or", word)
    word = re.sub(r"(?<=..t)re$", "er", word)
    return re.sub(r"(?<=..)e$", "", word)


@lru_cache(maxsize=1 << 16)
def content(question: str) -> frozenset[str]:
    """Return the stems of the words that carry content; of all words if none does. The second of
    two equal words has the number 1. Cached: a build needs them often.

    >>> sorted(content("What is the colour of the cars?")), sorted(content("Which color do the cars have?"))
    (['car', 'color', 'what'], ['car', 'color', 'what'])
    """
    text = normalised(question)
    for phrase, common in SAME:
        text = re.sub(phrase, common, text)
    words = text.split()
    stems = [stem(word) for word in words if word not in NO_CONTENT] or words
    seen: Counter[str] = Counter()
    found = []
    for word in stems:
        found.append(f"{word} {n}" if (n := seen[word]) else word)
        seen[word] += 1
    return frozenset(found)


class Questions:
    """The words of S questions."""

    def __init__(self, questions: Sequence[str]) -> None:
        from scipy.sparse import csr_array

        number: dict[str, int] = {}
        columns: list[int] = []
        ends = [0]
        for question in questions:
            columns += sorted(number.setdefault(word, len(number)) for word in content(question))
            ends.append(len(columns))
        shape = (len(questions), max(1, len(number)))
        self.words: Any = csr_array((np.ones(len(columns), dtype=np.int32), columns, ends), shape=shape)
        """(S, W) sparse, 1 if the question has the word."""
        self.size = np.diff(ends).astype(np.float64)
        """(S,) number of words; 0 for an unknown question."""

    def similarity(self, a: Index, b: Index) -> Float:
        """(K,) Jaccard similarity of the words and pairs of words of two questions; 0 if either is unknown.

        With pairs of words, whose order does not count, one different word matters in a short question and not in a
        long one: with one of n words exchanged the similarity is (n − 1) / (n + 3).
        """
        both = np.asarray(self.words[a].multiply(self.words[b]).sum(axis=1), dtype=np.float64).ravel()
        return _jaccard(both, self.size[a], self.size[b])

    def similar(self, a: Index, b: Index, threshold: float) -> Iterator[tuple[int, int]]:
        """Yield the pairs of a question of a and one of b whose similarity is at least the threshold, above 0."""
        rare = self._rarest(threshold)
        other = rare[b].T.tocsc()
        for start in range(0, len(a), CHUNK):
            part = a[start : start + CHUNK]
            shared = (rare[part] @ other).tocoo()
            i, j = part[shared.row], b[shared.col]
            near = self.similarity(i, j) >= threshold
            yield from zip(i[near].tolist(), j[near].tolist(), strict=True)

    def _rarest(self, threshold: float) -> Any:
        """(S, W) sparse: so many of the rarest words of each question that similar ones share at least one of them.

        Prefix filtering (Chaudhuri, Ganti and Kaushik 2006): a question of n words shares o or more with any similar
        one, where o (o + 1) ≥ threshold · n (n + 1); of two sets that share o, the n − o + 1 rarest words do intersect.
        """
        from scipy.sparse import csr_array

        rows = np.repeat(np.arange(len(self.size)), np.diff(self.words.indptr))
        frequency = np.bincount(self.words.indices, minlength=self.words.shape[1])
        order = np.lexsort((self.words.indices, frequency[self.words.indices], rows))
        place = np.arange(len(order)) - self.words.indptr[rows]  # within the question, the rarest first
        need = threshold * self.size * (self.size + 1)
        shared = np.ceil((np.sqrt(1 + 4 * need) - 1) / 2 - 1e-9)
        kept = place < (self.size - np.maximum(shared, 1) + 1)[rows]
        columns = self.words.indices[order][kept]
        return csr_array((np.ones(len(columns), dtype=np.int32), (rows[kept], columns)), shape=self.words.shape)


def _jaccard(both: Float, one: Float, other: Float) -> Float:
    """(K,) similarity of sets of words and their pairs, from the numbers of words in both, in one and in the other."""
    both, one, other = (n * (n + 1) / 2 for n in (both, one, other))
    similarity: Float = both / np.maximum(one + other - both, 1.0)
    return similarity
