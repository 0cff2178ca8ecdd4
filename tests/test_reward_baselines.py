"""Baselines: what length and agreement score, and that blind data are blind."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.reward.baselines import (
    baselines,
    coin,
    deranged,
    longest,
    overlap,
    shortest,
    shuffled_media,
    shuffled_prompts,
    similarity,
)
from curate.reward.examples import Example
from curate.reward.metrics import chance, top1
from schemas.errors import CurateError


def answers(*responses: str, ranks: tuple[int, ...] = ()) -> Example:
    return Example("x", "?", responses, ranks)


def videos(*names: str) -> list[Example]:
    return [Example(str(i), f"q{i}", ("a", "b"), video=Path(name)) for i, name in enumerate(names)]


def test_a_coin_scores_the_chance_of_every_item() -> None:
    ranks = [(1, 2, 3), (1, 1, 3)]
    np.testing.assert_allclose(top1(coin([answers("a", "b", "c")] * 2), ranks), chance(ranks))


def test_length_counts_characters() -> None:
    assert longest([answers("four", "a", "")])[0].tolist() == [4, 1, 0]
    assert shortest([answers("four", "a", "")])[0].tolist() == [-4, -1, 0]


def test_without_training_data_both_lengths_are_reported() -> None:
    assert list(baselines()) == ["coin", "longest", "shortest", "overlap", "similarity"]


@pytest.mark.parametrize(
    ("ranks", "chosen"), [((1, 2), "longest"), ((2, 1), "shortest"), ((1, 1), "longest")], ids=["long", "short", "tie"]
)
def test_the_length_that_training_data_speak_for_is_reported(ranks: tuple[int, ...], chosen: str) -> None:
    assert list(baselines([answers("long one", "short", ranks=ranks)])) == ["coin", chosen, "overlap", "similarity"]


def test_overlap_is_the_mean_share_of_words_in_common() -> None:
    """{red, car}, {red, bus} and {dog}: the first two share 1 word of 3, nobody shares the dog."""
    assert overlap([answers("Red car", "red bus, red!", "dog")])[0] == pytest.approx([1 / 6, 1 / 6, 0])


def test_similarity_of_equal_and_of_strange_responses() -> None:
    assert similarity([answers("a cat", "a cat", "dog")])[0] == pytest.approx([0.5, 0.5, 0])


def test_similarity_worked_by_hand() -> None:
    """Two responses share the common word x: idf log(3/3) + 1 = 1 for x, log(3/2) + 1 for their own words."""
    own = np.log(3 / 2) + 1
    cosine = 1 / (1 + own**2)
    assert similarity([answers("x y", "x z")])[0] == pytest.approx([cosine, cosine])


def test_a_word_said_three_times_counts_one_and_log_three() -> None:
    """Both responses say both words, so every idf is 1: vectors (1 + log 3, 1) and (1, 1)."""
    tf = 1 + np.log(3)
    cosine = (tf + 1) / (np.sqrt(tf**2 + 1) * np.sqrt(2))
    assert similarity([answers("x x x y", "x y")])[0] == pytest.approx([cosine, cosine])


@pytest.mark.parametrize("scorer", [overlap, similarity])
def test_agreement_says_nothing_of_a_lone_or_an_empty_response(scorer: object) -> None:
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
def test_a_derangement_gives_nobody_his_own_or_says_that_there_is_none(keys: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    if 2 * max(Counter(keys).values()) > len(keys):
        with pytest.raises(CurateError, match="cannot all be given another"):
            deranged(keys, "key", rng)
        return
    donors = deranged(keys, "key", rng)
    assert sorted(donors) == list(range(len(keys)))
    assert all(keys[i] != keys[donor] for i, donor in enumerate(donors))


def test_shuffled_videos_are_all_others_and_nothing_else_moves() -> None:
    examples = videos("a", "a", "b", "c")
    blind = shuffled_media(examples, seed=1)
    assert all(after.video != before.video for before, after in zip(examples, blind, strict=True))
    assert Counter(example.video for example in blind) == Counter(example.video for example in examples)
    assert [(e.item_id, e.prompt, e.responses) for e in blind] == [(e.item_id, e.prompt, e.responses) for e in examples]


def test_images_go_to_examples_with_images_and_the_rest_stays() -> None:
    pictures = [Example(str(i), "?", ("a",), images=(Path(f"{i}.png"),)) for i in range(2)]
    plain = Example("t", "?", ("a",))
    blind = shuffled_media([pictures[0], plain, pictures[1]], seed=0)
    assert [example.images for example in blind] == [(Path("1.png"),), (), (Path("0.png"),)]
    assert blind[1] == plain


def test_shuffled_prompts_differ_though_prompts_repeat() -> None:
    examples = [Example(str(i), prompt, ("a",), video=Path("v")) for i, prompt in enumerate("aabbc")]
    blind = shuffled_prompts(examples, seed=3)
    assert all(after.prompt != before.prompt for before, after in zip(examples, blind, strict=True))
    assert Counter(example.prompt for example in blind) == Counter("aabbc")
    assert {example.video for example in blind} == {Path("v")}


def test_a_seed_gives_one_shuffle_and_seeds_give_several() -> None:
    examples = videos(*"abcdefgh")
    assert shuffled_media(examples, seed=5) == shuffled_media(examples, seed=5)
    assert len({tuple(e.video for e in shuffled_media(examples, seed=seed)) for seed in range(5)}) > 1


def test_one_video_for_most_examples_cannot_be_made_blind() -> None:
    with pytest.raises(CurateError, match="2 of 3 examples have one video"):
        shuffled_media(videos("a", "a", "b"), seed=0)
