"""Run times of the rankers and of choix, evalica, crowd-kit, igraph, networkx and cvxpy, in one process.

    python -m benchmarks.speed --prompts 500 --responses 19 --votes-per-pair 1.1
    python -m benchmarks.speed --large 50000

Times are CPU seconds and warm: after a first run on a small world, which loads or compiles the kernels (column
"first"). Peers run prompt by prompt, on all prompts or on --peer-prompts of them; in that case their time is scaled up
and the table says so. Exits with 1 if a goal is missed; your own votes (--votes) have no goals.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):  # one core, ours and peers alike
    os.environ.setdefault(threads, "1")

import choix
import evalica
import igraph
import networkx as nx
import numpy as np
import pandas as pd
from crowdkit.aggregation import NoisyBradleyTerry

from curate.denoising.ranking import rank_votes
from curate.rankers.base import Ranking
from curate.rankers.feedback_arc_set import FeedbackArcSet
from curate.rankers.feedback_arc_set.programs import order_by_program
from curate.rankers.registry import build
from curate.simulation.world import simulate_world
from curate.store import Store
from curate.store.rankings import load_votes
from curate.votes.arrays import VoteArrays
from pipelines import ingest
from schemas.config import DenoiseConfig, SimulateConfig
from schemas.rankers import BUILT_IN

Value = TypeVar("Value")


class Peer(NamedTuple):
    """The run time of another package's method that corresponds to one ranker."""

    ranker: str
    name: str
    seconds: float
    note: str
    goal: float
    """The ranker must be this many times as fast as the peer; 0: no goal."""


SECONDS = {"bradley-terry": 0.040, "feedback-arc-set": 0.200, "hierarchical": 1.5}
"""Goals for the default workload, seconds."""
LARGE_SECONDS, LARGE_GIB = 40.0, 4.0
"""Goals for 9.4 million votes with all rankers: seconds and peak memory."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.large_child:
        large_child(options.large_child)
        return 0
    if options.large:
        return large(options.large)
    if options.votes:
        votes = read(options.votes)
    else:
        votes = simulate(options.prompts, options.responses, options.votes_per_pair, options.seed)
    graphs, seconds = timed(lambda _: replace(votes).graphs)
    print(f"{len(votes.left):,} votes, {len(votes.prompts)} prompts, {len(votes.responses):,} responses")
    print(f"graphs: {seconds:.3f} s\n")
    first, ours, rankings = time_rankers(votes)
    wins = [matrix for batch in graphs for matrix in batch.wins]
    peers = time_peers(votes, wins, options)
    print_table(first, ours, rankings, peers)
    if options.votes:  # the goals are set for the simulated workload
        return 0
    print_sizes()
    return report_goals(ours, rankings, peers)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure the run times of the rankers and their peers.")
    parser.add_argument("--prompts", type=int, default=500)
    parser.add_argument("--responses", type=int, default=19)
    parser.add_argument("--votes-per-pair", type=float, default=1.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--votes", type=Path, help="a file of votes instead of simulated votes")
    parser.add_argument("--peer-prompts", type=int, default=0, help="prompts for the fast peers; 0 = all")
    parser.add_argument("--program-prompts", type=int, default=3, help="prompts for the slow peers")
    parser.add_argument(
        "--large", type=int, default=0, metavar="PROMPTS", help="measure time and memory for this many prompts"
    )
    parser.add_argument("--large-child", type=Path, help=argparse.SUPPRESS)
    return parser


def simulate(prompts: int, responses: int, votes_per_pair: float, seed: int) -> VoteArrays:
    """Return the votes of a simulated world: 120 annotators, a tenth of them spammers, 15% ties."""
    shape = SimulateConfig(prompts=prompts, models=responses, votes_per_pair=votes_per_pair, seed=seed)
    return simulate_world(shape).votes


def read(path: Path) -> VoteArrays:
    """Return the votes of a file, read by ``curate ingest``."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "votes.duckdb"
        ingest(path, store)
        with Store.open(store) as opened:
            return load_votes(opened).votes


def fresh(votes: VoteArrays) -> VoteArrays:
    """Return the votes with graphs built, and without results that rankers cached on an earlier copy."""
    copy = replace(votes)
    _ = copy.graphs
    return copy


def timed(work: Callable[[Any], Value], make: Callable[[], Any] = lambda: None) -> tuple[Value, float]:
    """Return the value of ``work`` and its CPU seconds: the best of twenty runs, or of the runs within four seconds."""
    best, begun = math.inf, time.process_time()
    for _ in range(20):
        made = make()  # not timed
        start = time.process_time()
        value = work(made)
        now = time.process_time()
        best = min(best, now - start)
        if now - begun > 4.0:
            break
    return value, best


