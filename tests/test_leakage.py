"""Leakage: which pairs of prompts count as the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.leakage import DIFFERENT, PARAPHRASES
from curate.leakage.detect import Subject, find_leaks, units
from curate.leakage.questions import normalised
from schemas.leakage import LeakConfig

RULES = LeakConfig(min_bits=0)
WAVES = (0b1111_0000_1111_0000, 0b1010_1010_1010_1010)


def flipped(hashes: tuple[int, ...], bits: int) -> tuple[int, ...]:
    """The hashes with this number of bits of the first one cleared."""
    first = hashes[0]
    for _ in range(bits):
        first &= first - 1
    return (first, *hashes[1:])


def rules_between(train: Subject, benchmark: Subject, config: LeakConfig = RULES) -> list[str]:
    return [leak.rule for leak in find_leaks([train], [benchmark], config)]


def test_the_same_prompt_id_leaks_whatever_else_differs() -> None:
    assert rules_between(Subject("p", "one", "a.mp4", "aa"), Subject("p", "two", "b.mp4", "bb")) == ["prompt"]


def test_the_same_bytes_leak_under_another_name_and_question() -> None:
    assert rules_between(Subject("p", "one", "a.mp4", "aa"), Subject("q", "two", "b.mp4", "aa")) == ["video"]


def test_the_same_name_leaks_only_if_bytes_are_unknown() -> None:
    assert rules_between(Subject("p", "one", "a.mp4"), Subject("q", "two", "a.mp4")) == ["video"]
    assert rules_between(Subject("p", "one", "a.mp4", "aa"), Subject("q", "two", "a.mp4")) == ["video"]
    assert rules_between(Subject("p", "one", "a.mp4", "aa"), Subject("q", "two", "a.mp4", "bb")) == []


def test_a_re_encoded_video_leaks_by_its_frames() -> None:
    a, near, far = (
        Subject(name, name, f"{name}.mp4", name, flipped(WAVES, bits)) for name, bits in (("a", 0), ("b", 2), ("c", 6))
    )
    assert rules_between(a, near) == ["near video"]
    assert rules_between(a, far) == []


def test_with_the_same_question_the_distance_may_be_larger() -> None:
    a = Subject("a", "Who wins the race?", "a.mp4", "aa", WAVES)
    b = Subject("b", "who wins the race", "b.mp4", "bb", flipped(WAVES, 4))
    assert find_leaks([a], [b], RULES)[0].distance == pytest.approx(4 / 16)
    assert rules_between(a, b) == ["video and question"]
    assert rules_between(a, Subject("b", "How many dogs?", "b.mp4", "bb", b.phash)) == []


def test_a_generic_question_about_other_videos_is_no_leak() -> None:
    one, other = (Subject(name, "What happens in the video?", f"{name}.mp4", name) for name in ("a", "b"))
    assert rules_between(one, other) == []
    by_name = Subject("c", "What happens in the video?", "c.mp4")
    assert rules_between(one, by_name) == []
    assert rules_between(one, by_name, RULES.model_copy(update={"unhashed_videos": "suspect"})) == ["question"]


@pytest.mark.parametrize(
    "other",
    ["HOW tall is the Eiffel Tower", " How  tall is the Eiffel tower ?!", "Ｈｏｗ tall is the “Eiffel” tower?"],
)
def test_a_question_without_a_video_leaks_in_other_case_punctuation_and_unicode(other: str) -> None:
    (leak,) = find_leaks([Subject("a", "How tall is the Eiffel tower?")], [Subject("b", other)], RULES)
    assert (leak.rule, leak.similarity, leak.questions[1]) == ("question", 1.0, other)


def test_a_long_question_with_one_word_changed_leaks_and_a_short_one_does_not() -> None:
    long = "a train leaves the station at noon with 40 people on board and stops twice before it comes to the sea"
    assert rules_between(Subject("a", long), Subject("b", long.replace("40", "50"))) == ["question"]
    assert rules_between(Subject("a", "What colour is the circle?"), Subject("b", "What colour is the square?")) == []


def test_unknown_questions_are_not_similar() -> None:
    assert rules_between(Subject("a"), Subject("b")) == []


def test_cleared_pairs_are_no_leaks() -> None:
    pair = Subject("a", "one", "a.mp4", "aa"), Subject("b", "two", "b.mp4", "aa")
    assert rules_between(*pair, RULES.model_copy(update={"cleared": (("a", "b"),)})) == []


def test_almost_uniform_videos_are_not_compared() -> None:
    pair = Subject("a", "one", "a.mp4", "aa", (1,)), Subject("b", "two", "b.mp4", "bb", (1,))
    assert rules_between(*pair) == ["near video"]
    assert rules_between(*pair, LeakConfig()) == []


def test_units_are_connected_components_named_after_their_first_video() -> None:
    subjects = [
        Subject("p1", "x", "c.mp4", "1", WAVES),
        Subject("p2", "y", "b.mp4", "2", flipped(WAVES, 2)),
        Subject("p3", "z", "d.mp4", "2", ()),
        Subject("p4", "How tall is it?"),
        Subject("p5", "how TALL is it"),
        Subject("p6", "How old is it?"),
    ]
    assert units(subjects, RULES) == {
        "p1": "b.mp4", "p2": "b.mp4", "p3": "b.mp4", "p4": "p4", "p5": "p4", "p6": "p6",
    }  # fmt: skip


def test_no_leak_crosses_the_units() -> None:
    rng = np.random.default_rng(0)
    subjects = [
        Subject(f"p{i}", f"question {i % 7} of many words here", f"{i % 9}.mp4" if i % 3 else None, str(i % 9))
        for i in rng.permutation(40).tolist()
    ]
    unit = units(subjects, RULES)
    side = {name: len(name) % 2 == 0 for name in set(unit.values())}
    train = [subject for subject in subjects if side[unit[subject.prompt_id]]]
    benchmark = [subject for subject in subjects if not side[unit[subject.prompt_id]]]
    assert find_leaks(train, benchmark, RULES) == ()


@pytest.mark.parametrize(("one", "other"), PARAPHRASES)
def test_a_paraphrase_without_a_video_leaks(one: str, other: str) -> None:
    assert rules_between(Subject("a", one), Subject("b", other)) == ["question"]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_a_template_with_another_word_is_another_question(one: str, other: str) -> None:
    assert rules_between(Subject("a", one), Subject("b", other)) == []


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)
