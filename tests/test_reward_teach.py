"""A backbone from scratch learns what is right and what is said from lessons, the same way every time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from reward_models import WORDS, spelling

from curate.reward.loading import Loader
from curate.reward.model import RewardModel, Shape
from curate.reward.quiet import quiet
from curate.reward.reading import read_examples
from curate.reward.scratch import build_backbone
from curate.reward.teach import Lesson, read_lessons, teach, tokens_of, unsure
from pipelines import load_recipe, simulate
from pipelines.training import train
from schemas.config import SimulateConfig
from schemas.errors import CurateError
from schemas.training import TrainConfig


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny one whose tokenizer has a token for each of WORDS after a space."""
    texts = [f"Spell {digit}. {word}, it is {word}" for digit, word in enumerate(WORDS)] * 9
    with quiet():
        return build_backbone(tmp_path_factory.mktemp("backbone"), texts, vocabulary=400, width=64, layers=2)


def lessons(count: int, seed: int) -> list[Lesson]:
    return [Lesson(e, WORDS[int(e.prompt[6])], e.responses) for e in spelling(count, seed)]


HELD_OUT = lessons(40, 1)


def taught(backbone: Path, epochs: int) -> tuple[RewardModel, float]:
    """The model, and its loss on lessons that it has not seen."""
    with quiet():
        model = RewardModel.from_backbone(backbone, Shape("tree", head=16))
    with Loader(model.encoder, frames=4) as loader:
        teach(model, loader, lessons(300, 0), epochs=epochs, learning_rate=3e-3)
    model.eval()
    batch = model.collate([model.encoder.encode(lesson.example) for lesson in HELD_OUT])
    with torch.no_grad():
        return model, float(unsure(model, batch, HELD_OUT, tokens_of(model, WORDS)))


def test_it_learns_what_is_right_and_what_is_said(backbone: Path) -> None:
    _, before = taught(backbone, 0)
    _, after = taught(backbone, 6)
    least = np.log(2) * 3 / 4  # two words of equal chance at three wrong responses, one word at the right one
    assert before > 4
    assert least < after < least + 0.3


def test_taught_twice_it_is_the_same(backbone: Path) -> None:
    one, other = taught(backbone, 1)[0].state_dict(), taught(backbone, 1)[0].state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_words_that_begin_alike_are_refused(backbone: Path) -> None:
    with quiet():
        model = RewardModel.from_backbone(backbone, Shape("tree", head=16))
    with pytest.raises(CurateError, match="begin with the same token"):
        tokens_of(model, ["~1", "~2"])


def test_a_line_that_is_no_lesson_is_named(tmp_path: Path) -> None:
    path = tmp_path / "lessons.jsonl"
    row = {"prompt": "What?", "responses": ["a", "b"], "right": "a", "said": ["a", "b"]}
    path.write_text(json.dumps(row) + "\n" + json.dumps({**row, "said": ["a"]}) + "\n")
    with pytest.raises(CurateError, match=r"lessons.jsonl:2: right is 'a' and said is \['a'\]"):
        read_lessons(path)
    path.write_text(json.dumps(row) + "\n")
    (lesson,) = read_lessons(path)
    assert (lesson.right, lesson.said, lesson.example.responses) == ("a", ("a", "b"), ("a", "b"))


def test_lessons_are_for_a_backbone_from_scratch(backbone: Path, tmp_path: Path) -> None:
    config = TrainConfig(shards=(tmp_path,), backbone=str(backbone), lessons=tmp_path / "lessons.jsonl")
    with pytest.raises(CurateError, match="lessons are for a backbone from scratch"):
        train(config, tmp_path / "out")
    with pytest.raises(CurateError, match="no such file"):
        train(config.model_copy(update={"backbone": "scratch"}), tmp_path / "out")


def test_simulated_lessons_are_on_videos_of_their_own_and_tell_the_truth(tmp_path: Path) -> None:
    config = SimulateConfig(prompts=3, models=3, annotators=9, video=True, shapes=1, prompts_per_video=3, lessons=40)
    simulate(tmp_path / "world", config=config)
    found = read_lessons(tmp_path / "world" / "lessons.jsonl")
    assert len(found) == 40 * 3
    assert {lesson.example.video for lesson in found} == set((tmp_path / "world" / "lessons").glob("*.mp4"))
    said = [word for lesson in found for word in lesson.said]
    texts = [text for lesson in found for text in lesson.example.responses]
    assert all(word in text.lower() for word, text in zip(said, texts, strict=True))
    right = [word == lesson.right for lesson in found for word in lesson.said]
    assert np.mean(right) == pytest.approx(0.4, abs=0.08)
    without = config.model_copy(update={"lessons": 0})
    simulate(tmp_path / "same", config=without)
    for name in ("votes.csv", "responses.csv", "videos/v0001.mp4"):
        assert (tmp_path / "same" / name).read_bytes() == (tmp_path / "world" / name).read_bytes()
    assert pl.read_csv(tmp_path / "world" / "prompts.csv")["video"].unique().to_list() == ["videos/v0001.mp4"]
    assert len(read_examples(tmp_path / "world" / "lessons.jsonl")) == 40 * 3


def test_the_recipe_trains_on_what_it_makes() -> None:
    recipe = load_recipe("reward-video")
    assert recipe.train is not None
    assert recipe.export is not None
    assert recipe.train.config.shards == (recipe.export.train,)
    assert recipe.train.config.validation == (recipe.export.benchmark,)
    assert recipe.export.train_config is not None
    assert recipe.export.train_config.split == recipe.export.config.split
    assert recipe.train.config.lora is False
