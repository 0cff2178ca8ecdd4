"""Baselines and shuffled controls."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.reward.controls import baselines, derangement, longest, overlap, random, shortest, shuffle, similarity
from curate.reward.data import Example
from curate.reward.metrics import chance_level, top1
from schemas.errors import CurateError

pytestmark = pytest.mark.slow

MEDIA = ("video", "images")


def answers(*responses: str, ranks: tuple[int, ...] = ()) -> Example:
    return Example("x", "?", responses, ranks)


def videos(*names: str) -> list[Example]:
    return [Example(str(i), f"q{i}", ("a", "b"), video=Path(name)) for i, name in enumerate(names)]


def test_random_guessing_scores_the_chance_level() -> None:
    ranks = [(1, 2, 3), (1, 1, 3)]
    np.testing.assert_allclose(top1(random([answers("a", "b", "c")] * 2), ranks), chance_level(ranks))


def test_length_is_counted_in_characters() -> None:
    assert longest([answers("four", "a", "")])[0].tolist() == [4, 1, 0]
    assert shortest([answers("four", "a", "")])[0].tolist() == [-4, -1, 0]


def test_without_training_data_both_length_baselines_are_reported() -> None:
    assert list(baselines()) == ["random", "longest", "shortest", "overlap", "similarity"]


@pytest.mark.parametrize(
    ("ranks", "chosen"), [((1, 2), "longest"), ((2, 1), "shortest"), ((1, 1), "longest")], ids=["long", "short", "tie"]
)
def test_the_better_length_baseline_on_training_data_is_reported(ranks: tuple[int, ...], chosen: str) -> None:
    assert list(baselines([answers("long one", "short", ranks=ranks)])) == ["random", chosen, "overlap", "similarity"]


def test_overlap_is_the_mean_jaccard_index() -> None:
    """{red, car}, {red, bus} and {dog}: the first two share 1 word of 3, the third shares none."""
    assert overlap([answers("Red car", "red bus, red!", "dog")])[0] == pytest.approx([1 / 6, 1 / 6, 0])


def test_similarity_of_equal_and_of_disjoint_responses() -> None:
    assert similarity([answers("a cat", "a cat", "dog")])[0] == pytest.approx([0.5, 0.5, 0])


def test_similarity_worked_by_hand() -> None:
    """Two responses share the word x: idf log(3/3) + 1 = 1 for x, log(3/2) + 1 for the other words."""
    own = np.log(3 / 2) + 1
    cosine = 1 / (1 + own**2)
    assert similarity([answers("x y", "x z")])[0] == pytest.approx([cosine, cosine])


def test_term_frequency_is_one_plus_log_count() -> None:
    """Both responses contain both words, so every idf is 1: vectors (1 + log 3, 1) and (1, 1)."""
    tf = 1 + np.log(3)
    cosine = (tf + 1) / (np.sqrt(tf**2 + 1) * np.sqrt(2))
    assert similarity([answers("x x x y", "x y")])[0] == pytest.approx([cosine, cosine])


@pytest.mark.parametrize("scorer", [overlap, similarity])
def test_agreement_of_a_single_or_empty_response_is_defined(scorer: object) -> None:
    assert scorer([answers("alone")])[0].tolist() == [0]  # type: ignore[operator]
    assert scorer([answers("", "word", "")])[0].shape == (3,)  # type: ignore[operator]


@pytest.mark.parametrize("name", list(baselines()))
@given(texts=st.lists(st.text("ab ", max_size=6), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_permuted_responses_have_permuted_scores(name: str, texts: list[str], seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(texts))
    scorer = baselines()[name]
    moved = scorer([answers(*[texts[i] for i in order])])[0]
    np.testing.assert_allclose(moved, scorer([answers(*texts)])[0][order], atol=1e-12)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(0, 99))
def test_a_derangement_gives_each_position_another_key_or_is_an_error(keys: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    if 2 * max(Counter(keys).values()) > len(keys):
        with pytest.raises(CurateError, match="cannot all get another one"):
            derangement(keys, "key", rng)
        return
    donors = derangement(keys, "key", rng)
    assert sorted(donors) == list(range(len(keys)))
    assert all(keys[i] != keys[donor] for i, donor in enumerate(donors))


def test_shuffled_media_gives_each_example_another_video_and_changes_nothing_else() -> None:
    examples = videos("a", "a", "b", "c")
    shuffled = shuffle(examples, MEDIA, seed=1)
    assert all(after.video != before.video for before, after in zip(examples, shuffled, strict=True))
    assert Counter(example.video for example in shuffled) == Counter(example.video for example in examples)
    assert [(e.item_id, e.prompt, e.responses) for e in shuffled] == [
        (e.item_id, e.prompt, e.responses) for e in examples
    ]


def test_images_are_exchanged_among_examples_with_images() -> None:
    pictures = [Example(str(i), "?", ("a",), images=(Path(f"{i}.png"),)) for i in range(2)]
    plain = Example("t", "?", ("a",))
    shuffled = shuffle([pictures[0], plain, pictures[1]], MEDIA, seed=0)
    assert [example.images for example in shuffled] == [(Path("1.png"),), (), (Path("0.png"),)]
    assert shuffled[1] == plain


def test_shuffled_prompts_differ_although_prompts_repeat() -> None:
    examples = [Example(str(i), prompt, ("a",), video=Path("v")) for i, prompt in enumerate("aabbc")]
    shuffled = shuffle(examples, ["prompt"], seed=3)
    assert all(after.prompt != before.prompt for before, after in zip(examples, shuffled, strict=True))
    assert Counter(example.prompt for example in shuffled) == Counter("aabbc")
    assert {example.video for example in shuffled} == {Path("v")}


def test_shuffling_depends_on_the_seed() -> None:
    examples = videos(*"abcdefgh")
    assert shuffle(examples, MEDIA, seed=5) == shuffle(examples, MEDIA, seed=5)
    assert len({tuple(e.video for e in shuffle(examples, MEDIA, seed=seed)) for seed in range(5)}) > 1


def test_a_video_shared_by_most_examples_cannot_be_exchanged() -> None:
    with pytest.raises(CurateError, match="2 of 3 examples have the same video"):
        shuffle(videos("a", "a", "b"), MEDIA, seed=0)
