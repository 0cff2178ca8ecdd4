"""Compiled sums over votes: each prompt's pull and information, each annotator's slopes, the expected log-likelihood.

A vote's advantage is normal, with the mean and the deviation that the posterior gives to its gap; all sums average over
it by the nodes of a quadrature. For all votes of a prompt the chances of left and of right at the nodes come first, in
loops that compile to vector instructions; slopes follow from these. The tie parameter enters as ν = exp of it
(Davidson's ν, Rao and Kupper's θ). votes has the same models for arrays of any shape.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from curate.compiled import compiled
from curate.rankers.hierarchical.columns import Ballots, Float, Places

WIDEST = 2.0
"""Where strengths are sought, deviations of an advantage beyond this many logits are taken for it: three nodes farther
apart than votes are wide would each see votes of their own, and Newton's steps between them not come to rest."""


class View(NamedTuple):
    """How annotators see gaps, in numbers that kernels read."""

    people: Float
    """(A + 1, 3) discrimination, left bias (logits), tie parameter."""
    nu: Float
    """(A + 1,) exp(tie parameter)."""
    prompt_nu: Float
    """(P,) by which each prompt multiplies it."""
    rao_kupper: bool
    """Which tie model; else Davidson's."""
    points: Float
    shares: Float
    """(nodes,) of the quadrature over a standard normal."""


@compiled
def fast_exp(x: float) -> float:
    """exp(x) for x from −700 to 0, to 12 digits or 20 decimals: Taylor's series at x / 256, squared eight times.

    Without a call or a branch, so that loops over it become vector instructions.
    """
    r = x * (1 / 256)
    y = 1 + r * (1 + r / 2 * (1 + r / 3 * (1 + r / 4 * (1 + r / 5 * (1 + r / 6 * (1 + r / 7 * (1 + r / 8)))))))
    y *= y
    y *= y
    y *= y
    y *= y
    y *= y
    y *= y
    y *= y
    return y * y


@compiled
def davidson_chances(mean: Float, deviation: Float, nu: Float, point: float, left: Float, right: Float) -> None:
    """Writes the chances of left and right at advantage mean + point · deviation; all are (v,)."""
    for q in range(len(left)):
        d = mean[q] + point * deviation[q]
        root = fast_exp(max(-abs(d) / 2, -700.0))  # all over exp(|d|/2), and so never too large
        larger = 1 / (1 + root * root + nu[q] * root)
        smaller = root * root * larger
        left[q] = larger if d > 0 else smaller
        right[q] = smaller if d > 0 else larger


@compiled
def rao_kupper_chances(mean: Float, deviation: Float, nu: Float, point: float, left: Float, right: Float) -> None:
    """Writes the chances of left and right at advantage mean + point · deviation; all are (v,)."""
    for q in range(len(left)):
        d = mean[q] + point * deviation[q]
        small = fast_exp(max(-abs(d), -700.0))
        larger, smaller = 1 / (1 + nu[q] * small), small / (small + nu[q])
        left[q] = larger if d > 0 else smaller
        right[q] = smaller if d > 0 else larger


@compiled
def slopes(
    left: float, right: float, nu: float, side: int, rao_kupper: bool
) -> tuple[float, float, float, float, float]:
    """Slopes d, t, dd, dt, tt of a vote's log-chance (votes.Slopes), from the chances of left and right."""
    if not rao_kupper:
        lean, tie = left - right, 1 - left - right
        tied = 1.0 if side == 0 else 0.0
        return (side - lean) / 2, tied - tie, (lean * lean + tie - 1) / 4, lean * tie / 2, -tie * (left + right)
    of_left, of_right = left * (1 - left), right * (1 - right)
    if side > 0:
        return 1 - left, left - 1, -of_left, of_left, -of_left
    if side < 0:
        return right - 1, right - 1, -of_right, -of_right, -of_right
    odds = 1 / (nu * nu - 1)
    bend = of_left + of_right
    return right - left, left + right + 2 * odds, -bend, of_left - of_right, -bend - 4 * odds * (1 + odds)


@compiled
def chances(
    places: Places, ballots: Ballots, view: View, strength: Float, covariance: Float, p: int, widest: float, work: Float
) -> None:
    """Fills work, (4 + 2 · nodes, room), for the v votes of prompt p: mean and deviation of the gap, the deviation of
    the advantage, ν; then the chances of left at each node, and those of right."""
    first, start = places.response[p], places.cell[p]
    n, begin, end = places.response[p + 1] - first, places.vote[p], places.vote[p + 1]
    mean, nodes = np.empty(end - begin), len(view.points)
    for v in range(begin, end):
        q, who = v - begin, ballots.annotator[v]
        i, j = ballots.left[v] - first, ballots.right[v] - first
        variance = covariance[start + i * n + i] + covariance[start + j * n + j] - 2 * covariance[start + i * n + j]
        rate, gap = view.people[who, 0], strength[ballots.left[v]] - strength[ballots.right[v]]
        mean[q] = rate * gap + (view.people[who, 1] if ballots.seen[v] else 0.0)
        work[0, q], work[1, q] = gap, math.sqrt(max(variance, 0.0))
        work[2, q], work[3, q] = min(rate * work[1, q], widest), view.nu[who] * view.prompt_nu[p]
    v = end - begin
    for k in range(nodes):
        left, right = work[4 + k, :v], work[4 + nodes + k, :v]
        if view.rao_kupper:
            rao_kupper_chances(mean, work[2, :v], work[3, :v], view.points[k], left, right)
        else:
            davidson_chances(mean, work[2, :v], work[3, :v], view.points[k], left, right)


