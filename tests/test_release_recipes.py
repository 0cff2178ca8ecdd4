"""The recipes of MR²Bench: from votes and videos, or from rankings and images, to a verified release and a report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from cli.main import run as command
from pipelines import load_recipe, run
from pipelines.recipe import on_own_files
from schemas.errors import CurateError
from schemas.release import ReleaseReport, VerifyReport
from schemas.reports import PageReport

pytestmark = pytest.mark.slow

MODELS = 8


def test_the_video_recipe_ends_in_a_verified_release_and_a_report(tmp_path: Path) -> None:
    recipe = load_recipe("mr2bench-video")
    assert recipe.simulate is not None
    small = {"prompts": 30, "models": 8, "annotators": 30, "votes_per_pair": 3.0}
    world = recipe.simulate.model_copy(update={"config": recipe.simulate.config.model_copy(update=small)})
    reports = run(recipe.model_copy(update={"simulate": world}), tmp_path)
    assert list(reports) == ["simulate", "ingest", "denoise", "release", "verify", "compare", "report"]
    built, verified, page = (reports[step] for step in ("release", "verify", "report"))
    assert isinstance(built, ReleaseReport)
    assert isinstance(verified, VerifyReport)
    assert isinstance(page, PageReport)
    assert Path(built.out) == tmp_path / "releases" / "mr2bench-video-1.0.0"
    assert verified.findings == ()
    assert built.videos == 10
    stages = {stage.stage: stage for stage in built.funnel.stages}
    assert (stages["ingest"].input, stages["media"].kept) == (30 * 28 * 3, stages["media"].input)
    assert page.pictures > 0
    again = run(recipe.model_copy(update={"simulate": world}), tmp_path)["release"]
    assert isinstance(again, ReleaseReport)
    assert again.reused


@pytest.fixture
def rankings(tmp_path: Path) -> Path:
    """Ten images, a question on each, 8 models' responses, and six annotators' rankings with little noise."""
    folder, rng = tmp_path / "given", np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    prompts, responses, lines = [], [], []
    for i in range(10):
        pixels = rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((96, 96), Image.Resampling.BICUBIC).save(folder / "images" / f"{i}.png")
        prompts.append(
            {"prompt_id": f"p{i}", "question": f"What is odd about number {i} of the set?", "video": f"{i}.png"}
        )
        ids = [f"p{i}-{m}" for m in range(MODELS)]
        responses += [
            {"prompt_id": f"p{i}", "response_id": name, "model": f"m{m}", "text": f"It is {name}."}
            for m, name in enumerate(ids)
        ]
        for person in range(6):
            places = np.argsort(np.argsort(np.arange(MODELS) + rng.normal(0, 1.0, MODELS))) + 1
            lines.append(
                {"prompt_id": f"p{i}", "annotator_id": f"a{person}", "responses": ids, "rankings": places.tolist()}
            )
    pl.DataFrame(prompts).write_csv(folder / "prompts.csv")
    pl.DataFrame(responses).write_csv(folder / "responses.csv")
    (folder / "rankings.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_the_image_recipe_goes_from_rankings_to_a_verified_release(
    rankings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "run",
        "mr2bench-image",
        "--dir",
        str(tmp_path / "out"),
        "--vote-file",
        str(rankings / "rankings.jsonl"),
    ]
    arguments += ["--prompts", str(rankings / "prompts.csv"), "--responses", str(rankings / "responses.csv")]
    assert command([*arguments, "--media", str(rankings / "images"), "--json"]) == 0
    reports = json.loads(capsys.readouterr().out)
    assert reports["ingest"]["votes"] == 60
    assert reports["verify"]["findings"] == []
    assert reports["release"]["videos"] == 10
    rows = pl.read_parquet(Path(reports["release"]["out"]) / "benchmark-00000-of-00001.parquet")
    assert rows["image_file_name"].str.ends_with(".png").all()
    assert (Path(reports["release"]["out"]) / rows["image_file_name"][0]).exists()


def test_given_files_replace_the_simulated_world(tmp_path: Path) -> None:
    recipe = on_own_files(load_recipe("mr2bench-video"), votes=[tmp_path / "v.csv"], videos=tmp_path)
    assert recipe.simulate is None
    assert recipe.compare is None
    assert recipe.ingest is not None
    assert recipe.ingest.paths == (str(tmp_path / "v.csv"),)
    assert recipe.release is not None
    assert recipe.release.media == tmp_path
    with pytest.raises(CurateError, match="reads no votes"):
        on_own_files(recipe.model_copy(update={"ingest": None}), votes=[tmp_path])


def test_given_videos_need_votes(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["run", "mr2bench-video", "--media", "clips"]) == 2
    assert "need --vote-file" in capsys.readouterr().err
