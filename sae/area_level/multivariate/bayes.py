"""Bayesian multivariate Fay–Herriot: exact given the covariance of the effects, on nodes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import sparse

from sae.area_level.multivariate.eblup import joint_error
from sae.area_level.multivariate.result import IntervalRule
from sae.area_level.multivariate.rows import ComponentRows
from sae.area_level.multivariate.tables import component_index, messages_of, residuals_of
from sae.area_level.priors import check_proper, resolved_prior
from sae.numerics.inference.joint_error import JointError
from sae.numerics.inference.priors import log_prior
from sae.numerics.multivariate.areas import BlockAreas, block_basis
from sae.numerics.multivariate.covariances import effect_covariances, lkj_log_density
from sae.numerics.multivariate.importance import NODES, BlockPosterior, place_covariances
from sae.results import FitTables, IntervalKind, PosteriorFit, compressed, credible_table, parameter_row
from sae.samplers.mixtures import BlockMixture, check_weights
from sae.specs.priors import Prior

__all__ = ["MultivariatePosterior", "effect_posterior", "fit_multivariate_bayes"]

_NUMBERS = 1_000_000  # in memory at once


@dataclass(frozen=True, slots=True, eq=False)
class MultivariatePosterior:
    """What a multivariate posterior gives.

    Attributes
    ----------
    fit : PosteriorFit
        One row per area and component.
    effect_covariance, correlations : DataFrame
        As of `MultivariateResult`.
    rules : tuple of IntervalRule
        That of contrasts.
    """

    fit: PosteriorFit
    effect_covariance: pd.DataFrame
    correlations: pd.DataFrame
    rules: tuple[IntervalRule, ...]


def effect_posterior(
    areas: BlockAreas,
    priors: Sequence[tuple[int, float]],
    labels: Sequence[str],
    components: Sequence[str],
    *,
    correlated: bool = True,
    nodes: int = NODES,
) -> BlockMixture:
    """Return the posterior under named priors of the effects' standard deviations, correlations LKJ(1).

    Parameters
    ----------
    areas : BlockAreas
    priors : sequence of (code, scale), length R
        See `hyperprior.log_prior`.
    labels : sequence of str, length D R
    components : sequence of str, length R
    correlated : bool
        Whether effects of different components may be correlated.
    nodes : int
        Of the covariance; a power of two.
    """
    size = len(components)
    pairs = list(combinations(range(size), 2)) if correlated else []

    def build(phi: np.ndarray) -> np.ndarray:
        return effect_covariances(phi[:, :size], phi[:, size:])

    def density(phi: np.ndarray) -> np.ndarray:
        value = phi[:, :size].sum(axis=1) + (lkj_log_density(phi[:, size:], size) if pairs else 0.0)
        for r, prior in enumerate(priors):
            value = value + log_prior(prior, np.exp(phi[:, r]))
        return value

    def read(phi: np.ndarray) -> dict[str, np.ndarray]:
        V = build(phi)
        sd = np.sqrt(np.einsum("krr->kr", V))
        values = {f"sigma_u[{name}]": sd[:, r] for r, name in enumerate(components)}
        for i, j in pairs:
            values[f"rho[{components[i]}, {components[j]}]"] = V[:, i, j] / (sd[:, i] * sd[:, j])
        return values

    y = areas.y
    basis = block_basis(y, areas.X)
    areas = replace(areas, X=basis.of(areas.X))
    scale = np.array([np.nanstd(y[:, r]) or 1.0 for r in range(size)])
    starts = np.array(
        [
            np.concatenate([np.log(share * scale), np.full(len(pairs), z)])
            for share in (0.1, 0.4, 0.9)
            for z in ((-0.5, 0.5) if pairs else (0.0,))
        ]
    )
    description = "sigma_u and their correlations" if pairs else "sigma_u"
    return BlockMixture(
        areas,
        place_covariances(areas, build, density, starts, nodes=nodes),
        labels,
        read,
        description,
        tuple(range(size)),
        basis,
    )


def fit_multivariate_bayes(
    rows: ComponentRows,
    X: np.ndarray,
    terms: list[tuple[str, str]],
    *,
    structure: str,
    prior: Prior | str | None,
    level: float,
) -> MultivariatePosterior:
    """Integrate over the covariance of the effects.

    Parameters
    ----------
    rows, X, terms
        As of `fit_multivariate`.
    structure : {"unstructured", "diagonal"}
    prior : Prior, str or None
        Of the standard deviations, as a specification has it.
    level : float
        Of the intervals.

    Raises
    ------
    SaeInputError
        If a flat prior leaves the posterior improper.
    SaeConvergenceError
        If the importance weights cannot be trusted.
    """
    size, names = len(rows.components), rows.components
    priors: list[Prior] = []
    for r, component in enumerate(names):
        own = resolved_prior(prior, rows.direct[rows.sampled[:, r], r])
        columns = sum(name == component for name, _ in terms)
        check_proper(own, int(rows.sampled[:, r].sum()), columns, f" in {component}")
        priors.append(own)
    correlated = structure == "unstructured" and size > 1
    posterior = effect_posterior(
        BlockAreas(rows.direct, X, rows.psi),
        [own.code for own in priors],
        rows.labels,
        names,
        correlated=correlated,
    )
    check_weights(posterior.nodes)
    text = "; ".join(f"sigma_u[{name}] {own.text}" for name, own in zip(names, priors, strict=True))
    text += "; correlations LKJ(1)" if correlated else ""
    _, sd = posterior.moments()
    index = pd.Index(names, name="component")
    values, weights = posterior.parameters(), posterior.nodes.weights
    covariance = np.einsum("k,krs->rs", weights, posterior.nodes.covariances)
    explained, gamma = _explained(posterior, rows), _gamma(posterior)
    diagnostics = {
        "areas": len(rows.direct),
        "sampled": rows.sampled.sum(axis=0),
        "coefficients": [sum(name == c for name, _ in terms) for c in names],
        "r2_marginal": explained / (explained + np.diag(covariance)),
        "gamma_median": [np.median(gamma[on, r]) for r, on in enumerate(rows.sampled.T)],
    }
    tables = FitTables(
        _coefficients(posterior, level, terms),
        pd.DataFrame(
            [parameter_row({"sigma_u": values[f"sigma_u[{name}]"]}, weights, level) for name in names],
            index=index,
        ),
        pd.DataFrame(diagnostics, index=index),
        _residuals(posterior, rows),
    )
    fit = PosteriorFit(
        posterior,
        _joint(posterior, sd),
        text,
        tables,
        gamma.ravel(),
        messages=tuple(messages_of(rows, X, terms)),
    )
    rule = IntervalRule(
        np.arange(len(rows.direct)),
        np.full(size, np.inf),
        IntervalKind.CREDIBLE,
        text,
        BlockPosterior(posterior.areas, posterior.nodes),
    )
    effects = pd.DataFrame(covariance, index=index, columns=index)
    return MultivariatePosterior(fit, effects, _correlations(values, weights, level), (rule,))


def _coefficients(posterior: BlockMixture, level: float, terms: list[tuple[str, str]]) -> pd.DataFrame:
    mixture = posterior.coefficients()
    mean, sd = mixture.moments()
    ends = np.array([mixture.quantile(p) for p in (0.5 * (1 - level), 0.5, 0.5 * (1 + level))])
    return credible_table(mean, sd, ends, component_index(terms))


def _joint(posterior: BlockMixture, sd: np.ndarray) -> JointError:
    """Posterior covariance of all rows: blocks within areas, and what all share; its diagonal is exact."""
    columns, alone = posterior.shared()
    columns = compressed(columns)
    own = np.maximum(sd**2 - (columns**2).sum(axis=1), 1e-12 * sd**2).reshape(alone.shape[:2])
    width = np.sqrt(np.maximum(np.einsum("drr->dr", alone), 1e-300))
    scale = np.sqrt(own) / width
    return joint_error(alone * scale[:, :, None] * scale[:, None, :], sparse.csr_array(columns))


def _gamma(posterior: BlockMixture) -> np.ndarray:
    """Posterior mean of the weight of its own direct estimate in each estimate, shape (D, R)."""
    mean, nodes = np.zeros(posterior.areas.y.shape), posterior.nodes
    step = max(1, _NUMBERS // posterior.areas.psi.size)
    for start in range(0, len(nodes.weights), step):
        some = slice(start, start + step)
        V = nodes.covariances[some]
        weighted = nodes.weights[some, None, None] * V
        mean += np.einsum("kdrs,krs->dr", posterior.areas.inverse(V), weighted, optimize=True)
    return mean


def _fitted(posterior: BlockMixture) -> np.ndarray:
    return np.asarray(posterior.areas.X @ (posterior.nodes.weights @ posterior.at.beta))


def _explained(posterior: BlockMixture, rows: ComponentRows) -> np.ndarray:
    fitted = _fitted(posterior)
    return np.array([np.var(fitted[on, r], ddof=1) for r, on in enumerate(rows.sampled.T)])


def _residuals(posterior: BlockMixture, rows: ComponentRows) -> pd.DataFrame:
    """Residuals of the mean regression; their variance V + Ψ - x'Qx averaged over the nodes."""
    nodes, X = posterior.nodes, posterior.areas.X
    cov = np.einsum("k,kij,klj->il", nodes.weights, posterior.at.root, posterior.at.root)
    total = np.diag(np.einsum("k,krs->rs", nodes.weights, nodes.covariances)) + np.einsum("drr->dr", rows.psi)
    left = total - np.einsum("drp,pq,drq->dr", X, cov, X, optimize=True)
    return residuals_of(rows, _fitted(posterior), left, total)


def _correlations(values: Mapping[str, np.ndarray], weights: np.ndarray, level: float) -> pd.DataFrame:
    """Correlations of the effects with posterior deviation, median and interval."""
    names = [name for name in values if name.startswith("rho[")]
    lines = [parameter_row({"correlation": values[name]}, weights, level) for name in names]
    frame = pd.DataFrame(lines, index=pd.Index([name[4:-1] for name in names], name="effects"), dtype=float)
    return frame.rename(columns=lambda name: name.removeprefix("correlation_"))
