"""Exports: the contents of a folder of shards, atomic and reproducible writing, and the split."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

import pipelines.exporting as exporting
from cli.export import print_export
from curate.shards.atomic import read_manifest
from curate.store import Store
from curate.uncertainty.posterior import best_probability
from pipelines.exporting import Kind, export
from schemas.config import ExportConfig, SplitConfig
from schemas.errors import CurateError
from schemas.items import ITEM_COLUMNS, JSONL_KEYS
from schemas.manifest import Manifest
from schemas.reports import ExportReport
from tests.stores import RUN, Ranked, add_prompts, make_store, plenty

pytestmark = pytest.mark.slow

HALF = ExportConfig(split=SplitConfig(benchmark_fraction=0.5))
KINDS: tuple[Kind, ...] = ("train", "benchmark")


@pytest.fixture(scope="session")
def ranked_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("ranked") / "curate.duckdb", plenty())


@pytest.fixture
def store(ranked_store: Path, tmp_path: Path) -> Path:
    """A copy of a store with rankings."""
    return Path(shutil.copy(ranked_store, tmp_path))


@pytest.fixture(scope="session")
def exported(ranked_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Both sides of a store, exported once: folder and report; read only."""
    home = tmp_path_factory.mktemp("exported")
    store = Path(shutil.copy(ranked_store, home))
    return {kind: (home / kind, export(store, kind, out=home / kind, config=HALF)) for kind in KINDS}


