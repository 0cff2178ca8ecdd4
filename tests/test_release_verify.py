"""Verifying a release: a sound one has no finding, and each planted corruption has its own."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.main import run
from curate.release.croissant import outline
from curate.release.metadata_verification import written_again
from curate.release.sealing import data_version, read_release, releases_in, sealed
from curate.release.verify import verify
from curate.shards.atomic import MANIFEST, describe
from pipelines.releasing import build
from schemas.errors import CurateError
from schemas.release import MediaAs
from tests.releases import CONFIG, folder_of, look_like, make_world
from tests.video_files import encode


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A release for each way of giving the media; copy before you touch it."""
    home = tmp_path_factory.mktemp("releases")
    store, media = make_world(home)
    ways: tuple[MediaAs, ...] = ("files", "webdataset", "inside", "none")
    return {
        way: folder_of(build(store, out=home / way, config=CONFIG.model_copy(update={"media_as": way}), media=media))
        for way in ways
    }


@pytest.fixture
def release(made: dict[str, Path], tmp_path: Path) -> Path:
    folder = tmp_path / made["files"].name
    shutil.copytree(made["files"], folder)
    return folder


def found(folder: Path) -> set[tuple[str, str]]:
    return {(finding.check, finding.where) for finding in verify(folder).findings}


def flip(path: Path, at: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def rewrite(folder: Path, name: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    """Change a table and write it with the schema that it had."""
    (path,) = folder.glob(f"{name}*.parquet") if name == "prompts" else folder.glob(f"{name}-*.parquet")
    table = pq.read_table(path)
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    pq.write_table(change(frame).to_arrow().cast(table.schema), path)


def forge(folder: Path, *, version: bool = True) -> None:
    """Make the manifest agree with the files as they are now, and seal it anew; with the version or without."""
    release = read_release(folder)
    files = tuple(describe(folder / file.path, file.rows, root=folder) for file in release.files)
    update = {"files": files} | ({"version": data_version(files)} if version else {})
    forged = sealed(release.model_copy(update=update))
    (folder / MANIFEST).write_text(forged.model_dump_json(indent=2) + "\n")


@pytest.mark.parametrize("way", ["files", "webdataset", "inside", "none"])
def test_a_sound_release_has_no_finding_and_all_of_it_was_looked_at(made: dict[str, Path], way: str) -> None:
    report = verify(made[way])
    assert report.findings == ()
    release = read_release(made[way])
    assert report.checks["files"] == len(release.files)
    assert report.checks["labels"] == sum(release.counts["items"][name] for name in release.counts["candidates"])
    assert (report.checks["media"] > 0) == (way not in ("none",))


@pytest.mark.parametrize(
    "path", ["train-00000-of-00001.parquet", "benchmark.jsonl", "README.md", "croissant.json", "metadata.parquet"]
)
def test_a_flipped_byte_is_found_in_any_file(release: Path, path: str) -> None:
    flip(release / path)
    assert ("files", path) in found(release)


def test_a_flipped_byte_of_a_video_is_found_twice(release: Path) -> None:
    path = sorted((release / "media").iterdir())[0]
    flip(path)
    assert found(release) == {("files", f"media/{path.name}"), ("media", f"media/{path.name}")}


def test_a_missing_and_an_added_file_are_found_hidden_ones_too(release: Path) -> None:
    (release / "train.jsonl").unlink()
    (release / "media" / ".more").write_text("x")
    assert found(release) == {("files", "train.jsonl"), ("files", "media/.more")}


def test_an_edited_manifest_is_found_though_every_file_agrees(release: Path) -> None:
    text = (release / MANIFEST).read_text()
    (release / MANIFEST).write_text(text.replace('"media_as": "files"', '"media_as":   "files"'))
    assert found(release) == set()  # other white space says the same
    document = json.loads(text)
    document["counts"]["annotators"] += 1
    (release / MANIFEST).write_text(json.dumps(document))
    assert found(release) == {("manifest", MANIFEST), ("card", "README.md")}  # which states them


def swap(rows: pl.DataFrame) -> pl.DataFrame:
    """The ranks of all items turned round."""
    return rows.with_columns(
        ranks=pl.col("ranks").list.eval(pl.element().max() + 1 - pl.element()).cast(pl.List(pl.Int32))
    )


def test_a_changed_figure_of_the_card_is_found_though_its_digest_was_repaired(release: Path) -> None:
    card = release / "README.md"
    text = card.read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("| votes behind them | ")]
    card.write_text(text.replace(line, "| votes behind them | 12,345 of 99 annotators |"))
    forge(release)
    (finding,) = verify(release).findings
    assert (finding.check, finding.where) == ("card", "README.md")
    assert repr(line) in finding.what
    assert "12,345 of 99" in finding.what


def test_a_card_of_another_curate_may_have_other_words_and_that_is_noted(release: Path) -> None:
    card = release / "README.md"
    card.write_text(card.read_text().replace("## Known limits", "## Limits that are known"))
    forge(release)
    report = verify(release, code="another")
    assert report.findings == ()
    assert any("README.md was written by another curate" in note and "Limits that are" in note for note in report.notes)
    text = card.read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("| votes behind them | ")]
    card.write_text(text.replace(line, "| votes behind them | 12,345 of 99 annotators |"))
    forge(release)
    (finding,) = verify(release, code="another").findings  # other figures in the same words are none of its words
    assert (finding.check, "12,345 of 99" in finding.what, repr(line) in finding.what) == ("card", True, True)


