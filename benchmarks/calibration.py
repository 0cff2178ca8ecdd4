"""Calibration of stated probabilities on simulated worlds: P(best of four) and P(i beats j) against frequencies.

    python -m benchmarks.calibration --prompts 450 --seeds 5
    python -m benchmarks.calibration --prompts 450 --seeds 20 --svg docs/calibration.svg
    python -m benchmarks.calibration --prompts 450 --seeds 5 --world video
    python -m benchmarks.calibration --seeds 12 --world sittings
    python -m benchmarks.calibration --seeds 4 --world dependence

Worlds are those of curate.simulation.world: 19 models, 120 annotators, one vote per pair. --world video: answers are
correct or wrong; heavy: strengths are heavy-tailed; sittings: a table of its own (benchmarks/sittings.py). Also: the
precision of the most certain sets, and whether the predicted score of a perfect judge holds. The exit code is 1 if a
goal is missed.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from benchmarks import dependence, sittings
from curate.array_types import Bool, Float
from curate.rankers.base import ranks
from curate.rankers.bradley_terry import BradleyTerry
from curate.rankers.hierarchical import Hierarchical
from curate.rankers.registry import build
from curate.sampling.items import Rule, draw_items
from curate.simulation.world import World, simulate_world
from curate.uncertainty.posterior import beats, best_probability
from schemas.config import DenoiseConfig, SimulateConfig

SETS = 8
"""Random sets of four drawn from each prompt."""
EDGES = np.array([0.0, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0 + 1e-9])
BARS = (0.5, 0.7, 0.9)
SHARE = 5
"""One prompt in so many is in the benchmark."""
MAX_ERROR = 0.03
"""Goal: expected calibration error of the hierarchical ranker."""
MIN_PRECISION = 0.95
"""Goal: share of correct labels where the hierarchical ranker's probability is above .9."""

ALL, NORMAL, ALONE, PLAIN, MARGIN = (
    "hierarchical",
    "one normal prior",
    "no covariances",
    "bradley-terry",
    "ensemble's margin",
)
WORLDS: dict[str, dict[str, object]] = {
    "normal": {},
    "video": {"video": True, "prompts_per_video": 3},
    "heavy": {"strength_distribution": "heavy-tailed"},
}


class Claims(NamedTuple):
    """N predictions of one method."""

    probability: Float
    """(N,) stated probability, or the margin of a method that states none."""
    right: Bool
    """(N,)"""


class Labels(NamedTuple):
    """The labels of one benchmark of one world."""

    items: int
    requested: int
    """Items of a full benchmark."""
    expected: float
    """Score of a perfect judge: mean, and 90% interval."""
    low: float
    high: float
    precision: float
    """Share of labels that are correct."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measures the calibration of confidence.")
    parser.add_argument("--prompts", type=int, default=450)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--svg", type=Path, help="file for the reliability diagram")
    parser.add_argument("--world", choices=[*WORLDS, "sittings", "dependence"], default="normal")
    options = parser.parse_args(arguments)
    if options.world == "dependence":
        return dependence.run(options.seeds)
    if options.world == "sittings":
        return sittings.run(options.seeds)
    sets: dict[str, list[Claims]] = defaultdict(list)
    pairs: dict[str, list[Claims]] = defaultdict(list)
    labels: dict[float, list[Labels]] = defaultdict(list)
    for seed in range(options.seeds):
        config = {"prompts": options.prompts, "seed": seed, **WORLDS[options.world]}
        world = simulate_world(SimulateConfig.model_validate(config))
        posteriors = posteriors_of(world)
        for name, of_four in claims_on_sets(world, posteriors, seed).items():
            sets[name].append(of_four)
        for name, posterior in posteriors.items():
            pairs[name].append(claims_on_pairs(world, *posterior))
        frame = ranked(world, *posteriors[ALL])
        for bar in (0.0, *BARS):
            labels[bar].append(labels_of(world, frame, bar))
    print(f"{options.prompts} prompts, {options.seeds} seeds, {options.world} world")
    fours = {name: joined(claims) for name, claims in sets.items()}
    print("\nBest of four random responses")
    for name in (ALL, NORMAL, ALONE, PLAIN):
        show(name, fours[name])
    print("\nStronger of two, all pairs")
    for name, of_two in pairs.items():
        show(name, joined(of_two))
    show_filters(fours)
    show_ceilings(labels)
    if options.svg:
        draw(fours, options.svg)
    return report_goals(fours[ALL])


def posteriors_of(world: World) -> dict[str, tuple[Float, Float]]:
    """Return method -> (P, N) means and (P, N, N) covariances of strength."""
    votes = world.votes
    (graphs,), shape = votes.graphs, world.responses.strength.shape
    fit, normal = Hierarchical().fit(votes), Hierarchical(mixtures=False).fit(votes)
    mean, covariance = fit.strength.reshape(shape), fit.covariance[0]
    alone = covariance * np.eye(shape[1])
    plain = BradleyTerry()
    strength = plain(votes).scores.reshape(shape)
    chance = 1 / (1 + np.exp(strength[:, None, :] - strength[:, :, None]))
    information = (graphs.wins + graphs.wins.swapaxes(1, 2)) * chance * (1 - chance)
    precision = np.eye(shape[1]) * (information.sum(axis=2) + plain.ridge)[:, :, None] - information
    return {
        ALL: (mean, covariance),
        NORMAL: (normal.strength.reshape(shape), normal.covariance[0]),
        ALONE: (mean, alone),
        PLAIN: (strength, np.linalg.inv(precision)),
    }


def claims_on_sets(world: World, posteriors: dict[str, tuple[Float, Float]], seed: int) -> dict[str, Claims]:
    """Return each method's best of the same random sets of four; the ensemble has only a margin."""
    prompts, models = world.responses.strength.shape
    rng = np.random.default_rng(seed)
    prompt = np.repeat(np.arange(prompts), SETS)[:, None]
    sets = np.argsort(rng.random((prompts * SETS, models)), axis=1)[:, :4]
    truly = world.responses.strength[prompt, sets].argmax(axis=1)
    found = {}
    for name, (mean, covariance) in posteriors.items():
        best = mean[prompt, sets].argmax(axis=1)
        within = covariance[prompt[:, :, None], sets[:, :, None], sets[:, None, :]]
        found[name] = Claims(best_probability(mean[prompt, sets], within, best), best == truly)
    places = build("ensemble", DenoiseConfig())(world.votes).scores.reshape(prompts, models)[prompt, sets]
    ordered = np.sort(places, axis=1)
    found[MARGIN] = Claims(ordered[:, -1] - ordered[:, -2], places.argmax(axis=1) == truly)
    return found


