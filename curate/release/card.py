"""README.md of a release: a dataset card with the figures that matter, which ``datasets`` opens every config by."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from curate.release.columns import FULL, MEANINGS, MEDIA, PREFERENCES, PROMPTS, TRAIN_FULL, best_of
from curate.release.figures import spread
from curate.release.loading import front_matter, loader_of
from curate.sampling.items import Rule
from curate.shards.card import ceiling_lines
from schemas.items import ITEM_COLUMNS
from schemas.release import Release, ReleaseConfig

OPENING = {
    "videofolder": (
        "Each row's `video` is its file's path and bytes (here a path), not decoded, so that rows load anyway:",
        [
            'row = load_dataset("DIR", "benchmark", split="test")[0]',
            'decord.VideoReader(row["video"]["path"])        # by decord',
            'ds.cast_column("video", datasets.Video())       # by datasets, where torchcodec works',
        ],
    ),
    "inside": (
        "Each row's `video` is its file's path and bytes (here bytes), not decoded, so that rows load anyway:",
        [
            'row = load_dataset("DIR", "benchmark", split="test")[0]',
            'decord.VideoReader(io.BytesIO(row["video"]["bytes"]))',
            'ds.cast_column("video", datasets.Video())       # by datasets, where torchcodec works',
        ],
    ),
    "imagefolder": (
        "Each row's `image` is its file's path and bytes (here a path), undecoded:",
        [
            'row = load_dataset("DIR", "benchmark", split="test")[0]',
            'PIL.Image.open(row["image"]["path"])',
            'ds.cast_column("image", datasets.Image())       # decoded by datasets',
        ],
    ),
    "parquet": (
        "Each row's `video` is a path that starts from this folder:",
        ['row = load_dataset("DIR", "benchmark", split="test")[0]', "decord.VideoReader(f\"DIR/{row['video']}\")"],
    ),
    "webdataset": (
        "The videos are in tar shards, one sample a video: its file, and a JSON file with all its items. Stream them:",
        [
            'load_dataset("webdataset", data_files={"test": "DIR/media/benchmark-*.tar"})',
            "# or unpack them in place, and every row's path holds: for f in media/*.tar; do tar -xf $f -C media; done",
        ],
    ),
    "none": ("Videos are named, and not part of this release.", []),
}
"""How a row's video is opened, for each way of giving the media."""


def card(release: Release, rules: Sequence[Rule], config: ReleaseConfig, configs: Sequence[str]) -> str:
    """The card, in Markdown. release: without the files that state its version. rules: of all configs of items that
    have any. configs: all that can be loaded, without those of prompts and media."""
    counts = release.counts
    return "\n".join(
        [
            "---",
            *([f"license: {json.dumps(config.licence)}"] if config.licence else []),
            f"pretty_name: {json.dumps(release.label)}",
            'tags: ["preference", "reward model", "video question answering"]',
            *front_matter(configs, release.files, release.media_as, version=release.version),
            "---",
            "",
            f"# {release.name} {release.release}".rstrip(),
            "",
            f"Version `{release.version}` (it moves with every byte of the data). {config.description}".rstrip(),
            "",
            *_figures(release, config),
            *_loading(release, configs),
            *_items(rules, counts),
            *_formats(configs, config),
            *_funnel(release),
            *_apart(release, config),
            *_made(release),
            *_limits(release),
            *_columns(),
            *(["## Citation", "", config.citation, ""] if config.citation else []),
        ]
    )


def _figures(release: Release, config: ReleaseConfig) -> list[str]:
    counts = release.counts
    prompts = counts["prompts"]
    rows = [
        ("prompts", f"{prompts['train']:,} for training, {prompts['benchmark']:,} in the benchmark"),
        ("models", f"{counts['models']:,}"),
        ("votes behind them", f"{counts['votes']:,} of {counts['annotators']:,} annotators"),
        ("contradicted votes", _share(counts["agreement"]["contradicted"], "of the vote weight is against the orders")),
        ("expected Kendall tau to the truth", _number(counts["agreement"]["expected_tau"])),
        *_between_rankers(counts["agreement"]["rankers"]),
        ("videos and images", f"{counts['videos']:,}" + (" (named only)" if release.media_as == "none" else "")),
        ("licence", config.licence or "none was stated: ask who made it"),
    ]
    return ["| figure | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows), ""]


def _between_rankers(agreement: float | None) -> list[tuple[str, str]]:
    """Nothing where a single ranker's order is the ranking: it has nobody to agree with."""
    return [] if agreement is None else [("Kendall tau between the rankers behind it", _number(agreement))]


def _share(value: float | None, what: str) -> str:
    return "not known" if value is None else f"{value:.1%} {what}"


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.3f}"


def _loading(release: Release, configs: Sequence[str]) -> list[str]:
    how = loader_of([file.path for file in release.files], release.media_as)
    words, lines = OPENING[release.media_as if release.media_as in ("inside", "webdataset", "none") else how]
    named = [f'load_dataset("DIR", "{config}")' for config in configs]
    return [
        "## Loading",
        "",
        "```python",
        "from datasets import load_dataset",
        *named,
        "```",
        "",
        words,
        "",
        *(["```python", *lines, "```", ""] if lines else []),
        "`NAME.jsonl` holds the items of `NAME` again, for the trainer of arXiv 2604.10966: prompt, responses,",
        "rankings (1 = best), image, video. Its paths start from this folder.",
        "",
    ]


