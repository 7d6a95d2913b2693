"""Bayesian multivariate Fay–Herriot: exact given the covariance of the effects, on nodes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from sae.area_level.fay_herriot.bayes import check_proper, resolved_prior
from sae.area_level.multivariate.eblup import joint_error, run_id
from sae.area_level.multivariate.result import IntervalRule, MultivariateResult
from sae.area_level.multivariate.rows import ComponentRows
from sae.errors import SaeConvergenceError, SaeSpecError
from sae.numerics.inference.joint_error import JointError
from sae.numerics.inference.priors import log_prior
from sae.numerics.inference.psis import K_LIMIT
from sae.numerics.multivariate.importance import NODES, BlockAreas, CovarianceNodes, place_covariances
from sae.numerics.multivariate.posterior import BlockPosterior
from sae.results import PosteriorDraws, Result, compressed, parameter_columns, posterior_result
from sae.samplers.mixtures import BlockMixture, lkj_log_density, partial_correlations, weighted_quantiles
from sae.specs.priors import Prior, prior_of

if TYPE_CHECKING:
    from sae.area_level.multivariate.model import MultivariateFayHerriot

__all__ = ["check_multivariate_bayes", "check_weights", "effect_posterior", "fit_multivariate_bayes"]

_JOINT_DRAWS = 400  # from which covariances between areas are read: their error is 1 / √400 of a variance


@dataclass(frozen=True, eq=False)
class _BlockDraws(PosteriorDraws):
    """Draws with the centre and the joint error that contrasts of components need."""

    centre: np.ndarray = None  # type: ignore[assignment]
    error: JointError = None  # type: ignore[assignment]


@dataclass(frozen=True, eq=False, repr=False)
class _BayesianResult(MultivariateResult):
    """A multivariate result whose summary shows posteriors of the parameters."""

    def summary(self) -> str:
        """Return the fit on one screen, with the correlations of the effects."""
        shown = self.correlations.to_string(float_format="{:.4g}".format) if len(self.correlations) else ""
        return "\n\n".join(filter(None, (Result.summary(self), shown)))


def check_multivariate_bayes(spec: MultivariateFayHerriot) -> None:
    """Refuse a prior without Bayes, and with Bayes what only frequentist fits have."""
    if spec.method != "bayes":
        if spec.prior is not None:
            raise SaeSpecError(
                f'prior={spec.prior!r} has no meaning with method="{spec.method}".',
                hint='Use method="bayes".',
            )
        return
    prior_of(spec.prior)
    refused = {
        f'mse="{spec.mse}"': spec.mse != "auto",
        f'population="{spec.population}"': bool(spec.population),
        f"per={list(spec.per)}": bool(spec.per),
        f'structure="{spec.structure}"': spec.structure not in ("unstructured", "diagonal"),
    }
    for option, bad in refused.items():
        if bad:
            raise SaeSpecError(
                f'{option} has no meaning with method="bayes".',
                hint='It takes structure="unstructured" or "diagonal", one fit at a time.',
            )


def effect_posterior(
    areas: BlockAreas, priors: Sequence[tuple[int, float]], labels: Sequence[str], components: Sequence[str],
    *, correlated: bool = True, nodes: int = NODES,
) -> BlockMixture:  # fmt: skip
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
        root = np.exp(phi[:, :size, None]) * np.eye(size)
        if pairs:
            root = root @ partial_correlations(phi[:, size:], size)
        return root @ np.swapaxes(root, 1, 2)

    def density(phi: np.ndarray) -> np.ndarray:
        value = phi[:, :size].sum(axis=1) + (lkj_log_density(phi[:, size:], size) if pairs else 0.0)
        for r, prior in enumerate(priors):
            value = value + log_prior(prior, np.exp(phi[:, r]))
        return value

    def read(phi: np.ndarray) -> dict[str, np.ndarray]:
        V = build(phi)
        sd = np.sqrt(np.einsum("krr->kr", V))
        found = {f"sigma_u[{name}]": sd[:, r] for r, name in enumerate(components)}
        for i, j in pairs:
            found[f"rho[{components[i]}, {components[j]}]"] = V[:, i, j] / (sd[:, i] * sd[:, j])
        return found

    y = areas.y
    spread = np.array([np.nanstd(y[:, r]) or 1.0 for r in range(size)])
    starts = np.array([
        np.concatenate([np.log(share * spread), np.full(len(pairs), z)])
        for share in (0.1, 0.4, 0.9) for z in ((-0.5, 0.5) if pairs else (0.0,))
    ])  # fmt: skip
    words = "sigma_u and their correlations" if pairs else "sigma_u"
    return BlockMixture(
        areas,
        place_covariances(areas, build, density, starts, nodes=nodes),
        labels,
        read,
        words,
        tuple(range(size)),
    )


def check_weights(nodes: CovarianceNodes) -> None:
    """Refuse importance weights that cannot be trusted.

    Raises
    ------
    SaeConvergenceError
        If k-hat exceeds 0.7.
    """
    if nodes.k_hat > K_LIMIT:
        raise SaeConvergenceError(
            "The posterior of the hyperparameters was not found: Pareto k-hat of the importance weights is "
            f"{nodes.k_hat:.2f}, above {K_LIMIT}; effective nodes {nodes.ess:.0f}.",
            hint="Use a narrower prior, or fewer components or covariates.",
        )


def fit_multivariate_bayes(
    spec: MultivariateFayHerriot, rows: ComponentRows, X: np.ndarray, terms: list[tuple[str, str]],
    seed: int | None,
) -> MultivariateResult:  # fmt: skip
    """Integrate over the covariance of the effects and wrap it up; parameters as of `multivariate_fit.solve`.

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
        prior = resolved_prior(spec.prior, rows.direct[rows.sampled[:, r], r])
        own = sum(name == component for name, _ in terms)
        check_proper(prior, int(rows.sampled[:, r].sum()), own, f" in {component}")
        priors.append(prior)
    areas = BlockAreas(rows.direct, X, rows.psi)
    correlated = spec.structure == "unstructured" and size > 1
    posterior = effect_posterior(
        areas, [prior.code for prior in priors], rows.labels, names, correlated=correlated
    )
    check_weights(posterior.nodes)
    text = "; ".join(f"sigma_u[{name}] {prior.text}" for name, prior in zip(names, priors, strict=True))
    text += "; correlations LKJ(1)" if correlated else ""
    estimate, sd = posterior.moments()
    joint = _joint(posterior, sd)
    index = pd.Index(names, name="component")
    values, weights = posterior.parameters(), posterior.nodes.weights
    covariance = np.einsum("k,krs->rs", weights, posterior.nodes.covariances)
    explained, gamma = _explained(posterior, rows), _gamma(posterior)
    result = posterior_result(
        spec, posterior, rows.table,
        groups=rows.groups,
        in_sample=rows.sampled.ravel(),
        prior=text,
        joint=joint,
        title=f"Multivariate Fay–Herriot ({spec.effects}, Bayes)",
        model=spec.words,
        run=run_id(spec, rows, X, f"{seed}"),
        seed=seed,
        coefficients=coefficient_frame(
            posterior, spec.level, pd.MultiIndex.from_tuples(terms, names=["component", "term"])
        ),
        variance_components=pd.DataFrame(
            [parameter_row({"sigma_u": values[f"sigma_u[{name}]"]}, weights, spec.level) for name in names],
            index=index,
        ),
        diagnostics=pd.DataFrame({
            "areas": len(rows.direct), "sampled": rows.sampled.sum(axis=0),
            "coefficients": [sum(name == c for name, _ in terms) for c in names],
            "r2_marginal": explained / (explained + np.diag(covariance)),
            "gamma_median": [np.median(gamma[seen, r]) for r, seen in enumerate(rows.sampled.T)],
        }, index=index),
        residuals=_residuals(posterior, rows),
        areas=rows.covariates,
        gamma=gamma.ravel(),
        provenance={"direct": dict(rows.provenance)},
    )  # fmt: skip
    rule = IntervalRule(
        np.arange(len(rows.direct)), np.full(size, np.inf),
        BlockPosterior(posterior.nodes.covariances, weights, rows.direct, X, rows.psi),
        "credible, equal-tailed", text,
    )  # fmt: skip
    given: dict[str, Any] = {field.name: getattr(result, field.name) for field in fields(result)}
    given["source"] = _BlockDraws(posterior, centre=estimate, error=joint)
    return _BayesianResult(
        **given,
        effect_covariance=pd.DataFrame(covariance, index=index, columns=index),
        correlations=_correlations(values, weights, spec.level),
        rows=rows,
        rules=(rule,),
    )