@pytest.mark.parametrize(
    ("keys", "value", "what"),
    [
        (("models",), 7, "models is stated as 7, the tables say 5"),
        (("votes",), 1, "votes is stated as 1, the tables say 0"),
        (("prompts", "train"), 5, "prompts.train is stated as 5"),
        (("difficulty", "benchmark", "easy"), 99, "difficulty.benchmark.easy is stated as 99"),
        (("balance", "benchmark", "positions"), [1, 1, 1, 1], "balance.benchmark.positions is stated as [1, 1, 1, 1]"),
        (("confidence", "benchmark"), 0.99, "confidence.benchmark is stated as 0.99"),
        (("ceiling", "benchmark", "mean"), 0.99, "ceiling.benchmark is {'mean': 0.99"),
        (("candidates", "benchmark"), 10_000, "stage 'items: benchmark' of the funnel"),
        (("videos",), 9, "videos is stated as 9"),
    ],
)
def test_a_changed_figure_of_the_manifest_is_found_though_it_was_sealed_and_the_card_written_anew(
    release: Path, keys: tuple[str, ...], value: object, what: str
) -> None:
    document = json.loads((release / MANIFEST).read_text())
    part = document["counts"]
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    (release / MANIFEST).write_text(json.dumps(document))
    written, _ = written_again(read_release(release))
    for name, text in written.items():
        (release / name).write_text(text)
    forge(release)
    findings = verify(release).findings
    assert {finding.check for finding in findings} == {"figures"}
    assert any(what in finding.what for finding in findings)


def look(folder: Path) -> set[tuple[str, str]]:
    """What verify finds where it decodes the media."""
    return {(finding.check, finding.where) for finding in verify(folder, decode=True).findings}


@pytest.mark.parametrize("way", ["files", "webdataset", "inside"])
def test_sound_media_are_decoded_and_show_what_the_table_says(made: dict[str, Path], way: str) -> None:
    report = verify(made[way], decode=True)
    assert (report.findings, report.checks["decoded"]) == ((), 4)


