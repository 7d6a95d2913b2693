"""Bayesian Fay–Herriot models: the exact posterior, wrapped into the result that all fits return."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sae.area_level.arrays import AreaProblem
from sae.area_level.tables import coefficient_index, extrapolation
from sae.errors import SaeInputError, SaeSpecError
from sae.numerics.fay_herriot.mixture import area_mixture, shared_columns
from sae.numerics.fay_herriot.posterior import Areas
from sae.numerics.inference.joint_error import JointError
from sae.results import Result, compressed, parameter_columns, posterior_result
from sae.samplers.fay_herriot import FayHerriotPosterior
from sae.specs.priors import Prior, prior_of

if TYPE_CHECKING:
    from sae.area_level.fay_herriot.model import FayHerriot

__all__ = ["check_bayes", "check_proper", "fit_bayes", "resolved_prior"]


def check_bayes(spec: FayHerriot) -> None:
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
        f'back="{spec.back}"': spec.back != "unbiased",
        f'population="{spec.population}"': bool(spec.population),
    }
    for option, bad in refused.items():
        if bad:
            raise SaeSpecError(
                f'{option} has no meaning with method="bayes", which gives posterior means and variances on '
                "the reported scale.",
                hint=f"Leave {option.partition('=')[0]}= out.",
            )


def resolved_prior(prior: Prior | str | None, outcome: np.ndarray) -> Prior:
    """Return the prior with its scale: where it has none, the standard deviation of what is modelled.

    Parameters
    ----------
    prior : Prior, str or None
        As a specification has it.
    outcome : ndarray of float
        Direct estimates on the model's scale, of the fit's areas with a sample. Three digits of their
        standard deviation make the scale, so that the name of the prior says exactly what it is.

    Examples
    --------
    >>> resolved_prior(None, np.array([1.0, 2.0, 4.0])).text
    'half-normal(1.53)'
    """
    unit = float(np.std(outcome, ddof=1)) if len(outcome) > 1 else 1.0
    return prior_of(prior).scaled(float(f"{unit:.3g}"))


def check_proper(prior: Prior, sampled: int, coefficients: int, where: str = "") -> None:
    """Refuse an improper posterior by name: too few areas for a flat prior.

    Raises
    ------
    SaeInputError
    """
    if sampled >= coefficients + prior.spare:
        return
    raise SaeInputError(
        f"The posterior is improper{where}: the {prior.text} prior needs {coefficients + prior.spare} areas "
        f"with a direct estimate for {coefficients} coefficients; there are {sampled}.",
        hint='Use a proper prior, such as prior="half-normal", or fewer covariates.',
    )


def fit_bayes(spec: FayHerriot, problem: AreaProblem, seed: int | None) -> Result:
    """Integrate all fits at once and wrap them up."""
    rows, transform = problem.rows, spec._transform
    priors = [resolved_prior(spec.prior, problem.y[inside]) for inside in problem.inside]
    for k, (prior, inside) in enumerate(zip(priors, problem.inside, strict=True)):
        check_proper(prior, len(inside), len(problem.X), rows.where(k))
    areas = Areas.of(problem.y, problem.D, problem.X, problem.sampled, problem.offsets)
    in_order = np.argsort(problem.order, kind="stable")
    posterior = FayHerriotPosterior(
        areas, [prior.code for prior in priors], transform, problem.labels,
        [rows.where(k).removeprefix(" in ") for k in range(len(rows.fits))], in_order,
    )  # fmt: skip
    gammas = [_mean_weight(posterior, k) for k in range(len(priors))]
    _, sd = posterior.moments()
    texts = np.repeat([prior.text for prior in priors], np.diff(problem.offsets))
    messages = _warned(problem, posterior)
    return posterior_result(
        spec, posterior, rows.table,
        groups=rows.groups,
        in_sample=rows.sampled,
        prior=texts[in_order],
        joint=_joint(posterior, sd),
        title=f"Fay–Herriot ({', '.join(filter(None, (spec.transform, 'Bayes')))})",
        model=spec.words,
        run=problem.run_id(spec.to_toml(), seed),
        seed=seed,
        coefficients=_coefficient_table(problem, posterior, spec.level),
        variance_components=_variance_table(problem, posterior, spec.level),
        diagnostics=_diagnostics(problem, posterior, gammas),
        residuals=_residual_table(problem, posterior),
        areas=rows.covariates,
        gamma=np.concatenate(gammas)[in_order],
        bounds=transform.range,
        provenance={"warnings": messages, "direct": dict(rows.provenance)},
    )  # fmt: skip


def _mean_weight(posterior: FayHerriotPosterior, problem: int) -> np.ndarray:
    """Posterior mean of γ = σ² / (σ² + D) of every area of one fit."""
    place = posterior.nodes.of(problem)
    A, inside = posterior.nodes.sd[place, None] ** 2, posterior.areas.offsets[problem : problem + 2]
    return posterior.nodes.weights[place] @ (A / (A + posterior.areas.vardir[slice(*inside)]))


def _joint(posterior: FayHerriotPosterior, sd: np.ndarray) -> JointError:
    """Posterior covariance on the reported scale: on the model's, times the mean slope of the way back."""
    fits = range(len(posterior.priors))
    transform, order = posterior.transform, posterior.order
    factors = [compressed(shared_columns(posterior.nodes, posterior.areas, k)).T for k in fits]
    mixtures = [area_mixture(posterior.nodes, posterior.areas, k) for k in fits]
    variance = np.concatenate([mixture.moments()[1] ** 2 for mixture in mixtures])
    joint = JointError.of_fits(variance, factors)
    if transform.name == "identity":
        slope = np.ones_like(variance)
    else:
        slope = np.concatenate([
            mixture.weights @ transform.slope(mixture.means, mixture.sds**2) for mixture in mixtures
        ])  # fmt: skip
    return joint.reordered(order).scaled(slope[order], sd**2)


