"""Bayesian Fay–Herriot with covariates measured with error: the structural model, as joined estimates.

The true covariates have a distribution of their own, x_d = M z_d + v_d with v_d ~ N(0, Σ), z_d being the
exact ones. Then (y_d, X_d) is a multivariate Fay–Herriot model whose effects (β'v_d + u_d, v_d) are
correlated by the slopes β. A flat prior on every x_d instead would give back the slopes of the naive
regression, too flat: with equal error variances β'Cβ and σ² are not told apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sae.area_level.arrays import AreaProblem
from sae.area_level.fay_herriot.bayes import check_proper, resolved_prior
from sae.area_level.fay_herriot.structured import warn_structured
from sae.area_level.measurement_error.errors import ErrorArrays
from sae.area_level.multivariate.bayes import check_weights, parameter_row
from sae.numerics.fay_herriot.mixture import Mixture
from sae.numerics.inference.priors import log_prior
from sae.numerics.multivariate.importance import NODES, BlockAreas, place_covariances
from sae.results import Result, posterior_joint, posterior_result
from sae.samplers.mixtures import BlockMixture, lkj_log_density, partial_correlations, weighted_quantiles

if TYPE_CHECKING:
    from sae.area_level.measurement_error.model import MeasurementErrorFayHerriot

__all__ = ["MeasuredModel", "fit_measured_bayes"]

_JOINT_DRAWS = 400
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
        root = np.exp(phi[:, q + 1 : 2 * q + 1, None]) * partial_correlations(phi[:, 2 * q + 1 :], q)
        return np.exp(phi[:, 0]), phi[:, 1 : q + 1] * self.unit, root @ np.swapaxes(root, 1, 2)

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
            found = {"sigma_u": sd}
            found |= {f"slope[{name}]": beta[:, j] for j, name in enumerate(names)}
            return found | {f"sigma_x[{name}]": np.sqrt(sigma[:, j, j]) for j, name in enumerate(names)}

        spread = np.nanstd(areas.y, axis=0)
        tail = [np.log(0.7 * spread[1:]), np.zeros(q * (q - 1) // 2)]
        starts = np.array([
            np.concatenate([[np.log(share * spread[0])], np.full(q, slope), *tail])
            for share in (0.1, 0.5) for slope in (-1.0, -0.3, 0.3, 1.0)
        ])  # fmt: skip
        found = place_covariances(areas, self.build, self.log_prior, starts, nodes=nodes)
        words = "sigma_u, slopes and the spread of the true covariates"
        return BlockMixture(areas, found, labels, read, words, (0,))


def fit_measured_bayes(
    spec: MeasurementErrorFayHerriot, problem: AreaProblem, errors: ErrorArrays, seed: int | None
) -> Result:
    """Integrate the structural model and wrap it up.

    Raises
    ------
    SaeInputError
        If a flat prior leaves the posterior improper.
    SaeConvergenceError
        If the importance weights cannot be trusted.
    """
    on, columns = problem.sampled, problem.design.columns
    names = [entry[0] for entry in spec.errors if len(entry) == 2]
    measured = [columns.index(name) for name in names]
    exact = [j for j in range(len(columns)) if j not in measured]
    prior = resolved_prior(spec.prior, problem.y[on])
    check_proper(prior, int(on.sum()), len(columns))
    x_priors = [resolved_prior(None, problem.X[j]) for j in measured]
    unit = np.array([np.std(problem.y[on], ddof=1) / np.std(problem.X[j], ddof=1) for j in measured])
    model = MeasuredModel(prior.code, tuple(own.code for own in x_priors), unit)
    areas = _joined(problem, errors, measured, exact)
    labels = [f"{label}\x1f{part}" for label in problem.labels for part in ("", *names)]
    posterior = model.posterior(areas, labels, names)
    check_weights(posterior.nodes)
    messages = warn_structured(problem, at_zero=False)
    texts = [f"sigma_u {prior.text}"]
    for name, own, scale in zip(names, x_priors, unit, strict=True):
        texts += [f"sigma_x[{name}] {own.text}", f"slope[{name}] normal(0, {_WIDE * scale:.3g})"]
    texts += ["correlations LKJ(1)"] if len(names) > 1 else []
    _, sd = posterior.moments()
    shared = posterior.shared(_JOINT_DRAWS)[0][:: len(names) + 1]
    values, weights = posterior.parameters(), posterior.nodes.weights
    coefficients = _coefficients(posterior, problem, measured, exact, values, names)
    variances = {name: value for name, value in values.items() if name.startswith("sigma")}
    covariance = np.einsum("k,krs->rs", weights, posterior.nodes.covariances)
    return posterior_result(
        spec, posterior, problem.rows.table,
        groups=problem.rows.groups,
        in_sample=problem.rows.sampled,
        prior="; ".join(texts),
        joint=posterior_joint(sd**2, shared),
        title="Fay–Herriot, structural measurement error (Bayes)",
        model=f"Fay–Herriot, structural measurement error, {spec.assumption}: {spec.formula}",
        run=problem.run_id(spec.to_toml(), seed),
        seed=seed,
        coefficients=_table(coefficients, spec.level, columns),
        variance_components=pd.Series(parameter_row(variances, weights, spec.level)),
        diagnostics=pd.DataFrame([{
            "areas": len(on), "sampled": int(on.sum()), "coefficients": len(columns),
            "r2_marginal": 1.0 - float(weights @ values["sigma_u"] ** 2) / float(
                covariance[0, 0] + np.var(areas.X[on, 0] @ (weights @ posterior.at.beta), ddof=1)
            ),
        }]),
        residuals=_residuals(problem, errors, coefficients, weights, values["sigma_u"]),
        areas=problem.rows.covariates,
        provenance={"warnings": messages, "direct": dict(problem.rows.provenance)},
    )  # fmt: skip


def _joined(problem: AreaProblem, errors: ErrorArrays, measured: list[int], exact: list[int]) -> BlockAreas:
    """Outcome and measured covariates side by side, each on the exact ones; a mean of x is always there."""
    q, size = len(measured), len(problem.y)
    z = problem.X[exact].T
    flat = len(exact) and np.linalg.lstsq(z, np.ones(size), rcond=None)[0]
    own = z if len(exact) and np.allclose(z @ flat, 1.0) else np.column_stack([np.ones(size), z])
    X = np.zeros((size, q + 1, z.shape[1] + q * own.shape[1]))
    X[:, 0, : z.shape[1]] = z
    for j in range(q):
        start = z.shape[1] + j * own.shape[1]
        X[:, j + 1, start : start + own.shape[1]] = own
    y = np.column_stack([np.where(problem.sampled, problem.y, np.nan), problem.X[measured].T])
    psi = np.zeros((size, q + 1, q + 1))
    psi[:, 0, 0] = problem.D
    psi[:, 1:, 1:] = errors.C[np.ix_(range(size), measured, measured)]
    psi[:, 0, 1:] = psi[:, 1:, 0] = errors.c[:, measured]
    return BlockAreas(y, X, psi)


def _coefficients(
    posterior: BlockMixture, problem: AreaProblem, measured: list[int], exact: list[int],
    values: Mapping[str, np.ndarray], names: list[str],
) -> Mixture:  # fmt: skip
    """Coefficients as the formula has them: those of the exact covariates are α = (α + M'β) - M'β."""
    K, q, p = len(posterior.nodes.phi), len(measured), len(problem.X)
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
    means[:, exact] = np.einsum("kij,kj->ki", T, posterior.at.beta)
    sds[:, exact] = np.sqrt(((T @ posterior.at.root) ** 2).sum(axis=2))
    return Mixture(posterior.nodes.weights, means, sds)


def _table(mixture: Mixture, level: float, terms: tuple[str, ...]) -> pd.DataFrame:
    coef, spread = mixture.moments()
    at = (0.5 * (1 - level), 0.5, 0.5 * (1 + level))
    low, median, high = np.array([
        weighted_quantiles(mean, mixture.weights, at)  # slopes are hyperparameters themselves
        if not sd.any() else [Mixture(mixture.weights, mean[:, None], sd[:, None]).quantile(p)[0] for p in at]
        for mean, sd in zip(mixture.means.T, mixture.sds.T, strict=True)
    ]).T  # fmt: skip
    return pd.DataFrame(
        {"coef": coef, "sd": spread, "low": low, "median": median, "high": high},
        index=pd.Index(terms, name="term"),
    )


def _residuals(
    problem: AreaProblem, errors: ErrorArrays, coefficients: Mixture, weights: np.ndarray, sd: np.ndarray
) -> pd.DataFrame:
    """Residuals of y on the measured covariates at the mean coefficients b; variance σ² + D + b'Cb - 2b'c."""
    on = np.flatnonzero(problem.sampled)
    b = weights @ coefficients.means
    fitted, residual = b @ problem.X[:, on], problem.y[on] - b @ problem.X[:, on]
    noise = np.einsum("i,dij,j->d", b, errors.C[on], b) - 2.0 * errors.c[on] @ b
    total = np.maximum(weights @ sd**2 + problem.D[on] + noise, 1e-12 * problem.D[on])
    return pd.DataFrame({
        "row": problem.order[on], "domain": problem.names[on], "fitted": fitted, "residual": residual,
        "standardised": residual / np.sqrt(total), "leverage": np.nan,
    }).set_index("row").sort_index()  # fmt: skip
