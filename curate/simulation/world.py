"""Simulated votes: responses of known strength, annotators of known discrimination, and their votes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from curate.array_types import Bool, Float, Index, Int8, Int32
from curate.simulation.dependence import CARELESS_BIAS, TASTE_SHARES, careless, copied, correlated, drift
from curate.simulation.scenes import Film, draw_film
from curate.votes.arrays import LEFT, RIGHT, TIE, VoteArrays
from schemas.choices import StrengthDistribution
from schemas.config import SimulateConfig

CAMPAIGN_MS = 28 * 24 * 3600 * 1000
"""Duration of every campaign, milliseconds."""
REMAINDER = 5.0
"""With videos, interaction_sd is divided by this: answer and style explain most differences in strength."""
TICKETS = 2**40
"""Number of lottery tickets of all annotators, in proportion to their activity; integers make draws exact."""


@dataclass(frozen=True)
class Responses:
    """P prompts with N responses each, one of every model."""

    model_strength: Float
    """(N,) mean strength of each model, logits; unsorted."""
    model: Int32
    """(P, N) the model of each response, shuffled within each prompt."""
    strength: Float
    """(P, N) strength of each response, logits; higher is better."""

    @cached_property
    def rank(self) -> Int32:
        """(P, N) 1 = best; equals share a rank."""
        ordered = np.sort(-self.strength, axis=1)
        better = [np.searchsorted(row, -own, side="left") for row, own in zip(ordered, self.strength, strict=True)]
        return 1 + np.array(better, dtype=np.int32)


@dataclass(frozen=True)
class Annotators:
    """A annotators. The discrimination of a spammer is 0."""

    discrimination: Float
    """(A,) factor of differences in strength in this annotator's votes."""
    left_bias: Float
    """(A,) side bias, logits."""
    tie_share: Float
    """(A,) share of ties among the votes on equally strong responses."""
    tickets: Index
    """(A,) activity: tickets in the draw of who votes next."""
    median_seconds: Float
    """(A,) median time on a task, seconds."""

    @property
    def spammer(self) -> Bool:
        """(A,) whether the annotator votes without regard to the responses."""
        spammer: Bool = self.discrimination == 0
        return spammer


@dataclass(frozen=True)
class World:
    """V votes in the order they were cast, and the true parameters.

    Responses are numbered 0 … P·N − 1, prompt by prompt. No annotator votes twice on a pair.
    """

    responses: Responses
    annotators: Annotators
    left: Int32
    """(V,) the response shown left."""
    right: Int32
    """(V,) the other response of the same prompt."""
    outcome: Int8
    """(V,) LEFT, RIGHT or TIE of curate.votes.arrays."""
    annotator: Int32
    """(V,) who voted, 0 … A − 1."""
    seconds: Float
    """(V,) time on the task, seconds, rounded to tenths."""
    voted_at: Index
    """(V,) milliseconds since the campaign began, increasing, below CAMPAIGN_MS + V."""
    film: Film | None = None
    """The contents of videos and responses; None without videos."""

    @cached_property
    def prompt_ids(self) -> tuple[str, ...]:
        """(P,) p0001, p0002, …"""
        return _names("p", len(self.responses.model), 4)

    @cached_property
    def response_ids(self) -> tuple[str, ...]:
        """(P·N,) p0001-r01, …; numbered within the prompt, independently of the model."""
        places = _names("r", self.responses.model.shape[1], 2)
        return tuple(f"{prompt}-{place}" for prompt in self.prompt_ids for place in places)

    @cached_property
    def models(self) -> tuple[str, ...]:
        """(N,) model-01, model-02, …"""
        return _names("model-", len(self.responses.model_strength), 2)

    @cached_property
    def annotator_ids(self) -> tuple[str, ...]:
        """(A,) a001, a002, …"""
        return _names("a", len(self.annotators.median_seconds), 3)

    @cached_property
    def votes(self) -> VoteArrays:
        """The votes as input of rankers."""
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
    """Return the world of a config.

    Responses, annotators, votes, errors of perception and dependence use random streams of their own: configs that
    differ in votes_per_pair or in the annotators have the same responses.
    """
    streams = np.random.default_rng(config.seed).spawn(5)
    for_responses, for_annotators, for_votes, for_perception, for_dependence = streams
    responses, film = (
        draw_responses_on_videos(for_responses, config)
        if config.video
        else (draw_responses(for_responses, config), None)
    )
    annotators = draw_annotators(for_annotators, config)
    if config.sittings_per_prompt:
        task, annotator = draw_sittings(for_votes, config, annotators.tickets)
    else:
        task, annotator = draw_tasks(for_votes, draw_counts(for_votes, config, responses.strength), annotators.tickets)

    pairs = np.stack(np.triu_indices(config.models, 1)).astype(np.int32)  # (2, pairs) places within a prompt
    prompt, pair = np.divmod(task, pairs.shape[1])
    swapped = for_votes.integers(0, 2, len(task), dtype=np.int8)
    first = (prompt * config.models).astype(np.int32)
    left, right = first + pairs[swapped, pair], first + pairs[1 - swapped, pair]
    error = draw_perception_errors(for_perception, config, left, right, annotator)
    tastes, group = responses.strength.reshape(1, -1), np.zeros(config.annotators, dtype=np.int64)
    if config.dependence == "taste-groups":
        responses, tastes, group = draw_tastes(for_dependence, config, responses)
    own = tastes[group[annotator], left] - tastes[group[annotator], right]
    difference, bias = perceived_difference(own + error[0] - error[1], config), np.zeros(len(task))
    if config.dependence == "drift":
        factor, bias = drift(for_dependence, annotator)
        difference = factor * difference
    if config.dependence == "careless-majority":
        side = careless(for_dependence, prompt, annotator, config.prompts, config.annotators)
        difference, bias = np.where(side == 0, difference, 0.0), CARELESS_BIAS * side
    outcome = draw_outcomes(for_votes, difference, annotators, annotator, bias)
    if config.dependence == "copied-votes":
        left, right, outcome = copied(for_dependence, annotator, annotators.tickets, left, right, outcome)
    seconds = np.round(annotators.median_seconds[annotator] * for_votes.lognormal(0.0, 0.5, len(task)), 1)
    voted_at = draw_times(for_votes, len(task))
    return World(responses, annotators, left, right, outcome, annotator, seconds, voted_at, film)


