"""README.md of an export: a dataset card whose front matter lets ``datasets.load_dataset(DIR)`` open it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curate.sampling.items import Rule
from schemas.config import ExportConfig
from schemas.items import ITEM_COLUMNS

SPLITS = {"train": "train", "benchmark": "test"}
"""kind of export -> the name of its split among datasets people."""


def card(kind: str, rules: Sequence[Rule], *, config: ExportConfig, counts: Mapping[str, Any]) -> str:
    """The card, in Markdown. rules: those that have items, the default first. counts: as in the manifest. The config
    names the denoise run in full."""
    return "\n".join(
        [
            *_front_matter(kind, rules),
            f"# {'Training data' if kind == 'train' else 'Benchmark'}: ranked responses to questions about videos",
            "",
            f"Made by curate from denoise run `{config.run}`. `manifest.json` holds the digest of every file and the",
            "chain of runs and vote files behind them.",
            "",
            *_loading(rules),
            *_contents(rules, config, counts),
            *_columns(),
            *_split(kind, config),
            *_left_out(counts),
        ]
    )


def _front_matter(kind: str, rules: Sequence[Rule]) -> list[str]:
    lines = ["---", "configs:"]
    for index, rule in enumerate(rules):
        lines += [f'- config_name: "{rule.name}"', *(["  default: true"] if index == 0 else []), "  data_files:"]
        # Only the shards: the JSONL beside them holds the same items again.
        lines += [f"  - split: {SPLITS[kind]}", f'    path: "{rule.name}-*.parquet"']
    return [*lines, "---", ""]


def _loading(rules: Sequence[Rule]) -> list[str]:
    others = [f'load_dataset("DIR", "{rule.name}")' for rule in rules[1:]]
    return ["```python", "from datasets import load_dataset", 'load_dataset("DIR")', *others, "```", ""]


def _contents(rules: Sequence[Rule], config: ExportConfig, counts: Mapping[str, Any]) -> list[str]:
    lines = ["## Items", ""]
    for rule in rules:
        lines += [
            f"**{rule.name}**: {counts['items'][rule.name]} items, at most {rule.items} a prompt, of"
            f" {counts['candidates'][rule.name]} sets considered, {counts['eligible'][rule.name]} of them eligible.",
            "",
            *ceiling_lines(rule.name, counts),
            rule.description,
            "",
        ]
    lines += [f"Drawn from {counts['prompts']} prompts with seed {config.seed}."]
    if config.min_confidence > 0:
        lines += [f"Items below confidence {config.min_confidence:g}, or whose best rank is shared, are left out."]
    return [
        *lines,
        "",
        "`NAME.jsonl` holds the items of `NAME` again, for the trainer of arXiv 2604.10966: prompt, responses,",
        "rankings (1 = best), image (null), video.",
        "",
    ]


def ceiling_lines(name: str, counts: Mapping[str, Any]) -> list[str]:
    """What a score on these items can mean; nothing where no item has a best."""
    ceiling = counts["ceiling"][name]
    if ceiling is None:
        return []
    mean, low, high = (ceiling[key] for key in ("mean", "low", "high"))
    levels = ", ".join(f"{number} {level}" for level, number in counts["difficulty"][name].items())
    return [
        f"Mean confidence {mean:.3f}: the expected share of best labels that are right. A perfect judge, who knows the",
        f"true order, would score about {mean:.2f} here ({low:.2f} to {high:.2f} in nine cases of ten): no score above",
        f"that says more. One who guesses scores {counts['floor'][name]:.2f}. By the gap in strength between best and",
        f"second: {levels}.",
        "",
    ]


def _columns() -> list[str]:
    rows = [f"| `{column.name}` | {column.type} | {column.meaning} |" for column in ITEM_COLUMNS]
    return ["## Columns", "", "| column | type | meaning |", "|---|---|---|", *rows, ""]


def _split(kind: str, config: ExportConfig) -> list[str]:
    return [
        "## Split",
        "",
        f"These are the prompts of the {kind} side. Prompts are divided by video (a prompt without one stands for",
        f"itself) by a digest of the video and seed {config.split.seed}, the benchmark getting a share of"
        f" {config.split.benchmark_fraction:g}; all prompts",
        "of a video are on one side, and no prompt ever changes sides.",
        "",
    ]


def _left_out(counts: Mapping[str, Any]) -> list[str]:
    rows = [f"| {reason} | {number} |" for reason, number in counts["left_out"].items()]
    return ["## Left out", "", *(["| what: why | how many |", "|---|---|", *rows] if rows else ["Nothing."]), ""]