def claims_on_pairs(world: World, mean: Float, covariance: Float) -> Claims:
    """Return the more probable winner of each pair."""
    i, j = np.triu_indices(mean.shape[1], 1)
    chance, truth = beats(mean, covariance)[:, i, j].ravel(), world.responses.strength
    truly = (truth[:, i] > truth[:, j]).ravel()
    return Claims(np.maximum(chance, 1 - chance), (chance > 0.5) == truly)


def ranked(world: World, mean: Float, covariance: Float) -> pl.DataFrame:
    """Return the world in the form of ``draw_items``, ranked by posterior mean: one prompt in SHARE."""
    votes, (prompts, models) = world.votes, mean.shape
    frame = pl.DataFrame(
        {
            "prompt_id": pl.Series(votes.prompts).gather(votes.response_prompt),
            "response_id": votes.responses,
            "model": pl.Series(votes.models).gather(votes.response_model),
            "rank": ranks(mean.ravel(), votes.response_prompt),
            "score": mean.ravel(),
            "strength": mean.ravel(),
            "covariance": pl.Series(covariance.reshape(-1, models).tolist()),
            "place": np.tile(np.arange(models), prompts),
            "text": np.arange(prompts * models),
        }
    ).with_columns(prompt=pl.col("prompt_id"), video=pl.lit(None, pl.String), response=pl.col("response_id"))
    return frame.head(max(1, prompts // SHARE) * models)


def labels_of(world: World, frame: pl.DataFrame, bar: float) -> Labels:
    """Return the labels of a 4-way benchmark of the frame's prompts."""
    rule = Rule("4way", 4, 4, strict=True)
    drawn = draw_items(frame, rule, min_confidence=bar)
    truth = dict(zip(world.votes.responses, world.responses.strength.ravel().tolist(), strict=True))
    members, best = drawn.items["response_ids"].to_list(), drawn.items["best"]
    right = [max(ids, key=truth.__getitem__) == ids[at] for ids, at in zip(members, best, strict=True)]
    low, high = np.quantile(drawn.scores, [0.05, 0.95])
    requested = rule.items * frame["prompt_id"].n_unique()
    return Labels(
        len(right), requested, float(drawn.items["confidence"].to_numpy().mean()), low, high, float(np.mean(right))
    )


def joined(claims: Sequence[Claims]) -> Claims:
    return Claims(*(np.concatenate(column) for column in zip(*claims, strict=True)))


def reliability(claims: Claims) -> Float:
    """Return (bins, 3) number of predictions, mean probability, share correct; without empty bins."""
    place = np.digitize(claims.probability, EDGES) - 1
    return np.array(
        [
            (here.sum(), claims.probability[here].mean(), claims.right[here].mean())
            for here in (place == k for k in np.unique(place))
        ]
    )


def calibration_error(claims: Claims) -> float:
    """Return the expected calibration error, bins weighted by their predictions."""
    table = reliability(claims)
    return float(np.average(np.abs(table[:, 1] - table[:, 2]), weights=table[:, 0]))


def show(name: str, claims: Claims) -> None:
    """Print the reliability table of one method."""
    error = calibration_error(claims)
    print(f"\n{name}: right {claims.right.mean():.3f}, mean probability {claims.probability.mean():.3f}, ", end="")
    print(f"expected calibration error {error:.3f}")
    for number, chance, right in reliability(claims):
        print(f"  {number:8,.0f}  probability {chance:.3f}  right {right:.3f}")


def kept_at(claims: Claims) -> tuple[Float, Float]:
    """Return (N,) share kept and (N,) share correct among them, keeping the 1, 2, … N most certain."""
    order = np.argsort(-claims.probability, kind="stable")
    count = np.arange(1, len(order) + 1)
    return count / len(order), np.cumsum(claims.right[order]) / count


def show_filters(fours: dict[str, Claims]) -> None:
    """Print what is kept and its precision above each bar; and the largest share at 90% precision."""
    print("\nKeeping the most certain of the random sets of four")
    print(f"{'':<22}" + "".join(f"{f'above {bar:g}':>24}" for bar in BARS) + f"{'kept at 90% right':>20}")
    for name, claims in fours.items():
        cells = []
        for bar in BARS:
            sure = claims.probability > bar
            cells.append(f"{sure.mean():.0%} kept, {claims.right[sure].mean():.3f} right" if name != MARGIN else "")
        share, right = kept_at(claims)
        most = share[right >= 0.9].max(initial=0.0)
        print(f"{name:<22}" + "".join(f"{cell:>24}" for cell in cells) + f"{most:>20.0%}")


def show_ceilings(labels: dict[float, list[Labels]]) -> None:
    """Print the share of correct labels in a benchmark against its prediction."""
    print(f"\nBenchmarks of one prompt in {SHARE}, by --min-confidence: a perfect judge's score")
    print(f"{'bar':>5}{'items':>8}{'of':>6}{'predicted':>11}{'from':>8}{'to':>8}{'true':>8}   true within from and to")
    for bar, found in labels.items():
        mean = np.mean(found, axis=0)
        within = sum(of.low <= of.precision <= of.high for of in found)
        print(f"{bar:>5g}{mean[0]:>8.0f}{mean[1]:>6.0f}{mean[2]:>11.3f}{mean[3]:>8.3f}{mean[4]:>8.3f}", end="")
        print(f"{mean[5]:>8.3f}   {within} of {len(found)} seeds (90% expected)")


def report_goals(found: Claims) -> int:
    """Print PASS or FAIL for each goal; return 1 if one is missed."""
    error, precision = calibration_error(found), found.right[found.probability > 0.9].mean()
    met = [error <= MAX_ERROR, precision >= MIN_PRECISION]
    texts = [
        f"best of four: expected calibration error {error:.3f}, at most {MAX_ERROR}",
        f"best of four: right above .9 {precision:.3f}, at least {MIN_PRECISION}",
    ]
    print()
    for good, what in zip(met, texts, strict=True):
        print(f"{'PASS' if good else 'FAIL'}  {what}")
    return 0 if all(met) else 1


def draw(fours: dict[str, Claims], path: Path) -> None:
    """Draw the reliability diagram and the precision by share kept."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    colors = {ALL: "#0b6e4f", NORMAL: "#7a8b2b", ALONE: "#e09f3e", PLAIN: "#9e2a2b", MARGIN: "#5c677d"}
    style = {"svg.hashsalt": "curate", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    with mpl.rc_context(style):
        figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.7), layout="constrained")
        left.plot([0.3, 1], [0.3, 1], color="0.8", linewidth=1, zorder=0)
        for name in (ALL, ALONE, PLAIN):
            _, chance, share = reliability(fours[name]).T
            left.plot(chance, share, marker="o", markersize=4, color=colors[name], label=name)
        left.set(
            xlabel="P(labelled best of four is the best)", ylabel="share truly the best", xlim=(0.3, 1), ylim=(0.3, 1)
        )
        for name, claims in fours.items():
            kept, share = kept_at(claims)
            at = np.unique(np.linspace(0.02, 1, 99) * len(kept), axis=0).astype(int) - 1
            if name != ALONE:
                right.plot(kept[at], share[at], color=colors[name], label=name)
        right.axhline(0.9, color="0.8", linewidth=1, zorder=0)
        right.set(
            xlabel="share of items kept, the surest first", ylabel="share of kept labels that are right", xlim=(0, 1)
        )
        for axes in (left, right):
            axes.legend(frameon=False, loc="lower right" if axes is left else "upper right")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})
        plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