def draw_responses(rng: np.random.Generator, config: SimulateConfig) -> Responses:
    """Draw strengths: the mean of the model plus an interaction of model and prompt."""
    shape = config.prompts, config.models
    model_strength = _draw(rng, config.model_sd, (config.models,), config.strength_distribution)
    model = rng.permuted(np.broadcast_to(np.arange(config.models, dtype=np.int32), shape), axis=1)
    strength = model_strength[model] + _draw(rng, config.interaction_sd, shape, config.strength_distribution)
    return Responses(np.round(model_strength, 6), model, np.round(strength, 6))


def draw_responses_on_videos(rng: np.random.Generator, config: SimulateConfig) -> tuple[Responses, Film]:
    """Draw videos, and strengths: the value of the answer and of its style plus a remainder.

    model_sd is the standard deviation of the models' log odds of a right answer, interaction_sd / REMAINDER that of the
    remainder.
    """
    shape = config.prompts, config.models
    ability = _draw(rng, config.model_sd, (config.models,), config.strength_distribution)
    model = rng.permuted(np.broadcast_to(np.arange(config.models, dtype=np.int32), shape), axis=1)
    film, model_worth = draw_film(rng, ability, model, config.prompts_per_video, config.shapes)
    strength = film.worth + _draw(rng, config.interaction_sd / REMAINDER, shape, config.strength_distribution)
    return Responses(np.round(model_worth, 6), model, np.round(strength, 6)), film


def _draw(rng: np.random.Generator, sd: float, shape: tuple[int, ...], distribution: StrengthDistribution) -> Float:
    """Return draws of mean 0 and this standard deviation."""
    if distribution == "heavy-tailed":
        return rng.standard_t(3, shape) * (sd / float(np.sqrt(3)))  # the variance of this t is 3
    return rng.normal(0.0, sd, shape)