def _items(rules: Sequence[Rule], counts: Mapping[str, Any]) -> list[str]:
    lines = ["## Items", ""]
    for rule in rules:
        found = counts["balance"][rule.name]
        shown = [of[0] for of in found["models"].values()]
        best = [of[1] for of in found["models"].values()]
        lines += [
            f"**{rule.name}**: {counts['items'][rule.name]:,} items, of {counts['candidates'][rule.name]:,} sets "
            f"considered, {counts['eligible'][rule.name]:,} of them eligible.",
            "",
            *ceiling_lines(rule.name, counts),
            *([f"A model is in {spread(shown)} items and the best of {spread(best)}. "] if shown else []),
            *(
                [f"The best stands in each of {len(found['positions'])} places {spread(found['positions'])} times.", ""]
                if rule.name not in (TRAIN_FULL, FULL)
                else [""]
            ),
            rule.description,
            "",
        ]
    return lines


def _formats(configs: Sequence[str], config: ReleaseConfig) -> list[str]:
    lines = ["## Other formats", ""]
    if PREFERENCES in configs:
        lines += [
            f"**{PREFERENCES}**: the pairs of train_pairwise as TRL documents preference data: `prompt`, `chosen` and",
            "`rejected`, each a conversation.",
            "",
        ]
    if best_of(config.responses) in configs:
        lines += [
            f"**{best_of(config.responses)}**: the items of benchmark in the columns of RewardBench 2: one `chosen`,",
            f"{config.responses - 1} `rejected`; `subset` is the item's difficulty.",
            "",
        ]
    return [*lines, f"**{PROMPTS}**: a row a prompt, with its votes. **media** (`{MEDIA}.parquet`): a row a video.", ""]


def _funnel(release: Release) -> list[str]:
    lines = ["## Funnel", "", "| stage | of | came | kept | dropped |", "|---|---|---|---|---|"]
    for stage in release.funnel.stages:
        why = "; ".join(f"{number:,} {reason}" for reason, number in stage.dropped.items())
        lines.append(f"| {stage.stage} | {stage.unit} | {stage.came:,} | {stage.kept:,} | {why} |")
    return [*lines, ""]


def _apart(release: Release, config: ReleaseConfig) -> list[str]:
    leak = config.leakage
    earlier = ", ".join(f"`{label}`" for label in release.previous) or "none"
    return [
        "## Training and benchmark",
        "",
        f"Prompts are divided by video (a prompt without one stands for itself) by a digest of the video and seed "
        f"{config.split.seed}, the benchmark",
        f"getting a share of {config.split.benchmark_fraction:g}; what resembles each other is on one side, and no "
        "prompt ever changes sides. No prompt of the",
        "training set has the id or the video of a benchmark prompt, nor a video nearer than "
        f"{leak.near_video:g} by its frames' hashes ({leak.near_video_with_question:g}",
        "where the question is the same), nor, among prompts without a video, a question that shares "
        f"{leak.question_similarity:g} or more of its word triples. Earlier releases",
        f"kept apart likewise: {earlier}, and the benchmarks that were built from the same store before.",
        "",
    ]


def _made(release: Release) -> list[str]:
    run = release.upstream[0]
    method = release.counts["method"]
    return [
        "## How it was made",
        "",
        f"By curate ({release.run.code_version}), run `{release.run.run}`, from denoise run `{run.run}` ({method})",
        f"over {len(release.batches)} ingests of votes. `manifest.json` holds the digest of every file and the chain",
        "of runs and vote files behind them; `curate release verify` checks all of it.",
        "",
    ]


def _limits(release: Release) -> list[str]:
    lines = [
        "## Known limits",
        "",
        "* Labels come of people's votes and are wrong at times: the ceilings above say how often, as far as the joint",
        "  model of the votes is right. Labels of one prompt err together.",
        f"* That model found: {release.counts['strengths']}. It knows normal strengths, two heaps, as right and",
        "  wrong answers make, and heavy tails; where strengths are spread in another way, its chances are off.",
        "* A benchmark item's best is likely the best; the order of the others is less certain.",
    ]
    if release.media_as == "none":
        lines += ["* Videos were not looked at: leaks by the same video under another name cannot be excluded."]
    elif not release.counts["hashed"]:
        lines += ["* No perceptual hashes were taken: only videos of the same bytes are known to be the same."]
    return [*lines, ""]


def _columns() -> list[str]:
    own = [f"| `{c.name}` | {c.type} | {_cell(c.meaning)} |" for c in ITEM_COLUMNS if c.name != "video"]
    media = [f"| `{name}` | | {meaning} |" for name, meaning in MEANINGS.items()]
    return ["## Columns of items", "", "| column | type | meaning |", "|---|---|---|", *own, *media, ""]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