def test_a_video_swapped_for_another_is_found_though_every_digest_was_repaired(release: Path) -> None:
    """Of the same length, size and rate: it takes a look at what it shows."""
    row = pl.read_parquet(release / "metadata.parquet").row(0, named=True)
    path = release / row["video"]
    encode(path, range(0, 40 * row["frames"], 40), noise=True)
    digest, size = hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size
    for table in release.glob("*.parquet"):
        frame = pq.read_table(table)
        own = pl.from_arrow(frame)
        assert isinstance(own, pl.DataFrame)
        mine = pl.col("media_sha256") == row["media_sha256"]
        own = own.with_columns(media_sha256=pl.when(mine).then(pl.lit(digest)).otherwise("media_sha256"))
        if table.name == "metadata.parquet":
            own = own.with_columns(bytes=pl.when(pl.col("media_sha256") == digest).then(size).otherwise("bytes"))
        pq.write_table(own.to_arrow().cast(frame.schema), table)
    forge(release)
    written, _ = written_again(read_release(release))
    for name, text in written.items():
        (release / name).write_text(text)
    forge(release)
    release = release.rename(release.with_name(read_release(release).label))
    assert look(release) == {("media", row["video"]), ("decoded", row["video"])}
    assert any("not named after the digest" in finding.what for finding in verify(release).findings)


@pytest.mark.parametrize("way", ["files", "webdataset", "inside"])
def test_a_video_swapped_under_its_own_new_name_is_found_by_what_it_shows(tmp_path: Path, way: MediaAs) -> None:
    """As if everything, names too, had been made to fit but the hashes of its frames."""
    store, media = make_world(tmp_path)
    encode(media / "videos" / "0.mp4", range(0, 200, 40), noise=True)
    look_like(store, media, {"videos/0.mp4": (0,) * 8})
    config = CONFIG.model_copy(update={"media_as": way})
    folder = folder_of(build(store, out=tmp_path / "out", config=config, media=media))
    digest = hashlib.sha256((media / "videos" / "0.mp4").read_bytes()).hexdigest()
    assert verify(folder).findings == ()
    (finding,) = verify(folder, decode=True).findings
    assert (finding.check, finding.where) == ("decoded", f"media/{digest[:32]}.mp4")
    assert "shows something else" in finding.what


def test_a_video_that_does_not_decode_is_found(release: Path) -> None:
    path = sorted((release / "media").iterdir())[0]
    path.write_bytes(path.read_bytes()[:200])
    findings = [f for f in verify(release, decode=True).findings if f.check == "decoded"]
    assert [finding.where for finding in findings] == [f"media/{path.name}"]
    assert findings[0].what.startswith("does not decode: ")
    assert str(release) not in findings[0].what


def test_swapped_labels_are_found_though_the_file_was_hashed_anew(release: Path) -> None:
    rewrite(release, "benchmark_pairwise", swap)
    forge(release, version=False)
    assert ("manifest", MANIFEST) in found(release)


def test_swapped_labels_are_found_though_the_whole_manifest_was_forged(release: Path) -> None:
    rewrite(release, "benchmark_pairwise", swap)
    forge(release)
    findings = verify(release).findings
    assert {"manifest", "card", "croissant", "labels", "formats"} <= {finding.check for finding in findings}
    assert any("contradict the prompt's full ranking" in finding.what for finding in findings)
    assert any("best is" in finding.what for finding in findings)


def test_labels_swapped_with_their_best_still_contradict_the_full_ranking(release: Path) -> None:
    rewrite(release, "train_pairwise", lambda rows: swap(rows).with_columns(best=1 - pl.col("best")))
    forge(release)
    checks = {finding.check for finding in verify(release).findings if "train_pairwise" in finding.where}
    assert checks == {"labels", "formats"}


def test_a_preference_pair_turned_round_is_found(release: Path) -> None:
    rewrite(release, "train_preferences", lambda rows: rows.with_columns(chosen="rejected", rejected="chosen"))
    forge(release)
    findings = [finding for finding in verify(release).findings if finding.check == "formats"]
    assert len(findings) == read_release(release).counts["items"]["train_preferences"]


def test_a_line_of_jsonl_that_says_something_else_is_found(release: Path) -> None:
    lines = (release / "train.jsonl").read_text().splitlines()
    changed = json.loads(lines[2])
    changed["rankings"] = changed["rankings"][::-1]
    lines[2] = json.dumps(changed)
    (release / "train.jsonl").write_text("\n".join(lines) + "\n")
    forge(release)
    assert ("formats", "train.jsonl:3") in found(release)


