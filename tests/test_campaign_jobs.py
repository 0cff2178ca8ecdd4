"""The campaign jobs and commands: create, vote, ingest, plan the next batch, close; and media for browsers."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import polars as pl
import pytest

from annotations.campaign.folder import read_tasks
from cli.main import run
from curate.media.frames import MediaError, decode, read_video
from curate.media.transcode import encode, playable
from curate.store import Store
from pipelines import ingest, simulate
from pipelines.annotating import open_campaign
from pipelines.campaign_management import invite, new_names, revoke
from pipelines.campaign_tasks import ATTENTION_TEXT
from pipelines.campaigns import close, create, status
from schemas.campaign import AnnotatorView, CampaignConfig, Refusal, Task
from schemas.config import SimulateConfig
from schemas.errors import CurateError, UsageError
from tests.campaigns import ballot, held
from tests.video_files import encode as encode_test_video

pytestmark = pytest.mark.slow

WORLD = SimulateConfig(
    prompts=8, models=4, annotators=6, votes_per_pair=2, prompts_per_video=2, seed=3, video=True, ties=0.05
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a world of videos, and a store of its prompts and first votes."""
    home = tmp_path_factory.mktemp("campaign")
    simulate(home / "world", config=WORLD)
    pl.read_csv(home / "world" / "votes.csv").head(60).write_csv(home / "first.csv")
    ingest(
        home / "first.csv",
        home / "curate.duckdb",
        prompts=home / "world" / "prompts.csv",
        responses=home / "world" / "responses.csv",
    )
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "curate.duckdb").write_bytes((made / "curate.duckdb").read_bytes())
    (tmp_path / "world").symlink_to(made / "world")
    gold = pl.read_csv(made / "world" / "truth.csv").sort("prompt_id", "rank")
    best, worst = (
        gold.group_by("prompt_id", maintain_order=True)
        .agg(left=pl.col("response_id").first(), right=pl.col("response_id").last())
        .select("left", "right")
    )
    rows = pl.DataFrame({"prompt_id": gold["prompt_id"].unique(maintain_order=True), "left": best, "right": worst})
    rows.with_columns(winner=pl.lit("left")).write_csv(tmp_path / "gold.csv")
    return tmp_path


def config(**more: object) -> CampaignConfig:
    """Of a campaign that bears with anyone."""
    thresholds = {"gold_accuracy": 0.0, "max_side_share": 1.0, "min_seconds": 0.0}
    return CampaignConfig.model_validate({"name": "june", "votes": 40, "batch": 16, "thresholds": thresholds, **more})


def tasks_of(path: Path) -> list[Task]:
    return [task for task, _ in read_tasks(path)]


def annotate(campaign: object, name: str, count: int = 10_000) -> None:
    """Answers what is asked; fresh batches may come meanwhile."""
    view: AnnotatorView | Refusal = campaign.view(name)  # type: ignore[attr-defined]
    while isinstance(view, AnnotatorView) and held(view) and view.votes < count:
        view = campaign.vote(name, ballot(held(view)[0], "left"))  # type: ignore[attr-defined]


def test_the_first_batch_has_pairs_with_texts_and_playable_videos(home: Path) -> None:
    report = create("june", "curate.duckdb", config(votes_per_pair=2), videos="world", gold="gold.csv")
    tasks = tasks_of(home / "june" / "tasks" / "0001.jsonl")
    assert (report.batch_votes, report.batch_pairs, len(tasks)) == (16, 8, 8)
    assert {task.quota for task in tasks} == {2}
    known = [task for task in tasks_of(home / "june" / "gold.jsonl") if task.kind == "gold"]
    assert len(known) == report.gold == 8
    assert not {(t.prompt_id, t.first, t.second) for t in tasks} & {(t.prompt_id, t.first, t.second) for t in known}
    for task in tasks:
        assert task.first_text
        assert task.video_seconds == 2.0
        assert playable(home / "june" / "media" / task.video).as_is
    stages = {stage.stage: (stage.input, stage.kept) for stage in report.funnel.stages}
    assert stages == {"shown by browsers": (4, 4), "can be asked": (8, 8)}


def test_equal_stores_and_configs_give_equal_bytes(home: Path) -> None:
    for name in ("one", "two"):
        create(name, "curate.duckdb", config(), videos="world")
    files = sorted(path.relative_to("one") for path in Path("one").rglob("*") if path.is_file())
    assert [Path("one", path).read_bytes() for path in files] == [Path("two", path).read_bytes() for path in files]


