"""The compiled loops over votes of expectation propagation (see perception.py and model.py)."""

from __future__ import annotations

import numpy as np

from curate.array_types import Bool, Float, Index, Int8, Int32
from curate.compiled import compiled

LEAST_RATIO = 0.02  # of a tilted variance to the posterior's: far from the fixed point, quadrature can be worse


@compiled
def messages(
    left: Index,  # (V,)
    right: Index,  # (V,)
    pair: Index,  # (V,) cell of (left, right)
    weight: Float,  # (V,)
    alone: Bool,  # (V,) whether a vote is a sitting of its own
    site_precision: Float,  # (V,)
    site_linear: Float,  # (V,)
    error_variance: float,
    precision: Float,  # (V,) of all sites of the vote; overwritten
    linear: Float,  # (V,) the same
    share: Float,  # (V,) of the precision that is left by the errors of a sitting of its own; overwritten
    of_left: Float,  # (R,) linear terms of the votes on which the response is on the left; added to
    of_right: Float,  # (R,) the same on the right
    information: Float,  # (cells,) precisions of the votes of a pair, negative; added to
) -> None:
    """What the votes that are sittings of their own state about the strengths."""
    for v in range(len(left)):
        precision[v] = weight[v] * site_precision[v]
        linear[v] = weight[v] * site_linear[v]
        share[v] = 1 / (1 + 2 * error_variance * precision[v])
        part = share[v] * alone[v]
        of_left[left[v]] += part * linear[v]
        of_right[right[v]] += part * linear[v]
        information[pair[v]] -= part * precision[v]


@compiled
def perceive(
    left: Index,  # (V,)
    right: Index,  # (V,)
    pair: Index,  # (V,) cell of (left, right)
    strength: Float,  # (R,)
    strength_variance: Float,  # (R,)
    covariance: Float,  # (cells,)
    share: Float,  # (V,) as in messages
    linear: Float,  # (V,) as in messages
    error_variance: float,
    mean: Float,  # (V,) of the perceived gap; overwritten
    variance: Float,  # (V,) the same
) -> None:
    """The perceived gaps of votes that are sittings of their own."""
    for v in range(len(left)):
        gap = strength[left[v]] - strength[right[v]]
        spread = strength_variance[left[v]] + strength_variance[right[v]] - 2 * covariance[pair[v]]
        mean[v] = share[v] * (gap + 2 * error_variance * linear[v])
        variance[v] = share[v] * (share[v] * max(spread, 0.0) + 2 * error_variance)


@compiled
def tilt(
    annotator: Int32,  # (V,)
    prompt: Int32,  # (V,)
    side: Int8,  # (V,)
    sides_known: Bool,  # (V,)
    weight: Float,  # (V,)
    value: Float,  # (A + 1, 3) discrimination, left bias, tie
    nu: Float,  # (A + 1,) exp(tie)
    prompt_nu: Float,  # (P,)
    mean: Float,  # (V,) of the perceived gap
    variance: Float,  # (V,)
    precision: Float,  # (V,) of the site; overwritten
    linear: Float,  # (V,) of the site; overwritten
    points: Float,  # (K,) quadrature
    shares: Float,  # (K,)
    step_size: float,
    of_annotator: Float,  # (A + 1, 9) derivatives in a, b, t, aa, ab, at, bb, bt, tt; added to
    of_prompt: Float,  # (P, 2) first and second derivative in t; added to
) -> None:
    """Update all sites in parallel, and add the votes' derivatives in expectation over the tilted distributions."""
    for v in range(len(annotator)):
        rate, bias = value[annotator[v], 0], value[annotator[v], 1] * sides_known[v]
        tie_weight = nu[annotator[v]] * prompt_nu[prompt[v]]
        site, part, spread = precision[v], min(weight[v], 1.0), max(variance[v], 1e-12)
        deviation = np.sqrt(spread)
        slope, bend = (site * mean[v] - linear[v]) * deviation, site * spread / 2
        highest = -np.inf  # of the exponents below, so that none overflows far from the fixed point
        for k in range(len(points)):
            highest = max(highest, points[k] * (slope + points[k] * bend))
        mass = first = second = 0.0
        d_a = d_b = d_t = d_aa = d_ab = d_at = d_bb = d_bt = d_tt = 0.0
        for k in range(len(points)):
            z = points[k]
            gap = mean[v] + z * deviation
            d = rate * gap + bias
            small = np.exp(-abs(d) / 2)  # all three weights over exp(|d| / 2) do not overflow
            square = small * small
            larger = 1 / (1 + square + tie_weight * small)
            tie = tie_weight * small * larger
            half_lean = (1 - square) * larger / 2  # (P(left) − P(right)) / 2
            if d < 0:
                half_lean = -half_lean
            probability = tie
            if side[v] != 0:
                probability = larger if side[v] * d >= 0 else square * larger
            ratio = probability * np.exp(z * (slope + z * bend) - highest)  # likelihood over site, up to a factor
            if part < 1:
                ratio = ratio**part
            ratio *= shares[k]
            mass += ratio
            first += ratio * z
            second += ratio * z * z
            by_d, by_t = side[v] / 2 - half_lean, (1.0 if side[v] == 0 else 0.0) - tie
            by_dd, by_dt = half_lean * half_lean - (1 - tie) / 4, half_lean * tie
            d_a += ratio * by_d * gap
            d_b += ratio * by_d
            d_t += ratio * by_t
            d_aa += ratio * by_dd * gap * gap
            d_ab += ratio * by_dd * gap
            d_at += ratio * by_dt * gap
            d_bb += ratio * by_dd
            d_bt += ratio * by_dt
            d_tt -= ratio * tie * (1 - tie)
        mass = max(mass, 1e-300)
        first /= mass
        tilted = max(second / mass - first * first, LEAST_RATIO)
        # The likelihood is log-concave with a curvature of at most a quarter of the squared discrimination
        new = min(max(site + (1 / tilted - 1) / (part * spread), 0.0), rate * rate / 4)
        total = 1 / spread + part * (new - site)
        precision[v] = site + step_size * (new - site)
        linear[v] += step_size * ((mean[v] + first * deviation) * total - mean[v] / spread) / part
        own = weight[v] / mass
        sided = own * sides_known[v]
        row = of_annotator[annotator[v]]
        row[0] += own * d_a
        row[1] += sided * d_b
        row[2] += own * d_t
        row[3] += own * d_aa
        row[4] += sided * d_ab
        row[5] += own * d_at
        row[6] += sided * d_bb
        row[7] += sided * d_bt
        row[8] += own * d_tt
        of_prompt[prompt[v], 0] += own * d_t
        of_prompt[prompt[v], 1] += own * d_tt
