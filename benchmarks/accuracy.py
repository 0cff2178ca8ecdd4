"""How close the rankers come to the truth of simulated worlds, and how well they foretell held-out votes of real ones.

    python -m benchmarks.accuracy --prompts 200 --seeds 5
    python -m benchmarks.accuracy --votes votes.csv

Worlds are those of curate.simulate: 19 models, 120 annotators of uneven activity. tau is Kendall's tau-b to the true
strengths, mean over prompts; ± is its standard error over seeds. Exits with 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from curate.agreement import best_of, kendall_tau, top1
from curate.rankers import BradleyTerry, build
from curate.rankers.base import Ranker
from curate.rankers.joint import Joint, JointFit
from curate.rankers.joint_votes import quadrature
from curate.simulate import simulate_world
from curate.store import Store
from curate.store.rankings import load_votes
from curate.votes import VoteArrays
from pipelines import ingest
from schemas.config import DenoiseConfig, SimulateConfig

ALLOWED_LOSS = 0.005
"""The joint ranker's tau may be this much below Bradley-Terry's, in no scenario more."""
GOALS = {  # (votes per pair, share of spammers, share of ties): tau of the joint ranker
    (1.1, 0.1, 0.15): 0.74,
    (1.1, 0.3, 0.15): 0.70,
    (0.3, 0.1, 0.15): 0.58,
}
Scenario = tuple[float, float, float]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.votes:
        hold_out(read(options.votes), options.seeds)
        return 0
    methods: dict[str, Ranker] = {
        name: Joint() if name == "joint" else build(name, DenoiseConfig()) for name in options.methods.split(",")
    }
    tau = measure(methods, options)
    return report_goals(tau)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measures how close rankers come to the truth.")
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--votes-per-pair", type=float, nargs="+", default=[0.3, 0.6, 1.1, 3.0])
    parser.add_argument("--spammers", type=float, nargs="+", default=[0.0, 0.1, 0.3])
    parser.add_argument("--ties", type=float, nargs="+", default=[0.15])
    parser.add_argument("--methods", default="bradley-terry,win-rate,borda,pagerank,ensemble,joint")
    parser.add_argument("--votes", type=Path, help="a CSV of votes instead of simulated ones: hold-out evaluation")
    return parser


def measure(methods: dict[str, Ranker], options: argparse.Namespace) -> dict[Scenario, dict[str, np.ndarray]]:
    """Prints a line for each scenario and method; returns the (seeds,) mean tau of each."""
    print(f"{options.prompts} prompts, {options.seeds} seeds")
    print(
        f"{'votes/pair':>10}{'spam':>6}{'ties':>6}  {'method':<18}{'tau':>7}{'±':>7}{'top-1':>8}{'best-of-4':>11}",
        end="",
    )
    print(f"{'seconds':>9}{'solved':>8}")
    found: dict[Scenario, dict[str, np.ndarray]] = {}
    for scenario in product(options.votes_per_pair, options.spammers, options.ties):
        rows: dict[str, list[list[float]]] = defaultdict(list)
        for seed in range(options.seeds):
            density, spam, ties = scenario
            config = SimulateConfig(
                prompts=options.prompts, votes_per_pair=density, spammers=spam, ties=ties, seed=seed
            )
            world = simulate_world(config)
            votes, truth = world.votes, world.responses.strength.ravel()
            for name, ranker in methods.items():
                start = time.perf_counter()
                ranking = ranker(replace(votes))  # without what other rankers have derived
                seconds = time.perf_counter() - start
                quality = [measure(ranking.scores, truth, votes.offsets) for measure in (kendall_tau, top1, best_of)]
                rows[name].append([*(float(np.nanmean(q)) for q in quality), seconds, ranking.solved.mean()])
        found[scenario] = {}
        for name, values in rows.items():
            table = np.array(values)
            tau, first, four, seconds, solved = table.mean(axis=0)
            found[scenario][name] = table[:, 0]
            place = "".join([f"{scenario[0]:>10g}", f"{scenario[1]:>6.0%}", f"{scenario[2]:>6.0%}"])
            print(f"{place}  {name:<18}{tau:>7.4f}{_error(table[:, 0]):>7.4f}{first:>8.3f}{four:>11.3f}", end="")
            print(f"{seconds:>9.2f}{solved:>8.1%}", flush=True)
    return found


def _error(values: np.ndarray) -> float:
    """Standard error of the mean; NaN for one value."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def report_goals(tau: dict[Scenario, dict[str, np.ndarray]]) -> int:
    """Prints PASS or FAIL for each goal that was measured; 1 when one is missed."""
    met = []
    print()
    for scenario, of in tau.items():
        if "joint" not in of:
            continue
        what = f"{scenario[0]:g} votes a pair, {scenario[1]:.0%} spammers, {scenario[2]:.0%} ties"
        if "bradley-terry" in of:
            gain = of["joint"] - of["bradley-terry"]
            met.append(gain.mean() >= -ALLOWED_LOSS)
            print(f"{_verdict(met)}  {what}: joint − bradley-terry {gain.mean():+.4f} ± {_error(gain):.4f}")
        if scenario in GOALS:
            met.append(of["joint"].mean() >= GOALS[scenario])
            print(f"{_verdict(met)}  {what}: joint {of['joint'].mean():.4f}, at least {GOALS[scenario]}")
    return 0 if all(met) else 1


