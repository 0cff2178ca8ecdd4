"""Accuracy of every method: against the true order in simulated worlds, and on held-out votes of real ones.

    python -m benchmarks.accuracy
    python -m benchmarks.accuracy --quick
    python -m benchmarks.accuracy --scenarios "one prompt" "4 models" --methods hierarchical bradley-terry oracle
    python -m benchmarks.accuracy --votes votes.csv
    python -m benchmarks.accuracy --votes votes.csv --thin 19

Worlds are those of benchmarks/worlds.py. tau is Kendall's tau-b to the true strengths, mean over prompts; top-1 the
share of prompts whose best response is ranked first; best-of-4 the share of sets of four whose best is ranked first.
Where a method ranks all responses of a prompt equal, or returns no numbers, tau is 0. "over BT" is the difference to
Bradley-Terry's tau on the same worlds and prompts, since slow methods are run on fewer of them. ± is a standard error
over worlds. The exit code is 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import heldout, worlds
from benchmarks.oracle import oracle
from benchmarks.peers import MANY, PEERS, installed
from curate.array_types import Float
from curate.denoising.ranking import rank_votes
from curate.evaluation.agreement import best_of, kendall_tau, top1
from curate.rankers.bradley_terry import BradleyTerry
from curate.rankers.registry import build
from curate.simulation.world import World
from curate.votes.arrays import VoteArrays
from schemas.config import DenoiseConfig, SimulateConfig
from schemas.rankers import BUILT_IN

OURS = tuple(BUILT_IN)
METHODS = (*OURS, "auto", "oracle", *PEERS)
AUTO = DenoiseConfig()
SLOWEST = ("crowd-kit noisy bt",)
"""They are run on the worlds of fewer seeds."""

LOSS = 0.005
"""Largest deficit in tau of the hierarchical ranker against Bradley-Terry, and of auto against the hierarchical."""
OF_ORACLE = 0.01
GAINS = {"bradley-terry": 0.08, "ensemble": 0.10}
"""Least gain in tau of the hierarchical ranker over these in the reference world."""
LEAST = {worlds.CARELESS: 0.70, worlds.SPARSE: 0.58}
"""Least tau of the hierarchical ranker."""


class Result(NamedTuple):
    """The result of a method on one world."""

    scores: Float
    """(R,) higher is better."""
    note: str = ""


@dataclass(frozen=True)
class Method:
    rank: Callable[[VoteArrays], Result]
    prompts: int
    """The number of prompts that it is run on."""


class Quality(NamedTuple):
    """Accuracy of one method on one world, means over prompts; and seconds."""

    tau: float
    over_bt: float
    top1: float
    best_of_4: float
    seconds: float


Found = dict[str, dict[str, Float]]
"""scenario -> method -> (worlds,) tau."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    if options.votes:
        votes = heldout.read(options.votes)
        return heldout.report(votes, seeds=options.seeds, thin=options.thin)
    names = [name for name in options.methods if name not in PEERS or _available(name)]
    found = {}
    print(f"{options.prompts} prompts, {options.seeds} seeds\n")
    small = worlds.SCENARIOS["4 models"].world(worlds.SCENARIOS["4 models"].config(prompts=5, seed=0))
    for name in OURS:
        _by_ranker(name, small.votes)  # compiles the kernels: the seconds below exclude that
    for name in options.scenarios:
        found[name] = measure(worlds.SCENARIOS[name], names, options)
    print_summary(found)
    return report_goals(found)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures the accuracy of methods.")
    parser.add_argument(
        "--scenarios", nargs="+", choices=worlds.SCENARIOS, default=list(worlds.SCENARIOS), metavar="NAME"
    )
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, metavar="NAME")
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--slow-seeds", type=int, default=1, help=f"of them for {' and '.join(SLOWEST)}")
    parser.add_argument("--quick", action="store_true", help="2 seeds, 60 prompts, three scenarios")
    parser.add_argument("--votes", type=Path, help="a file of votes instead of simulated ones: held-out evaluation")
    parser.add_argument("--thin", type=int, help="with --votes: responses per prompt, and one vote per pair")
    options = parser.parse_args(arguments)
    if options.quick:
        options.prompts, options.seeds, options.scenarios = 60, 2, worlds.QUICK
    if options.thin and not options.votes:
        parser.error("--thin needs --votes")
    return options


def _available(name: str) -> bool:
    if not installed(name):
        print(f"skipped: {name} is not installed (the extra 'bench' has it)")
        return False
    return True


def measure(scenario: worlds.Scenario, names: Sequence[str], options: argparse.Namespace) -> dict[str, Float]:
    """Return the (worlds,) tau of each method, and print a table."""
    rows, notes = defaultdict[str, list[Quality]](list), defaultdict[str, Counter[str]](Counter)
    given = {}
    for seed in range(options.seeds * scenario.repeats):
        config = scenario.config(options.prompts, seed)
        world = scenario.world(config)
        baseline = _tau(BradleyTerry()(world.votes).scores, world, world.votes)
        for name in names:
            if name == "oracle" and config.link != "logistic":
                continue
            if name in SLOWEST and seed >= options.slow_seeds * scenario.repeats:
                continue
            method = _method(name, world, config)
            quality, note = _try(method, world, baseline)
            rows[name].append(quality)
            notes[name][note] += 1
            given[name] = min(method.prompts, config.prompts)
    print(
        f"{scenario.name:<31}{'tau':>7}{'±':>7}{'over BT':>9}{'top-1':>8}{'best-of-4':>11}"
        f"{'seconds':>9}{'worlds':>8}{'prompts':>9}"
    )
    for name, values in rows.items():
        mean = Quality(*np.mean(values, axis=0))
        error = _error(np.array([value.tau for value in values]))
        said = ", ".join(f"{note} × {count}" for note, count in notes[name].items() if note)
        line = f"  {name:<29}{mean.tau:>7.4f}{error:>7.4f}{mean.over_bt:>+9.4f}"
        line += f"{mean.top1:>8.3f}{mean.best_of_4:>11.3f}"
        print(f"{line}{mean.seconds:>9.2f}{len(values):>8}{given[name]:>9}  {said}".rstrip(), flush=True)
    print()
    return {name: np.array([value.tau for value in values]) for name, values in rows.items()}


