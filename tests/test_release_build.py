"""Building a release: its contents, atomic and reproducible builds, versions, and leaks."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from cli.main import run
from curate.release.manifest import read_release
from curate.release.media import public_name
from curate.release.tables import SPLITS, hash_values, side_of
from curate.reward.data import read_examples
from curate.shards.atomic import files_of
from curate.store import Store
from curate.store.exports import published
from pipelines.exporting import export
from pipelines.releasing import LeakError, build
from schemas.errors import CurateError
from schemas.leakage import LeakConfig
from schemas.release import Filters, MediaAs, ReleaseConfig
from tests.releases import (
    CONFIG,
    folder_of,
    make_clips,
    make_world,
    on_side,
    prompts,
    released,
    set_hashes,
    sides,
    with_media,
)
from tests.stores import RUN, Ranked, add_prompts, make_store

pytestmark = pytest.mark.slow

ITEMS = ("train", "train_pairwise", "train_full", "benchmark", "benchmark_pairwise", "benchmark_full")


@pytest.fixture
def world(tmp_path: Path) -> tuple[Path, Path]:
    return make_world(tmp_path)


def table(folder: Path, config: str) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(path) for path in sorted(folder.glob(f"{config}-*.parquet"))])


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files_of(folder)}


def built(world: tuple[Path, Path], out: Path, media_as: MediaAs | None = None) -> Path:
    return folder_of(build(world[0], out=out, config=with_media(media_as), media=world[1]))


# Contents.


def test_every_side_has_its_configs_and_each_prompt_is_on_one() -> None:
    folder = released("files")
    side = dict(pl.read_parquet(folder / "prompts.parquet").select("prompt_id", "split").iter_rows())
    assert set(side) == {prompt.prompt_id for prompt in prompts()}
    assert set(side.values()) == {"train", "benchmark"}
    for config in ITEMS:
        assert {side[prompt] for prompt in table(folder, config)["prompt_id"]} == {side_of(config)}
    assert {len(ids) for ids in table(folder, "benchmark")["response_ids"]} == {4}
    assert {len(ids) for ids in table(folder, "benchmark_full")["response_ids"]} == {6}


def test_each_row_has_the_relative_path_and_digest_of_its_video() -> None:
    folder = released("files")
    for row in pl.concat([table(folder, config) for config in ITEMS]).iter_rows(named=True):
        if row["prompt_id"] == "p007":
            assert (row["video"], row["media_sha256"]) == (None, None)
            continue
        assert re.fullmatch(r"media/[0-9a-f]{32}\.mp4", row["video"])
        assert hashlib.sha256((folder / row["video"]).read_bytes()).hexdigest() == row["media_sha256"]


def test_the_card_states_agreement_between_rankers_only_for_an_ensemble(
    world: tuple[Path, Path], tmp_path: Path
) -> None:
    line = "| Kendall tau between the ensemble's rankers |"
    assert line not in (released("files") / "README.md").read_text()
    with Store.open(world[0]) as opened:
        opened.execute("UPDATE prompt_stats SET agreement = 0.75, expected_tau = 0.5")
    assert f"{line} 0.750 |" in (built(world, tmp_path / "several") / "README.md").read_text()


def test_preference_pairs_are_conversations_whose_chosen_ranks_higher() -> None:
    folder = released("files")
    pairs, items = table(folder, "train_preferences"), table(folder, "train_pairwise")
    for pair, item in zip(pairs.iter_rows(named=True), items.iter_rows(named=True), strict=True):
        assert pair["prompt"] == [{"role": "user", "content": item["prompt"]}]
        best = item["ranks"].index(1)
        assert pair["chosen"] == [{"role": "assistant", "content": item["responses"][best]}]
        assert pair["rejected"] == [{"role": "assistant", "content": item["responses"][1 - best]}]
        assert (pair["chosen_model"], pair["rejected_model"]) == (item["models"][best], item["models"][1 - best])


def test_the_best_of_four_has_the_preferred_response_apart_and_claims_nothing_about_the_others() -> None:
    folder = released("files")
    rows, items = table(folder, "benchmark_best_of_4"), table(folder, "benchmark")
    assert rows["id"].to_list() == items["item_id"].to_list()
    assert rows.select("num_preferred", "total_completions").unique().rows() == [(1, 4)]
    assert not {"num_correct", "num_incorrect"} & set(rows.columns)
    for row, item in zip(rows.iter_rows(named=True), items.iter_rows(named=True), strict=True):
        assert row["chosen"] == [item["responses"][item["best"]]]
        assert row["chosen"] + row["rejected"] == sorted(
            item["responses"], key=lambda text: (text != row["chosen"][0], item["responses"].index(text))
        )
        assert row["models"][0] == item["models"][item["best"]]


def test_the_reward_model_reads_a_release() -> None:
    folder = released("files")
    examples = read_examples(folder, config="benchmark")
    assert len(examples) == len(table(folder, "benchmark"))
    assert all(example.video is None or example.video.is_file() for example in examples)


def test_the_funnel_counts_every_prompt_and_the_filter_that_dropped_it(tmp_path: Path) -> None:
    many = [*prompts(), Ranked("thin", (), status="too_few_votes"), Ranked("apart", (1, 1, 2), components=(0, 1, 1))]
    store = make_store(tmp_path / "curate.duckdb", many)
    config = CONFIG.model_copy(update={"filters": Filters(min_responses=3)})
    report = build(store, out=tmp_path / "out", config=config)
    stages = {stage.stage: stage for stage in report.funnel.stages}
    assert (stages["ranking"].input, stages["ranking"].kept, stages["ranking"].dropped) == (10, 9, {"too_few_votes": 1})
    assert stages["filters"].dropped == {"fewer connected responses than min_responses": 1}
    sets = sum(stage.kept for name, stage in stages.items() if name.startswith("items: "))
    assert sets == sum(report.items[config] for config in ITEMS)
    with pytest.raises(CurateError, match="nothing to release") as refused:
        build(store, out=tmp_path / "none", config=CONFIG.model_copy(update={"filters": Filters(min_votes=1)}))
    assert "filters: 0 of 9 prompts kept" in refused.value.hint


# Its media.


def test_tar_shards_hold_each_video_once_with_its_items_and_no_time() -> None:
    folder = released("webdataset")
    names = []
    for path in sorted((folder / "media").iterdir()):
        with tarfile.open(path) as tar:
            members = tar.getmembers()
            assert {(m.mtime, m.mode, m.uid, m.gid, m.uname) for m in members} == {(0, 0o644, 0, 0, "")}
            videos = [m.name for m in members if m.name.endswith(".mp4")]
            for name in videos:
                file = tar.extractfile(name.replace(".mp4", ".json"))
                assert file is not None
                items = json.load(file)["items"]
                assert {item["video"] for item in items} == {f"media/{name}"}
                assert {item["config"].split("_")[0] for item in items} == {path.name.split("-")[0]}
            names += videos
    assert sorted(f"media/{name}" for name in names) == sorted(pl.read_parquet(folder / "metadata.parquet")["video"])


def test_embedded_media_are_the_bytes_of_each_row() -> None:
    folder = released("embedded")
    assert not (folder / "media").exists()
    rows = table(folder, "benchmark").drop_nulls("media_sha256")
    assert len(rows) > 0
    for video, sha256 in rows.select("video", "media_sha256").iter_rows():
        assert hashlib.sha256(video["bytes"]).hexdigest() == sha256


def test_old_names_in_a_config_are_accepted_with_a_warning() -> None:
    with pytest.warns(FutureWarning, match="embedded"):
        assert ReleaseConfig.model_validate({"media_as": "inside"}).media_as == "embedded"
    with pytest.warns(FutureWarning, match="min_bits"):
        assert LeakConfig.model_validate({"least_bits": 3}).min_bits == 3


def test_the_command_accepts_the_old_name_of_a_packaging_and_refuses_unknown_ones(
    world: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["release", "build", "--store", str(world[0]), "--out", str(tmp_path / "out"), "--media", str(world[1])]
    assert run([*arguments, "--media-as", "boxes"]) == 2
    capsys.readouterr()
    assert run([*arguments, "--media-as", "inside"]) == 0
    printed = capsys.readouterr()
    assert "'inside' is now called 'embedded'" in printed.err
    assert read_release(Path(printed.out.strip())).media_as == "embedded"


def test_without_media_videos_are_named_without_absolute_paths(tmp_path: Path) -> None:
    many = [replace(prompt, video=prompt.video and f"/home/someone/{prompt.video}") for prompt in prompts()]
    folder = folder_of(build(make_store(tmp_path / "s.duckdb", many), out=tmp_path / "out", config=CONFIG))
    assert set(table(folder, "train")["video"].drop_nulls()) <= {f"{i}.mp4" for i in range(4)}
    assert not [name for name, data in contents(folder).items() if b"/home/" in data]


def test_public_names_have_no_absolute_path() -> None:
    assert [public_name(name) for name in ("videos/a.mp4", "/x/a.mp4", r"C:\x\a.mp4")] == [
        "videos/a.mp4",
        "a.mp4",
        "a.mp4",
    ]


def test_a_missing_video_stops_the_build_or_its_prompts_are_dropped_and_counted(
    world: tuple[Path, Path], tmp_path: Path
) -> None:
    (world[1] / "videos" / "1.mp4").unlink()
    with pytest.raises(CurateError, match=r"2 prompts .*2 missing.*videos/1\.mp4"):
        build(world[0], out=tmp_path / "out", config=CONFIG, media=world[1])
    config = CONFIG.model_copy(update={"bad_media": "drop"})
    report = build(world[0], out=tmp_path / "out", config=config, media=world[1])
    (stage,) = [stage for stage in report.funnel.stages if stage.stage == "media"]
    assert (stage.kept, stage.dropped) == (6, {"missing": 2})


def test_the_media_table_has_the_facts_found_by_probing(tmp_path: Path) -> None:
    media = make_clips(tmp_path / "media")
    store = make_store(tmp_path / "s.duckdb", prompts())  # not probed before
    report = build(store, out=tmp_path / "out", config=CONFIG, media=media)
    rows = pl.read_parquet(folder_of(report) / "metadata.parquet").sort("media_name")
    assert rows.select("width", "height", "codec").unique().rows() == [(64, 64, "h264")]
    assert rows["frames"].to_list() == [5, 6, 7, 8]
    assert rows["duration"].round(2).to_list() == [0.2, 0.24, 0.28, 0.32]
    assert {len(hashes) for hashes in rows["phash"]} == {24}
    with Store.open(store, read_only=True) as opened:
        stored = opened.frame("SELECT phash FROM media ORDER BY video")["phash"].to_list()
    assert [list(hash_values(row)) for row in rows["phash"].to_list()] == stored


# Loading.

LOAD = """
import io, sys
import av, decord, datasets
from datasets import get_dataset_config_names, load_dataset
try:
    import torchcodec
