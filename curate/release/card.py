"""README.md of a release or an export: a dataset card whose front matter lets ``datasets`` load every config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curate.release.columns import columns_of
from curate.release.front_matter import front_matter
from curate.release.tables import (
    FULL,
    ITEM_CONFIGS,
    MEDIA,
    PROMPTS,
    SPLITS,
    TRAIN_FULL,
    tables_of,
)
from curate.release.usage import loading
from curate.sampling.items import Rule
from curate.shards.formats import derived_formats
from schemas.config import ExportConfig, SplitConfig
from schemas.items import ITEM_COLUMNS, ItemColumn
from schemas.manifest import FragilityFigures
from schemas.release import Release, ReleaseConfig, Stability


def export_card(kind: str, rules: Sequence[Rule], *, config: ExportConfig, counts: Mapping[str, Any]) -> str:
    """Return the card of an export, in Markdown.

    rules: of the configs with items, the default first. counts: as in the manifest. config: with the full id of the
    denoise run.
    """
    lines = ["---", "configs:"]
    for index, rule in enumerate(rules):
        lines += [f'- config_name: "{rule.name}"', *(["  default: true"] if index == 0 else []), "  data_files:"]
        lines += [f"  - split: {SPLITS[kind]}", f'    path: "{rule.name}-*.parquet"']  # not the JSONL of the same items
    lines += [
        "---",
        "",
        f"# {'Training data' if kind == 'train' else 'Benchmark'}: ranked responses to questions about videos",
        "",
        f"Made by curate from denoise run `{config.run}`. `manifest.json` lists the digest of every file and the",
        "runs and vote files behind them.",
        "",
        *([f"Responses were compared by the criterion {counts['criterion']}.", ""] if "criterion" in counts else []),
        *_code("from datasets import load_dataset", 'load_dataset("DIR")', *_load(rule.name for rule in rules[1:])),
        "## Items",
        "",
    ]
    for rule in rules:
        lines += [*_config(rule, counts, f", at most {rule.items} per prompt"), rule.description, ""]
    lines += [f"Drawn from {counts['prompts']} prompts with seed {config.seed}."]
    if config.min_confidence > 0:
        lines += [f"Items with confidence below {config.min_confidence:g}, or a shared best rank, are excluded."]
    excluded = [f"| {reason} | {number} |" for reason, number in counts["excluded"].items()]
    lines += [
        "",
        *_jsonl_note("video."),
        "## Columns of items",
        "",
        *_columns(ITEM_COLUMNS),
        "## Split",
        "",
        f"These are the prompts of the {kind} side. {_split_note(config.split)}",
        "All prompts of a video are on one side, and no prompt ever changes sides.",
        "",
        "## Excluded",
        "",
        *(["| what: reason | number |", "|---|---|", *excluded] if excluded else ["Nothing."]),
        "",
    ]
    return "\n".join(lines)


def release_card(release: Release, rules: Sequence[Rule], config: ReleaseConfig, configs: Sequence[str]) -> str:
    """Return the card of a release, in Markdown.

    release: without the files that state its version. rules: of all item configs with items. configs: all that can be
    loaded, except those of prompts and media.
    """
    derived = [found for found in derived_formats(config.responses) if found.config in configs]
    return "\n".join(
        [
            "---",
            *front_matter(configs, release, config),
            "---",
            "",
            f"# {release.name} {release.release}".rstrip(),
            "",
            f"Version `{release.version}` (digest of the data). {config.description}".rstrip(),
            "",
            *_figures(release, config),
            *_models(release.counts.get("leaderboard", [])),  # none in releases of earlier versions
            *loading(release, configs, config.repository),
            *_jsonl_note("video. Paths are relative to this folder."),
            *_items(rules, release.counts),
            *_versions(release),
            "## Other formats",
            "",
            *(line for found in derived for line in (f"**{found.config}**: {found.description}", "")),
            f"**{PROMPTS}**: one row per prompt, with its votes. **media** (`{MEDIA}.parquet`): one row per video.",
            "",
            *_funnel(release),
            *_separation(release, config),
            *_origin(release),
            *_limits(release),
            *_tables(release, configs),
            *(["## Citation", "", config.citation, ""] if config.citation else []),
        ]
    )


def _figures(release: Release, config: ReleaseConfig) -> list[str]:
    counts = release.counts
    prompts, agreement = counts["prompts"], counts["agreement"]
    disagreement = agreement["disagreement"]
    share = "unknown" if disagreement is None else f"{disagreement:.1%} of the vote weight disagrees with the rankings"
    rows = [
        *([("criterion", counts["criterion"])] if "criterion" in counts else []),
        ("prompts", f"{prompts['train']:,} for training, {prompts['benchmark']:,} in the benchmark"),
        ("models", f"{counts['models']:,}"),
        ("votes", f"{counts['votes']:,} by {counts['annotators']:,} annotators"),
        ("disagreement", share),
        ("expected Kendall tau to the true order", _number(agreement["expected_tau"])),
        ("dependence of votes", counts.get("overdispersion", "unknown")),
    ]
    if agreement["rankers"] is not None:  # None if the ranking is that of a single ranker
        rows.append(("Kendall tau between the ensemble's rankers", _number(agreement["rankers"])))
    texts = counts.get("equal_texts")  # None in releases of earlier versions
    if texts and texts["groups"]:
        how = "share a rank" if texts["handling"] == "merge" else "are ranked separately"
        rows.append(("equal texts", f"{texts['responses']:,} responses in {texts['groups']:,} groups {how}"))
    if texts and texts["near_groups"]:
        rows.append(("texts with the same words", f"{texts['near_groups']:,} groups, ranked separately"))
    rows += [
        ("videos and images", f"{counts['videos']:,}" + (" (named only)" if release.media_as == "none" else "")),
        ("language of the texts", ", ".join(config.language) or "not stated"),
        ("licence", config.licence or "none stated; ask the authors"),
    ]
    return ["| figure | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows), ""]


def _models(leaderboard: Sequence[Mapping[str, Any]]) -> list[str]:
    if not leaderboard:
        return []
    rows = [
        f"| {row['rank']} | {row['best_rank']} to {row['worst_rank']} | {row['model']} | {row['class']} "
        f"| {row['strength']:.2f} | {row['low']:.2f} to {row['high']:.2f} |"
        for row in leaderboard
        if not row["component"]
    ]
    apart = len(leaderboard) - len(rows)
    if apart:
        rows += ["", f"Models that no votes connect with these, and that are not listed: {apart}."]
    return [
        "## Models",
        "",
        "Over all votes of the run. Strength: log odds of winning a vote against the mean model, with a 90% interval",
        "that allows for dependent votes. Models of one class do not differ significantly from its first, and rank",
        "intervals hold for all models at once (95%).",
        "",
        "| rank | interval | model | class | strength | 90% interval |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
    ]


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _load(configs: Any) -> list[str]:
    return [f'load_dataset("DIR", "{config}")' for config in configs]


def _code(*lines: str) -> list[str]:
    return ["```python", *lines, "```", ""]


def _jsonl_note(end: str) -> list[str]:
    return [
        "`NAME.jsonl` holds the items of `NAME` in the format of the trainer of arXiv 2604.10966: prompt, responses,",
        f"rankings (1 = best), image, {end}",
        "",
    ]


def _items(rules: Sequence[Rule], counts: Mapping[str, Any]) -> list[str]:
    lines = ["## Items", ""]
    for rule in rules:
        balance = counts["balance"][rule.name]
        shown, best = ([found[i] for found in balance["models"].values()] for i in (0, 1))
        lines += _config(rule, counts)
        if shown:
            lines.append(f"A model is in {_range(shown)} items and the best of {_range(best)}.")
        if rule.name not in (TRAIN_FULL, FULL):
            positions = balance["positions"]
            lines.append(f"The best response is at each of {len(positions)} positions {_range(positions)} times.")
        lines += ["", rule.description, ""]
    return lines


def _config(rule: Rule, counts: Mapping[str, Any], limit: str = "") -> list[str]:
    """Return the numbers of a config, and the meaning of a score on its items if they have a best response."""
    name = rule.name
    lines = [
        f"**{name}**: {counts['items'][name]:,} items{limit}, from {counts['candidates'][name]:,} candidate sets, "
        f"{counts['eligible'][name]:,} of them eligible.",
        "",
    ]
    ceiling = counts["ceiling"][name]
    if ceiling is not None:
        mean, low, high = (ceiling[key] for key in ("mean", "low", "high"))
        levels = ", ".join(f"{number} {level}" for level, number in counts["difficulty"][name].items())
        lines += [
            f"Mean confidence {mean:.3f}: the expected share of correct best labels. A perfect judge, which knows the",
            f"true order, would score about {mean:.2f} (90% interval {low:.2f} to {high:.2f}); above it,",
            f"differences are not meaningful. Random guessing scores {counts['floor'][name]:.2f}. By the margin of the",
            f"best response: {levels}.",
            "",
        ]
    if figures := counts.get("fragility", {}).get(name):  # none in releases of earlier versions
        lines += [f"Fragility: {FragilityFigures.model_validate(figures).summary}.", ""]
    return lines


def _versions(release: Release) -> list[str]:
    """Return which benchmark items are those of earlier versions, if there are any."""
    found = {name: Stability.model_validate(own) for name, own in release.counts.get("stability", {}).items()}
    if not found:
        return []
    versions = next(iter(found.values())).common
    cells = [[f"{own.common.get(version, 0):,}" for own in found.values()] for version in versions]
    return [
        "## Versions of the benchmark",
        "",
        *(line for name, own in found.items() for line in (f"**{name}** since {own.previous}: {own.summary}.", "")),
        "An item is kept while its labelled best response is the best with the required confidence, its prompt",
        "passes the filters, and question, media and texts are the same. It keeps its id, its order of responses and",
        "its label; the ranks of the other responses and all figures are those of this version. Scores of two versions",
        "are comparable on the items that are in both and in every version between. `history.csv` lists them, and the",
        "reason of each that was retired. Full rankings (`benchmark_full`) follow the votes and are not comparable.",
        "",
        f"| in every version since | {' | '.join(found)} |",
        f"|---|{'---|' * len(found)}",
        *(f"| {version} | {' | '.join(row)} |" for version, row in zip(versions, cells, strict=True)),
        "",
    ]


def _range(counts: list[int]) -> str:
    """Return "12 to 15" for the minimum and maximum; "12" if they are equal, "none" for no counts."""
    if not counts:
        return "none"
    return f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,} to {max(counts):,}"


def _funnel(release: Release) -> list[str]:
    lines = ["## Funnel", "", "| stage | unit | input | kept | dropped |", "|---|---|---|---|---|"]
    for stage in release.funnel.stages:
        why = "; ".join(f"{number:,} {reason}" for reason, number in stage.dropped.items())
        lines.append(f"| {stage.stage} | {stage.unit} | {stage.input:,} | {stage.kept:,} | {why} |")
    return [*lines, ""]


def _split_note(split: SplitConfig) -> str:
    return (
        "Prompts are divided by video (a prompt without one is divided by itself) by a digest of the video and seed "
        f"{split.seed}; the benchmark gets a share of {split.benchmark_fraction:g}."
    )


def _separation(release: Release, config: ReleaseConfig) -> list[str]:
    leak = config.leakage
    earlier = ", ".join(f"`{label}`" for label in release.previous) or "none"
    return [
        "## Training and benchmark",
        "",
        f"{_split_note(config.split)} Near-duplicates are on one side, and no prompt ever changes sides. No training "
        "prompt has",
        "the id or the video of a benchmark prompt, nor an edited copy of its video within distance "
        f"{leak.near_video:g} ({leak.near_video_with_question:g} if the questions are near-duplicates),",
        "nor, among prompts without a video, a question whose words have a similarity of "
        f"{leak.question_similarity:g} or more. The same holds against",
        f"earlier releases: {earlier}, and the benchmarks built from the same store before.",
        "",
    ]


def _origin(release: Release) -> list[str]:
    run = release.upstream[0]
    method = release.counts["method"]
    return [
        "## Origin",
        "",
        f"Made by curate {release.run.code_version}, run `{release.run.run}`, from denoise run `{run.run}` ({method})",
        f"on {len(release.batches)} ingests of votes. `manifest.json` lists the digest of every file and the runs and",
        "vote files behind them; `curate release verify` checks all of it.",
        "",
    ]


def _limits(release: Release) -> list[str]:
    lines = [
        "## Known limits",
        "",
        "* Labels are inferred from votes and can be wrong. The ceilings above state how often, provided that the",
        "  model of the votes is adequate. Label errors within a prompt are correlated.",
        f"* Distribution of strengths by the model: {release.counts['strengths']}. It knows normal and",
        "  two-component distributions; for others its probabilities may not be calibrated.",
        "* The overdispersion factor shows errors that annotators do not share. Errors of all of them stay unseen.",
        "* The best response of a benchmark item is likely the best; the order of the others is less certain.",
    ]
    if release.media_as == "none":
        lines += ["* Videos were not read: leaks by the same video under another name cannot be excluded."]
    elif not release.counts["hashed"]:
        lines += ["* Not all videos have perceptual hashes: among those without, only equal bytes are detected."]
    return [*lines, ""]


def _tables(release: Release, configs: Sequence[str]) -> list[str]:
    """Return the columns of every table."""
    paths = [file.path for file in release.files]
    items = [name for name in configs if name in ITEM_CONFIGS]
    others = [name for name in configs if name not in ITEM_CONFIGS]
    groups = [(", ".join(f"`{name}`" for name in items), items[0]), *((f"`{name}`", name) for name in others)]
    groups += [("`prompts`", PROMPTS), *([("`media`", MEDIA)] if tables_of(MEDIA, paths)[0] in paths else [])]
    lines = ["## Columns", ""]
    for names, config in groups:
        lines += [f"Of {names}:", "", *_columns(columns_of(config, release))]
    return lines


def _columns(columns: Sequence[ItemColumn]) -> list[str]:
    rows = [f"| `{name}` | {kind} | {meaning.replace('|', chr(92) + '|')} |" for name, kind, meaning in columns]
    return ["| column | type | meaning |", "|---|---|---|", *rows, ""]