def _method(name: str, world: World, config: SimulateConfig) -> Method:
    if name in PEERS:
        _, scores, prompts = PEERS[name]
        return Method(lambda votes: Result(scores(votes)), prompts)
    if name == "oracle":
        return Method(lambda _: Result(oracle(world, config)), config.prompts)
    if name == "auto":
        return Method(_by_auto, config.prompts)
    return Method(lambda votes: _by_ranker(name, votes), config.prompts)


def _by_ranker(name: str, votes: VoteArrays) -> Result:
    ranking = build(name, DenoiseConfig())(votes)
    return Result(ranking.scores, "" if ranking.converged.all() else f"{ranking.converged.mean():.1%} converged")


def _by_auto(votes: VoteArrays) -> Result:
    """Rank by the method chosen on held-out votes, as ``denoise`` does."""
    denoised = rank_votes(votes, AUTO)
    scores = np.zeros(len(votes.responses))
    scores[denoised.coverage.used[votes.response_prompt]] = denoised.final.scores
    return Result(scores, denoised.method)


def _try(method: Method, world: World, baseline: Float) -> tuple[Quality, str]:
    """Return the accuracy of the method, and its note. baseline: (P,) tau of Bradley-Terry."""
    votes = world.votes.of_prompts(np.arange(len(world.votes.prompts)) < method.prompts)
    start = time.perf_counter()
    result = method.rank(replace(votes))  # a copy without cached graphs
    seconds = time.perf_counter() - start
    tau, truth = _tau(result.scores, world, votes), world.responses.strength.ravel()[: len(votes.responses)]
    over = tau - baseline[: len(tau)]
    first, four = (of(result.scores, truth, votes.offsets) for of in (top1, best_of))
    return Quality(*(float(np.mean(of)) for of in (tau, over, first, four, seconds))), result.note


def _tau(scores: Float, world: World, votes: VoteArrays) -> Float:
    """Return (P,) Kendall's tau-b to the truth. votes: those of the world, or of its first prompts."""
    truth = world.responses.strength.ravel()[: len(votes.responses)]
    return np.nan_to_num(kendall_tau(scores, truth, votes.offsets))


def _error(values: Float) -> float:
    """Return the standard error of the mean; NaN for one value."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def print_summary(found: Found) -> None:
    """Print the mean tau of every method (columns) in every scenario (rows)."""
    names = list(dict.fromkeys(name for of in found.values() for name in of))
    print("tau; *: on fewer worlds or prompts, not comparable with the others (see above)")
    slow = [name for name in names if name in SLOWEST or (name in PEERS and PEERS[name][2] < MANY)]
    print("\n".join(f"  {k + 1:>2} {name}{' *' if name in slow else ''}" for k, name in enumerate(names)))
    print(" " * 31 + "".join(f"{k + 1:>6}" for k in range(len(names))))
    for scenario, of in found.items():
        cells = [f"{of[name].mean():>6.3f}" if name in of else f"{'–':>6}" for name in names]
        print(f"{scenario:<31}" + "".join(cells))
    print()


def report_goals(found: Found) -> int:
    """Print PASS or FAIL for each goal that was measured; return 1 if one is missed."""
    goals = [goal for scenario, tau in found.items() for goal in _goals(scenario, tau)]
    for met, text in goals:
        print(f"{'PASS' if met else 'FAIL'}  {text}")
    return 0 if all(met for met, _ in goals) else 1


def _goals(scenario: str, tau: dict[str, Float]) -> list[tuple[bool, str]]:
    """Return for each goal of the scenario whether it is met, and a text; differences are on the same worlds."""
    goals = []

    def at_least(value: Float, least: float, text: str) -> None:
        figures = f"{value.mean():+.4f} ± {_error(value):.4f}, at least {least:+.3f}"
        goals.append((bool(value.mean() >= least), f"{scenario}: {text} {figures}"))

    def against(name: str, other: str, least: float) -> None:
        if name in tau and other in tau:
            shared = min(len(tau[name]), len(tau[other]))  # the worlds that both were run on
            at_least(tau[name][:shared] - tau[other][:shared], least, f"{name} − {other}")

    against("hierarchical", "bradley-terry", -LOSS)
    if scenario in LEAST and "hierarchical" in tau:
        at_least(tau["hierarchical"], LEAST[scenario], "hierarchical")
    if scenario == worlds.REFERENCE:
        for other, gain in GAINS.items():
            against("hierarchical", other, gain)
    if scenario in (worlds.CAMPAIGN, worlds.REFERENCE):
        against("hierarchical", "oracle", -OF_ORACLE)
    against("auto", "hierarchical", -LOSS)
    return goals


if __name__ == "__main__":
    sys.exit(main())
