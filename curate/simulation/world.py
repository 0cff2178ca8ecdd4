"""A world of simulated votes: responses of known strength, annotators of known care, and what they vote."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from curate.simulation.scenes import Film, draw_film
from curate.votes.arrays import LEFT, RIGHT, TIE, VoteArrays
from schemas.config import SimulateConfig, Tails

Int = npt.NDArray[np.int32]
Index = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

CAMPAIGN_MS = 28 * 24 * 3600 * 1000
"""All votes are cast within this many milliseconds, however many they are."""
UNTOLD = 5.0
"""With videos, interaction is divided by this: most of what sets responses apart is to be seen and read."""
TICKETS = 2**40
"""Lots that decide who votes next, shared among annotators by their activity: integers, so that draws are exact."""


@dataclass(frozen=True)
class Responses:
    """P prompts with N responses each, one of every model."""

    model_strength: Float
    """(N,) mean strength of each model, logits; higher is better, in no order."""
    model: Int
    """(P, N) the model of each response, shuffled anew for every prompt, so that its place says nothing."""
    strength: Float
    """(P, N) strength of each response, logits; higher is better."""

    @cached_property
    def rank(self) -> Int:
        """(P, N) 1 = best; equals share a rank."""
        ordered = np.sort(-self.strength, axis=1)
        better = [np.searchsorted(row, -own, side="left") for row, own in zip(ordered, self.strength, strict=True)]
        return 1 + np.array(better, dtype=np.int32)


@dataclass(frozen=True)
class Annotators:
    """A annotators. A spammer is one whose discrimination is 0."""

    discrimination: Float
    """(A,) what a difference in strength is multiplied by in this annotator's eyes; 0 = votes without looking."""
    left_bias: Float
    """(A,) advantage of the response shown left, logits."""
    tie_share: Float
    """(A,) share of ties among this annotator's votes on equals."""
    tickets: Index
    """(A,) activity: chance to be the one who votes next, in lots."""
    pace: Float
    """(A,) median time on a task, seconds."""

    @property
    def spammer(self) -> Bool:
        """(A,) whether they vote without looking."""
        looks_away: Bool = self.discrimination == 0
        return looks_away


@dataclass(frozen=True)
class World:
    """V votes in the order they were cast, and the truth behind them.

    Responses are numbered 0 … P·N − 1, prompt by prompt. No annotator votes twice on a pair.
    """

    responses: Responses
    annotators: Annotators
    left: Int
    """(V,) the response shown left."""
    right: Int
    """(V,) the other response of the same prompt."""
    outcome: npt.NDArray[np.int8]
    """(V,) LEFT, RIGHT or TIE of curate.votes.arrays."""
    annotator: Int
    """(V,) who voted, 0 … A − 1."""
    seconds: Float
    """(V,) time on the task, seconds, to a tenth."""
    voted_at: Index
    """(V,) milliseconds since the campaign began, increasing, below CAMPAIGN_MS + V."""
    film: Film | None = None
    """What the videos show and the responses say; None in a world of votes alone."""

    @cached_property
    def prompt_ids(self) -> tuple[str, ...]:
        """(P,) p0001, p0002, …"""
        return _names("p", len(self.responses.model), 4)

    @cached_property
    def response_ids(self) -> tuple[str, ...]:
        """(P·N,) p0001-r01, …; the number is the place within the prompt, not the model."""
        places = _names("r", self.responses.model.shape[1], 2)
        return tuple(f"{prompt}-{place}" for prompt in self.prompt_ids for place in places)

    @cached_property
    def models(self) -> tuple[str, ...]:
        """(N,) model-01, model-02, …"""
        return _names("model-", len(self.responses.model_strength), 2)

    @cached_property
    def annotator_ids(self) -> tuple[str, ...]:
        """(A,) a001, a002, …"""
        return _names("a", len(self.annotators.pace), 3)

    @cached_property
    def votes(self) -> VoteArrays:
        """The votes as rankers read them."""
        prompts, responses = self.responses.model.shape
        return VoteArrays(
            left=self.left,
            right=self.right,
            outcome=self.outcome,
            weight=np.ones(len(self.left)),
            sides_known=np.ones(len(self.left), dtype=np.bool_),
            annotator=self.annotator,
            group=np.full(len(self.left), -1, dtype=np.int32),
            response_prompt=np.repeat(np.arange(prompts, dtype=np.int32), responses),
            response_model=self.responses.model.ravel(),
            prompts=self.prompt_ids,
            responses=self.response_ids,
            models=self.models,
            annotators=self.annotator_ids,
        )