def test_batches_are_planned_until_all_votes_are_collected(home: Path) -> None:
    create("june", "curate.duckdb", config(), videos="world", gold="gold.csv")
    invite("june", ["ann", "ben"], url="http://x")
    with open_campaign("june") as campaign:
        for _ in range(2000):  # a busy machine plans slowly
            annotate(campaign, "ann")
            annotate(campaign, "ben")
            told = campaign.status()
            if told.votes == 40:
                break
            time.sleep(0.05)
        assert (told.votes, told.planned, told.warnings) == (40, 40, ())
        assert told.batches >= 3
    batches = [tasks_of(path) for path in sorted(Path("june/tasks").iterdir())]
    assert [sum(task.quota for task in tasks) for tasks in batches][:2] == [16, 16]
    close("june")
    ingest("june", "curate.duckdb")
    with Store.open("curate.duckdb", read_only=True) as store:
        assert store.votes().filter(pl.col("annotator_id").is_in(["ann", "ben"])).height == 40


def test_voting_continues_while_another_process_uses_the_store(home: Path) -> None:
    create("june", "curate.duckdb", config(votes=32), videos="world")
    invite("june", ["ann"], url="http://x")
    hold = "import sys, duckdb; c = duckdb.connect('curate.duckdb'); print('held', flush=True); sys.stdin.read()"
    with (
        subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder,
        open_campaign("june") as campaign,
    ):
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        annotate(campaign, "ann")
        for _ in range(100):
            told = campaign.status()
            if told.warnings:
                break
            time.sleep(0.05)
        assert told.votes == 16
        assert holder.stdin is not None
        holder.stdin.close()
        assert any("30 seconds" in warning for warning in told.warnings)


def test_missing_videos_are_refused_and_their_prompts_not_asked(home: Path, made: Path) -> None:
    Path("some").mkdir()
    Path("some/videos").mkdir()
    for path in sorted((made / "world" / "videos").iterdir())[:2]:
        Path("some/videos", path.name).write_bytes(path.read_bytes())
    report = create("june", "curate.duckdb", config(), videos="some")
    assert set(report.refused) == {"videos/v0003.mp4", "videos/v0004.mp4"}
    assert report.refused["videos/v0003.mp4"].startswith("missing: no such file")
    asked = {task.prompt_id for task in tasks_of(Path("june/tasks/0001.jsonl"))}
    assert asked <= {"p0001", "p0002", "p0003", "p0004"}


def test_no_folder_is_created_without_a_playable_video(home: Path) -> None:
    Path("none").mkdir()
    with pytest.raises(CurateError, match="none of 4 videos"):
        create("june", "curate.duckdb", config(), videos="none")
    assert not Path("june").exists()
    with pytest.raises(CurateError, match="no prompt 'nope'"):
        create("june", "curate.duckdb", config(prompts=("nope",)), videos="world")


def test_without_votes_prompts_get_equal_numbers_of_pairs(home: Path, made: Path) -> None:
    Path("empty.csv").write_text("prompt_id,left,right,winner\n")
    world = made / "world"
    ingest("empty.csv", "new.duckdb", prompts=world / "prompts.csv", responses=world / "responses.csv")
    report = create("june", "new.duckdb", config(), videos="world")
    tasks = tasks_of(Path("june/tasks/0001.jsonl"))
    counts = pl.Series([task.prompt_id for task in tasks]).value_counts()["count"]
    assert (len(tasks), len(counts), counts.min(), counts.max()) == (16, 8, 2, 2)
    assert report.gold_source == "none"
    assert len(report.warnings) == 1


def test_control_questions_come_from_pairs_with_a_certain_order(home: Path) -> None:
    sure = pl.DataFrame(
        [("p0001", "p0001-r01", "p0001-r02", "left", f"x{n}") for n in range(60)],
        schema=["prompt_id", "left", "right", "winner", "annotator_id"],
        orient="row",
    )
    sure.write_csv("sure.csv")
    assert run(["ingest", "sure.csv"]) == 0
    assert run(["denoise", "--ranker", "bradley-terry"]) == 0
    report = create("june", "curate.duckdb", config(), videos="world")
    known = {(t.first, t.second): t.answer for t in tasks_of(Path("june/gold.jsonl")) if t.kind == "gold"}
    assert known["p0001-r01", "p0001-r02"] == "first"
    assert report.gold_source == "denoise"