def time_rankers(votes: VoteArrays) -> tuple[dict[str, float], dict[str, float], dict[str, Ranking]]:
    """Return per ranker the seconds of the first run on a small world, the seconds on the votes, and the ranking."""
    small = simulate(12, 19, 1.0, 0)
    first, seconds, rankings = {}, {}, {}
    for name in BUILT_IN:
        ranker = build(name, DenoiseConfig())
        start = time.process_time()
        ranker(small)
        first[name] = time.process_time() - start
        rankings[name], seconds[name] = timed(ranker, lambda: fresh(votes))
    return first, seconds, rankings


def time_peers(votes: VoteArrays, wins: list[np.ndarray], options: argparse.Namespace) -> list[Peer]:
    few, all_of_them = options.program_prompts, options.peer_prompts
    prompts = prompt_votes(votes)

    def peer(ranker: str, name: str, goal: float, of: list, work: Callable, count: int) -> Peer:
        sample = of if not count or count >= len(of) else of[:: len(of) // count][:count]
        work(of[0])
        _, seconds = timed(lambda _: [work(one) for one in sample])
        note = "" if len(sample) == len(of) else f", scaled from {len(sample)} prompts"
        return Peer(ranker, name, seconds * len(of) / len(sample), note, goal)

    return [
        peer("bradley-terry", "choix.ilsr_pairwise", 25, wins, by_choix, all_of_them),
        peer("bradley-terry", "evalica.bradley_terry", 3, prompts, by_evalica, all_of_them),
        peer("pagerank", "networkx.pagerank", 50, wins, by_networkx, all_of_them),
        peer("pagerank", "evalica.pagerank", 0, prompts, by_evalica_pagerank, all_of_them),
        peer("feedback-arc-set", "igraph ip", 15, wins, by_igraph, all_of_them),
        peer("feedback-arc-set", "cvxpy + HiGHS", 50, wins, by_plain_program, few),
        peer("crowd-bt", "crowdkit.NoisyBradleyTerry", 0, prompts, by_crowd_kit, few),
    ]


def prompt_votes(votes: VoteArrays) -> list[pd.DataFrame]:
    """Return the votes of each prompt with the columns of the peers: left, right, winner, worker."""
    frame = pd.DataFrame(
        {
            "left": votes.left,
            "right": votes.right,
            "winner": np.array([evalica.Winner.X, evalica.Winner.Y, evalica.Winner.Draw, evalica.Winner.Draw])[
                votes.outcome
            ],
            "worker": votes.annotator,
        }
    )
    return [group for _, group in frame.groupby(votes.response_prompt[votes.left])]


def by_choix(wins: np.ndarray) -> object:
    """The fastest maximum-likelihood method of choix; it takes one tuple per half vote."""
    i, j = np.nonzero(wins)
    count = np.round(2 * wins[i, j]).astype(int)
    pairs = list(zip(np.repeat(i, count).tolist(), np.repeat(j, count).tolist(), strict=True))
    return choix.ilsr_pairwise(len(wins), pairs, alpha=0.05)


def by_evalica(votes: pd.DataFrame) -> object:
    return evalica.bradley_terry(votes["left"], votes["right"], votes["winner"])


def by_evalica_pagerank(votes: pd.DataFrame) -> object:
    return evalica.pagerank(votes["left"], votes["right"], votes["winner"])


def by_crowd_kit(votes: pd.DataFrame) -> object:
    """It has no ties: they are excluded."""
    decided = votes[votes["winner"] != evalica.Winner.Draw]
    label = np.where(decided["winner"] == evalica.Winner.X, decided["left"], decided["right"])
    return NoisyBradleyTerry(n_iter=20).fit_predict(decided[["worker", "left", "right"]].assign(label=label))


def by_networkx(wins: np.ndarray) -> object:
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(wins)))
    graph.add_weighted_edges_from((j, i, wins[i, j]) for i, j in np.argwhere(wins > 0).tolist())
    return nx.pagerank(graph, tol=1e-10, max_iter=1000)


def by_igraph(wins: np.ndarray) -> object:
    """Its exact method, on net weights."""
    net = np.maximum(wins - wins.T, 0)
    i, j = np.nonzero(net)
    graph = igraph.Graph(n=len(wins), edges=np.stack([i, j], axis=1).tolist(), directed=True)
    return graph.feedback_arc_set(weights=net[i, j].tolist(), method="ip")


def by_plain_program(wins: np.ndarray) -> object:
    """The linear ordering problem with the constraints of all triples, the usual formulation."""
    return order_by_program(wins - wins.T)