def test_a_row_too_few_and_a_column_too_many_are_found(release: Path) -> None:
    rewrite(release, "train", lambda rows: rows[1:])
    assert ("tables", "train-00000-of-00001.parquet") in found(release)
    (path,) = release.glob("benchmark-*.parquet")
    table = pq.read_table(path)
    pq.write_table(table.append_column("answer", pa.array(["x"] * len(table))), path)
    (finding,) = [f for f in verify(release).findings if f.check == "tables" and f.where == path.name]
    assert finding.what == "has other columns: has answer (string)"


def test_an_item_on_the_wrong_side_is_found(release: Path) -> None:
    rewrite(
        release,
        "prompts",
        lambda rows: rows.with_columns(split=pl.when(pl.int_range(pl.len()) == 0).then(pl.lit("?")).otherwise("split")),
    )
    assert "split" in {check for check, _ in found(release)}


def test_a_leak_planted_into_the_tables_is_found(release: Path) -> None:
    rewrite(
        release,
        "prompts",
        lambda rows: rows.with_columns(media_sha256=pl.col("media_sha256").drop_nulls().first()),
    )
    assert "leakage" in {check for check, _ in found(release)}


def test_a_release_under_another_ones_name_is_found(release: Path) -> None:
    other = release.with_name("tiny-000000000000")
    release.rename(other)
    assert found(other) == {("manifest", "tiny-000000000000")}


def test_a_broken_tar_and_other_bytes_inside_are_found(made: dict[str, Path], tmp_path: Path) -> None:
    tarred, inside = (tmp_path / made[way].name for way in ("webdataset", "inside"))
    shutil.copytree(made["webdataset"], tarred)
    (path,) = (tarred / "media").glob("train-*.tar")
    flip(path, at=600)
    assert ("media", "media") in {(check, where.split("/")[0]) for check, where in found(tarred)}
    shutil.copytree(made["inside"], inside, dirs_exist_ok=True)
    (first,) = inside.glob("train-*.parquet")
    table = pq.read_table(first)
    videos = [dict(v, bytes=b"other") if v else v for v in table["video"].to_pylist()]
    place = table.schema.get_field_index("video")
    pq.write_table(
        table.set_column(place, table.schema.field(place), pa.array(videos, table.schema.field(place).type)), first
    )
    assert ("media", "train, row 1") in found(inside)