def test_an_attention_check_states_its_answer(home: Path) -> None:
    create("june", "curate.duckdb", config(attention_share=0.1), videos="world")
    checks = [task for task in tasks_of(Path("june/gold.jsonl")) if task.kind == "attention"]
    assert checks
    assert all(task.first_text == ATTENTION_TEXT and task.answer == "first" for task in checks)


# The command line


def test_a_campaign_on_the_command_line(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("rules.md").write_text("# Watch first\nThen vote.")
    Path("c.toml").write_text("votes = 10\npairs_per_video = 2\n[thresholds]\nmin_seconds = 1.5\n")
    arguments = ["campaign", "create", "my june", "--config", "c.toml", "--media", "world", "--votes", "20"]
    assert run([*arguments, "--instructions", "rules.md", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["campaign"], report["wanted"]) == ("my-june", 20)
    assert run(["campaign", "invite", "my june", "--annotators", "2", "--manager", "boss", "--json"]) == 0
    links = json.loads(capsys.readouterr().out)
    assert [(link["name"], link["role"]) for link in links] == [
        ("a01", "annotator"),
        ("a02", "annotator"),
        ("boss", "manager"),
    ]
    assert all(link["link"].startswith("http://127.0.0.1:8080/a/") for link in links)
    assert run(["campaign", "status", "my june"]) == 0
    out, err = capsys.readouterr()
    assert "a01" in out
    assert "0 of 20 votes" in err
    with open_campaign("my june") as campaign:
        assert campaign.config.instructions.startswith("# Watch first")
        assert campaign.config.thresholds.min_seconds == 1.5
        annotate(campaign, "a01", 3)
        assert run(["campaign", "status", "my june", "--json"]) == 0  # while it is open
        assert json.loads(capsys.readouterr().out)["annotators"][0]["votes"] == 3
        assert run(["campaign", "revoke", "my june", "--name", "a02"]) == 0
        assert campaign.visitor(links[1]["link"].rpartition("/")[2]) is None
        assert run(["campaign", "close", "my june"]) == 0
        assert "next request" in capsys.readouterr().err
        assert campaign.view("a01").closed
    assert run(["campaign", "close", "my june", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["closed"] is True
    assert status("my june").closed


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["create", "june"], 2, "--config FILE"),
        (["create", "june", "--votes", "9", "--gold-share", "0.9"], 2, "gold_share and attention_share"),
        (["create", "world", "--votes", "9"], 6, "already exists"),
        (["create", "june", "--votes", "9", "--gold", "none.csv", "--media", "world"], 5, "none.csv: no such file"),
        (["create", "june", "--votes", "9", "--instructions", "none.md"], 5, "none.md: no such file"),
        (["create", "june", "--votes", "9", "--media", "nowhere"], 5, "nowhere: no such folder"),
        (["invite", "world", "--annotators", "2"], 5, "no campaign in this folder"),
        (["invite", "world"], 2, "nobody to invite"),
        (["status", "nowhere"], 5, "no campaign in this folder"),
        (["close", "nowhere"], 5, "no campaign in this folder"),
        (["revoke", "world", "--name", "x"], 5, "no campaign in this folder"),
    ],
)
def test_invalid_arguments_are_reported(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    assert run(["campaign", *arguments]) == code
    assert said in capsys.readouterr().err
    assert not Path("june").exists()
    assert not Path("nowhere").exists()


def test_invalid_and_repeated_names_are_refused(home: Path) -> None:
    create("june", "curate.duckdb", config(), videos="world")
    invite("june", ["ann"], url="http://x")
    for names in (["ann"], ["ben", "ann"], ["../x"], ["a b"], [""], ["ann@example.org"]):
        with pytest.raises(UsageError):
            invite("june", names, url="http://x")
    assert [row.annotator for row in status("june").annotators] == ["ann"]
    with pytest.raises(UsageError, match="ben"):
        revoke("june", ["ben"])
    revoke("june", ["ann"])
    assert invite("june", ["ann"], url="http://x/")[0].link.startswith("http://x/a/")


def test_a_closed_campaign_invites_no_annotator(home: Path) -> None:
    create("june", "curate.duckdb", config(), videos="world")
    close("june")
    with pytest.raises(UsageError, match="closed"):
        invite("june", ["ann"], url="http://x")
    assert invite("june", [], managers=["boss"], url="http://x")[0].role == "manager"


def test_new_names_are_not_in_the_campaign_or_its_store(home: Path) -> None:
    create("june", "curate.duckdb", config(), videos="world")
    votes = pl.read_csv("world/votes.csv").head(1).with_columns(annotator_id=pl.lit("a02"))
    votes.write_csv("more.csv")
    assert ingest("more.csv", "curate.duckdb").votes == 1
    invite("june", ["a01"], url="http://x")
    assert new_names("june", 2) == ["a03", "a04"]


def test_too_few_control_questions_are_reported(home: Path) -> None:
    few = Path("gold.csv").read_text().splitlines()[:3]
    Path("few.csv").write_text("\n".join(few))
    report = create("june", "curate.duckdb", config(), videos="world", gold="few.csv")
    assert any("2 of 5" in warning for warning in report.warnings)


# Media for browsers


def write_video(path: Path, codec: str, pixels: str = "yuv420p") -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 66, 48, pixels
        for number in range(10):
            image = np.full((48, 66, 3), number * 20, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "as_is", "suffix"),
    [
        ("a.mp4", "libx264", "yuv420p", True, ".mp4"),
        ("a.webm", "libvpx-vp9", "yuv420p", True, ".webm"),
        ("a.mp4", "mpeg4", "yuv420p", False, ".mp4"),
        ("a.mp4", "libx264", "yuv444p", False, ".mp4"),
        ("a.mkv", "libx264", "yuv420p", False, ".mp4"),
        ("a.avi", "mpeg4", "yuv420p", False, ".mp4"),
    ],
)
def test_other_formats_are_transcoded_with_their_times(
    tmp_path: Path, name: str, codec: str, pixels: str, as_is: bool, suffix: str
) -> None:
    path = write_video(tmp_path / name, codec, pixels)
    how = playable(path)
    assert (how.as_is, how.suffix, how.image) == (as_is, suffix, False)
    if not as_is:
        outs = [tmp_path / "one.mp4", tmp_path / "two.mp4"]
        for out in outs:
            encode(path, out)
        assert playable(outs[0]).as_is
        assert outs[0].read_bytes() == outs[1].read_bytes()
        before, after = read_video(path, 5), read_video(outs[0], 5)
        assert after.duration == pytest.approx(before.duration)
        assert np.abs(after.images.astype(int) - before.images.astype(int)).mean() < 6
        assert outs[0].read_bytes().index(b"moov") < outs[0].read_bytes().index(b"mdat")


def test_variable_frame_times_are_kept(tmp_path: Path) -> None:
    path = encode_test_video(tmp_path / "a.mkv", [0, 100, 200, 1200, 1300, 1400])
    encode(path, tmp_path / "out.mp4")
    (before, began), (after, begins) = decode(path, 6), decode(tmp_path / "out.mp4", 6)
    assert begins.tolist() == pytest.approx(began.tolist(), abs=0.002)
    assert after.duration == pytest.approx(before.duration, abs=0.1)  # how long the last is shown, mp4 guesses


@pytest.mark.parametrize("matrix", [(0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)])
def test_a_rotated_video_is_rotated(tmp_path: Path, matrix: tuple[int, ...]) -> None:
    path, out = tmp_path / "a.mp4", tmp_path / "out.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        image = np.zeros((64, 64, 3), dtype=np.uint8)
        image[:32, :32], image[32:, :32] = 250, 120  # each corner another
        for number in range(4):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in matrix)
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    encode(path, out)
    before, after = read_video(path, 2).images.astype(int), read_video(out, 2).images.astype(int)
    assert np.abs(before[0] - image).mean() > 20
    assert np.abs(after - before).mean() < 3


def test_an_undecodable_video_is_refused_without_output(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", "mpeg4")
    bad = tmp_path / "bad.avi"
    for content in (b"no video at all", path.read_bytes()[:300]):
        bad.write_bytes(content)
        with pytest.raises(MediaError, match=r"bad\.avi"):
            encode(bad, tmp_path / "out.mp4")
        assert not (tmp_path / "out.mp4").exists()


def test_images_are_copied_or_converted_to_png(tmp_path: Path) -> None:
    from PIL import Image

    picture = Image.new("RGB", (8, 6), (200, 10, 10))
    for name, as_is, suffix in (("a.jpg", True, ".jpg"), ("a.webp", True, ".webp"), ("a.bmp", False, ".png")):
        picture.save(tmp_path / name)
        how = playable(tmp_path / name)
        assert (how.as_is, how.suffix, how.image) == (as_is, suffix, True)
    encode(tmp_path / "a.bmp", tmp_path / "out.png")
    assert Image.open(tmp_path / "out.png").getpixel((3, 3)) == (200, 10, 10)