except (ImportError, OSError, RuntimeError):
    torchcodec = None
for folder in sys.argv[1:]:
    for config in get_dataset_config_names(folder):
        [(split, rows)] = load_dataset(folder, config).items()
        place = next(i for i, row in enumerate(rows) if row["video"] is not None)
        video, difference = rows[place]["video"], 0
        if isinstance(video, dict):
            source = video["path"] if video["bytes"] is None else io.BytesIO(video["bytes"])
            frame = decord.VideoReader(source)[0].asnumpy()
            video = frame.shape
            if torchcodec is not None and config in ("benchmark", "train_pairwise"):
                theirs = rows.cast_column("video", datasets.Video())[place]["video"][0].permute(1, 2, 0).numpy()
                difference = abs(frame.astype(int) - theirs.astype(int)).max()
        print(folder, config, split, len(rows), difference, video, sep="|")
"""


@pytest.mark.slow
def test_datasets_loads_every_config_offline_and_decodes_its_videos(tmp_path: Path) -> None:
    """datasets itself decodes them too, to the same pixels as decord, if torchcodec is usable."""
    folders = {media_as: released(media_as) for media_as in ("files", "embedded", "none")}
    cache = str(tmp_path / "hf")
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *map(str, folders.values())],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": cache, "HF_DATASETS_CACHE": cache},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split("|") for line in done.stdout.splitlines()]
    for media_as, folder in folders.items():
        loaded = {line[1]: line[2:] for line in lines if line[0] == str(folder)}
        for config, count in read_release(folder).counts["items"].items():
            split, rows, difference, video = loaded.pop(config)
            assert (split, int(rows)) == (SPLITS[side_of(config)], count)
            assert media_as == "none" or (video == "(64, 64, 3)" and int(difference) <= 2)
        assert loaded.keys() == ({"prompts"} if media_as == "none" else {"prompts", "media"})


# Reproducible, atomic, and versioned.


def test_the_same_release_again_changes_nothing_and_elsewhere_has_the_same_bytes(
    world: tuple[Path, Path], tmp_path: Path
) -> None:
    first = build(world[0], out=tmp_path / "a", config=CONFIG, media=world[1])
    assert folder_of(first).name == f"tiny-{first.version}"
    before = contents(folder_of(first))
    again = build(world[0], out=tmp_path / "a", config=CONFIG, media=world[1])
    assert again == first.model_copy(update={"reused": True})
    other = make_store(tmp_path / "other.duckdb", prompts(), order=3)
    elsewhere = build(other, out=tmp_path / "b", config=CONFIG, media=world[1])
    assert contents(folder_of(elsewhere)) == before == contents(folder_of(first))


def test_the_version_moves_with_the_data_and_the_loaders_version_with_it(
    world: tuple[Path, Path], tmp_path: Path
) -> None:
    first = built(world, tmp_path / "out")
    with Store.open(world[0]) as opened:
        opened.execute("UPDATE responses SET text = 'corrected' WHERE response_id = 'p000-a'")
    second = built(world, tmp_path / "out")
    numbers = [set(re.findall(r'version: "(0\.0\.\d+)"', (f / "README.md").read_text())) for f in (first, second)]
    assert [len(found) for found in numbers] == [1, 1]
    assert numbers[0] != numbers[1]
    assert read_release(first).version != read_release(second).version


def test_a_version_for_people_is_given_once(world: tuple[Path, Path], tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"version": "1.0.0"})
    first = build(world[0], out=tmp_path / "out", config=config, media=world[1])
    assert folder_of(first).name == "tiny-1.0.0"
    other = config.model_copy(update={"seed": 1})
    with pytest.raises(CurateError, match=r"tiny 1\.0\.0 exists and holds other data"):
        build(world[0], out=tmp_path / "out", config=other, media=world[1])
    with pytest.raises(CurateError, match=r"tiny 1\.0\.0 exists and holds other data"):
        build(world[0], out=tmp_path / "else", config=other, media=world[1], previous=[folder_of(first)])
    assert not (tmp_path / "else").exists() or not list((tmp_path / "else").iterdir())


def test_a_version_whose_folder_is_gone_is_not_given_to_other_data(world: tuple[Path, Path], tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"version": "next"})
    first = build(world[0], out=tmp_path / "out", config=config, media=world[1])
    before = contents(folder_of(first))
    shutil.rmtree(folder_of(first))
    other = config.model_copy(update={"seed": 1})
    with pytest.raises(CurateError, match=r"curate\.duckdb: tiny 1\.0\.0 exists and holds other data") as refused:
        build(world[0], out=tmp_path / "out", config=other.model_copy(update={"version": "1.0.0"}), media=world[1])
    assert "--version next" in refused.value.hint
    assert build(world[0], out=tmp_path / "out", config=other, media=world[1]).release == "1.1.0"
    again = build(world[0], out=tmp_path / "out", config=config, media=world[1])
    assert (again.release, again.reused, contents(folder_of(again))) == ("1.0.0", False, before)


def test_a_number_that_only_the_ledger_records_is_not_given_again(world: tuple[Path, Path], tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"version": "1.4.0"})
    first = build(world[0], out=tmp_path / "out", config=config, media=world[1])
    shutil.rmtree(folder_of(first))
    with Store.open(world[0]) as opened:
        opened.execute("DELETE FROM runs WHERE step = 'release'")
    with pytest.raises(CurateError, match=r"tiny 1\.4\.0 exists .*version unknown"):
        build(world[0], out=tmp_path / "out", config=config, media=world[1])
    following = config.model_copy(update={"version": "next"})
    assert build(world[0], out=tmp_path / "out", config=following, media=world[1]).release == "1.5.0"


def test_a_folder_may_be_named_and_is_refused_where_it_holds_something_else(
    world: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "mine"
    report = build(world[0], out=out, config=CONFIG, exact=True)
    assert (folder_of(report), build(world[0], out=out, config=CONFIG, exact=True).reused) == (out, True)
    with pytest.raises(CurateError, match="holds another release"):
        build(world[0], out=out, config=CONFIG.model_copy(update={"seed": 1}), exact=True)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CurateError, match="not a folder"):
        build(world[0], out=tmp_path / "file", config=CONFIG, exact=True)


def test_a_damaged_release_is_not_reused(world: tuple[Path, Path], tmp_path: Path) -> None:
    folder = built(world, tmp_path / "out")
    (folder / "train.jsonl").unlink()
    with pytest.raises(CurateError, match=r"train\.jsonl is missing"):
        built(world, tmp_path / "out")


def test_a_failure_in_the_middle_leaves_no_folder_and_no_record(
    world: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("curate.release.build.croissant", broken)
        with pytest.raises(OSError, match="no space"):
            built(world, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    with Store.open(world[0], read_only=True) as opened:
        assert (opened.runs()["step"].to_list(), len(published(opened))) == (["denoise"], 0)


# Leaks.


def test_near_duplicates_are_assigned_to_one_side(tmp_path: Path) -> None:
    media = make_clips(tmp_path / "media", count=8)
    store = make_store(tmp_path / "s.duckdb", [Ranked(f"p{i}", (1, 2, 3, 4), f"videos/{i}.mp4") for i in range(8)])
    wave = 0b1111_0000_1111_0000_1111_0000_1111_0000
    set_hashes(store, media, {f"videos/{i}.mp4": (wave,) * 24 for i in range(7)})
    build(store, out=tmp_path / "out", config=CONFIG, media=media)
    assert len({side for prompt, side in sides(store).items() if prompt != "p7"}) == 1


def test_a_copy_of_a_video_on_the_other_side_fails_the_build_with_evidence(tmp_path: Path) -> None:
    store, media = make_world(tmp_path)
    export(store, "train", out=tmp_path / "first", config=CONFIG.export("train", min_confidence=0))
    train, benchmark = (next(p for p in on_side(store, side) if p != "p007") for side in ("train", "benchmark"))
    files = [media / "videos" / f"{int(p[1:]) // 2}.mp4" for p in (train, benchmark)]
    files[0].write_bytes(files[1].read_bytes())
    with pytest.raises(LeakError, match=f"same video: training '{train}', benchmark '{benchmark}'") as found:
        build(store, out=tmp_path / "out", config=CONFIG, media=media)
    assert "on_leak" in found.value.hint
    assert not list((tmp_path / "out").glob("*"))
    config = CONFIG.model_copy(update={"leakage": LeakConfig(on_leak="drop")})
    report = build(store, out=tmp_path / "out", config=config, media=media)
    (stage,) = [stage for stage in report.funnel.stages if stage.stage == "leakage"]
    assert stage.dropped == {"leaks: same video": 2}


def test_a_re_encoded_video_under_another_name_fails_the_build(tmp_path: Path) -> None:
    store, media = make_world(tmp_path)
    export(store, "train", out=tmp_path / "first", config=CONFIG.export("train", min_confidence=0))
    train, benchmark = (next(p for p in on_side(store, side) if p != "p007") for side in ("train", "benchmark"))
    names = [f"videos/{int(p[1:]) // 2}.mp4" for p in (train, benchmark)]
    wave = 0x0F0F_0F0F_0F0F_0F0F
    set_hashes(store, media, {names[0]: (wave,), names[1]: (wave ^ 1,)})
    with pytest.raises(
        LeakError, match=r"same near video: .* \(videos 'videos/\d\.mp4' and 'videos/\d\.mp4', distance 0\.03"
    ):
        build(store, out=tmp_path / "out", config=CONFIG, media=media)


def test_a_question_in_other_case_on_the_other_side_fails_the_build(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.duckdb", [Ranked(f"p{i}", (1, 2, 3, 4)) for i in range(8)])
    config = CONFIG.export("train", min_confidence=0)
    export(store, "train", out=tmp_path / "first", config=config)
    train, benchmark = (on_side(store, side)[0] for side in ("train", "benchmark"))
    with Store.open(store) as opened:
        for prompt, question in ((train, "How tall is it?"), (benchmark, "HOW TALL is it")):
            opened.execute("UPDATE prompts SET question = ? WHERE prompt_id = ?", [question, prompt])
    with pytest.raises(LeakError, match=r"same question: .*'How tall is it\?' and 'HOW TALL is it' share 100%"):
        build(store, out=tmp_path / "out", config=CONFIG)


def test_a_generic_question_about_other_videos_does_not_stop_a_build(world: tuple[Path, Path], tmp_path: Path) -> None:
    with Store.open(world[0]) as opened:
        opened.execute("UPDATE prompts SET question = 'What happens in the video?' WHERE video IS NOT NULL")
    report = build(world[0], out=tmp_path / "out", config=CONFIG, media=world[1])
    assert min(report.prompts.values()) > 0


def test_a_prompt_of_a_published_benchmark_never_trains_later(world: tuple[Path, Path], tmp_path: Path) -> None:
    old = build(world[0], out=tmp_path / "out", config=CONFIG, media=world[1])
    benchmark = set(on_side(world[0], "benchmark"))
    other = make_store(tmp_path / "later.duckdb", prompts())
    split = CONFIG.split.model_copy(update={"seed": 2})
    later = CONFIG.model_copy(update={"split": split, "name": "later"})
    export(other, "train", out=tmp_path / "e", config=later.export("train", min_confidence=0))
    assert benchmark & set(on_side(other, "train"))
    with pytest.raises(LeakError, match=rf"same prompt: training 'p\d+', benchmark 'p\d+' of tiny-{old.version}"):
        build(other, out=tmp_path / "out", config=later, media=world[1], previous=[folder_of(old)])
    fresh = make_store(tmp_path / "fresh.duckdb", prompts())
    report = build(fresh, out=tmp_path / "out", config=later, media=world[1], previous=[folder_of(old)])
    assert benchmark <= set(on_side(fresh, "benchmark"))
    assert report.previous == (f"tiny-{old.version}",)


def test_the_store_has_a_ledger_of_published_benchmarks(world: tuple[Path, Path], tmp_path: Path) -> None:
    report = build(world[0], out=tmp_path / "out", config=CONFIG, media=world[1])
    with Store.open(world[0]) as opened:
        ledger = published(opened)
        assert set(ledger["prompt_id"]) == set(on_side_of(opened))
        assert ledger["release"].unique().to_list() == [f"tiny-{report.version}"]
        assert ledger.filter(pl.col("video").is_not_null())["sha256"].null_count() == 0
        # A new prompt on a published video: it has no side yet, and goes where the video is.
        add_prompts(opened, [Ranked("copy", (1, 2, 3, 4), "elsewhere.mp4")])
    name = ledger["video"].drop_nulls()[0]
    (world[1] / "elsewhere.mp4").write_bytes((world[1] / name).read_bytes())
    build(world[0], out=tmp_path / "out", config=CONFIG, media=world[1])
    assert sides(world[0])["copy"] == "benchmark"


def on_side_of(store: Store) -> list[str]:
    return store.frame("SELECT prompt_id FROM splits WHERE split = 'benchmark'")["prompt_id"].to_list()


def test_the_build_is_recorded_as_a_run_with_its_inputs(world: tuple[Path, Path], tmp_path: Path) -> None:
    report = build(world[0], out=tmp_path / "out", config=CONFIG, media=world[1])
    with Store.open(world[0], read_only=True) as opened:
        run = opened.run(report.run)
    assert run is not None
    assert (run["step"], run["inputs"]["denoise"], run["report"]["version"]) == ("release", RUN, report.version)
    manifest = read_release(folder_of(report))
    assert manifest.run.inputs.keys() == {"denoise", "prompts", "media", "chosen", "previous"}
    assert {file.rows for file in manifest.files if file.path == "prompts.parquet"} == {8}
    assert all(
        file.rows == pq.read_metadata(folder_of(report) / file.path).num_rows
        for file in manifest.files
        if file.path.endswith(".parquet")
    )


def test_the_command_prints_the_folder_and_gives_the_evidence_of_a_leak_as_json(
    world: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "release.toml"
    config.write_text('name = "cinema"\n[split]\nbenchmark_fraction = 0.5\nseed = 1\n')
    arguments = ["release", "build", "--store", str(world[0]), "--out", str(tmp_path / "out"), "--config", str(config)]
    assert run([*arguments, "--media", str(world[1]), "--version", "2.0.0"]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{tmp_path / 'out' / 'cinema-2.0.0'}\n"
    assert "ranking: 8 of 8 prompts" in printed.err
    train, benchmark = (next(p for p in on_side(world[0], side) if p != "p007") for side in ("train", "benchmark"))
    files = [world[1] / "videos" / f"{int(p[1:]) // 2}.mp4" for p in (train, benchmark)]
    files[0].write_bytes(files[1].read_bytes())
    assert run([*arguments, "--media", str(world[1]), "--json"]) == 7
    evidence = json.loads(capsys.readouterr().out)
    assert {(leak["rule"], leak["train"]) for leak in evidence["leaks"]} >= {("video", train)}
    assert "on_leak" in evidence["hint"]


def test_a_benchmark_in_the_same_folder_is_kept_out_of_training_whatever_store_made_it(
    world: tuple[Path, Path], tmp_path: Path
) -> None:
    config = CONFIG.model_copy(update={"version": "next"})
    first = build(world[0], out=tmp_path / "out", config=config, media=world[1])
    old = set(table(folder_of(first), "benchmark_full")["prompt_id"])
    fresh = make_store(tmp_path / "fresh.duckdb", prompts())
    other = config.model_copy(update={"split": CONFIG.split.model_copy(update={"seed": 5})})
    build(fresh, out=tmp_path / "alone", config=other, media=world[1])
    assert old & set(on_side(fresh, "train")), "the other split would train on some"
    again = make_store(tmp_path / "again.duckdb", prompts())
    build(again, out=tmp_path / "out", config=other, media=world[1])
    assert old <= set(on_side(again, "benchmark"))
