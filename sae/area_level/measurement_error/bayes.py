"""Bayesian Fay–Herriot with covariates measured with error: the structural model, as joined estimates.

The true covariates have a distribution of their own, x_d = M z_d + v_d with v_d ~ N(0, Σ), z_d being the
exact ones. Then (y_d, X_d) is a multivariate Fay–Herriot model whose effects (β'v_d + u_d, v_d) are
correlated by the slopes β. A flat prior on every x_d instead would give back the slopes of the naive
regression, too flat: with equal error variances β'Cβ and σ² are not told apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sae.area_level.arrays import AreaArrays
from sae.area_level.measurement_error.errors import ErrorArrays
from sae.area_level.priors import check_proper, resolved_prior
from sae.numerics.inference.mixture import Mixture
from sae.numerics.inference.priors import log_prior
from sae.numerics.multivariate.areas import BlockAreas, block_basis
from sae.numerics.multivariate.covariances import effect_covariances, lkj_log_density
from sae.numerics.multivariate.importance import NODES, place_covariances
from sae.results import (
    FitTables,
    PosteriorFit,
    coefficient_index,
    credible_table,
    parameter_row,
    posterior_joint,
    residual_table,
)
from sae.samplers.mixtures import BlockMixture, check_weights, weighted_quantiles
from sae.specs.priors import Prior

__all__ = ["MeasuredModel", "fit_measured_bayes"]

_WIDE = 10.0  # standard deviations of y per standard deviation of x: the prior of a slope


@dataclass(frozen=True, eq=False)
class MeasuredModel:
    """Hyperparameters φ = (log σ, slopes in units, log standard deviations of x, atanh of correlations).

    Attributes
    ----------
    prior : (code, scale)
        Of σ.
    x_priors : sequence of (code, scale), length q
        Of the standard deviations of the true covariates given the exact ones.
    unit : ndarray, shape (q,)
        Standard deviation of y over that of each covariate.
    wide : float
        Standard deviation of the normal prior of the slopes, in these units.
    """

    prior: tuple[int, float]
    x_priors: tuple[tuple[int, float], ...]
    unit: np.ndarray
    wide: float = _WIDE

    def parts(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return σ, shape (K,), slopes β, shape (K, q), and Σ, shape (K, q, q)."""
        q = len(self.unit)
        sigma = effect_covariances(phi[:, q + 1 : 2 * q + 1], phi[:, 2 * q + 1 :])
        return np.exp(phi[:, 0]), phi[:, 1 : q + 1] * self.unit, sigma

    def build(self, phi: np.ndarray) -> np.ndarray:
        """Return covariances of (β'v + u, v), shape (K, q + 1, q + 1)."""
        sd, beta, sigma = self.parts(phi)
        shared = np.einsum("kij,kj->ki", sigma, beta)
        V = np.empty((len(phi), len(self.unit) + 1, len(self.unit) + 1))
        V[:, 0, 0] = sd**2 + np.einsum("ki,ki->k", beta, shared)
        V[:, 0, 1:] = V[:, 1:, 0] = shared
        V[:, 1:, 1:] = sigma
        return V

    def log_prior(self, phi: np.ndarray) -> np.ndarray:
        """Return the log prior density of φ, shape (K,)."""
        q = len(self.unit)
        value = log_prior(self.prior, np.exp(phi[:, 0])) + phi[:, 0]
        value = value - 0.5 * (phi[:, 1 : q + 1] ** 2).sum(axis=1) / self.wide**2
        for j, prior in enumerate(self.x_priors):
            value = value + log_prior(prior, np.exp(phi[:, q + 1 + j])) + phi[:, q + 1 + j]
        return value + lkj_log_density(phi[:, 2 * q + 1 :], q)

    def posterior(
        self, areas: BlockAreas, labels: list[str], names: list[str], *, nodes: int = NODES
    ) -> BlockMixture:
        """Integrate the hyperparameters.

        Parameters
        ----------
        areas : BlockAreas
            The outcome first, then the q covariates.
        labels : list of str, length D (q + 1)
        names : list of str, length q
        nodes : int
            Of the hyperparameters; a power of two.
        """
        q = len(self.unit)

        def read(phi: np.ndarray) -> dict[str, np.ndarray]:
            sd, beta, sigma = self.parts(phi)
            values = {"sigma_u": sd}
            values |= {f"slope[{name}]": beta[:, j] for j, name in enumerate(names)}
            return values | {f"sigma_x[{name}]": np.sqrt(sigma[:, j, j]) for j, name in enumerate(names)}

        scale = np.nanstd(areas.y, axis=0)
        tail = [np.log(0.7 * scale[1:]), np.zeros(q * (q - 1) // 2)]
        starts = np.array(
            [
                np.concatenate([[np.log(share * scale[0])], np.full(q, slope), *tail])
                for share in (0.1, 0.5)
                for slope in (-1.0, -0.3, 0.3, 1.0)
            ]
        )
        basis = block_basis(areas.y, areas.X)
        areas = replace(areas, X=basis.of(areas.X))
        nodes_of_phi = place_covariances(areas, self.build, self.log_prior, starts, nodes=nodes)
        description = "sigma_u, slopes and the spread of the true covariates"
        return BlockMixture(areas, nodes_of_phi, labels, read, description, (0,), basis)


def fit_measured_bayes(
    arrays: AreaArrays,
    errors: ErrorArrays,
    names: list[str],
    *,
    prior: Prior | str | None,
    level: float,
) -> PosteriorFit:
    """Integrate the structural model.

    Parameters
    ----------
    arrays : AreaArrays
        With the measured covariates.
    errors : ErrorArrays
    names : list of str, length q
        Columns of the design that are measured with error.
    prior : Prior, str or None
        Of the standard deviation of the area effects, as a specification has it.
    level : float
        Of the intervals.

    Raises
    ------
    SaeInputError
        If a flat prior leaves the posterior improper.
    SaeConvergenceError
        If the importance weights cannot be trusted.
    """
    on, columns = arrays.sampled, arrays.design.columns
    measured = [columns.index(name) for name in names]
    exact = [j for j in range(len(columns)) if j not in measured]
    own = resolved_prior(prior, arrays.y[on])
    check_proper(own, int(on.sum()), len(columns))
    x_priors = [resolved_prior(None, arrays.X[:, j]) for j in measured]
    unit = np.array([np.std(arrays.y[on], ddof=1) / np.std(arrays.X[:, j], ddof=1) for j in measured])
    model = MeasuredModel(own.code, tuple(x_prior.code for x_prior in x_priors), unit)
    areas = _joined(arrays, errors, measured, exact)
    labels = [f"{label}\x1f{part}" for label in arrays.labels for part in ("", *names)]
    posterior = model.posterior(areas, labels, names)
    check_weights(posterior.nodes)
    texts = [f"sigma_u {own.text}"]
    for name, x_prior, scale in zip(names, x_priors, unit, strict=True):
        texts += [f"sigma_x[{name}] {x_prior.text}", f"slope[{name}] normal(0, {_WIDE * scale:.3g})"]
    texts += ["correlations LKJ(1)"] if len(names) > 1 else []
    _, sd = posterior.moments()
    shared = posterior.shared()[0][:: len(names) + 1]
    values, weights = posterior.parameters(), posterior.nodes.weights
    coefficients = _coefficients(posterior, measured, exact, values, names)
    variances = {name: value for name, value in values.items() if name.startswith("sigma")}
    covariance = np.einsum("k,krs->rs", weights, posterior.nodes.covariances)
    explained = np.var(posterior.areas.X[on, 0] @ (weights @ posterior.at.beta), ddof=1)
    diagnostics = {
        "areas": len(on),
        "sampled": int(on.sum()),
        "coefficients": len(columns),
        "r2_marginal": 1.0 - float(weights @ values["sigma_u"] ** 2) / float(covariance[0, 0] + explained),
    }
    return PosteriorFit(
        posterior,
        posterior_joint(sd**2, shared),
        "; ".join(texts),
        FitTables(
            _coefficient_table(coefficients, level, columns),
            pd.Series(parameter_row(variances, weights, level)),
            pd.DataFrame([diagnostics]),
            _residuals(arrays, errors, coefficients, weights, values["sigma_u"]),
        ),
        messages=tuple(arrays.messages()),
    )


def _joined(arrays: AreaArrays, errors: ErrorArrays, measured: list[int], exact: list[int]) -> BlockAreas:
    """Outcome and measured covariates side by side, each on the exact ones; a mean of x is always there."""
    q, size = len(measured), len(arrays.y)
    z = np.ascontiguousarray(arrays.X[:, exact].T).T
    flat = len(exact) and np.linalg.lstsq(z, np.ones(size), rcond=None)[0]
    own = z if len(exact) and np.allclose(z @ flat, 1.0) else np.column_stack([np.ones(size), z])
    X = np.zeros((size, q + 1, z.shape[1] + q * own.shape[1]))
    X[:, 0, : z.shape[1]] = z
    for j in range(q):
        start = z.shape[1] + j * own.shape[1]
        X[:, j + 1, start : start + own.shape[1]] = own
    y = np.column_stack([np.where(arrays.sampled, arrays.y, np.nan), arrays.X[:, measured]])
    psi = np.zeros((size, q + 1, q + 1))
    psi[:, 0, 0] = arrays.D
    psi[:, 1:, 1:] = errors.C[np.ix_(range(size), measured, measured)]
    psi[:, 0, 1:] = psi[:, 1:, 0] = errors.c[:, measured]
    return BlockAreas(y, X, psi)


def _coefficients(
    posterior: BlockMixture,
    measured: list[int],
    exact: list[int],
    values: Mapping[str, np.ndarray],
    names: list[str],
) -> Mixture:
    """Coefficients as the formula has them: those of the exact covariates are α = (α + M'β) - M'β."""
    K, q = len(posterior.nodes.phi), len(measured)
    p = q + len(exact)
    slopes = np.stack([values[f"slope[{name}]"] for name in names], axis=1)
    means, sds = np.empty((K, p)), np.zeros((K, p))
    means[:, measured] = slopes
    width = (posterior.at.beta.shape[1] - len(exact)) // q
    offset = width - len(exact)  # a mean of x that the outcome has not
    T = np.zeros((K, len(exact), posterior.at.beta.shape[1]))
    for i in range(len(exact)):
        T[:, i, i] = 1.0
        for j in range(q):
            T[:, i, len(exact) + j * width + offset + i] = -slopes[:, j]
    assert posterior.basis is not None
    beta, root = posterior.basis.natural(posterior.at.beta), posterior.basis.natural_root(posterior.at.root)
    means[:, exact] = np.einsum("kij,kj->ki", T, beta)
    sds[:, exact] = np.sqrt(((T @ root) ** 2).sum(axis=2))
    return Mixture(posterior.nodes.weights, means, sds)


def _coefficient_table(mixture: Mixture, level: float, columns: tuple[str, ...]) -> pd.DataFrame:
    mean, deviation = mixture.moments()
    at = (0.5 * (1 - level), 0.5, 0.5 * (1 + level))
    ends = [
        weighted_quantiles(centre, mixture.weights, at)  # slopes are hyperparameters themselves
        if not sd.any()
        else [Mixture(mixture.weights, centre[:, None], sd[:, None]).quantile(p)[0] for p in at]
        for centre, sd in zip(mixture.means.T, mixture.sds.T, strict=True)
    ]
    return credible_table(mean, deviation, np.array(ends).T, coefficient_index(columns))


def _residuals(
    arrays: AreaArrays, errors: ErrorArrays, coefficients: Mixture, weights: np.ndarray, sd: np.ndarray
) -> pd.DataFrame:
    """Residuals of y on the measured covariates at the mean coefficients b; variance σ² + D + b'Cb - 2b'c."""
    on = np.flatnonzero(arrays.sampled)
    b = weights @ coefficients.means
    fitted = arrays.X[on] @ b
    residual = arrays.y[on] - fitted
    noise = np.einsum("i,dij,j->d", b, errors.C[on], b) - 2.0 * errors.c[on] @ b
    total = np.maximum(weights @ sd**2 + arrays.D[on] + noise, 1e-12 * arrays.D[on])
    return residual_table(
        arrays.order[on], arrays.names[on], fitted, residual, residual / np.sqrt(total), np.nan
    )