def coefficient_frame(posterior: BlockMixture, level: float, index: pd.Index) -> pd.DataFrame:
    """Coefficients with posterior mean, deviation, median and interval."""
    mixture = posterior.coefficients()
    mean, sd = mixture.moments()
    low, median, high = (mixture.quantile(p) for p in (0.5 * (1 - level), 0.5, 0.5 * (1 + level)))
    return pd.DataFrame({"coef": mean, "sd": sd, "low": low, "median": median, "high": high}, index=index)


def parameter_row(values: Mapping[str, np.ndarray], weights: np.ndarray, level: float) -> dict[str, float]:
    """Posterior columns of parameters at weighted nodes; of standard deviations also of their squares."""
    found: dict[str, float] = {}
    squares = {f"sigma2{name[5:]}": value**2 for name, value in values.items() if name.startswith("sigma_")}
    for name, value in (squares | dict(values)).items():
        mean = float(weights @ value)
        sd = float(np.sqrt(weights @ (value - mean) ** 2))
        ends = weighted_quantiles(value, weights, (0.5 * (1 - level), 0.5, 0.5 * (1 + level)))
        found |= parameter_columns(name, mean, sd, *ends)  # type: ignore[arg-type]
    return found


def _joint(posterior: BlockMixture, sd: np.ndarray) -> JointError:
    """Posterior covariance of all rows: blocks within areas, and what all share; its diagonal is exact."""
    columns, alone = posterior.shared(_JOINT_DRAWS)
    columns = compressed(columns)
    own = np.maximum(sd**2 - (columns**2).sum(axis=1), 1e-12 * sd**2).reshape(alone.shape[:2])
    width = np.sqrt(np.maximum(np.einsum("drr->dr", alone), 1e-300))
    scale = np.sqrt(own) / width
    return joint_error(alone * scale[:, :, None] * scale[:, None, :], sparse.csr_array(columns))


