"""``curate simulate --video``: the files show what was drawn, votes follow it, and the folder appears whole."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from cli.main import run
from curate.media.frames import read_video
from curate.simulation import clips
from curate.simulation.clips import CELL, CORNER, PALETTE, RATE, draw_clip, write_clip
from curate.simulation.scenes import ANSWERS, COLOURS, FRAMES, QUESTIONS, STYLES, TIMES, draw_scenes
from curate.simulation.world import simulate_world
from curate.votes.arrays import LEFT, TIE
from pipelines import denoise, export, ingest, simulation
from pipelines.simulation import simulate
from schemas.config import ExportConfig, SimulateConfig
from schemas.errors import CurateError

FILMED = SimulateConfig(prompts=24, models=5, annotators=20, votes_per_pair=2, prompts_per_video=3, video=True, seed=7)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filmed") / "world"
    simulate(folder, config=FILMED)
    return folder


# What the files show


def watch(path: Path) -> dict[str, str]:
    """The answers to all four questions, from the pixels of a video alone."""
    video = read_video(path, FRAMES)
    images = video.images.astype(np.int64)
    near = np.abs(images[:, :, :, None] - PALETTE.astype(np.int64)).sum(axis=-1)  # (T, H, W, colours)
    is_colour = np.moveaxis(near, -1, 0) < 150  # (colours, T, H, W)
    is_colour[:, :, 57:] = False  # the lamp
    y, x = np.mgrid[:64, :64]
    size = is_colour.sum(axis=(2, 3))
    centre = np.stack([(is_colour * axis).sum(axis=(2, 3)) / np.maximum(size, 1) for axis in (y, x)], axis=-1)
    moved = centre[:, -1] - centre[np.arange(4), (size > 40).argmax(axis=1)]  # (colours, 2) from where first seen
    mover = np.abs(moved).sum(axis=1).argmax()
    down, right = moved[mover]
    way = ("left", "right")[int(right > 0)] if abs(right) > abs(down) else ("up", "down")[int(down > 0)]
    late = int((size[:, 0] < 40).argmax())
    lit = images[:, 60].mean(axis=(1, 2)) > 150
    times = int((np.diff(lit.astype(int), prepend=0) == 1).sum())
    return dict(zip(QUESTIONS, (COLOURS[mover], way, COLOURS[late], TIMES[times - 1]), strict=True))


@pytest.mark.slow
def test_the_encoded_videos_show_the_right_answers(tmp_path: Path) -> None:
    scenes = draw_scenes(np.random.default_rng(0), 60)
    for video in range(60):
        write_clip(tmp_path / "clip.mp4", draw_clip(scenes, video))
        right = [ANSWERS[kind][answer] for kind, answer in enumerate(scenes.answers[video])]
        assert list(watch(tmp_path / "clip.mp4").values()) == right


def test_eight_frames_show_every_time_the_lamp_lights_up(tmp_path: Path) -> None:
    scenes = draw_scenes(np.random.default_rng(1), 20)
    for video in range(20):
        write_clip(tmp_path / "clip.mp4", draw_clip(scenes, video))
        lit = read_video(tmp_path / "clip.mp4", 8).images[:, 60].mean(axis=(1, 2)) > 150
        assert (lit == scenes.lamp[video, ::2]).all()


def test_a_clip_is_small_and_reproducible(tmp_path: Path) -> None:
    scenes = draw_scenes(np.random.default_rng(0), 1)
    for name in ("one.mp4", "two.mp4"):
        write_clip(tmp_path / name, draw_clip(scenes, 0))
    one, two = ((tmp_path / name).read_bytes() for name in ("one.mp4", "two.mp4"))
    assert one == two
    assert len(one) < 12_000
    assert read_video(tmp_path / "one.mp4", 4).duration == FRAMES / RATE


def test_shapes_are_within_the_frame_and_above_the_lamp() -> None:
    scenes = draw_scenes(np.random.default_rng(0), 200)
    assert CORNER[0] + 3 * CELL <= clips.LAMP.start
    assert CORNER[1] + 3 * CELL <= clips.SIZE
    assert all((draw_clip(scenes, v)[:, clips.LAMP] != clips.BACKDROP).all() for v in range(200))


# Its files


def test_prompts_name_existing_videos(world: Path) -> None:
    prompts, responses = pl.read_csv(world / "prompts.csv"), pl.read_csv(world / "responses.csv")
    assert prompts["video"].to_list() == [f"videos/v{p // 3 + 1:04d}.mp4" for p in range(24)]
    assert {str(path.relative_to(world)) for path in (world / "videos").iterdir()} == set(prompts["video"])
    assert not prompts.select("video", "question").is_duplicated().any()
    film = simulate_world(FILMED).film
    assert film is not None
    assert prompts["question"].to_list() == film.questions
    assert responses["text"].to_list() == film.texts


def test_the_truth_has_the_correctness_and_style_of_responses(world: Path) -> None:
    truth = pl.read_csv(world / "truth.csv").join(pl.read_csv(world / "responses.csv"), on="response_id")
    truth = truth.join(pl.read_csv(world / "prompts.csv"), on="prompt_id")
    assert set(truth["style"]) <= set(STYLES)
    seen = {video: watch(world / video) for video in set(truth["video"])}
    for row in truth.iter_rows(named=True):
        assert row["right"] == (seen[row["video"]][row["question"]] in row["text"].lower())


def test_the_report_and_world_json_list_the_videos(world: Path) -> None:
    document = json.loads((world / "world.json").read_bytes())
    assert SimulateConfig(**document["config"]) == FILMED
    report = simulate(world, config=FILMED)
    assert report.files == (*simulation.FILES, "videos", "world.json")


def test_a_world_is_rewritten_and_other_files_are_kept(world: Path, tmp_path: Path) -> None:
    simulate(tmp_path / "again", config=FILMED)
    assert contents(tmp_path / "again") == contents(world)
    before = contents(world)
    (tmp_path / "again" / "videos" / "v0001.mp4").write_text("damaged")
    (tmp_path / "again" / "videos" / "mine.mp4").write_text("the user's own")
    simulate(tmp_path / "again", config=FILMED)
    assert contents(tmp_path / "again") == before | {"videos/mine.mp4": b"the user's own"}


def test_a_failure_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(simulation, "write_clip", breaks)
    with pytest.raises(OSError, match="disk full"):
        simulate(tmp_path / "world", config=FILMED)
    assert list(tmp_path.iterdir()) == []


def test_a_world_without_videos_has_no_video_options_in_its_config(tmp_path: Path) -> None:
    config = SimulateConfig(prompts=12, models=5, annotators=20, votes_per_pair=1.5, prompts_per_video=3, seed=7)
    simulate(tmp_path / "world", config=config)
    stored = json.loads((tmp_path / "world" / "world.json").read_text())["config"]
    assert stored["prompts_per_video"] == 3
    assert stored.keys().isdisjoint({"video", "shapes", "pretraining_videos"})


def test_without_pyav_the_hint_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(CurateError, match="av") as raised:
        simulate(tmp_path / "world", config=FILMED)
    assert raised.value.hint == "pip install 'mr2-curate[video]'"
    assert list(tmp_path.iterdir()) == []


def test_more_prompts_per_video_than_questions_is_an_error() -> None:
    with pytest.raises(ValidationError, match="a video has 4 questions"):
        SimulateConfig(prompts_per_video=5, video=True)
    with pytest.raises(ValidationError, match="a video has 3 questions"):
        SimulateConfig(prompts_per_video=4, video=True, shapes=1)
    assert SimulateConfig(prompts_per_video=5).video is False


# What follows


def test_votes_prefer_right_answers() -> None:
    config = SimulateConfig(prompts=200, models=6, video=True, spammers=0.0, left_bias=0.0)
    world = simulate_world(config)
    assert world.film is not None
    right = world.film.right.ravel()
    one_is = (right[world.left] != right[world.right]) & (world.outcome != TIE)
    won = (world.outcome == LEFT) == right[world.left]
    assert 0.85 < won[one_is].mean() < 0.95
    both = (right[world.left] == right[world.right]) & (world.outcome != TIE)
    assert (world.outcome[both] == LEFT).mean() == pytest.approx(0.5, abs=0.03)


def test_a_simulated_world_can_be_exported_to_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shape = ["--prompt-count", "24", "--models", "6", "--annotators", "20", "--prompts-per-video", "2"]
    assert run(["simulate", "--out", "world", "--video", *shape]) == 0
    assert "videos, world.json" in capsys.readouterr().err
    ingest("world/votes.csv", "curate.duckdb", prompts="world/prompts.csv", responses="world/responses.csv")
    denoise("curate.duckdb")
    export("curate.duckdb", "train", out="train", config=ExportConfig(responses=4))
    lines = [json.loads(line) for path in Path("train").rglob("*.jsonl") for line in path.read_text().splitlines()]
    assert lines
    assert all((Path("world") / line["video"]).is_file() for line in lines)