def _coefficient_table(problem: AreaProblem, posterior: FayHerriotPosterior, level: float) -> pd.DataFrame:
    found = posterior.coefficients(_ends(level))
    columns = {
        "coef": found.mean, "sd": found.sd,
        **dict(zip(("low", "median", "high"), found.quantiles, strict=True)),
    }  # fmt: skip
    return pd.DataFrame(
        {name: values.ravel() for name, values in columns.items()}, index=coefficient_index(problem)
    )


def _variance_table(
    problem: AreaProblem, posterior: FayHerriotPosterior, level: float
) -> pd.Series | pd.DataFrame:
    deviation = posterior.deviations(_ends(level))
    mean, sd = posterior.variances()
    columns = {
        **parameter_columns("sigma2_u", mean, sd, *deviation.quantiles**2),
        **parameter_columns("sigma_u", deviation.mean, deviation.sd, *deviation.quantiles),
    }
    frame = pd.DataFrame(columns, index=problem.index)
    return frame if problem.index is not None else frame.iloc[0].rename(None)


def _ends(level: float) -> tuple[float, float, float]:
    return 0.5 * (1.0 - level), 0.5, 0.5 * (1.0 + level)


def _diagnostics(
    problem: AreaProblem, posterior: FayHerriotPosterior, gammas: list[np.ndarray]
) -> pd.DataFrame:
    """One row per fit: sizes, share of the variance explained, median gamma, nodes and their error."""
    lines = []
    variances, _ = posterior.variances()
    for k, inside in enumerate(problem.inside):
        place = posterior.nodes.of(k)
        beta = posterior.nodes.weights[place] @ posterior.nodes.coefficients[place]
        explained = float(np.var(beta @ problem.X[:, inside], ddof=1))
        whole = explained + variances[k]
        lines.append({
            "areas": len(gammas[k]), "sampled": len(inside), "coefficients": len(problem.design.columns),
            "r2_marginal": explained / whole if whole > 0 else np.nan,
            "gamma_median": float(np.median(gammas[k][inside - problem.offsets[k]])),
            "nodes": place.stop - place.start, "quadrature_error": posterior.errors[k],
        })  # fmt: skip
    return pd.DataFrame(lines, index=problem.index)


def _residual_table(problem: AreaProblem, posterior: FayHerriotPosterior) -> pd.DataFrame:
    """Areas with a sample: residuals of the mean regression; their variance σ² + D - x'Qx averaged over σ."""
    frames = []
    for k, areas in enumerate(problem.inside):
        place = posterior.nodes.of(k)
        weights, X, D = posterior.nodes.weights[place], problem.X[:, areas], problem.D[areas]
        fitted = (weights @ posterior.nodes.coefficients[place]) @ X
        half = np.einsum("kqp,qm->kpm", posterior.nodes.roots[place], X)
        total = posterior.nodes.sd[place, None] ** 2 + D
        left = weights @ np.maximum(total - (half * half).sum(axis=1), 1e-12 * total)
        residual = problem.y[areas] - fitted
        frames.append(pd.DataFrame({
            "row": problem.order[areas], "domain": problem.names[areas], "fitted": fitted,
            "residual": residual, "standardised": residual / np.sqrt(left),
            "leverage": 1.0 - left / (weights @ total),
        }))  # fmt: skip
    return pd.concat(frames).set_index("row").sort_index()


def _warned(problem: AreaProblem, posterior: FayHerriotPosterior) -> list[str]:
    found = extrapolation(problem)
    for kind, text in found:
        warnings.warn(text, kind, stacklevel=4)
    messages = [text for _, text in found]
    endless = [problem.rows.where(int(k)) for k in np.flatnonzero(~posterior.nodes.finite)]
    if endless:
        messages.append(
            "There are so few areas that the posterior mean of the variance does not exist"
            f"{' (' + ','.join(endless).strip() + ')' if endless[0] else ''}: areas without a sample have no "
            "finite variance; their intervals are valid."
        )
    return messages