def _gamma(posterior: BlockMixture) -> np.ndarray:
    """Posterior mean of the weight of its own direct estimate in each estimate, shape (D, R)."""
    _, _, psi, seen = posterior.areas.arrays
    both = seen[:, :, None] & seen[:, None, :]
    mean = np.zeros(seen.shape)
    for weight, V in zip(posterior.nodes.weights, posterior.nodes.covariances, strict=True):
        inverse = np.linalg.inv(np.where(both, V + psi, np.eye(len(V)))) * both
        mean += weight * np.einsum("rs,dsr->dr", V, inverse)
    return mean


def _fitted(posterior: BlockMixture) -> np.ndarray:
    return np.asarray(posterior.areas.X @ (posterior.nodes.weights @ posterior.at.beta))


def _explained(posterior: BlockMixture, rows: ComponentRows) -> np.ndarray:
    fitted = _fitted(posterior)
    return np.array([np.var(fitted[seen, r], ddof=1) for r, seen in enumerate(rows.sampled.T)])


def _residuals(posterior: BlockMixture, rows: ComponentRows) -> pd.DataFrame:
    """Residuals of the mean regression; their variance V + Ψ - x'Qx averaged over the nodes."""
    nodes, X = posterior.nodes, posterior.areas.X
    spread = np.einsum("k,kij,klj->il", nodes.weights, posterior.at.root, posterior.at.root)
    total = np.diag(np.einsum("k,krs->rs", nodes.weights, nodes.covariances)) + np.einsum("drr->dr", rows.psi)
    left = np.maximum(total - np.einsum("drp,pq,drq->dr", X, spread, X, optimize=True), 1e-12 * total)
    fitted, seen = _fitted(posterior), np.flatnonzero(rows.sampled.ravel())
    values = {
        "fitted": fitted, "residual": rows.direct - fitted,
        "standardised": (rows.direct - fitted) / np.sqrt(left), "leverage": 1.0 - left / total,
    }  # fmt: skip
    columns = {name: array.ravel()[seen] for name, array in values.items()}
    return pd.DataFrame({"domain": rows.names[seen], **columns}, index=pd.Index(seen, name="row"))


def _correlations(values: Mapping[str, np.ndarray], weights: np.ndarray, level: float) -> pd.DataFrame:
    """Correlations of the effects with posterior deviation, median and interval."""
    names = [name for name in values if name.startswith("rho[")]
    lines = [parameter_row({"correlation": values[name]}, weights, level) for name in names]
    frame = pd.DataFrame(lines, index=pd.Index([name[4:-1] for name in names], name="effects"), dtype=float)
    return frame.rename(columns=lambda name: name.removeprefix("correlation_"))
