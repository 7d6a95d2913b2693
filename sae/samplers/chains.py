"""A posterior known by the draws of its chains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sae.errors import SaeSpecError
from sae.numerics.inference.psis import psis_loo
from sae.numerics.random.streams import generator
from sae.samplers.posterior import Sample

__all__ = [
    "COEFFICIENT_SD",
    "ChainPosterior",
    "check_draws",
    "coefficient_prior",
    "draw_summary",
    "other_areas",
    "prior_text",
    "random_order",
    "shared_columns",
    "taken",
]

COEFFICIENT_SD = 10.0  # of a coefficient's normal prior, logits per standard deviation of the covariate
_FEWEST = 400  # draws from which R-hat and effective sizes can be read
_JOINT = 400  # draws from which the covariance between rows is read


def check_draws(draws: int) -> None:
    """Refuse a number of draws, of all chains together, from which the chains cannot be judged."""
    if draws < _FEWEST:
        raise SaeSpecError(f"draws = {draws}: at least {_FEWEST} are needed to judge the chains.")


def prior_text(priors: Mapping[str, str], *more: str) -> str:
    """Return every prior after the name of its parameter, as one text, and then those without a name.

    Examples
    --------
    >>> from sae.samplers.chains import coefficient_prior, prior_text
    >>> prior_text({"sigma_u": "half-normal(0.5)"}, coefficient_prior())
    'sigma_u half-normal(0.5); standardised coefficients normal(0, 10)'
    """
    return "; ".join([*(f"{name} {text}" for name, text in priors.items()), *more])


def coefficient_prior() -> str:
    """Return the prior of the coefficients of standardised covariates as a text."""
    return f"standardised coefficients normal(0, {COEFFICIENT_SD:g})"


def draw_summary(draws: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return means, standard deviations and, of shape (3, p), low end, median and high end.

    Parameters
    ----------
    draws : ndarray, shape (S, p)
    level : float
        Of the interval.
    """
    tail = 0.5 * (1.0 - level)
    ends = np.quantile(draws, (tail, 0.5, 1.0 - tail), axis=0)
    return draws.mean(axis=0), draws.std(axis=0, ddof=1), ends


def shared_columns(draws: np.ndarray) -> np.ndarray:
    """Return columns whose products are the covariance of different rows, shape (M, C).

    Parameters
    ----------
    draws : ndarray, shape (S, M)
        Of chains, one after the other. About 400 of them, equally spaced, are taken.
    """
    some = draws[:: max(1, len(draws) // _JOINT)]
    return np.asarray((some - some.mean(axis=0)).T / np.sqrt(len(some) - 1))


def random_order(size: int, n: int, seed: int) -> np.ndarray:
    """Return n places of draws in a random order that the seed names; none twice before all were taken."""
    rounds = [generator(seed, "draws of the chains", k).permutation(size) for k in range(-(-n // size))]
    return np.concatenate(rounds)[:n]


def other_areas(size: int, n: int, seed: int) -> np.ndarray:
    """Return another area for every area and draw, shape (n, size): whose effect stands for a new one.

    The effects of all areas, drawn from their posterior, are spread as new ones would be.
    """
    rng = generator(seed, "effects of other areas")
    shift = rng.integers(1, max(size, 2), size=n)
    order = rng.permuted(np.broadcast_to(np.arange(size), (n, size)), axis=1)
    following = np.take_along_axis(order, (np.arange(size) + shift[:, None]) % size, axis=1)
    out = np.empty((n, size), dtype=np.int64)
    np.put_along_axis(out, order, following, axis=1)
    return out


def taken(sample: Sample, which: np.ndarray) -> Sample:
    """Return some of the draws, each as often as `which` names it."""
    return Sample(
        sample.values[which],
        {name: values[which] for name, values in sample.parameters.items()},
        None if sample.log_likelihood is None else sample.log_likelihood[which],
        None if sample.replicated is None else sample.replicated[which],
        None if sample.fresh is None else sample.fresh[which],
    )


@dataclass(frozen=True, eq=False)
class ChainPosterior:
    """Moments and quantiles over the draws of chains; implements `sae.samplers.Posterior`.

    Attributes
    ----------
    sample : Sample
        All draws, chain after chain.
    source : str
    diagnostics : mapping of str to float
    """

    sample: Sample
    source: str
    diagnostics: Mapping[str, float]

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return posterior means and standard deviations of all rows, each of shape (M,)."""
        return self.sample.values.mean(axis=0), self.sample.values.std(axis=0, ddof=1)

    def quantiles(self, probabilities: np.ndarray) -> np.ndarray:
        """Return posterior quantiles, shape (len(probabilities), M)."""
        return np.quantile(self.sample.values, np.atleast_1d(probabilities), axis=0)

    def exceedance(self, threshold: np.ndarray | float) -> np.ndarray:
        """Return P(value > threshold | data) of every row, shape (M,)."""
        return np.asarray((self.sample.values > threshold).mean(axis=0))

    def draw(self, n: int, seed: int) -> Sample:
        """Return n of the draws in a random order that the seed names; none twice before all were taken."""
        return taken(self.sample, random_order(len(self.sample.values), n, seed))

    def values(self, n: int, seed: int) -> np.ndarray:
        """Return n joint draws of the true values of all rows alone, shape (n, M)."""
        return self.sample.values[random_order(len(self.sample.values), n, seed)]

    def fresh(self, n: int, seed: int) -> np.ndarray:
        """Return figures of areas like the observed ones with other effects: see `Posterior.fresh`."""
        assert self.sample.fresh is not None
        return self.sample.fresh[random_order(len(self.sample.values), n, seed)]

    def shared(self) -> np.ndarray:
        """Return columns whose products are the posterior covariance of different rows, shape (M, C)."""
        return shared_columns(self.sample.values)

    def loo(self) -> tuple[np.ndarray, np.ndarray]:
        """Return log p(y_d | the others) and its Pareto k, each of shape (n,)."""
        return self._loo

    @cached_property
    def _loo(self) -> tuple[np.ndarray, np.ndarray]:
        assert self.sample.log_likelihood is not None
        return psis_loo(self.sample.log_likelihood)
