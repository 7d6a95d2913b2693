"""A sampled multinomial with correlated area effects as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import log_softmax

from sae.numerics.inference.priors import data_unit
from sae.numerics.inference.psis import psis_loo
from sae.numerics.random.streams import generator
from sae.results import (
    FitTables,
    PosteriorFit,
    chains_apart,
    credible_table,
    parameter_columns,
    posterior_joint,
    residual_table,
)
from sae.samplers import Sample
from sae.samplers.chains import (
    ChainPosterior,
    coefficient_prior,
    draw_summary,
    other_areas,
    prior_text,
)
from sae.samplers.multinomial import CHAINS, sample_multinomial
from sae.specs.priors import Prior, prior_of
from sae.unit_level.glmm.multinomial_counts import Counts

__all__ = ["MultinomialPosterior", "fit_multinomial"]

_SHORTEST = 500  # a chain: R-hat of shorter ones is noise


@dataclass(frozen=True, eq=False)
class MultinomialPosterior(ChainPosterior):
    """Chains whose figures, K of an area, belong together."""

    categories: int = 1

    def loo(self) -> tuple[np.ndarray, np.ndarray]:
        """Return log p(counts of the area | the others), each of its K rows an equal share, and Pareto k."""
        assert self.sample.log_likelihood is not None
        joint = self.sample.log_likelihood.reshape(len(self.sample.values), -1, self.categories).sum(axis=2)
        elpd, k = psis_loo(joint)
        return np.repeat(elpd / self.categories, self.categories), np.repeat(k, self.categories)


def fit_multinomial(
    data: Counts, *, prior: Prior | str | None, draws: int, level: float, seed: int
) -> PosteriorFit:
    """Sample, and turn effects into shares.

    Parameters
    ----------
    data : Counts
    prior : Prior, str or None
        Of the standard deviations of the effects, as a specification has it.
    draws : int
        Kept draws of all chains together; 4,000 at least.
    level : float
        Of the intervals.
    seed : int

    Raises
    ------
    SaeConvergenceError
        If the chains do not agree.
    """
    priors = [prior_of(prior).scaled(data_unit(logits)) for logits in data.logits.T]
    standard = data.standard
    X = standard.of(data.X)
    chains = sample_multinomial(
        data.counts[data.order],
        X[data.order],
        priors[0].code[0],
        np.array([one.code[1] for one in priors]),
        seed=seed,
        names=data.names[data.order],
        draws=max(-(-draws // CHAINS), _SHORTEST),
    ).checked()
    hyper = {**chains.joined()}
    hyper["effect"] = hyper["effect"][:, np.argsort(data.order)]
    K = len(data.categories)
    source = f"elliptical slices, {chains.lengths}"
    posterior = MultinomialPosterior(_sample(data, X, hyper, seed), source, chains.diagnostics, K)
    texts = {f"sigma_u[{name}]": one.text for name, one in zip(data.categories, priors, strict=False)}
    sizes = {
        "areas": len(data.names),
        "sampled": int(data.sampled.sum()),
        "coefficients": X.shape[1] * (K - 1),
    }
    return PosteriorFit(
        posterior,
        posterior_joint(posterior.moments()[1] ** 2, posterior.shared()),
        prior_text(texts, "correlations LKJ(1)", coefficient_prior()),
        FitTables(
            _coefficients(data, standard.natural(hyper["beta"]), level),
            _components(hyper, data.categories, level),
            pd.DataFrame([sizes]),
            _residuals(data, X, hyper["beta"].mean(axis=0)),
        ),
        bounds=(0.0, 1.0),
        messages=(*data.messages(), *chains_apart(chains.doubt)),
    )


def _sample(data: Counts, X: np.ndarray, hyper: Mapping[str, np.ndarray], seed: int) -> Sample:
    """Shares of every draw; each count given those before it is binomial."""
    eta = np.einsum("dp,spk->sdk", X, hyper["beta"]) + hyper["effect"]
    eta = np.concatenate([eta, np.zeros((*eta.shape[:2], 1))], axis=2)
    log_p, sampled = log_softmax(eta, axis=2), data.sampled
    counts, S = data.counts[sampled], len(eta)
    own = log_p[:, sampled]
    left = np.logaddexp.accumulate(own[:, :, ::-1], axis=2)[:, :, ::-1]  # log of the shares not yet counted
    above = np.concatenate([left[:, :, 1:], np.zeros((*left.shape[:2], 1))], axis=2)
    rest = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1] - counts
    log_likelihood = counts * (own - left) + rest * (above - left) * (rest > 0)
    n = np.maximum(np.rint(counts.sum(axis=1)).astype(int), 1)
    p = np.exp(own)
    replicated = _replicated(p, n, generator(seed, "replicated counts"))
    other = other_areas(int(sampled.sum()), S, seed)
    eta[:, sampled, :-1] += (
        np.take_along_axis(hyper["effect"][:, sampled], other[:, :, None], axis=1)
        - hyper["effect"][:, sampled]
    )
    fresh = _replicated(np.exp(log_softmax(eta[:, sampled], axis=2)), n, generator(seed, "fresh counts"))
    free = data.categories[:-1]
    parameters = {f"sigma_u[{name}]": hyper["sigma"][:, k] for k, name in enumerate(free)}
    parameters |= {"beta": hyper["beta"].reshape(S, -1)}
    return Sample(
        np.exp(log_p).reshape(S, -1),
        parameters,
        log_likelihood.reshape(S, -1),
        replicated.reshape(S, -1),
        fresh.reshape(S, -1),
    )


def _replicated(p: np.ndarray, n: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw shares of counts, (S, D, K)."""
    return rng.multinomial(n, p / p.sum(axis=2, keepdims=True)) / n[:, None]


def _coefficients(data: Counts, beta: np.ndarray, level: float) -> pd.DataFrame:
    """Coefficients of the covariates as they are, (S, p, K - 1), by category and term."""
    terms = [data.categories[:-1], data.design.columns]
    index = pd.MultiIndex.from_product(terms, names=["category", "term"])
    return credible_table(*draw_summary(np.swapaxes(beta, 1, 2).reshape(len(beta), -1), level), index)


def _components(hyper: Mapping[str, np.ndarray], categories: Sequence[str], level: float) -> pd.Series:
    free = categories[:-1]
    pairs = [(i, j) for i in range(len(free)) for j in range(i)]
    names = [f"sigma_u[{name}]" for name in free]
    names += [f"rho[{free[j]}, {free[i]}]" for i, j in pairs]
    values: dict[str, Any] = {}
    for name, draws in zip(names, (*hyper["sigma"].T, *hyper["correlation"].T), strict=True):
        mean, sd, ends = draw_summary(draws[:, None], level)
        values |= parameter_columns(name, mean[0], sd[0], *ends[:, 0])
    return pd.Series(values, dtype=float)


def _residuals(data: Counts, X: np.ndarray, beta: np.ndarray) -> pd.DataFrame:
    """Observed less fitted shares; fitted at the mean coefficients, without effects."""
    K = len(data.categories)
    fitted = np.exp(log_softmax(np.column_stack([X @ beta, np.zeros(len(X))]), axis=1))
    rows = np.flatnonzero(np.repeat(data.sampled, K))
    residual = (data.shares - fitted).ravel()[rows]
    sd = np.sqrt((fitted * (1.0 - fitted)).ravel()[rows] / np.repeat(data.total, K)[rows])
    names = np.repeat(data.names, K)[rows]
    return residual_table(rows, names, fitted.ravel()[rows], residual, residual / sd, np.nan)