def test_croissant_metadata_of_a_known_outline_are_validated_once(
    made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other digests, sizes and versions leave the outline; a field more does not, and is validated anew."""
    release, other = tmp_path / made["none"].name, tmp_path / "other"
    shutil.copytree(made["none"], release)
    asked: list[str] = []
    monkeypatch.setattr(
        "curate.release.metadata_verification._invalid_croissant", lambda path: asked.append(path.name) or "bad"
    )
    for _ in range(2):
        assert "does not validate: bad" in {f.what for f in verify(release, validated=other).findings}
    assert not other.exists()  # what did not validate is not remembered
    monkeypatch.undo()
    assert not verify(release, validated=other).findings
    monkeypatch.setattr(
        "curate.release.metadata_verification._invalid_croissant", lambda path: asked.append(path.name) or "bad"
    )
    assert not verify(release, validated=other).findings
    document = json.loads((release / "croissant.json").read_text(encoding="utf-8"))
    document["recordSet"][0]["field"][0]["dataType"] = "sc:Nonsense"
    (release / "croissant.json").write_text(json.dumps(document), encoding="utf-8")
    assert "does not validate: bad" in {f.what for f in verify(release, validated=other).findings}


def test_the_outline_of_croissant_metadata_is_all_but_versions_digests_and_sizes() -> None:
    document = {"name": "x", "version": "0.0.1", "distribution": [{"@id": "a", "sha256": "0", "contentSize": "1 B"}]}
    same = {"name": "x", "version": "0.0.2", "distribution": [{"@id": "a", "sha256": "1", "contentSize": "22 B"}]}
    assert outline(document) == outline(same)
    assert outline(document) != outline({**document, "name": "y"})
    assert outline(document) != outline({**document, "distribution": [{"@id": "a", "contentSize": "much"}]})


def test_not_a_release_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match=r"manifest\.json"):
        verify(tmp_path)


def test_the_command_lists_all_findings_and_exits_with_1(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["release", "verify", str(release)]) == 0
    flip(release / "train.jsonl")
    (release / "more").write_text("x")
    capsys.readouterr()
    assert run(["release", "verify", str(release)]) == 1
    assert [
        line.split(":")[1].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("files")
    ] == [
        "train.jsonl",
        "more",
    ]
    assert run(["release", "verify", str(release), "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["findings"]) >= 2


def test_ls_tells_whole_damaged_and_unfinished_releases_apart(made: dict[str, Path], tmp_path: Path) -> None:
    whole, damaged = tmp_path / made["files"].name, tmp_path / "damaged"
    for folder in (whole, damaged):
        shutil.copytree(made["files"], folder)
    (damaged / "train.jsonl").unlink()
    (tmp_path / ".tiny.123.partial").mkdir()
    (tmp_path / "somebody's").mkdir()
    lines = {line.folder: line for line in releases_in(tmp_path)}
    assert {name: line.state for name, line in lines.items()} == {
        ".tiny.123.partial": "unfinished",
        "damaged": "damaged",
        whole.name: "whole",
    }
    line = lines[whole.name]
    assert (line.name, line.version, line.prompts) == ("tiny", read_release(whole).version, 8)


def resealed(folder: Path, change: dict[str, pl.DataFrame]) -> Path:
    """The release with tables of other content, the manifest made to fit: what a careful hand could do."""
    release = read_release(folder)
    files = {file.path: file for file in release.files}
    for path, frame in change.items():
        pq.write_table(frame.to_arrow().cast(pq.read_schema(folder / path)), folder / path)
        files[path] = describe(folder / path, rows=len(frame))
    changed = release.model_copy(update={"files": tuple(files.values())})
    changed = changed.model_copy(update={"version": data_version(changed.files)})
    (folder / "manifest.json").write_text(sealed(changed).model_dump_json(indent=2) + "\n")
    return folder


def flipped(lists: pl.Expr) -> pl.Expr:
    return lists.list.reverse()


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"media_sha256": pl.lit("f" * 64)}, "media_sha256 is not that of the prompt"),
        ({"prompt": pl.lit("Hm?")}, "prompt is not that of the prompt"),
        ({"responses": flipped(pl.col("responses"))}, "another model, text or score"),
        ({"models": flipped(pl.col("models"))}, "another model, text or score"),
        ({"scores": pl.col("scores").list.eval(-pl.element())}, "scores contradict its ranks"),
    ],
)
def test_items_that_disagree_with_the_rest_are_found_though_the_manifest_fits(
    tmp_path: Path, columns: dict[str, pl.Expr], what: str
) -> None:
    store, media = make_world(tmp_path)
    folder = folder_of(build(store, out=tmp_path / "out", config=CONFIG, media=media))
    path = "benchmark-00000-of-00001.parquet"
    frame = pl.read_parquet(folder / path).with_columns(**columns)
    found = verify(resealed(folder, {path: frame})).findings
    assert any(what in finding.what for finding in found)


def test_links_and_empty_folders_are_found(tmp_path: Path) -> None:
    store, media = make_world(tmp_path)
    folder = folder_of(build(store, out=tmp_path / "out", config=CONFIG, media=media))
    (tmp_path / "train.jsonl").write_bytes((folder / "train.jsonl").read_bytes())
    (folder / "train.jsonl").unlink()
    (folder / "train.jsonl").symlink_to(tmp_path / "train.jsonl")
    (folder / "empty").mkdir()
    (folder / "beside").symlink_to(tmp_path)
    where = {finding.where for finding in verify(folder).findings if finding.check == "files"}
    assert where == {"train.jsonl", "empty", "beside"}
