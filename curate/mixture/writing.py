"""The folder of a mixture: shards, the paper's JSONL, media under the names of their digests, and a card."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa

from curate.media.frame_folders import frame_files
from curate.media.probe import Probe
from curate.reward.data import Example
from curate.shards.atomic import describe
from curate.shards.formats import write_shards
from schemas.items import JSONL_KEYS
from schemas.manifest import ManifestFile
from schemas.mixture import MixtureConfig, MixtureReport, RemovedItem, SourceCounts

MEDIA = "media"
STAGES = ("invalid", "filtered", "merged", "contaminated", "duplicates", "capped", "copies")
TEXT = pa.string()
SCHEMA = pa.schema(
    {
        "item_id": TEXT,  # source/file:row, with #2, #3, … for further copies
        "prompt": TEXT,
        "image": TEXT,  # relative to the folder
        "video": TEXT,
        "responses": pa.list_(TEXT),
        "ranks": pa.list_(pa.int32()),
        "source": TEXT,
    }
)


def write_items(
    folder: Path, items: Iterable[Example], places: Mapping[Path, str], *, rows_per_shard: int
) -> list[ManifestFile]:
    """Write train-*.parquet, and train.jsonl, which the trainer of arXiv 2604.10966 reads."""
    rows = []
    for item in items:
        image, video = places[item.images[0]] if item.images else None, places[item.video] if item.video else None
        rows.append((item.item_id, item.prompt, image, video, item.responses, item.ranks, item.source))
    table = pl.DataFrame(rows, schema=pl.DataFrame(SCHEMA.empty_table()).schema, orient="row")
    files = write_shards(folder, "train", table, rows_per_shard=rows_per_shard, schema=SCHEMA)
    path = folder / "train.jsonl"
    table.rename({"ranks": "rankings"}).select(JSONL_KEYS).write_ndjson(path)
    return [*files, describe(path, len(rows))]


def place_media(folder: Path, used: Iterable[Path], probes: Mapping[Path, Probe]) -> dict[Path, str]:
    """Copy each used medium to media/DIGEST and return where it is; remove what was embedded and is not used."""
    target, places = folder / MEDIA, {}
    target.mkdir(exist_ok=True)
    for path in sorted(set(used)):
        frames = frame_files(path) if path.is_dir() else []
        goal = target / (probes[path].sha256 + ("" if frames else path.suffix.lower()))
        if frames:
            goal.mkdir(exist_ok=True)
            for number, frame in enumerate(frames, start=1):
                shutil.copyfile(frame, goal / f"{number:06d}{frame.suffix.lower()}")
        elif not goal.exists():
            shutil.copyfile(path, goal)
        places[path] = f"{MEDIA}/{goal.name}"
    for path in {*target.iterdir()} - {folder / place for place in places.values()}:
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
    """Return the card in Markdown: counts of every source and stage, reasons, benchmarks and licences."""
    header, *rows = funnel(report.sources)
    reasons = [
        (one.source, stage, reason, f"{number:,}")
        for one in report.sources
        for stage in STAGES
        if isinstance(counts := getattr(one, stage), dict)
        for reason, number in counts.items()
    ]
    for name in ("kept_apart", "repeated_answers"):
        reasons += [(one.source, name, "", f"{n:,}") for one in report.sources if (n := getattr(one, name))]
    apart = [(name, f"{prompts:,}", f"{report.contaminated[name]:,}") for name, prompts in report.benchmarks.items()]
    licences = [(one.source, one.dataset, one.licence or "not verified") for one in report.sources]
    sizes = ", ".join(f"{items:,} of {size}" for size, items in report.responses.items())
    return "\n".join(
        [
            *("---", "license: other", "license_name: see-sources", "configs:", "- config_name: train"),
            *("  data_files:", "  - split: train", '    path: "train-*.parquet"', "---", "", f"# {config.title}", ""),
            f"{report.items:,} items ({sizes} responses) from {len(report.sources)} sources, by `curate mix`, seed",
            f"{config.seed}. Ranks: 1 = best, ties share a rank. `train.jsonl` has the same for the trainer of arXiv",
            "2604.10966 (`--image_base_dir . --video_base_dir .`). `removed.jsonl` names every contaminated item and",
            "duplicate with the evidence.",
            *("", "## Counts", "", *_table(header, rows), "", "Rows up to merged, then items.", ""),
            *_table(("source", "stage", "reason", "number"), reasons),
            *("", "## Kept apart from", "", *_table(("benchmark", "prompts", "contaminated items"), apart)),
            *("", "## Sources", "", *_table(("source", "dataset", "licence by its card"), licences)),
            *("", "Parts of a dataset may have other licences.", ""),
        ]
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [[cell.replace("\n", " ").replace("|", "\\|") for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *cells)] if rows else ["Nothing."]
