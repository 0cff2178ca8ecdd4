"""Reward models on real votes: arguments of held-out topics, by layout, seed and training labels.

    python -m benchmarks.reward_text VOTES.csv ITEMS.csv --backbone FOLDER

Data of Habernal and Gurevych (ACL 2016, ukpconvarg1): four or five votes on each pair of arguments on a topic. Training
topics keep a few votes per pair, which are denoised (hierarchical) or counted (win-rate: the majority); test topics
keep all and are labelled by the hierarchical ranker. Each seed holds out other topics. Metrics are top-1 of 4 and
pairs, ± one standard error over the prompts of the test topics; for several seeds, the mean and the standard error over
all test prompts, also of the difference from the first condition on the same prompts.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import polars as pl

from curate.array_types import Float
from curate.reward import metrics
from curate.reward.data import read_examples
from curate.reward.quiet import quiet
from curate.reward.scoring import Scorer
from pipelines import denoise, export, ingest
from pipelines.training import train
from schemas.config import DenoiseConfig, ExportConfig, SplitConfig
from schemas.config import IngestConfig as Reading
from schemas.mapping import Mapping
from schemas.reward import LoraSettings, TrainConfig

QUESTION = "Which argument for this stance is the more convincing? "
Labels = Literal["hierarchical", "win-rate"]


def shards(votes: pl.DataFrame, items: pl.DataFrame, folder: Path, labels: Labels, items_per_prompt: int) -> Path:
    """Votes to training shards of four, with the jobs of the CLI."""
    folder.mkdir(parents=True)
    votes.write_csv(folder / "votes.csv")
    prompts = items.select("prompt_id", question=QUESTION + pl.col("prompt_text")).unique(maintain_order=True)
    prompts.write_csv(folder / "prompts.csv")
    items.select("prompt_id", response_id="response", text="response_text").write_csv(folder / "responses.csv")
    store = folder / "curate.duckdb"
    mapping = Mapping(columns={"voted_at": "submit_time"}, sides="shown")
    ingest(
        folder / "votes.csv",
        store,
        config=Reading(mapping=mapping),
        prompts=folder / "prompts.csv",
        responses=folder / "responses.csv",
    )
    denoise(store, config=DenoiseConfig(ranker=labels))
    config = ExportConfig(items_per_prompt=items_per_prompt, split=SplitConfig(benchmark_fraction=0.0))
    export(store, "train", out=folder / "shards", config=config)
    return folder / "shards"


def sampled(votes: pl.DataFrame, per_pair: float, seed: int) -> pl.DataFrame:
    """A random sample with ``per_pair`` votes per pair on average."""
    low, high = pl.min_horizontal("response_a", "response_b"), pl.max_horizontal("response_a", "response_b")
    pairs = votes.select(pl.struct("prompt_id", low.alias("low"), high.alias("high")).n_unique()).item()
    return votes.sample(min(len(votes), round(per_pair * pairs)), seed=seed)


def topics(votes: pl.DataFrame, held_out: int, seed: int) -> tuple[list[str], list[str]]:
    """(training, test) topics: both stances of a topic are on one side; seeds hold out other topics."""
    names = votes["prompt_id"].str.split("_").list.first().unique().sort().to_list()
    order = np.roll(np.random.default_rng(0).permutation(len(names)), -held_out * seed)
    return [names[i] for i in order[held_out:]], [names[i] for i in order[:held_out]]


def run(folder: Path, options: argparse.Namespace, condition: str, seed: int, data: dict[str, Path]) -> dict[str, Any]:
    """Train one model; return its metrics and those of the baselines on the test topics."""
    layout, loss, targets, labels = condition.split("/")
    config = TrainConfig(
        shards=(data[labels],),
        validation=(data["test"],),
        backbone=str(options.backbone),
        layout=layout,  # type: ignore[arg-type]
        loss=loss,  # type: ignore[arg-type]
        targets=targets,  # type: ignore[arg-type]
        lora=LoraSettings(r=16, alpha=32.0, dropout=0.05),
        epochs=options.epochs,
        batch=16,
        pass_tokens=4096,
        learning_rate=3e-4,
        seed=seed,
        evaluate_every=1_000_000,
        keep=1,
    )
    begin = time.perf_counter()
    out = folder / condition.replace("/", "-")
    report = train(config, out)
    assert report is not None
    found: dict[str, Any] = {"condition": condition, "seed": seed, "seconds": time.perf_counter() - begin}
    examples = read_examples(data["test"])
    with Scorer.from_pretrained(out) as scorer:
        scores = scorer.score_examples(examples)
    hits = [float(metrics.top1(np.array([s]), np.array([e.ranks]))[0]) for s, e in zip(scores, examples, strict=True)]
    of_prompt = pl.DataFrame({"prompt": [e.prompt for e in examples], "hit": hits}).group_by("prompt").mean()
    found["top1 by prompt"] = dict(sorted(of_prompt.iter_rows()))
    for evaluation in report.evaluations:
        found[evaluation.scorer] = evaluation.overall.model_dump()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("votes", type=Path)
    parser.add_argument("items", type=Path)
    parser.add_argument("--backbone", type=Path, required=True)
    parser.add_argument(
        "--conditions",
        default="tree/top1/labels/hierarchical,set/top1/labels/hierarchical,causal/top1/labels/hierarchical",
    )
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--held-out", type=int, default=5, help="topics")
    parser.add_argument("--votes-per-pair", type=float, default=0.5)
    parser.add_argument("--items-per-prompt", type=int, default=8)
    parser.add_argument("--out", type=Path, help="append a JSON line per run to this file")
    options = parser.parse_args()
    votes, items = pl.read_csv(options.votes), pl.read_csv(options.items)
    runs = []
    for seed in range(options.seeds):
        with quiet(), tempfile.TemporaryDirectory() as home:
            folder = Path(home)
            data = prepare(votes, items, folder, options, seed)
            for condition in options.conditions.split(","):
                runs.append(run(folder, options, condition, seed, data))
                if options.out:
                    with options.out.open("a") as file:
                        file.write(json.dumps(runs[-1]) + "\n")
                _line(condition, seed, runs[-1])
    _summary(runs)


def prepare(
    votes: pl.DataFrame, items: pl.DataFrame, folder: Path, options: argparse.Namespace, seed: int
) -> dict[str, Path]:
    """Shards of the training topics by kind of labels, and of the test topics."""
    training, test = topics(votes, options.held_out, seed)
    topic = pl.col("prompt_id").str.split("_").list.first()
    few = sampled(votes.filter(topic.is_in(training)), options.votes_per_pair, seed)
    mine, theirs = items.filter(topic.is_in(training)), items.filter(topic.is_in(test))
    data = {
        "hierarchical": shards(few, mine, folder / "hierarchical", "hierarchical", options.items_per_prompt),
        "win-rate": shards(few, mine, folder / "win-rate", "win-rate", options.items_per_prompt),
        "test": shards(votes.filter(topic.is_in(test)), theirs, folder / "test", "hierarchical", 8),
    }
    sizes = {name: len(read_examples(path)) for name, path in data.items()}
    print(f"seed {seed}: {len(few):,} votes on {len(training)} training topics, items {sizes}; test: {', '.join(test)}")
    return data


def _line(condition: str, seed: int, found: dict[str, Any]) -> None:
    model, control = found["model"], found["shuffled-text control"]
    figures = (
        f"top-1 {model['top1']:.3f} ± {model['top1_se']:.3f}",
        f"pairs {model['pairwise']:.3f} ± {model['pairwise_se']:.3f}",
        f"tau {model['tau']:.3f}",
        f"order {model['order_sensitivity']:.2f}",
        f"shuffled-text {control['top1']:.3f}",
        f"{found['seconds']:.0f} s",
    )
    print(f"{condition:32} seed {seed}  " + "  ".join(figures), flush=True)


def _summary(runs: list[dict[str, Any]]) -> None:
    """Print means over seeds, and the difference from the first condition; then the controls and baselines."""
    print(f"\n{'mean over seeds':32}  top-1      ±   pairs   minus the first     ±")
    by_prompt: dict[str, dict[tuple[int, str], float]] = {}
    for found in runs:
        own = by_prompt.setdefault(found["condition"], {})
        own.update({(found["seed"], prompt): hit for prompt, hit in found["top1 by prompt"].items()})
    first = next(iter(by_prompt.values()))
    for condition, own in by_prompt.items():
        hits = np.array([own[key] for key in first if key in own])
        gains = hits - np.array([first[key] for key in first if key in own])
        pairs = np.mean([found["model"]["pairwise"] for found in runs if found["condition"] == condition])
        figures = f"{hits.mean():.3f}  {_error(hits):.3f}   {pairs:.3f}"
        print(f"{condition:32}  {figures}           {gains.mean():+.3f}  {_error(gains):.3f}")
    for name in ("shuffled-text control", "random", "longest", "shortest", "overlap", "similarity"):
        rows = [found[name] for found in runs if name in found]
        if rows:
            top1, pairs = (np.mean([row[figure] for row in rows]) for figure in ("top1", "pairwise"))
            print(f"{name:32}  {top1:.3f}          {pairs:.3f}")


def _error(values: Float) -> float:
    """The standard error of a mean."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))


if __name__ == "__main__":
    main()