def _verdict(met: list[bool]) -> str:
    return "PASS" if met[-1] else "FAIL"


def hold_out(votes: VoteArrays, seeds: int) -> None:
    """Prints log-loss and accuracy on the decisive ones of a fifth of the votes, fitted on the others."""
    print(f"{len(votes.left):,} votes, {len(votes.prompts)} prompts, {len(votes.responses):,} responses, ", end="")
    print(f"{len(votes.annotators):,} annotators; {seeds} seeds\n")
    rows: dict[str, list[list[float]]] = defaultdict(list)
    for seed in range(seeds):
        held = np.random.default_rng(seed).random(len(votes.left)) < 0.2
        train, test = _chosen(votes, ~held), _chosen(votes, held & (votes.outcome < 2))
        for name, chance in chances(train, test).items():
            right = np.where(test.outcome == 0, chance, 1 - chance)
            rows[name].append([-np.log(right).mean(), ((right > 0.5) + 0.5 * (right == 0.5)).mean()])
    print(f"{'method':<42}{'log-loss':>10}{'accuracy':>10}{'±':>8}")
    for name, values in rows.items():
        table = np.array(values)
        loss, accuracy = table.mean(axis=0)
        print(f"{name:<42}{loss:>10.4f}{accuracy:>10.4f}{_error(table[:, 1]):>8.4f}")


def chances(train: VoteArrays, test: VoteArrays) -> dict[str, np.ndarray]:
    """(V,) the chance, given no tie, that each vote of test is for left, as each method says from train."""
    found = {}
    for ridge in (0.1, 1.0):
        strength = BradleyTerry(ridge)(train).scores
        found[f"bradley-terry, ridge {ridge:g}"] = _sigma(strength[test.left] - strength[test.right])
    nobody = np.full_like(train.annotator, -1)
    found["joint, annotators not told"] = _chance(
        Joint().fit(replace(train, annotator=nobody, annotators=())), test, False
    )
    fit = Joint().fit(train)
    found["joint, of an average annotator"] = _chance(fit, test, False)
    found["joint, knowing who votes"] = _chance(fit, test, True)
    return found


def _chance(fit: JointFit, test: VoteArrays, told: bool) -> np.ndarray:
    """(V,) σ(discrimination · gap + bias), which is Davidson's chance given no tie, over the gap's uncertainty.

    The two deviations are taken for independent.
    """
    gap = fit.strength[test.left] - fit.strength[test.right]
    deviation = np.sqrt(fit.deviation[test.left] ** 2 + fit.deviation[test.right] ** 2)
    who = test.annotator if told else np.full_like(test.annotator, -1)
    rate, bias = np.ones(len(gap)), np.full(len(gap), fit.annotators.mean[1])
    if told:
        rate, bias = fit.annotators.value[who, 0], fit.annotators.value[who, 1]
    bias = np.where(test.sides_known, bias, 0.0)
    points, shares = quadrature(5)
    return sum(
        share * _sigma(rate * (gap + point * deviation) + bias) for point, share in zip(points, shares, strict=True)
    )


def _sigma(x: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small) / (1 + small)


def _chosen(votes: VoteArrays, keep: np.ndarray) -> VoteArrays:
    columns = ("left", "right", "outcome", "weight", "sides_known", "annotator", "group")
    return replace(votes, **{name: getattr(votes, name)[keep] for name in columns})


def read(path: Path) -> VoteArrays:
    """The votes of a file, as ``curate ingest`` reads it."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "votes.duckdb"
        ingest(path, store)
        with Store.open(store) as opened:
            return load_votes(opened).votes


if __name__ == "__main__":
    sys.exit(main())