def print_table(
    first: dict[str, float], ours: dict[str, float], rankings: dict[str, Ranking], peers: list[Peer]
) -> None:
    print(f"{'ranker':<27}{'first':>7}{'seconds':>9}{'converged':>11}{'cost':>12}")
    for name, seconds in ours.items():
        ranking = rankings[name]
        print(
            f"{name:<27}{first[name]:>7.2f}{seconds:>9.4f}{ranking.converged.mean():>11.1%}{ranking.cost.sum():>12,.1f}"
        )
    print(f"{'sum':<34}{sum(ours.values()):>9.4f}\n")
    for peer in peers:
        times = peer.seconds / ours[peer.ranker]
        print(f"{peer.name:<27}{peer.seconds:>9.3f} s{peer.note}: {times:,.0f} times the time of {peer.ranker}")
    print()


def print_sizes() -> None:
    """Print seconds per prompt and the share proven optimal of the feedback arc set of larger prompts."""
    for prompts, responses, density in ((20, 30, 1.0), (13, 59, 0.2)):
        votes = simulate(prompts, responses, density, 0)
        ranking, seconds = timed(FeedbackArcSet(), lambda votes=votes: fresh(votes))
        print(
            f"feedback arc set, {responses} responses, {density:g} votes per pair: "
            f"{seconds / prompts:.4f} s per prompt, {ranking.converged.mean():.0%} of {prompts} proven optimal"
        )
    print()


def report_goals(ours: dict[str, float], rankings: dict[str, Ranking], peers: list[Peer]) -> int:
    """Print PASS or FAIL for each goal; return 1 if one is missed."""
    goals = {
        f"{name} in {1000 * goal:.0f} ms ({1000 * ours[name]:.1f})": ours[name] <= goal
        for name, goal in SECONDS.items()
    }
    goals["feedback arc set proven optimal on every prompt"] = bool(rankings["feedback-arc-set"].converged.all())
    for peer in peers:
        if peer.goal:
            times = peer.seconds / ours[peer.ranker]
            goals[f"{peer.ranker} {peer.goal:.0f} times as fast as {peer.name} ({times:,.0f})"] = times >= peer.goal
    return print_goals(goals)


def print_goals(goals: dict[str, bool]) -> int:
    """Print the goals; return the exit code."""
    for goal, met in goals.items():
        print(f"{'PASS' if met else 'FAIL'}  {goal}")
    return 0 if all(goals.values()) else 1


def large(prompts: int) -> int:
    """Run everything on many prompts in a separate process, and check its time and peak memory."""
    votes = simulate(prompts, 19, 1.1, 0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "votes.npz"
        columns = ("left", "right", "outcome", "sides_known", "annotator", "response_model")
        np.savez(path, **{name: getattr(votes, name) for name in columns}, prompts=prompts)
        del votes
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.speed", "--large-child", str(path)], check=True, capture_output=True
        )
    *lines, last = done.stdout.decode().splitlines()
    print("\n".join(lines))
    seconds, gib = map(float, last.split())
    return print_goals(
        {
            f"everything in {LARGE_SECONDS:.0f} s ({seconds:.1f})": seconds <= LARGE_SECONDS,
            f"in {LARGE_GIB:.0f} GiB ({gib:.2f})": gib <= LARGE_GIB,
        }
    )


def large_child(path: Path) -> None:
    """Print the seconds of each step, and on the last line their sum and the peak memory in GiB."""
    with np.load(path) as columns:
        prompts = int(columns["prompts"])
        responses, count = 19 * prompts, len(columns["left"])
        votes = VoteArrays(
            left=columns["left"],
            right=columns["right"],
            outcome=columns["outcome"],
            weight=np.ones(count),
            sides_known=columns["sides_known"],
            annotator=columns["annotator"],
            group=np.full(count, -1, dtype=np.int32),
            response_prompt=np.repeat(np.arange(prompts, dtype=np.int32), 19),
            response_model=columns["response_model"],
            prompts=tuple(map(str, range(prompts))),
            responses=tuple(map(str, range(responses))),
            models=tuple(map(str, range(19))),
            annotators=tuple(map(str, range(120))),
        )
    config = DenoiseConfig(compare=True)
    small = simulate(12, 19, 1.0, 0)
    rank_votes(small, config)
    print(f"{count:,} votes, {prompts:,} prompts")
    marks: list[tuple[str, float]] = []

    def mark(what: str, *_: object) -> None:
        marks.append((what, time.perf_counter()))

    mark("graphs and coverage")
    rank_votes(votes, config, progress=mark)
    mark("end")
    for (what, start), (_, end) in pairwise(marks):
        print(f"  {what:<30}{end - start:>7.2f} s")
    print(marks[-1][1] - marks[0][1], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


if __name__ == "__main__":
    sys.exit(main())
