"""Verifying a release: a valid one has no finding, and each planted corruption has its own."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.main import run
from curate.release.croissant import outline
from curate.release.diff import diff
from curate.release.leakage import read_subjects
from curate.release.manifest import METADATA, data_version, read_release, releases_in, sealed
from curate.release.verify import verify
from curate.release.verify_metadata import generated_metadata
from curate.shards.atomic import MANIFEST, describe
from pipelines.releasing import build
from schemas.errors import CurateError
from schemas.release import Finding, MediaAs, VerifyReport
from tests.releases import folder_of, make_world, released, released_copy, set_hashes, with_media
from tests.video_files import encode

pytestmark = pytest.mark.slow

PACKAGINGS: tuple[MediaAs, ...] = ("files", "webdataset", "embedded", "none")


@pytest.fixture(scope="module")
def validated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that remembers valid Croissant metadata, so that mlcroissant validates them once."""
    return tmp_path_factory.mktemp("croissant") / "validated"


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return released_copy("files", tmp_path)


@pytest.fixture
def check(validated: Path) -> Callable[..., VerifyReport]:
    return lambda folder, **options: verify(folder, validated=validated, **options)


Check = Callable[..., VerifyReport]


def places(report: VerifyReport) -> set[tuple[str, str]]:
    return {(finding.check, finding.where) for finding in report.findings}


def of(check: str, report: VerifyReport) -> list[Finding]:
    return [finding for finding in report.findings if finding.check == check]


