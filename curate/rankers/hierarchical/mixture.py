"""A mixture of two normals as the prior of the strengths."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from curate.array_types import Float
from curate.rankers.hierarchical.priors import STRENGTH_VARIANCE, StrengthPrior, variance_step
from curate.votes.blocks import VoteData, sums


class Tilted(NamedTuple):
    """Cavity times mixture for each response: again a mixture of two normals."""

    weight: Float  # (R, 2) posterior probabilities of the components
    mean: Float  # (R, 2) logits
    variance: Float  # (R, 2) logits²
    log_mass: Float  # (R,) logarithm of the integral, up to a constant


@dataclass(frozen=True)
class Mixture:
    """A two-component prior: θ[p, i] = model_mean[m] + center[k] + e, e ~ N(0, variance), P(k = 1) = share[m].

    As of right and wrong answers. Under one normal prior, what separates right from wrong would also be expected
    between right answers.
    """

    center: Float  # (2,) logits
    variance: float  # logits²
    share: Float  # (M + 1,) P(k = 1) of each model; the last row is for responses of an unknown model
    common_share: float  # of all responses
    model_mean: Float  # (M,) logits, besides the centers
    mean_variance: float  # of the models' means around 0

    def penalty(self, data: VoteData) -> float:
        """BIC's penalty over a normal prior (Schwarz, 1978), nats: of a further center and a share of each model."""
        of_models = np.bincount(data.response_model, minlength=data.models + 1)
        return float(np.log1p([*of_models, len(data.response_model)]).sum()) / 2

    def components(self, data: VoteData) -> tuple[Float, Float]:
        """(R, 2) means and (R, 2) shares of the components of each response."""
        share, mean = self.share[data.response_model], np.append(self.model_mean, 0.0)[data.response_model]
        return mean[:, None] + self.center, np.stack([1 - share, share], axis=1)

    def moments(self, data: VoteData) -> tuple[Float, Float]:
        """(R,) mean and (R,) variance of each response's prior."""
        center, share = self.components(data)
        mean = (share * center).sum(axis=1)
        return mean, (share * (self.variance + (center - mean[:, None]) ** 2)).sum(axis=1)

    def tilted(self, data: VoteData, precision: Float, linear: Float) -> Tilted:
        """The mixture times cavities with these natural parameters (R,)."""
        center, share = self.components(data)
        total = 1 / precision[:, None] + self.variance
        log = np.log(share) - (((linear / precision)[:, None] - center) ** 2 / total + np.log(total)) / 2
        log_mass = np.logaddexp(log[:, 0], log[:, 1])
        posterior = precision[:, None] + 1 / self.variance
        mean = (linear[:, None] + center / self.variance) / posterior
        return Tilted(np.exp(log - log_mass[:, None]), mean, 1 / posterior, log_mass)

    def m_step(self, data: VoteData, tilted: Tilted) -> Mixture:
        """The mixture after one step each for shares, centers, model means and variances."""
        model, rows, weight = data.response_model, data.models + 1, tilted.weight
        count = weight.sum(axis=0) + 1e-9  # above 0 for a component without responses
        common = float(count[1] / count.sum())
        # Each model's share is shrunk to the common one by two responses.
        share = (sums(model, weight[:, 1], rows) + 2 * common) / (np.bincount(model, minlength=rows) + 2)
        center = (weight * (tilted.mean - np.append(self.model_mean, 0.0)[model, None])).sum(axis=0) / count
        center -= (count * center).sum() / count.sum()  # votes do not inform a common mean
        new = self._with_model_means(data, tilted, center)
        away = tilted.mean - np.append(new.model_mean, 0.0)[model, None] - center
        second = float((weight * (tilted.variance + away**2)).sum())
        learned = float((weight * (1 - tilted.variance / self.variance) ** 2).sum())
        variance = variance_step(self.variance, second, float(count.sum()), learned, STRENGTH_VARIANCE, 1.0)
        return replace(new, center=center, variance=variance, share=share, common_share=common)

    def _with_model_means(self, data: VoteData, tilted: Tilted, center: Float) -> Mixture:
        """The mixture with new model means and the variance of their prior."""
        if not data.models:
            return self
        precision, of = tilted.weight / self.variance, data.response_model
        terms = (precision * (tilted.mean - center), precision, precision * (1 - tilted.variance / self.variance))
        linear, known, learned = (sums(of, term.sum(axis=1), data.models + 1)[:-1] for term in terms)
        mean, left = linear / (known + 1 / self.mean_variance), 1 / (learned + 1 / self.mean_variance)
        second, information = float((mean**2 + left).sum()), float((1 - left / self.mean_variance).sum())
        variance = variance_step(self.mean_variance, second, data.models, information, STRENGTH_VARIANCE, 1.0)
        return replace(self, model_mean=mean - mean.mean(), mean_variance=variance)

    def change_from(self, old: Mixture) -> float:
        """The largest change of a center, a model mean or the logarithm of a variance."""
        changes = (self.center - old.center, self.model_mean - old.model_mean, np.log([self.variance / old.variance]))
        return max(float(np.abs(change).max(initial=0.0)) for change in changes)


def first_mixture(prior: StrengthPrior, model_mean: Float) -> Mixture:
    """A mixture with the variance of a fitted normal prior: 64% between the centers, 36% within. model_mean: (M,)."""
    half = 0.8 * float(np.sqrt(prior.variance))
    share = np.clip(0.5 + np.append(model_mean, 0.0) / (2 * half), 0.1, 0.9)  # it follows the model means
    center, means = np.array([-half, half]), np.zeros(len(model_mean))
    return Mixture(center, 0.36 * prior.variance, share, float(share[-1]), means, prior.mean_variance)