Exported = dict[Kind, tuple[Path, ExportReport]]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def names(folder: Path) -> list[str]:
    """Everything next to the store, including hidden leftovers."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("curate.duckdb"))


def read(folder: Path, config: str) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(path) for path in sorted(folder.glob(f"{config}-*.parquet"))])


# Contents.


def test_no_prompt_and_no_video_is_on_both_sides(exported: Exported) -> None:
    train = read(exported["train"][0], "train")
    test = pl.concat([read(exported["benchmark"][0], name) for name in ("4way", "pairwise")])
    assert not set(train["prompt_id"]) & set(test["prompt_id"])
    assert not set(train["video"].drop_nulls()) & set(test["video"].drop_nulls())
    assert set(train["prompt_id"]) | set(test["prompt_id"]) == {prompt.prompt_id for prompt in plenty()}


def test_items_agree_with_the_ranking_and_the_best_is_strictly_best(ranked_store: Path, exported: Exported) -> None:
    with Store.open(ranked_store, read_only=True) as opened:
        rank = {row["response_id"]: row["rank"] for row in opened.rankings(RUN).to_dicts()}
    for name, size in (("4way", 4), ("pairwise", 2)):
        items = read(exported["benchmark"][0], name)
        assert items["item_id"].n_unique() == len(items) == 4 * items["prompt_id"].n_unique()
        assert items.equals(items.sort("prompt_id", maintain_order=True))
        for row in items.to_dicts():
            true = [rank[response] for response in row["response_ids"]]
            assert len(set(row["response_ids"])) == size
            assert [sorted(true).index(r) + 1 for r in true] == row["ranks"]
            assert row["ranks"].count(1) == 1
            assert row["ranks"][row["best"]] == 1
            assert 0 < row["confidence"] <= 1
            assert row["run_id"] == RUN


def test_an_item_has_connected_responses_only_and_others_are_counted(tmp_path: Path) -> None:
    prompts = [
        Ranked("apart", (1, 2, 3, 4, 1, 2, 1), components=(0, 0, 0, 0, 1, 1, 2), status="disconnected"),
        Ranked("few", (1, 2, 3)),
        Ranked("thin", (), status="too_few_votes"),
        Ranked("skipped", (), status="skipped"),
    ]
    path = make_store(tmp_path / "curate.duckdb", prompts)
    config = ExportConfig(split=SplitConfig(benchmark_fraction=1))
    report = export(path, "benchmark", out=tmp_path / "out", config=config)
    assert report.excluded == {
        "prompt: skipped": 1,
        "prompt: too_few_votes": 1,
        "prompt: too few responses (4way)": 1,
        "response: not connected to the others": 3,
    }
    assert report.items == {"4way": 1, "pairwise": 4 + 2}
    assert set(read(tmp_path / "out", "4way")["response_ids"][0]) == {f"apart-{c}" for c in "abcd"}


def test_a_config_without_items_has_no_files_and_is_not_the_default(tmp_path: Path) -> None:
    path = make_store(tmp_path / "curate.duckdb", [Ranked(f"p{i}", (1, 2, 3)) for i in range(5)])
    config = ExportConfig(split=SplitConfig(benchmark_fraction=1))
    report = export(path, "benchmark", out=tmp_path / "out", config=config)
    assert (report.items, report.confidence["4way"]) == ({"4way": 0, "pairwise": 10}, None)
    assert not list((tmp_path / "out").glob("4way*"))
    assert '- config_name: "pairwise"\n  default: true' in (tmp_path / "out" / "README.md").read_text()


def test_the_mean_confidence_is_published(exported: Exported) -> None:
    folder, report = exported["benchmark"]
    for name, mean in report.confidence.items():
        assert mean == pytest.approx(read(folder, name)["confidence"].mean())
        assert f"Mean confidence {mean:.3f}" in (folder / "README.md").read_text()


def test_the_ceiling_and_the_floor_are_published(exported: Exported, capsys: pytest.CaptureFixture[str]) -> None:
    folder, report = exported["benchmark"]
    manifest = Manifest.model_validate_json((folder / "manifest.json").read_text())
    print_export(report)
    printed, card = capsys.readouterr().err, (folder / "README.md").read_text()
    for name, floor in (("4way", 0.25), ("pairwise", 0.5)):
        ceiling = report.ceiling[name]
        assert ceiling is not None
        assert ceiling.low < ceiling.mean == report.confidence[name] < ceiling.high
        assert report.floor[name] == floor
        assert manifest.counts["ceiling"][name] == ceiling.model_dump()
        interval = f"{ceiling.low:.2f} to {ceiling.high:.2f}"
        for text in (card, printed):
            assert interval in text
            assert f"{floor:.2f}" in text
            assert f"{report.candidates[name]:,} candidate sets, {report.eligible[name]:,} of them eligible" in text


def test_training_items_without_a_best_have_no_ceiling(tmp_path: Path) -> None:
    path = make_store(tmp_path / "one.duckdb", [Ranked("p", (1, 1, 3))])
    config = ExportConfig(split=SplitConfig(benchmark_fraction=0), responses=0)
    report = export(path, "train", out=tmp_path / "out", config=config)
    assert (report.items["train"], report.ceiling["train"], report.floor["train"]) == (1, None, None)


def test_a_benchmark_is_balanced(exported: Exported) -> None:
    folder, report = exported["benchmark"]
    for name, size in (("4way", 4), ("pairwise", 2)):
        items = read(folder, name)
        places = [(items["best"] == place).sum() for place in range(size)]
        assert max(places) - min(places) <= 1
        assert report.difficulty[name] == {
            level: (items["difficulty"] == level).sum() for level in ("hard", "medium", "easy")
        }


def test_confidence_uses_the_covariances_of_the_items_responses(tmp_path: Path) -> None:
    """A row of the store has the covariances with all ranked responses, including unconnected ones."""
    prompt = Ranked("p", (1, 1, 2, 3, 4), components=(1, 0, 0, 0, 0))
    path = make_store(tmp_path / "curate.duckdb", [prompt])
    report = export(
        path, "benchmark", out=tmp_path / "out", config=ExportConfig(split=SplitConfig(benchmark_fraction=1))
    )
    with Store.open(path, read_only=True) as opened:
        four = opened.rankings(RUN).filter(pl.col("component") == 0).sort("response_id")
    variance = np.diag(four["strength_se"].to_numpy() ** 2)
    chance = best_probability(four["strength"].to_numpy()[None], variance[None], np.array([0]))
    assert report.confidence["4way"] == pytest.approx(chance[0], abs=1e-6)


def test_the_other_side_is_counted(exported: Exported) -> None:
    reports = [report for _, report in exported.values()]
    assert [r.excluded["prompt: in the other split"] for r in reports] == [40 - r.prompts for r in reports]
    assert sum(r.prompts for r in reports) == 40


def test_the_jsonl_has_the_items_of_the_parquet_files(exported: Exported) -> None:
    for folder, report in exported.values():
        for name in report.items:
            lines = (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
            rows = read(folder, name).to_dicts()
            assert len(lines) == len(rows) == report.items[name]
            for line, row in zip(lines, rows, strict=True):
                item = json.loads(line)
                assert tuple(item) == JSONL_KEYS
                assert item["prompt"] == row["prompt"]
                assert item["responses"] == row["responses"]
                assert item["rankings"] == row["ranks"]
                assert item["image"] is None
                assert item["video"] == row["video"]


def test_unknown_values_are_null_or_the_id(tmp_path: Path) -> None:
    path = make_store(tmp_path / "one.duckdb", [Ranked("p001", (1, 2))])
    export(path, "train", out=tmp_path / "out", config=ExportConfig(split=SplitConfig(benchmark_fraction=0)))
    row = read(tmp_path / "out", "train").to_dicts()[0]
    a, b = row["response_ids"].index("p001-a"), row["response_ids"].index("p001-b")
    assert (row["prompt"], row["video"]) == ("p001", None)
    assert (row["models"][a], row["models"][b]) == (None, "model-b")
    assert (row["responses"][a], row["responses"][b]) == ("answer 0 — “é”", "p001-b")


def test_columns_and_types_are_those_of_the_contract(exported: Exported) -> None:
    schema = pq.read_schema(exported["train"][0] / "train-00000-of-00001.parquet")
    found = [(field.name, re.sub(r"\w+: ", "", str(field.type)).replace("double", "float64")) for field in schema]
    assert found == [(column.name, column.type) for column in ITEM_COLUMNS]


def test_shards_are_numbered_and_full(store: Path, tmp_path: Path) -> None:
    report = export(store, "train", out=tmp_path / "out", config=HALF.model_copy(update={"rows_per_shard": 30}))
    paths = sorted((tmp_path / "out").glob("*.parquet"))
    total = -(-report.items["train"] // 30)
    assert total > 1
    assert [path.name for path in paths] == [f"train-{i:05d}-of-{total:05d}.parquet" for i in range(total)]
    rows = [pq.read_metadata(path).num_rows for path in paths]
    assert rows[:-1] == [30] * (total - 1)
    assert sum(rows) == report.items["train"]


def test_min_confidence_holds_for_both_kinds(store: Path, tmp_path: Path) -> None:
    config = HALF.model_copy(update={"min_confidence": 0.9})
    for kind in KINDS:
        report = export(store, kind, out=tmp_path / kind, config=config)
        for name, items in report.items.items():
            assert read(tmp_path / kind, name)["confidence"].min() >= 0.9
            assert items <= report.eligible[name] < report.candidates[name]


# Loading.

LOAD = """
import sys
from datasets import load_dataset
default, pairwise = load_dataset(sys.argv[1]), load_dataset(sys.argv[1], "pairwise")
train = load_dataset(sys.argv[2])
print([(k, len(v)) for d in (default, pairwise, train) for k, v in d.items()], default["test"].column_names)
"""


@pytest.mark.slow
def test_datasets_loads_it_offline_in_one_line(exported: Exported, tmp_path: Path) -> None:
    reports = {kind: report for kind, (_, report) in exported.items()}
    cache = str(tmp_path / "hf")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": cache, "HF_DATASETS_CACHE": cache}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(exported["benchmark"][0]), str(exported["train"][0])],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    sizes = reports["benchmark"].items
    expected = [("test", sizes["4way"]), ("test", sizes["pairwise"]), ("train", reports["train"].items["train"])]
    assert done.stdout.splitlines()[-1] == f"{expected} {[column.name for column in ITEM_COLUMNS]}"


# The manifest, and reproducibility.


def test_the_manifest_describes_every_file_and_the_chain(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = export(store, "benchmark", out=out, config=HALF)
    text = (out / "manifest.json").read_text()
    manifest = Manifest.model_validate_json(text)
    assert {file.path for file in manifest.files} | {"manifest.json"} == set(contents(out))
    for file in manifest.files:
        data = (out / file.path).read_bytes()
        assert (file.sha256, file.bytes) == (hashlib.sha256(data).hexdigest(), len(data))
        if file.path.endswith(".parquet"):
            assert file.rows == pq.read_metadata(out / file.path).num_rows
    assert manifest.run.run == report.run
    assert manifest.run.config["run"] == RUN
    assert [run.run for run in manifest.upstream] == [RUN]
    assert manifest.batches[0].files == (("votes.csv", "abc"),)
    assert manifest.counts["items"] == report.items
    assert str(tmp_path) not in text
    assert "/home/" not in text


def test_same_rankings_same_bytes(store: Path, tmp_path: Path) -> None:
    """Also from a store whose rows were inserted in another order."""
    other = make_store(tmp_path / "rebuilt.duckdb", plenty(), order=7)
    for kind in KINDS:
        first = export(store, kind, out=tmp_path / f"{kind}1", config=HALF)
        again = export(store, kind, out=tmp_path / f"{kind}2", config=HALF)
        rebuilt = export(other, kind, out=tmp_path / f"{kind}3", config=HALF)
        assert first.run == again.run == rebuilt.run
        assert first.version == again.version == rebuilt.version
        assert contents(tmp_path / f"{kind}1") == contents(tmp_path / f"{kind}2") == contents(tmp_path / f"{kind}3")


def test_an_export_is_a_run_of_the_store_which_other_texts_change(store: Path, tmp_path: Path) -> None:
    report = export(store, "train", out=tmp_path / "a", config=HALF)
    with Store.open(store, read_only=True) as opened:
        run = opened.run(report.run)
    assert run is not None
    assert (run["step"], run["inputs"]["denoise"], run["seed"]) == ("export-train", RUN, 0)
    assert run["report"]["items"] == report.items
    by_prefix = HALF.model_copy(update={"run": RUN[:4]})
    assert export(store, "train", out=tmp_path / "b", config=by_prefix).run == report.run
    with Store.open(store) as opened:
        opened.execute("UPDATE responses SET text = 'corrected' WHERE response_id = 'p004-a'")
    assert export(store, "train", out=tmp_path / "c", config=HALF).run != report.run


# The folder.


def test_the_same_export_again_changes_nothing_and_an_empty_folder_is_accepted(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    first = export(store, "train", out=out, config=HALF)
    assert not first.reused
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    again = export(store, "train", out=out, config=HALF)
    assert again == first.model_copy(update={"reused": True})
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before
    assert not export(store, "train", out=tmp_path / "not" / "yet" / "there", config=HALF).reused


def test_a_folder_with_other_content_is_refused_and_kept(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(store, "train", out=out, config=HALF)
    with pytest.raises(CurateError, match="holds another export"):
        export(store, "benchmark", out=out, config=HALF)
    with pytest.raises(CurateError, match="holds another export"):
        export(store, "train", out=out, config=HALF.model_copy(update={"seed": 1}))
    (out / "train.jsonl").write_text("changed")
    (out / "train-00001-of-00002.parquet").write_text("added")
    (out / "README.md").unlink()
    with pytest.raises(CurateError, match=r"README.md is missing.*train.jsonl differs.*00002.parquet was added"):
        export(store, "train", out=out, config=HALF)
    (out / "manifest.json").unlink()
    with pytest.raises(CurateError, match="not an export of curate"):
        export(store, "train", out=out, config=HALF)
    assert (out / "train.jsonl").read_text() == "changed"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CurateError, match="not a folder"):
        export(store, "train", out=tmp_path / "file", config=HALF)


def test_a_failure_in_the_middle_leaves_nothing(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(exporting, "write_jsonl", broken)
        with pytest.raises(OSError, match="no space"):
            export(store, "train", out=tmp_path / "out", config=HALF)
    assert names(tmp_path) == []
    with Store.open(store, read_only=True) as opened:
        assert opened.runs()["step"].to_list() == ["denoise"]
    export(store, "train", out=tmp_path / "out", config=HALF)
    assert names(tmp_path) == ["out"]


KILLED = """
import os, signal, sys
import pipelines.exporting as exporting
from schemas.config import ExportConfig, SplitConfig
exporting.write_manifest = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
exporting.export(sys.argv[1], "train", out=sys.argv[2], config=ExportConfig(split=SplitConfig(benchmark_fraction=0.5)))
"""


def test_a_killed_export_leaves_nothing_that_looks_finished(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = subprocess.run([sys.executable, "-c", KILLED, str(store), str(out)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not out.exists()
    (leftover,) = names(tmp_path)
    assert leftover.startswith(".out.")
    assert not (tmp_path / leftover / "manifest.json").exists()
    report = export(store, "train", out=out, config=HALF)
    assert names(tmp_path) == ["out"]
    whole = make_store(tmp_path / "curate.duckdb2", plenty())
    export(whole, "train", out=tmp_path / "whole", config=HALF)
    assert contents(out) == contents(tmp_path / "whole")
    assert report.items["train"] > 0


OLD_MANIFEST = """
{"kind": "train", "schema_version": 1, "version": "0123456789ab",
 "run": {"run": "aaaaaaaaaaaa", "step": "export-train", "config": {}, "inputs": {}, "code_version": "0.1.0+0"},
 "upstream": [], "batches": [],
 "counts": {"items": {"train": 2}, "prompts": 1, "left_out": {"prompt: thin": 3}}, "files": []}