def flip(path: Path, at: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def rewrite(folder: Path, name: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    """Change a table and write it with its schema."""
    (path,) = folder.glob(f"{name}.parquet") if name in ("prompts", "metadata") else folder.glob(f"{name}-0*.parquet")
    table = pq.read_table(path)
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    pq.write_table(change(frame).to_arrow().cast(table.schema), path)


def forge(folder: Path, *, version: bool = True, metadata: bool = False) -> None:
    """Make the manifest agree with the files, with or without the version; metadata: regenerate the card too."""
    if metadata:
        forge(folder)
        for name, text in generated_metadata(read_release(folder))[0].items():
            (folder / name).write_text(text, encoding="utf-8")
    release = read_release(folder)
    files = tuple(describe(folder / file.path, file.rows, root=folder) for file in release.files)
    update: dict[str, Any] = {"files": files} | ({"version": data_version(files)} if version else {})
    forged = sealed(release.model_copy(update=update))
    (folder / MANIFEST).write_text(forged.model_dump_json(indent=2) + "\n")


def replace_line(path: Path, start: str, line: str) -> str:
    """Replace the line with this start; return the old one."""
    text = path.read_text(encoding="utf-8")
    (old,) = [found for found in text.splitlines() if found.startswith(start)]
    path.write_text(text.replace(old, line), encoding="utf-8")
    return old


@pytest.mark.parametrize("media_as", PACKAGINGS)
def test_a_valid_release_has_no_finding(media_as: MediaAs, check: Check) -> None:
    folder = released(media_as)
    report, manifest = check(folder, decode=True), read_release(folder)
    assert report.findings == ()
    assert report.checks["files"] == len(manifest.files)
    assert report.checks["labels"] == sum(manifest.counts["items"][name] for name in manifest.counts["candidates"])
    assert (report.checks["media"], report.checks["decoded"]) == ((0, 0) if media_as == "none" else (4, 4))


def test_a_flipped_byte_is_found_in_any_file(release: Path, check: Check) -> None:
    names = {"train-00000-of-00001.parquet", "benchmark.jsonl", "README.md", "croissant.json", "metadata.parquet"}
    for name in names:
        flip(release / name)
    video = sorted((release / "media").iterdir())[0]
    flip(video)
    found = places(check(release))
    assert found >= {("files", name) for name in names}
    assert found >= {("files", f"media/{video.name}"), ("media", f"media/{video.name}")}


def test_missing_and_additional_files_and_empty_folders_are_found(release: Path, check: Check) -> None:
    (release / "train.jsonl").unlink()
    (release / "media" / ".more").write_text("x")
    (release / "empty").mkdir()
    assert {where for kind, where in places(check(release)) if kind == "files"} == {
        "train.jsonl", "media/.more", "empty",
    }  # fmt: skip


def test_an_edited_manifest_is_found_though_every_file_agrees(release: Path, check: Check) -> None:
    text = (release / MANIFEST).read_text()
    (release / MANIFEST).write_text(text.replace('"media_as": "files"', '"media_as":   "files"'))
    assert places(check(release)) == set(), "white space does not matter"
    document = json.loads(text)
    document["counts"]["annotators"] += 1
    (release / MANIFEST).write_text(json.dumps(document))
    assert places(check(release)) == {("manifest", MANIFEST), ("card", "README.md")}, "the card states them"


def test_a_changed_figure_of_the_card_is_found_though_its_digest_was_repaired(release: Path, check: Check) -> None:
    line = "| votes | 12,345 by 99 annotators |"
    old = replace_line(release / "README.md", "| votes |", line)
    forge(release)
    for code in ("", "another"):  # other figures in the same text are a finding for any version of curate
        (finding,) = check(release, code=code).findings
        assert (finding.check, finding.where) == ("card", "README.md")
        assert repr(old) in finding.what
        assert repr(line) in finding.what


def test_other_text_in_the_card_of_another_version_is_noted(release: Path, check: Check) -> None:
    replace_line(release / "README.md", "## Known limits", "## Limits that are known")
    forge(release)
    assert [finding.check for finding in check(release).findings] == ["card"]
    report = check(release, code="another")
    assert report.findings == ()
    assert any("README.md" in note and "Limits that are" in note for note in report.notes)


def test_changed_figures_of_the_manifest_are_found_though_it_was_sealed_and_the_card_regenerated(
    release: Path, check: Check
) -> None:
    changes: dict[tuple[str, ...], Any] = {
        ("models",): 7,
        ("votes",): 1,
        ("prompts", "train"): 5,
        ("difficulty", "benchmark", "easy"): 99,
        ("balance", "benchmark", "positions"): [1, 1, 1, 1],
        ("confidence", "benchmark"): 0.99,
        ("videos",): 9,
    }
    document = json.loads((release / MANIFEST).read_text())
    for keys, value in changes.items():
        part = document["counts"]
        for key in keys[:-1]:
            part = part[key]
        part[keys[-1]] = value
    document["counts"]["ceiling"]["train"]["mean"] = 0.5
    document["counts"]["candidates"]["benchmark"] = 10_000
    (release / MANIFEST).write_text(json.dumps(document))
    forge(release, metadata=True)
    findings = check(release).findings
    assert {finding.check for finding in findings} == {"figures"}
    found = [finding.what for finding in findings]
    for keys, value in changes.items():
        assert any(what.startswith(f"{'.'.join(keys)} is stated as {value},") for what in found)
    assert any(what.startswith("ceiling.train ") for what in found)
    assert any("'items: benchmark'" in what for what in found)


def test_a_replaced_video_is_found_though_every_digest_was_repaired(release: Path, check: Check) -> None:
    """It has the same length, size and rate; only its frames differ."""
    row = pl.read_parquet(release / "metadata.parquet").row(0, named=True)
    path = release / row["video"]
    encode(path, range(0, 40 * row["frames"], 40), noise=True)
    digest, size = hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size
    for table in release.glob("*.parquet"):
        schema = pq.read_schema(table)
        mine = pl.col("media_sha256") == row["media_sha256"]
        frame = pl.read_parquet(table).with_columns(
            media_sha256=pl.when(mine).then(pl.lit(digest)).otherwise("media_sha256")
        )
        if table.name == "metadata.parquet":
            frame = frame.with_columns(bytes=pl.when(pl.col("media_sha256") == digest).then(size).otherwise("bytes"))
        pq.write_table(frame.to_arrow().cast(schema), table)
    forge(release, metadata=True)
    renamed = release.rename(release.with_name(read_release(release).label))
    assert places(check(renamed, decode=True)) == {("media", row["video"]), ("decoded", row["video"])}


def test_a_replaced_video_is_found_by_its_frames_alone(tmp_path: Path, check: Check) -> None:
    """As if names and digests had been made to match too, but not the hashes of the frames."""
    store, media = make_world(tmp_path)
    encode(media / "videos" / "0.mp4", range(0, 200, 40), noise=True)
    set_hashes(store, media, {"videos/0.mp4": (0,) * 8})
    folder = folder_of(build(store, out=tmp_path / "out", config=with_media("embedded"), media=media))
    digest = hashlib.sha256((media / "videos" / "0.mp4").read_bytes()).hexdigest()
    assert check(folder).findings == ()
    assert places(check(folder, decode=True)) == {("decoded", f"media/{digest[:32]}.mp4")}


def test_hashes_that_are_no_numbers_are_found(release: Path, check: Check) -> None:
    rewrite(release, "metadata", lambda media: media.with_columns(phash=pl.lit(["frame"])))
    forge(release)
    found = check(release, decode=True)
    assert len(of("decoded", found)) == 4
    assert [finding.where for finding in of("leakage", found)] == ["prompts"]


def test_a_video_that_does_not_decode_is_found(release: Path, check: Check) -> None:
    path = sorted((release / "media").iterdir())[0]
    path.write_bytes(path.read_bytes()[:200])
    (finding,) = of("decoded", check(release, decode=True))
    assert finding.where == f"media/{path.name}"
    assert str(release) not in finding.what


def swap(rows: pl.DataFrame) -> pl.DataFrame:
    """Reverse the ranks of all items."""
    return rows.with_columns(
        ranks=pl.col("ranks").list.eval(pl.element().max() + 1 - pl.element()).cast(pl.List(pl.Int32))
    )


def test_swapped_labels_are_found(release: Path, check: Check) -> None:
    rewrite(release, "benchmark_pairwise", swap)
    rewrite(release, "train_pairwise", lambda rows: swap(rows).with_columns(best=1 - pl.col("best")))
    forge(release, version=False)
    assert ("manifest", MANIFEST) in places(check(release)), "the digests give another version"
    forge(release)
    report = check(release)
    assert {"manifest", "card", "croissant", "labels", "formats"} <= {finding.check for finding in report.findings}
    wrong = of("labels", report)
    assert any("best is" in finding.what for finding in wrong if "benchmark_pairwise" in finding.where)
    for config in ("benchmark_pairwise", "train_pairwise"):
        assert any("contradict" in finding.what for finding in wrong if config in finding.where)
    assert "formats" in {finding.check for finding in report.findings if "train_pairwise" in finding.where}


def test_probabilities_that_contradict_the_label_are_found(release: Path, check: Check) -> None:
    """A benchmark's best is the most probable best; the confidence is its probability; all sum to 1."""
    best, values = pl.col("best"), pl.col("best_probabilities")
    changes = {
        "benchmark": ({"best_probabilities": values.list.eval(pl.element() / 2)}, "sum to 0.5"),
        "benchmark_pairwise": (
            {"best_probabilities": values.list.reverse(), "confidence": values.list.get(1 - best)},
            "more probably",
        ),
        "train": ({"confidence": pl.col("confidence") / 2}, "the probability of its best"),
    }
    for config, (change, _) in changes.items():
        rewrite(release, config, lambda frame, change=change: frame.with_columns(**change))
    forge(release)
    found = of("labels", check(release))
    for config, (_, what) in changes.items():
        assert any(what in finding.what for finding in found if finding.where.startswith(f"{config}, ")), config


def test_derived_formats_that_differ_from_their_items_are_found(release: Path, check: Check) -> None:
    rewrite(release, "train_preferences", lambda rows: rows.with_columns(chosen="rejected", rejected="chosen"))
    rewrite(release, "benchmark_best_of_4", lambda rows: rows.with_columns(subset=pl.lit("easy")))
    lines = (release / "train.jsonl").read_text().splitlines()
    changed = json.loads(lines[2])
    changed["rankings"] = changed["rankings"][::-1]
    lines[2] = json.dumps(changed)
    (release / "train.jsonl").write_text("\n".join(lines) + "\n")
    forge(release)
    where = [finding.where for finding in of("formats", check(release))]
    assert (
        sum(name.startswith("train_preferences") for name in where)
        == (read_release(release).counts["items"]["train_preferences"])
    )
    assert any(name.startswith("benchmark_best_of_4") for name in where)
    assert "train.jsonl:3" in where


def test_a_missing_row_and_an_additional_column_are_found(release: Path, check: Check) -> None:
    rewrite(release, "train", lambda rows: rows[1:])
    (path,) = release.glob("benchmark-*.parquet")
    table = pq.read_table(path)
    pq.write_table(table.append_column("answer", pa.array(["x"] * len(table))), path)
    found = {finding.where: finding.what for finding in of("tables", check(release))}
    assert found.keys() == {"train-00000-of-00001.parquet", path.name}
    assert "answer (string)" in found[path.name]


def test_an_item_on_the_wrong_side_and_a_leak_in_the_tables_are_found(release: Path, check: Check) -> None:
    first = pl.int_range(pl.len()) == 0
    rewrite(
        release,
        "prompts",
        lambda rows: rows.with_columns(
            split=pl.when(first).then(pl.lit("?")).otherwise("split"),
            media_sha256=pl.col("media_sha256").drop_nulls().first(),
        ),
    )
    assert {"split", "leakage"} <= {finding.check for finding in check(release).findings}


def test_a_release_in_a_folder_with_another_name_is_found(release: Path, check: Check) -> None:
    other = release.rename(release.with_name("tiny-000000000000"))
    assert places(check(other)) == {("manifest", "tiny-000000000000")}


def test_a_broken_tar_and_other_embedded_bytes_are_found(tmp_path: Path, check: Check) -> None:
    tarred = released_copy("webdataset", tmp_path)
    (path,) = (tarred / "media").glob("train-*.tar")
    flip(path, at=600)
    assert any(where.startswith("media/") for kind, where in places(check(tarred)) if kind == "media")
    embedded = released_copy("embedded", tmp_path)
    (first,) = embedded.glob("train-*.parquet")
    table = pq.read_table(first)
    videos = [dict(v, bytes=b"other") if v else v for v in table["video"].to_pylist()]
    place = table.schema.get_field_index("video")
    kind = table.schema.field(place)
    pq.write_table(table.set_column(place, kind, pa.array(videos, kind.type)), first)
    assert ("media", "train, row 1") in places(check(embedded))


def test_items_that_disagree_with_other_tables_are_found_though_the_manifest_agrees(
    release: Path, check: Check
) -> None:
    changes: dict[str, tuple[dict[str, pl.Expr], str]] = {
        "benchmark": ({"media_sha256": pl.lit("f" * 64)}, "its media_sha256"),
        "benchmark_pairwise": ({"prompt": pl.lit("Hm?")}, "its prompt"),
        "train": ({"responses": pl.col("responses").list.reverse()}, "another model, text or score"),
        "train_pairwise": ({"models": pl.col("models").list.reverse()}, "another model, text or score"),
        "train_full": ({"scores": pl.col("scores").list.eval(-pl.element())}, "its scores contradict its ranks"),
    }
    for config, (columns, _) in changes.items():
        rewrite(release, config, lambda rows, columns=columns: rows.with_columns(**columns))
    forge(release)
    found = of("labels", check(release))
    for config, (_, what) in changes.items():
        assert any(what in finding.what for finding in found if finding.where.startswith(f"{config}, "))


def test_croissant_metadata_with_a_known_outline_are_validated_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other digests, sizes and versions do not change the outline; an additional field does."""
    release, remembered = released_copy("none", tmp_path), tmp_path / "validated"
    with monkeypatch.context() as patched:
        patched.setattr("curate.release.croissant._validation_error", lambda _: "bad")
        for _ in range(2):
            assert len(of("croissant", verify(release, validated=remembered))) == 1
    assert not remembered.exists(), "invalid metadata are not remembered"
    assert verify(release, validated=remembered).findings == ()
    monkeypatch.setattr("curate.release.croissant._validation_error", lambda _: "bad")
    assert verify(release, validated=remembered).findings == ()
    document = json.loads((release / "croissant.json").read_text(encoding="utf-8"))
    document["recordSet"][0]["field"][0]["dataType"] = "sc:Nonsense"
    (release / "croissant.json").write_text(json.dumps(document), encoding="utf-8")
    assert any(finding.what.endswith(": bad") for finding in of("croissant", verify(release, validated=remembered)))


def test_the_outline_of_croissant_metadata_omits_versions_digests_and_sizes() -> None:
    document = {"name": "x", "version": "0.0.1", "distribution": [{"@id": "a", "sha256": "0", "contentSize": "1 B"}]}
    same = {"name": "x", "version": "0.0.2", "distribution": [{"@id": "a", "sha256": "1", "contentSize": "22 B"}]}
    assert outline(document) == outline(same)
    assert outline(document) != outline({**document, "name": "y"})
    assert outline(document) != outline({**document, "distribution": [{"@id": "a", "contentSize": "much"}]})


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match=r"manifest\.json"):
        verify(tmp_path)


def test_the_command_lists_all_findings_and_exits_with_1(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["release", "verify", str(release), "--no-media"]) == 0
    flip(release / "train.jsonl")
    (release / "more").write_text("x")
    capsys.readouterr()
    assert run(["release", "verify", str(release), "--no-media"]) == 7
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[1].strip() for line in lines if line.startswith("files")] == ["train.jsonl", "more"]
    assert run(["release", "verify", str(release), "--no-media", "--json"]) == 7
    assert len(json.loads(capsys.readouterr().out)["findings"]) >= 2


def test_ls_distinguishes_complete_damaged_and_unfinished_releases(release: Path, tmp_path: Path) -> None:
    shutil.copytree(release, tmp_path / "damaged")
    (tmp_path / "damaged" / "train.jsonl").unlink()
    (tmp_path / ".tiny.123.partial").mkdir()
    (tmp_path / "other").mkdir()
    lines = {line.folder: line for line in releases_in(tmp_path)}
    assert {name: line.state for name, line in lines.items()} == {
        ".tiny.123.partial": "unfinished", "damaged": "damaged", release.name: "complete",
    }  # fmt: skip
    line = lines[release.name]
    assert (line.name, line.version, line.prompts) == ("tiny", read_release(release).version, 8)


OLD_STAGE = {"stage": "ranking", "unit": "prompts", "came": 8, "kept": 8, "dropped": {}}  # renamed: input
HASHES = pa.list_(pa.uint64())
OLD_ITEM_REASON = "below the asked confidence, or best shared"


def as_written_by_0_1(folder: Path) -> Path:
    """Change a release to the names of version 0.1, its manifest as that version sealed it."""
    for path in folder.glob("*.parquet"):
        table = pq.read_table(path)
        table = table.select(
            [name for name in table.column_names if name not in ("fragility", "fingerprint")]
        )  # added in 0.2
        if path.name.startswith("train_preferences"):  # had a column image in every release until 0.2
            kind = table.schema.field("video").type
            place = table.column_names.index("media_sha256")
            table = table.add_column(place, "image", pa.nulls(len(table), kind))
        if "phash" in table.column_names:  # as numbers until 0.2
            numbers = pa.array([[int(text, 16) for text in row] for row in table["phash"].to_pylist()], HASHES)
            table = table.set_column(table.column_names.index("phash"), "phash", numbers)
        pq.write_table(table.rename_columns(["gap" if name == "margin" else name for name in table.column_names]), path)
    forge(folder, metadata=True)
    for name in METADATA:
        (folder / name).write_text((folder / name).read_text().replace("margin", "gap"))
    forge(folder)
    document = json.loads((folder / MANIFEST).read_text())
    counts = document["counts"]
    del counts["fragility"], counts["media_kinds"], document["run"]["config"]["benchmark_min_fragility"]
    counts["left_out"] = counts.pop("excluded")  # renamed in 0.2
    counts["agreement"]["contradicted"] = counts["agreement"].pop("disagreement")  # renamed in 0.2
    for stage in document["funnel"]["stages"]:
        stage["came"] = stage.pop("input")
        stage["dropped"] = {
            OLD_ITEM_REASON if reason.startswith("below min_confidence") else reason: number
            for reason, number in stage["dropped"].items()
        }
    assert OLD_STAGE in document["funnel"]["stages"]
    document["media_as"] = document["media_as"].replace("embedded", "inside")
    document["run"]["config"]["media_as"] = document["media_as"]
    leakage = document["run"]["config"]["leakage"]
    leakage["least_bits"] = leakage.pop("min_bits")
    document["run"]["code_version"] = "0.1.0+0123456789ab"
    del document["seal"]
    text = json.dumps(document, sort_keys=True, ensure_ascii=False)
    document["seal"] = hashlib.sha256(text.encode()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(document))
    return folder.rename(folder.with_name(f"tiny-{document['version']}"))


@pytest.mark.filterwarnings("error::FutureWarning")
@pytest.mark.parametrize("media_as", ["files", "embedded"])
def test_a_release_of_the_previous_version_is_read_and_verified(
    tmp_path: Path, media_as: MediaAs, check: Check
) -> None:
    folder = as_written_by_0_1(released_copy(media_as, tmp_path))
    report = check(folder, code="current", decode=True)
    assert report.findings == ()
    assert len(report.notes) == 3, "the text of the card and of the Croissant metadata differs"
    assert any("have no fingerprints of their videos" in note for note in report.notes)
    assert [line.state for line in releases_in(tmp_path)] == ["complete"]
    release = read_release(folder)
    assert release.media_as == media_as
    assert release.counts["excluded"].keys() == {"train", "benchmark"}
    subjects = [
        {subject.prompt_id: subject.phash for side in read_subjects(path).values() for subject in side}
        for path in (folder, released(media_as))
    ]
    assert subjects[0] == subjects[1]
    assert sum(len(phash) == 24 for phash in subjects[0].values()) == 7
    changes = diff(folder, released(media_as))
    assert (changes.causes, changes.config, changes.prompts) == (("code",), {}, ())
    assert all(items.kept == items.before == items.after for items in changes.items.values())
    (folder / MANIFEST).write_text((folder / MANIFEST).read_text().replace('"came": 8', '"came": 9', 1))
    with pytest.raises(CurateError, match=r"manifest\.json"):
        read_release(folder)