def draw_annotators(rng: np.random.Generator, config: SimulateConfig) -> Annotators:
    """Draw annotators.

    Honest annotators have lognormal discriminations of median 1 and similar side biases. Spammers have discrimination
    0, individual side biases and tie shares, and are fast. Activity is lognormal.
    """
    number = config.annotators
    spammer = rng.permutation(number) < round(config.spammers * number)
    activity = rng.lognormal(0.0, config.activity_sd, number)
    tie_range = min(config.ties, 0.999 - config.ties)
    spammer_bias = rng.normal(0.0, 1.0, number)
    spammer_ties = rng.uniform(config.ties - tie_range, config.ties + tie_range, number)
    return Annotators(
        discrimination=np.where(spammer, 0.0, rng.lognormal(0.0, config.discrimination_sd, number)),
        left_bias=np.where(spammer, spammer_bias, rng.normal(config.left_bias, abs(config.left_bias) / 2, number)),
        tie_share=np.where(spammer, spammer_ties, config.ties),
        tickets=np.maximum(1, np.round(activity / activity.sum() * TICKETS)).astype(np.int64),
        median_seconds=np.where(spammer, 3.0, 25.0) * rng.lognormal(0.0, 0.3, number),
    )


def draw_counts(rng: np.random.Generator, config: SimulateConfig, strength: Float) -> Index:
    """(P·N(N − 1)/2,) number of votes on each pair. strength: (P, N).

    Balanced: ⌊votes_per_pair⌋ on every pair, one more on randomly drawn pairs. Adaptive: votes are assigned to pairs at
    random (_adaptive_probabilities), at most one per annotator.
    """
    pairs = config.prompts * config.models * (config.models - 1) // 2
    votes = max(1, round(config.votes_per_pair * pairs))  # a campaign has at least one
    count = np.zeros(pairs, dtype=np.int64)
    if config.design == "balanced":
        count += votes // pairs
        count[rng.choice(pairs, votes % pairs, replace=False)] += 1
        return count
    probability = _adaptive_probabilities(rng, config, strength)
    while votes > count.sum():
        probability = np.where(count < config.annotators, probability, 0.0)
        count += rng.multinomial(votes - count.sum(), probability / probability.sum())
        count = np.minimum(count, config.annotators)
    return count


def _adaptive_probabilities(rng: np.random.Generator, config: SimulateConfig, strength: Float) -> Float:
    """(P·N(N − 1)/2,) probability that a vote of an adaptive campaign is on each pair; equal for all prompts.

    Half of it is uniform; half is proportional to exp(a + b), where a and b are standardised noisy strengths of the two
    responses.
    """
    i, j = np.triu_indices(config.models, 1)
    noise = rng.normal(0.0, 1.0, strength.shape)
    deviation = float(np.hypot(config.model_sd, config.interaction_sd))
    noisy_strength = (strength / (deviation if deviation > 0 else 1.0) + noise) / np.sqrt(2)
    weight = np.exp(noisy_strength[:, i] + noisy_strength[:, j])
    share: Float = (1 / len(i) + weight / weight.sum(axis=1, keepdims=True)) / 2 / len(strength)
    return share.ravel()


def draw_tastes(
    rng: np.random.Generator, config: SimulateConfig, responses: Responses
) -> tuple[Responses, Float, Index]:
    """Return the responses with the mean strength over annotators, (2, R) strengths by taste, and (A,) the tastes."""
    shape, distribution = responses.model.shape, config.strength_distribution
    draws = _draw(rng, config.model_sd, (config.models,), distribution)
    other = draws[responses.model] + _draw(rng, config.interaction_sd, shape, distribution)
    tastes = correlated(np.stack([responses.strength.ravel(), other.ravel()]))
    models = np.average(correlated(np.stack([responses.model_strength, draws])), axis=0, weights=TASTE_SHARES)
    mean = np.average(tastes, axis=0, weights=TASTE_SHARES).reshape(responses.model.shape)
    group = (rng.permutation(config.annotators) < round(TASTE_SHARES[1] * config.annotators)).astype(np.int64)
    return Responses(np.round(models, 6), responses.model, np.round(mean, 6)), tastes, group


def draw_tasks(rng: np.random.Generator, count: Index, tickets: Index) -> tuple[Index, Int32]:
    """Return (V,) pairs and (V,) annotators in random order; no annotator votes twice on a pair.

    count: (pairs,) votes on each pair, at most the number of annotators.
    """
    tasks: list[Index] = []
    annotators: list[Int32] = []
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


