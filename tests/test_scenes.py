"""Scenes: answers follow from the video and cannot be inferred from the texts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from curate.simulation.clips import CELL, draw_clip
from curate.simulation.scenes import (
    ANSWERS,
    COLOURS,
    FRAMES,
    GRID,
    QUESTIONS,
    STYLE_WORTH,
    STYLES,
    WAYS,
    WORDINGS,
    Film,
    Scenes,
    draw_film,
    draw_scenes,
    lamp_patterns,
)
from curate.simulation.world import simulate_world
from schemas.config import SimulateConfig


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return draw_scenes(np.random.default_rng(1), 8000)


@pytest.fixture(scope="module")
def film() -> Film:
    """Eight models, equally able, answer 3000 prompts on 1000 videos."""
    model = np.tile(np.arange(8), (3000, 1))
    return draw_film(np.random.default_rng(2), np.zeros(8), model, 3)[0]


def share(values: np.ndarray, kinds: int) -> np.ndarray:
    return np.bincount(values.ravel(), minlength=kinds) / values.size


# What is shown


def test_answers_are_those_read_frame_by_frame(scenes: Scenes) -> None:
    for v in range(200):
        lit_up = sum(now and not before for before, now in pairwise([False, *scenes.lamp[v].tolist()]))
        found_answers = [ANSWERS[kind][answer] for kind, answer in enumerate(scenes.answers[v])]
        assert found_answers[0] == COLOURS[scenes.colour[v, 0]]
        assert found_answers[1] == WAYS[scenes.way[v]]
        assert found_answers[2] == COLOURS[scenes.colour[v, 1]]
        assert found_answers[3] == {1: "once", 2: "twice", 3: "three times", 4: "four times"}[lit_up]


def test_all_answers_to_a_question_are_equally_likely(scenes: Scenes) -> None:
    for answers in scenes.answers.T:
        assert share(answers, 4) == pytest.approx(np.full(4, 0.25), abs=0.02)


@pytest.mark.parametrize(("one", "other"), [(0, 1), (0, 3), (1, 2), (1, 3), (2, 3)])
def test_answers_to_different_questions_are_independent(scenes: Scenes, one: int, other: int) -> None:
    both = share(scenes.answers[:, one] * 4 + scenes.answers[:, other], 16)
    assert both == pytest.approx(np.full(16, 1 / 16), abs=0.01)


def test_all_four_colours_are_in_every_video(scenes: Scenes) -> None:
    """The colours in a frame do not show which shape moves or appears."""
    assert (np.sort(scenes.colour, axis=1) == np.arange(4)).all()
    both = share((scenes.answers[:, 0] - scenes.answers[:, 2]) % 4, 4)
    assert both == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3], abs=0.02)


def test_shapes_never_overlap(scenes: Scenes) -> None:
    row, column = np.divmod(scenes.cell, GRID)
    for v in range(len(scenes.way)):
        path = {(row[v, 0], c) for c in range(GRID)} if scenes.way[v] < 2 else {(r, column[v, 0]) for r in range(GRID)}
        others = {(row[v, k], column[v, k]) for k in (1, 2, 3)}
        assert len(others) == 3
        assert not path & others


def test_the_moving_shape_starts_at_the_opposite_side(scenes: Scenes) -> None:
    row, column = np.divmod(scenes.cell[:, 0], GRID)
    start = np.stack([column, column, row, row], axis=1)[np.arange(len(row)), scenes.way]
    assert (start == np.where(np.isin(scenes.way, (0, 2)), GRID - 1, 0)).all()


def test_the_moving_shape_goes_along_the_middle(scenes: Scenes) -> None:
    row, column = np.divmod(scenes.cell[:, 0], GRID)
    assert (np.where(scenes.way < 2, row, column) == GRID // 2).all()


def test_the_lamp_lights_up_for_two_frames_and_is_dark_for_two_between() -> None:
    for times, patterns in lamp_patterns().items():
        assert len(patterns) == {1: 8, 2: 21, 3: 20, 4: 5}[times]  # ways to choose slots of 8, none beside another
        assert (patterns.sum(axis=1) == times).all()
    lamp = draw_scenes(np.random.default_rng(0), 50).lamp
    assert (lamp[:, ::2] == lamp[:, 1::2]).all()
    assert not (lamp[:, 1:-1:2] & lamp[:, 2::2]).any()
    assert lamp.shape == (50, FRAMES)


# Questions and responses


def test_prompts_of_one_video_have_different_questions(film: Film) -> None:
    assert (film.video == np.repeat(np.arange(1000), 3)).all()
    assert all(len(set(kinds)) == 3 for kinds in film.kind.reshape(1000, 3).tolist())
    assert share(film.kind, 4) == pytest.approx(np.full(4, 0.25), abs=0.02)


def test_wrong_answers_are_uniform(film: Film) -> None:
    truth = film.scenes.answers[film.video, film.kind][:, None]
    assert share(((film.answer - truth) % 4)[~film.right] - 1, 3) == pytest.approx(np.full(3, 1 / 3), abs=0.02)


def test_right_and_wrong_answers_have_the_same_styles_and_lengths(film: Film) -> None:
    for k in range(len(STYLES)):
        chance = (film.style[film.right] == k).mean() - (film.style[~film.right] == k).mean()
        assert abs(chance) < 0.015
    length = np.array([len(text) for text in film.texts]).reshape(film.answer.shape)
    assert abs(np.corrcoef(length.ravel(), film.right.ravel())[0, 1]) < 0.03


def test_correctness_is_independent_of_the_text(film: Film) -> None:
    """For each question, each answer is right as often as the others, in any style."""
    for kind in range(4):
        rows = film.kind == kind
        for style in range(len(STYLES)):
            found_answers = film.style[rows] == style
            rates = [film.right[rows][found_answers & (film.answer[rows] == answer)].mean() for answer in range(4)]
            assert np.ptp(rates) < 0.12


def test_ability_determines_the_share_of_right_answers(film: Film) -> None:
    model = np.random.default_rng(0).permuted(np.tile(np.arange(4), (4000, 1)), axis=1)
    ability = np.array([-2.0, 0.0, 1.0, 3.0])
    film, worth = draw_film(np.random.default_rng(3), ability, model, 1)
    right = [film.right[model == m].mean() for m in range(4)]
    assert right == pytest.approx(1 / (1 + np.exp(0.4 - ability)), abs=0.03)
    assert worth == pytest.approx([film.worth[model == m].mean() for m in range(4)], abs=0.06)


def test_equal_answers_of_one_style_differ_in_wording(film: Film) -> None:
    texts = np.array(film.texts).reshape(film.answer.shape)
    for p in range(300):
        key = film.answer[p] * 3 + film.style[p]
        for value in np.unique(key):
            same = texts[p, key == value]
            assert len(set(same)) == min(4, len(same))


def test_texts_are_the_wordings_with_their_answer(film: Film) -> None:
    for p in range(200):
        for n in range(8):
            text, answer = film.texts[p * 8 + n], ANSWERS[film.kind[p]][film.answer[p, n]]
            assert answer in text.lower()
            assert text[0].isupper()
            assert "{" not in text
    assert film.questions[:3] == [QUESTIONS[kind] for kind in film.kind[:3]]
    assert set(WORDINGS) == set(STYLES)
    assert {len(wordings) for wordings in WORDINGS.values()} == {4}


# Strengths


def test_strength_is_the_value_of_answer_and_style_plus_a_remainder() -> None:
    world = simulate_world(SimulateConfig(prompts=300, models=8, video=True, interaction_sd=1.0))
    assert world.film is not None
    remainder = world.responses.strength - world.film.worth
    assert remainder.std() == pytest.approx(0.2, abs=0.01)
    assert abs(remainder.mean()) < 0.02
    assert [STYLES[i] for i in np.argsort(-STYLE_WORTH)] == ["terse", "clear", "hedged"]


def test_text_alone_finds_the_best_of_four_less_often_than_the_video() -> None:
    world = simulate_world(SimulateConfig(prompts=1000, models=8, video=True, seed=5))
    film, strength = world.film, world.responses.strength
    assert film is not None
    four = np.argsort(np.random.default_rng(0).random(strength.shape), axis=1)[:, :4]
    best = np.take_along_axis(strength, four, axis=1).argmax(axis=1)
    length = np.array([len(text) for text in film.texts]).reshape(strength.shape)
    tie = np.random.default_rng(1).random(strength.shape) / 1000

    def found(score: np.ndarray) -> float:
        return float((np.take_along_axis(score + tie, four, axis=1).argmax(axis=1) == best).mean())

    assert found(film.worth) > 0.8
    assert 0.55 < found(1.0 * film.right) < 0.75
    assert found(STYLE_WORTH[film.style]) < 0.5
    assert found(1.0 * length) < 0.32
    assert found(-1.0 * length) < found(STYLE_WORTH[film.style])  # annotators prefer short texts, and only that


def test_with_one_shape_there_is_no_question_on_appearance() -> None:
    rng = np.random.default_rng(0)
    film, _ = draw_film(rng, np.zeros(3), np.tile(np.arange(3), (60, 1)), 3, 1)
    assert set(film.kind) == {0, 1, 3}
    coloured = (draw_clip(film.scenes, 0) != draw_clip(film.scenes, 0)[..., :1]).any(axis=(0, 3))
    way = film.scenes.way[0]
    extent = coloured.any(axis=1).sum() if way < 2 else coloured.any(axis=0).sum()
    assert 0 < extent <= CELL  # across its way, all that is coloured is as broad as one shape