def simulate_world(config: SimulateConfig) -> World:
    """The world of a config and its seed.

    Responses, annotators and votes draw from three streams of the seed: a campaign of more votes per pair,
    or of other annotators, judges the very same responses.
    """
    for_responses, for_annotators, for_votes = np.random.default_rng(config.seed).spawn(3)
    responses, film = (
        draw_filmed(for_responses, config) if config.video else (draw_responses(for_responses, config), None)
    )
    annotators = draw_annotators(for_annotators, config)
    task, annotator = draw_tasks(for_votes, draw_counts(for_votes, config, responses.strength), annotators.tickets)

    pairs = np.stack(np.triu_indices(config.models, 1)).astype(np.int32)  # (2, pairs) places within a prompt
    prompt, pair = np.divmod(task, pairs.shape[1])
    swapped = for_votes.integers(0, 2, len(task), dtype=np.int8)
    first = (prompt * config.models).astype(np.int32)
    left, right = first + pairs[swapped, pair], first + pairs[1 - swapped, pair]
    strength = responses.strength.ravel()
    gap = seen_gap(strength[left] - strength[right], config)
    outcome = draw_outcomes(for_votes, gap, annotators, annotator)
    seconds = np.round(annotators.pace[annotator] * for_votes.lognormal(0.0, 0.5, len(task)), 1)
    voted_at = draw_times(for_votes, len(task))
    return World(responses, annotators, left, right, outcome, annotator, seconds, voted_at, film)


def draw_responses(rng: np.random.Generator, config: SimulateConfig) -> Responses:
    """Strength of a response = mean of its model + what this prompt makes of this model, spread alike."""
    shape = config.prompts, config.models
    model_strength = _spread(rng, config.model_spread, (config.models,), config.tails)
    model = rng.permuted(np.broadcast_to(np.arange(config.models, dtype=np.int32), shape), axis=1)
    strength = model_strength[model] + _spread(rng, config.interaction, shape, config.tails)
    return Responses(np.round(model_strength, 6), model, np.round(strength, 6))


def draw_filmed(rng: np.random.Generator, config: SimulateConfig) -> tuple[Responses, Film]:
    """Strength of a response to a video = what its answer and its style are worth + a little of its own.

    model_spread is the spread of the models' log odds to be right, interaction / UNTOLD that of what is untold.
    """
    shape = config.prompts, config.models
    ability = _spread(rng, config.model_spread, (config.models,), config.tails)
    model = rng.permuted(np.broadcast_to(np.arange(config.models, dtype=np.int32), shape), axis=1)
    film, model_worth = draw_film(rng, ability, model, config.prompts_per_video, config.shapes)
    strength = film.worth + _spread(rng, config.interaction / UNTOLD, shape, config.tails)
    return Responses(np.round(model_worth, 6), model, np.round(strength, 6)), film


def _spread(rng: np.random.Generator, deviation: float, shape: tuple[int, ...], tails: Tails) -> Float:
    """Draws of mean 0 and this standard deviation."""
    if tails == "heavy":
        return rng.standard_t(3, shape) * (deviation / float(np.sqrt(3)))  # the variance of this t is 3
    return rng.normal(0.0, deviation, shape)


def draw_annotators(rng: np.random.Generator, config: SimulateConfig) -> Annotators:
    """Honest annotators differ in discrimination (lognormal, median 1) and a little in bias; spammers have a side
    and a tie habit of their own, and are quick. Activity is lognormal: a few do much of the work."""
    number = config.annotators
    spammer = rng.permutation(number) < round(config.spammers * number)
    activity = rng.lognormal(0.0, config.activity, number)
    habit = min(config.ties, 0.999 - config.ties)
    own_bias = rng.normal(0.0, 1.0, number)
    own_ties = rng.uniform(config.ties - habit, config.ties + habit, number)
    return Annotators(
        discrimination=np.where(spammer, 0.0, rng.lognormal(0.0, config.care, number)),
        left_bias=np.where(spammer, own_bias, rng.normal(config.left_bias, abs(config.left_bias) / 2, number)),
        tie_share=np.where(spammer, own_ties, config.ties),
        tickets=np.maximum(1, np.round(activity / activity.sum() * TICKETS)).astype(np.int64),
        pace=np.where(spammer, 3.0, 25.0) * rng.lognormal(0.0, 0.3, number),
    )


def draw_counts(rng: np.random.Generator, config: SimulateConfig, strength: Float) -> Index:
    """(P·N(N − 1)/2,) votes on each pair, which sum to votes_per_pair of them all. strength: (P, N).

    Balanced: every pair has ⌊votes_per_pair⌋; the rest goes to as many pairs drawn at random.
    Adaptive: votes fall on pairs one by one, none on a pair that everybody has judged (_chances).
    """
    pairs = config.prompts * config.models * (config.models - 1) // 2
    votes = max(1, round(config.votes_per_pair * pairs))  # a campaign has at least one
    count = np.zeros(pairs, dtype=np.int64)
    if config.design == "balanced":
        count += votes // pairs
        count[rng.choice(pairs, votes % pairs, replace=False)] += 1
        return count
    chance = _chances(rng, config, strength)
    while votes > count.sum():
        chance = np.where(count < config.annotators, chance, 0.0)
        count += rng.multinomial(votes - count.sum(), chance / chance.sum())
        count = np.minimum(count, config.annotators)
    return count