def draw_sittings(rng: np.random.Generator, config: SimulateConfig, tickets: Index) -> tuple[Index, Int32]:
    """Return (V,) pairs and (V,) annotators: sittings in random order, the pairs of a sitting one after another."""
    prompts, models, size = config.prompts, config.models, config.responses_per_sitting
    annotators: list[Int32] = []
    for _ in range(config.sittings_per_prompt):
        annotators.append(draw_others(rng, tickets, annotators, prompts))
    annotator = np.concatenate(annotators)  # (sittings,)
    places = np.tile(np.arange(models), (len(annotator), 1))
    chosen = np.sort(rng.permuted(places, axis=1)[:, :size], axis=1)  # (sittings, size)
    number = np.zeros((models, models), dtype=np.int64)  # of each pair within a prompt
    number[np.triu_indices(models, 1)] = np.arange(models * (models - 1) // 2)
    i, j = np.triu_indices(size, 1)
    prompt = np.tile(np.arange(prompts), config.sittings_per_prompt)
    task = prompt[:, None] * (models * (models - 1) // 2) + number[chosen[:, i], chosen[:, j]]
    order = rng.permutation(len(annotator))
    return task[order].ravel(), np.repeat(annotator[order], len(i))


def draw_perception_errors(
    rng: np.random.Generator, config: SimulateConfig, left: Int32, right: Int32, annotator: Int32
) -> Float:
    """(2, V) errors with which the strengths of the left and the right response are perceived, logits."""
    ends = np.stack([left, right])
    if not config.perception_error:
        return np.zeros(ends.shape)
    if config.perception_unit == "vote":
        return rng.normal(0.0, config.perception_error, ends.shape)
    of_annotator = ends.astype(np.int64) * config.annotators + annotator
    _, place = np.unique(of_annotator, return_inverse=True)
    error: Float = rng.normal(0.0, config.perception_error, int(place.max(initial=-1)) + 1)[place.reshape(ends.shape)]
    return error


def draw_others(rng: np.random.Generator, tickets: Index, taken: list[Int32], number: int) -> Int32:
    """(number,) annotators drawn in proportion to tickets (A,), excluding those in ``taken`` at the same position.

    One draw each, without rejection: a remaining ticket is drawn and shifted past the excluded tickets before it.
    """
    first = np.cumsum(tickets) - tickets  # (A,) the first ticket of each annotator
    excluded = np.sort(np.array(taken, dtype=np.int32).reshape(len(taken), number), axis=0)
    ticket = rng.integers(0, tickets.sum() - tickets[excluded].sum(axis=0), number)
    for other in excluded:
        ticket += np.where(ticket >= first[other], tickets[other], 0)
    return (np.searchsorted(first, ticket, side="right") - 1).astype(np.int32)


def perceived_difference(difference: Float, config: SimulateConfig) -> Float:
    """(V,) difference in strength as votes depend on it, logits; with a fixed error only its sign matters."""
    fixed: Float = np.sign(difference) * np.log((1 - config.error) / config.error)
    return fixed if config.link == "fixed-error" else difference


def draw_outcomes(
    rng: np.random.Generator, difference: Float, annotators: Annotators, annotator: Int32, bias: Float | float = 0.0
) -> Int8:
    """(V,) outcomes by the model of Davidson (1970).

    left : right : tie = exp(d / 2) : exp(−d / 2) : ν with d = discrimination · difference + left bias + bias. An
    annotator's ν is set so that the share of ties between equally strong responses is tie_share for any left bias.
    difference: (V,) strength left − strength right, logits. bias: (V,) of the vote, logits.
    """
    share = annotators.tie_share
    nu = share / (1 - share) * 2 * np.cosh(annotators.left_bias / 2)
    d = annotators.discrimination[annotator] * difference + annotators.left_bias[annotator] + bias
    larger = np.abs(d)
    left, right = np.exp((d - larger) / 2), np.exp((-d - larger) / 2)  # all three divided by exp(|d| / 2): no overflow
    tie = nu[annotator] * np.exp(-larger / 2)
    point = rng.random(len(difference)) * (left + right + tie)
    return np.where(point < left, LEFT, np.where(point < left + right, RIGHT, TIE)).astype(np.int8)


def draw_times(rng: np.random.Generator, votes: int) -> Index:
    """(votes,) distinct random times, milliseconds since the start of the campaign."""
    arrival = np.cumsum(rng.exponential(1.0, votes + 1))
    moment: Index = (arrival[:-1] / arrival[-1] * CAMPAIGN_MS).astype(np.int64) + np.arange(votes)
    return moment


def _names(prefix: str, number: int, width: int) -> tuple[str, ...]:
    """prefix01 … prefixNN, padded so that they sort in this order."""
    width = max(width, len(str(number)))
    return tuple(f"{prefix}{i:0{width}d}" for i in range(1, number + 1))