@compiled
def room(places: Places, view: View) -> Float:
    """(4 + 2 · nodes, most votes of a prompt) for ``chances``."""
    most = 0
    for p in range(len(places.cell)):
        most = max(most, places.vote[p + 1] - places.vote[p])
    return np.empty((4 + 2 * len(view.points), most))


@compiled
def strength_slopes(
    places: Places, ballots: Ballots, view: View, strength: Float, covariance: Float
) -> tuple[Float, Float]:
    """(R,) gradient of the expected log-likelihood in the strengths and, flat, minus its second derivatives.

    strength: (R,). covariance: flat, of the strengths.
    """
    pull, information = np.zeros(len(strength)), np.zeros(len(covariance))
    shares, nodes = view.shares, len(view.points)
    work = room(places, view)
    for p in range(len(places.cell)):
        first, start, begin = places.response[p], places.cell[p], places.vote[p]
        n = places.response[p + 1] - first
        chances(places, ballots, view, strength, covariance, p, WIDEST, work)
        for v in range(begin, places.vote[p + 1]):
            left, right, side = ballots.left[v], ballots.right[v], ballots.side[v]
            slope = curve = 0.0
            for k in range(nodes):
                x, y = work[4 + k, v - begin], work[4 + nodes + k, v - begin]
                one = slopes(x, y, work[3, v - begin], side, view.rao_kupper)
                slope += shares[k] * one[0]
                curve += shares[k] * one[2]
            rate = view.people[ballots.annotator[v], 0]
            weight = ballots.weight[v] * rate
            pull[left] += weight * slope
            pull[right] -= weight * slope
            information[start + (left - first) * n + right - first] += weight * rate * curve
        spread(information[start : start + n * n].reshape(n, n))
    return pull, information


@compiled
def spread(matrix: Float) -> None:
    """Makes (N, N) sums over ordered pairs, its diagonal 0, symmetric with rows that sum to 0."""
    for i in range(len(matrix)):
        for j in range(i):
            both = matrix[i, j] + matrix[j, i]
            matrix[i, j] = both
            matrix[j, i] = both
            matrix[i, i] -= both
            matrix[j, j] -= both


@compiled
def annotator_slopes(
    places: Places, ballots: Ballots, view: View, strength: Float, covariance: Float
) -> tuple[Float, Float]:
    """(A + 1, 9) slopes of the expected log-likelihood in discrimination a, bias b and tie parameter t of each one:
    a, b, t, aa, ab, at, bb, bt, tt; and (P, 2) in each prompt's addition to the tie parameter: t, tt.

    strength: (R,). covariance: flat, of the strengths.
    """
    total, of_prompt = np.zeros((len(view.people), 9)), np.zeros((len(places.cell), 2))
    points, shares, nodes = view.points, view.shares, len(view.points)
    work = room(places, view)
    for p in range(len(places.cell)):
        begin = places.vote[p]
        chances(places, ballots, view, strength, covariance, p, np.inf, work)
        for v in range(begin, places.vote[p + 1]):
            q, row, weight = v - begin, ballots.annotator[v], ballots.weight[v]
            seen = weight if ballots.seen[v] else 0.0
            for k in range(nodes):
                drawn = work[0, q] + points[k] * work[1, q]
                x, y = work[4 + k, q], work[4 + nodes + k, q]
                d, t, dd, dt, tt = slopes(x, y, work[3, q], ballots.side[v], view.rao_kupper)
                total[row, 0] += weight * shares[k] * d * drawn
                total[row, 1] += seen * shares[k] * d
                total[row, 2] += weight * shares[k] * t
                total[row, 3] += weight * shares[k] * dd * drawn * drawn
                total[row, 4] += seen * shares[k] * dd * drawn
                total[row, 5] += weight * shares[k] * dt * drawn
                total[row, 6] += seen * shares[k] * dd
                total[row, 7] += seen * shares[k] * dt
                total[row, 8] += weight * shares[k] * tt
                of_prompt[p, 0] += weight * shares[k] * t
                of_prompt[p, 1] += weight * shares[k] * tt
    return total, of_prompt


@compiled
def expected_log_likelihood(places: Places, ballots: Ballots, view: View, strength: Float, covariance: Float) -> float:
    """Of strengths (R,) whose gaps have the flat covariance around them; −inf where a vote is as good as impossible."""
    total, nodes = 0.0, len(view.points)
    work = room(places, view)
    for p in range(len(places.cell)):
        begin = places.vote[p]
        chances(places, ballots, view, strength, covariance, p, WIDEST, work)
        for v in range(begin, places.vote[p + 1]):
            for k in range(nodes):
                left, right = work[4 + k, v - begin], work[4 + nodes + k, v - begin]
                side, nu = ballots.side[v], work[3, v - begin]
                if side != 0:
                    chance = left if side > 0 else right
                elif view.rao_kupper:
                    chance = (1 - left) * (1 - right) * (1 - 1 / (nu * nu))
                else:
                    chance = nu * math.sqrt(left * right)
                total += ballots.weight[v] * view.shares[k] * math.log(chance)
    return total


@compiled
def most_moved(ballots: Ballots, view: View, step: Float) -> float:
    """The most that a step (R,) in the strengths moves any vote's advantage, logits."""
    most = 0.0
    for v in range(len(ballots.left)):
        gap = abs(step[ballots.left[v]] - step[ballots.right[v]])
        most = max(most, view.people[ballots.annotator[v], 0] * gap)
    return most
