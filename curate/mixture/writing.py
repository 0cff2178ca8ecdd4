"""The folder of a mixture: shards, the paper's JSONL, media under the names of their digests, and a card."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa

from curate.media.frame_folders import frame_files
from curate.media.probe import Probe
from curate.mixture.items import Item
from curate.shards.atomic import describe
from curate.shards.formats import TYPES, write_shards
from schemas.items import JSONL_KEYS
from schemas.manifest import ManifestFile
from schemas.mixture import MixtureConfig, MixtureReport, RemovedItem, SourceCounts

MEDIA = "media"
STAGES = ("invalid", "filtered", "merged", "contaminated", "duplicates", "capped", "copies")
COLUMNS = {
    "item_id": ("string", "digest of source, prompt, medium, responses and ranks; #2, #3, … for further copies"),
    "prompt": ("string", "the question; the turns of a longer conversation as a transcript"),
    "image": ("string", "path of its image, relative to this folder; null if it has none"),
    "video": ("string", "path of its video (a file, or a folder of frames), likewise"),
    "responses": ("list<string>", "N texts, in an order that does not depend on their ranks"),
    "ranks": ("list<int32>", "rank of each, 1 = best, ties share a rank"),
    "models": ("list<string>", "model of each; null where unknown"),
    "source": ("string", "the source in the recipe"),
    "row": ("string", "file and row in the source"),
}
"""Column -> type and meaning."""
SCHEMA = pa.schema([(name, TYPES[kind]) for name, (kind, _) in COLUMNS.items()])


def frame_of(items: Sequence[tuple[str, Item]], places: Mapping[Path, str]) -> pl.DataFrame:
    """Return the rows of the shards. items: (item_id, item); places: medium -> its path in the folder."""
    rows = [
        (
            item_id,
            item.prompt,
            places[item.image] if item.image else None,
            places[item.video] if item.video else None,
            item.responses,
            item.ranks,
            item.models or (None,) * len(item.responses),
            item.source,
            item.row,
        )
        for item_id, item in items
    ]
    empty = pl.DataFrame(SCHEMA.empty_table())
    return pl.DataFrame(rows, schema=empty.schema, orient="row")


def write_items(folder: Path, items: pl.DataFrame, *, rows_per_shard: int) -> list[ManifestFile]:
    """Write train-*.parquet and train.jsonl, which the trainer of arXiv 2604.10966 reads."""
    files = write_shards(folder, "train", items, rows_per_shard=rows_per_shard, schema=SCHEMA)
    path = folder / "train.jsonl"
    items.rename({"ranks": "rankings"}).select(JSONL_KEYS).write_ndjson(path)
    return [*files, describe(path, len(items))]


def place_media(folder: Path, used: Iterable[Path], known: Mapping[Path, Probe]) -> dict[Path, str]:
    """Copy each used medium to media/DIGEST and return where it is; remove what was embedded and is not used."""
    target, places, kept = folder / MEDIA, {}, set()
    for path in sorted(set(used)):
        frames = path.is_dir()
        name = known[path].sha256 + ("" if frames else path.suffix.lower())
        if frames:
            (target / name).mkdir(parents=True, exist_ok=True)
            for number, frame in enumerate(frame_files(path), start=1):
                shutil.copyfile(frame, target / name / f"{number:06d}{frame.suffix.lower()}")
        elif path != target / name and not (target / name).exists():
            target.mkdir(exist_ok=True)
            shutil.copyfile(path, target / name)
        places[path] = f"{MEDIA}/{name}"
        kept.add(name)
    for path in target.iterdir() if target.exists() else ():
        if path.name not in kept:
            path.unlink()
    return places


def write_removed(folder: Path, removed: Sequence[RemovedItem]) -> ManifestFile:
    """Write removed.jsonl: every item that repeats a benchmark or an earlier source, with the evidence."""
    path = folder / "removed.jsonl"
    path.write_text("".join(one.model_dump_json() + "\n" for one in removed), encoding="utf-8")
    return describe(path, len(removed))


def funnel(sources: Sequence[SourceCounts]) -> list[tuple[str, ...]]:
    """Return the counts of each stage, one row per source, the header first."""
    header = ("source", "read", *STAGES, "written")
    rows: list[tuple[str, ...]] = [header]
    for one in sources:
        numbers = [getattr(one, name) for name in header[1:]]
        sums = (sum(number.values()) if isinstance(number, dict) else number for number in numbers)
        rows.append((one.source, *(f"{number:,}" for number in sums)))
    return rows


def card(config: MixtureConfig, report: MixtureReport) -> str:
    """Return the card in Markdown: counts of every source and stage, reasons, benchmarks, licences, columns."""
    lines = ["---", "license: other", "license_name: see-sources", "configs:", "- config_name: train"]
    lines += ["  data_files:", "  - split: train", '    path: "train-*.parquet"', "---", "", f"# {config.title}", ""]
    lines += [
        f"{report.items:,} items from {len(report.sources)} sources, made by `curate mix` with seed {config.seed}."
    ]
    lines += ["`train.jsonl` has the same items for the trainer of arXiv 2604.10966 (`--image_base_dir .`,"]
    lines += [
        "`--video_base_dir .`). `removed.jsonl` names every contaminated item and duplicate with the evidence.",
        "",
    ]
    rows = funnel(report.sources)
    lines += ["## Counts", "", *_table(rows[0], rows[1:]), "", "Rows up to merged, then items.", ""]
    reasons = [
        (one.source, stage, reason, f"{number:,}")
        for one in report.sources
        for stage in ("invalid", "filtered", "contaminated", "duplicates")
        for reason, number in getattr(one, stage).items()
    ]
    reasons += [
        (one.source, "kept as pairs", "pairs of one prompt without a single order", f"{one.kept_as_pairs:,}")
        for one in report.sources
        if one.kept_as_pairs
    ]
    lines += [*_table(("source", "stage", "reason", "number"), reasons), ""] if reasons else []
    lines += ["Responses per item: " + ", ".join(f"{n} of {size}" for size, n in report.responses.items()) + ".", ""]
    lines += ["## Kept apart from", ""]
    apart = [(name, f"{prompts:,}", f"{report.contaminated[name]:,}") for name, prompts in report.benchmarks.items()]
    lines += _table(("benchmark", "prompts", "contaminated items left out"), apart) if apart else ["No benchmark."]
    lines += ["", "## Sources and licences", ""]
    lines += _table(
        ("source", "dataset", "licence by its card"),
        [(one.source, one.dataset, one.licence or "not verified") for one in report.sources],
    )
    lines += ["", "Parts of a dataset may have other licences.", "", "## Columns", ""]
    lines += [
        *_table(("column", "type", "meaning"), [(f"`{n}`", kind, text) for n, (kind, text) in COLUMNS.items()]),
        "",
    ]
    return "\n".join(lines)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [[cell.replace("\n", " ").replace("|", "\\|") for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *cells)]