"""
"""As written by version 0.1; left_out was renamed to excluded."""


@pytest.mark.filterwarnings("error::FutureWarning")
def test_the_manifest_of_an_export_of_the_previous_version_is_read(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(OLD_MANIFEST)
    counts = read_manifest(tmp_path).counts
    assert (counts["excluded"], counts["items"]) == ({"prompt: thin": 3}, {"train": 2})


# The split.


def splits(path: Path) -> dict[str, str]:
    with Store.open(path, read_only=True) as opened:
        return dict(opened.frame("SELECT prompt_id, split FROM splits").iter_rows())


def test_the_share_of_the_benchmark_is_near_benchmark_fraction(tmp_path: Path) -> None:
    path = make_store(tmp_path / "curate.duckdb", [Ranked(f"p{i}", (1, 2)) for i in range(600)])
    export(path, "train", out=tmp_path / "out")
    share = sum(side == "benchmark" for side in splits(path).values()) / 600
    assert abs(share - 0.2) < 0.065  # four standard errors


def test_later_prompts_inherit_sides_and_none_changes(store: Path, tmp_path: Path) -> None:
    export(store, "train", out=tmp_path / "a", config=HALF)
    before = splits(store)
    with Store.open(store) as opened:
        add_prompts(opened, [Ranked(f"q{i:02d}", (1, 2, 3), f"videos/{i:03d}.mp4") for i in range(20)])
    export(store, "train", out=tmp_path / "b", config=HALF)
    after = splits(store)
    assert before.items() <= after.items()
    for i in range(20):
        assert after[f"q{i:02d}"] == before[f"p{2 * i:03d}"]


def test_a_prompt_keeps_its_side_when_its_video_becomes_known(store: Path, tmp_path: Path) -> None:
    export(store, "train", out=tmp_path / "a", config=HALF)
    before = splits(store)
    with Store.open(store) as opened:
        opened.execute("UPDATE prompts SET video = 'new.mp4' WHERE prompt_id = 'p003'")
        add_prompts(opened, [Ranked("late", (1, 2, 3), "new.mp4")])
    export(store, "train", out=tmp_path / "b", config=HALF)
    assert splits(store) == {**before, "late": before["p003"]}


def test_a_video_on_both_sides_is_refused(store: Path, tmp_path: Path) -> None:
    export(store, "train", out=tmp_path / "a", config=HALF)
    alone = {prompt.prompt_id for prompt in plenty() if prompt.video is None}
    sides = {side: prompt for prompt, side in sorted(splits(store).items()) if prompt in alone}
    with Store.open(store) as opened:
        opened.execute("UPDATE prompts SET video = 'both.mp4' WHERE prompt_id IN (?, ?)", list(sides.values()))
    with pytest.raises(CurateError, match=r"both\.mp4") as error:
        export(store, "train", out=tmp_path / "b", config=HALF)
    assert all(f"{prompt} ({side})" in str(error.value) for side, prompt in sides.items())
    assert names(tmp_path) == ["a"]


def test_another_split_is_refused(store: Path, tmp_path: Path) -> None:
    export(store, "train", out=tmp_path / "a", config=HALF)
    for split in (SplitConfig(benchmark_fraction=0.3), SplitConfig(benchmark_fraction=0.5, seed=1)):
        with pytest.raises(CurateError, match=r"split with benchmark_fraction 0\.5 and seed 0"):
            export(store, "train", out=tmp_path / "b", config=ExportConfig(split=split))


def test_an_export_of_nothing_is_refused_and_fixes_no_split(store: Path, tmp_path: Path) -> None:
    config = ExportConfig(split=SplitConfig(benchmark_fraction=0))
    with pytest.raises(CurateError, match=r"nothing to export .*in the other split: 40"):
        export(store, "benchmark", out=tmp_path / "out", config=config)
    assert names(tmp_path) == []
    assert splits(store) == {}
    export(store, "benchmark", out=tmp_path / "out", config=HALF)


def test_a_store_without_rankings_says_so(tmp_path: Path) -> None:
    with Store.open(tmp_path / "curate.duckdb", create=True):
        pass
    with pytest.raises(CurateError, match="no rankings yet"):
        export(tmp_path / "curate.duckdb", "train", out=tmp_path / "out")


def test_a_benchmark_of_pairs_only_is_refused(store: Path, tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="needs 3 responses"):
        export(store, "benchmark", out=tmp_path / "out", config=ExportConfig(responses=0))
    with pytest.raises(ValueError, match="2 or more"):
        ExportConfig(responses=1)