def _chances(rng: np.random.Generator, config: SimulateConfig, strength: Float) -> Float:
    """(P·N(N − 1)/2,) chance of each pair to be voted on in an adaptive campaign, all prompts alike.

    Half is the same for all pairs; half goes as exp(appeal of one + appeal of the other), where the appeal of a
    response is half its strength and half noise, standardised.
    """
    i, j = np.triu_indices(config.models, 1)
    noise = rng.normal(0.0, 1.0, strength.shape)
    deviation = float(np.hypot(config.model_spread, config.interaction))
    appeal = (strength / (deviation if deviation > 0 else 1.0) + noise) / np.sqrt(2)
    promise = np.exp(appeal[:, i] + appeal[:, j])
    share: Float = (1 / len(i) + promise / promise.sum(axis=1, keepdims=True)) / 2 / len(strength)
    return share.ravel()


def draw_tasks(rng: np.random.Generator, count: Index, tickets: Index) -> tuple[Index, Int]:
    """Which pair is judged by whom: (V,) pair numbers and (V,) annotators, in a random order.

    count: (pairs,) votes on each, none above the number of annotators: each vote is another's.
    """
    tasks: list[Index] = []
    annotators: list[Int] = []
    taken = np.zeros((0, len(count)), dtype=np.int32)
    for already in range(int(count.max())):
        task = np.flatnonzero(count > already)
        annotator = draw_others(rng, tickets, list(taken[:, task]), len(task))
        tasks.append(task)
        annotators.append(annotator)
        fresh = np.full((1, len(count)), -1, dtype=np.int32)
        fresh[0, task] = annotator
        taken = np.concatenate([taken, fresh])
    task, annotator = np.concatenate(tasks), np.concatenate(annotators)
    order = rng.permutation(len(task))
    return task[order], annotator[order]


def draw_others(rng: np.random.Generator, tickets: Index, taken: list[Int], number: int) -> Int:
    """(number,) annotators by their tickets (A,), each another than those already ``taken`` at its place.

    One draw each, without rejection: among the tickets that are left, then moved past the taken ones before it.
    """
    first = np.cumsum(tickets) - tickets  # (A,) the first ticket of each annotator
    gone = np.sort(np.array(taken, dtype=np.int32).reshape(len(taken), number), axis=0)
    ticket = rng.integers(0, tickets.sum() - tickets[gone].sum(axis=0), number)
    for other in gone:
        ticket += np.where(ticket >= first[other], tickets[other], 0)
    return (np.searchsorted(first, ticket, side="right") - 1).astype(np.int32)


def seen_gap(gap: Float, config: SimulateConfig) -> Float:
    """(V,) what annotators see of gaps in strength, logits: of fixed error, the sign alone, always as clearly."""
    fixed: Float = np.sign(gap) * np.log((1 - config.error) / config.error)
    return fixed if config.link == "fixed-error" else gap


def draw_outcomes(rng: np.random.Generator, gap: Float, annotators: Annotators, annotator: Int) -> npt.NDArray[np.int8]:
    """(V,) outcomes by the model of Davidson (1970), where d = discrimination · gap + left bias:

    left : right : tie = exp(d / 2) : exp(−d / 2) : ν. Each annotator's ν is such that, between equals, their share of
    ties is their tie_share whatever their bias. gap: (V,) strength left − strength right, logits.
    """
    share = annotators.tie_share
    nu = share / (1 - share) * 2 * np.cosh(annotators.left_bias / 2)
    d = annotators.discrimination[annotator] * gap + annotators.left_bias[annotator]
    larger = np.abs(d)
    left, right = np.exp((d - larger) / 2), np.exp((-d - larger) / 2)  # all three over exp(|d| / 2): never too large
    tie = nu[annotator] * np.exp(-larger / 2)
    point = rng.random(len(gap)) * (left + right + tie)
    return np.where(point < left, LEFT, np.where(point < left + right, RIGHT, TIE)).astype(np.int8)


def draw_times(rng: np.random.Generator, votes: int) -> Index:
    """(votes,) milliseconds since the start: random arrivals over the campaign, no two at the same moment."""
    arrival = np.cumsum(rng.exponential(1.0, votes + 1))
    moment: Index = (arrival[:-1] / arrival[-1] * CAMPAIGN_MS).astype(np.int64) + np.arange(votes)
    return moment


def _names(prefix: str, number: int, width: int) -> tuple[str, ...]:
    """prefix01 … prefixNN: wide enough that the names sort in their order."""
    width = max(width, len(str(number)))
    return tuple(f"{prefix}{i:0{width}d}" for i in range(1, number + 1))
