"""Changes from one release to another: prompts, votes, ranks, items, and causes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.main import run
from curate.release.diff import diff
from curate.store import Store
from pipelines.releasing import build
from schemas.release import ReleaseConfig
from tests.releases import CONFIG, folder_of, make_world, on_side
from tests.stores import Ranked, add_prompts

pytestmark = pytest.mark.slow


@pytest.fixture
def world(tmp_path: Path) -> tuple[Path, Path]:
    return make_world(tmp_path)


def release(world: tuple[Path, Path], out: Path, config: ReleaseConfig = CONFIG) -> Path:
    return folder_of(build(world[0], out=out, config=config, media=world[1]))


def change(world: tuple[Path, Path], *statements: str) -> None:
    with Store.open(world[0]) as opened:
        for statement in statements:
            opened.execute(statement)


def rerank(world: tuple[Path, Path], *statements: str) -> None:
    """Change the results of the denoise run and give it another id."""
    where = "WHERE run_id = (SELECT run_id FROM runs WHERE step = 'denoise')"
    renamed = [f"UPDATE {table} SET run_id = 'd1d1d1d1d1d1' {where}" for table in ("rankings", "prompt_stats", "runs")]
    change(world, *statements, *renamed)


def test_a_release_does_not_differ_from_itself(world: tuple[Path, Path], tmp_path: Path) -> None:
    folder = release(world, tmp_path / "out")
    report = diff(folder, folder)
    assert (report.same, report.causes, report.prompts, report.items, report.config) == (True, (), (), {}, {})


def test_rank_changes_by_new_votes_are_distinguished_from_those_by_other_votes(
    world: tuple[Path, Path], tmp_path: Path
) -> None:
    before = release(world, tmp_path / "out")
    rerank(
        world,
        "UPDATE prompt_stats SET votes = 7 WHERE prompt_id = 'p000'",
        "UPDATE rankings SET rank = 3 - rank WHERE prompt_id IN ('p000', 'p004') AND rank < 3",
    )
    report = diff(before, release(world, tmp_path / "out"))
    assert (report.same, report.causes, report.votes) == (False, ("new votes",), (0, 7))
    first, second = report.prompts
    assert (first.prompt_id, first.why, first.votes) == ("p000", ("new votes",), (0, 7))
    assert first.ranks == {"p000-a": (1, 2), "p000-b": (2, 1)}
    assert (second.prompt_id, second.why, second.votes) == ("p004", ("other votes",), (0, 0))
    side = "train" if "p000" in on_side(world[0], "train") else "benchmark"
    full = report.items[f"{side}_full"]
    assert (full.added, full.removed, len(full.changed) > 0) == ((), (), True)


def test_another_config_is_a_cause_and_is_listed_by_key(world: tuple[Path, Path], tmp_path: Path) -> None:
    before = release(world, tmp_path / "out")
    after = release(world, tmp_path / "out", CONFIG.model_copy(update={"responses": 3}))
    report = diff(before, after)
    assert report.config == {"release.responses": (4, 3)}
    assert (report.causes, report.prompts) == (("config",), ())
    assert len(report.items["benchmark"].added) == report.items["benchmark"].after


def test_added_removed_and_changed_prompts_are_listed_with_causes(world: tuple[Path, Path], tmp_path: Path) -> None:
    before = release(world, tmp_path / "out")
    with Store.open(world[0]) as opened:
        add_prompts(opened, [Ranked("new", (1, 2, 3, 4, 5))])
    change(
        world,
        "UPDATE prompts SET question = 'Corrected?' WHERE prompt_id = 'p004'",
        "UPDATE prompt_stats SET status = 'thin' WHERE prompt_id = 'p002'",
        "DELETE FROM rankings WHERE prompt_id = 'p002'",
    )
    (world[1] / "videos" / "3.mp4").write_bytes((world[1] / "videos" / "0.mp4").read_bytes() + b"\0")
    report = diff(before, release(world, tmp_path / "out"))
    assert (report.prompts_added, report.prompts_removed) == (("new",), ("p002",))
    assert {change.prompt_id: change.why for change in report.prompts} == {"p004": ("text",), "p006": ("media",)}
    assert report.causes == ("media", "text")


def test_the_command_prints_text_and_json(
    world: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = release(world, tmp_path / "out")
    rerank(world, "UPDATE rankings SET rank = 3 - rank WHERE prompt_id = 'p000' AND rank < 3")
    after = release(world, tmp_path / "out")
    capsys.readouterr()
    assert run(["release", "diff", str(before), str(after)]) == 0
    assert "p000 (other votes): ranks: p000-a 1 → 2, p000-b 2 → 1" in capsys.readouterr().out
    assert run(["release", "diff", str(before), str(after), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["prompts"][0]["ranks"] == {"p000-a": [1, 2], "p000-b": [2, 1]}
