"""Bayesian Fay–Herriot models with spatial and temporal effects: BYM2, Leroux, CAR, SAR; AR(1), RW1, RW2."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse.csgraph import connected_components

from sae.area_level.effects.options import AR1
from sae.area_level.effects.panel import Panel, build_panel
from sae.area_level.fay_herriot.bayes import check_proper, resolved_prior
from sae.area_level.fay_herriot.structured import warn_structured
from sae.area_level.rows import read_rows
from sae.errors import SaeInputError, name_some
from sae.numerics.random.streams import seed_of
from sae.numerics.spacetime.posterior import AreaField, area_field, prior_variance
from sae.numerics.spacetime.precision import independent, map_structure
from sae.results import Result, parameter_columns, posterior_joint, posterior_result
from sae.samplers.gaussian_field import GaussianField, gaussian_field
from sae.specs import split_formula
from sae.specs.priors import Prior

__all__ = ["fit_structured_bayes"]

_JOINT_DRAWS = 400  # from which the covariances between rows are read: their error is 1 / √400 of a variance


def fit_structured_bayes(
    spec: Any, data: Any, areas: pd.DataFrame | None, seed: int | np.random.Generator | None
) -> Result:
    """Fit a `FayHerriot` with method="bayes" and `spatial` or `temporal` effects; parameters as of `fit`.

    Estimates, deviations and intervals come from nodes of the hyperparameters, without random numbers; the
    covariances between areas, which serve `aggregate` and `benchmark`, from 400 joint draws.

    Raises
    ------
    SaeInputError
        If the posterior is improper, a random walk has too few periods, or the map and the areas do not
        match.
    """
    outcome, covariates = split_formula(spec.formula)
    per = (spec.temporal.column,) if spec.temporal else ()
    rows = read_rows(
        data, areas, outcome=outcome, domain=spec.domain, vardir=spec.vardir, n_eff=spec.n_eff, per=per
    )
    panel = build_panel(rows, data, covariates, spec.spatial, spec.temporal)
    prior = resolved_prior(spec.prior, panel.arrays.y[panel.rows.sampled])
    sampled_areas = len(np.unique(panel.area[panel.rows.sampled]))
    check_proper(prior, sampled_areas, len(panel.arrays.X))
    model = _model(spec, panel, prior)
    return _result(spec, panel, prior, gaussian_field(model), None if seed is None else seed_of(seed))


def _model(spec: Any, panel: Panel, prior: Prior) -> AreaField:
    """Lay the panel out as arrays with the structure of its effects."""
    if spec.spatial is None:
        structure = independent(len(panel.areas))
    else:
        structure = map_structure(spec.spatial.structure, spec.spatial.adjacency(panel.areas))
    temporal = None
    if spec.temporal is not None:
        walk = getattr(spec.temporal, "order", 0)
        periods = panel.problem.seen.shape[1]
        if walk >= periods:
            raise SaeInputError(
                f"{spec.temporal!r} needs at least {walk + 1} periods; "
                f"{spec.temporal.column!r} has {periods}.",
                hint="Use AR1, or leave temporal= out.",
                column=spec.temporal.column,
            )
        temporal = f"rw{walk}" if walk else "ar1"
        if isinstance(spec.temporal, AR1) and spec.temporal.rho is not None:
            temporal = "iid"
    y = np.where(panel.rows.sampled, panel.arrays.y, np.nan)
    return area_field(
        structure, y, panel.arrays.X.T, panel.problem.psi, panel.area, panel.period, temporal=temporal,
        priors=(prior.code,) * (2 if temporal else 1),
    )  # fmt: skip


def _result(spec: Any, panel: Panel, prior: Prior, posterior: GaussianField, seed: int | None) -> Result:
    rows, arrays, model = panel.rows, panel.arrays, posterior.field
    messages = [*warn_structured(arrays, False, panel.islands), *_endless(spec, panel)]
    words = " and ".join(name for name in ("spatial", "temporal") if getattr(spec, name) is not None)
    title = f"Fay–Herriot, {words} (Bayes)"
    estimate, sd = posterior.moments()
    within = posterior.weights @ posterior.at.sds**2
    gamma = np.where(rows.sampled, within / np.where(rows.sampled, arrays.D, 1.0), 0.0)
    # the same draws whether the fit has a seed or not: a covariance is part of the result, not of its draws
    values = posterior.draw(_JOINT_DRAWS, 0).values
    shared = (values - values.mean(axis=0)).T / np.sqrt(_JOINT_DRAWS - 1)
    beta, beta_cov = posterior.coefficients()
    residuals = _residuals(panel, posterior, beta, beta_cov)
    explained = float(np.var(residuals["fitted"], ddof=1))
    effect = float(posterior.weights @ prior_variance(model, posterior.phi).mean(axis=1))
    return posterior_result(
        spec, posterior, rows.table,
        groups=rows.groups,
        in_sample=rows.sampled,
        prior=_prior_text(model, prior),
        joint=posterior_joint(sd**2, shared),
        title=title,
        model=f"{title}: {spec.formula}",
        run=arrays.run_id(spec.to_toml(), seed),
        seed=seed,
        coefficients=_coefficients(arrays.design.columns, posterior, spec.level),
        variance_components=_components(posterior, spec.level),
        diagnostics=pd.DataFrame([{
            "areas": len(estimate), "sampled": int(rows.sampled.sum()), "coefficients": len(beta),
            "r2_marginal": explained / (explained + effect), "gamma_median":
            float(np.median(gamma[rows.sampled])), "islands": len(panel.islands),
        }]),
        residuals=residuals,
        areas=rows.covariates,
        gamma=gamma,
        provenance={"warnings": messages, "islands": tuple(panel.islands), "direct": dict(rows.provenance)},
    )  # fmt: skip


def _endless(spec: Any, panel: Panel) -> list[str]:
    """Name the parts of the map without a sample where ρ near its end leaves their level without a limit."""
    if spec.spatial is None or spec.spatial.structure in ("bym2", "icar"):
        return []
    _, part = connected_components(spec.spatial.adjacency(panel.areas), directed=False)
    seen = np.isin(part, part[panel.area[panel.rows.sampled]])
    if seen.all():
        return []
    areas = [panel.areas[k] for k in np.flatnonzero(~seen)]
    return [
        f"{len(areas)} areas lie on a part of the map without a sample: {name_some(areas)}. As ρ nears its "
        "end the level of the other parts, and so theirs, is known less and less: they have no finite "
        "variance; their intervals are valid."
    ]


def _prior_text(model: AreaField, prior: Prior) -> str:
    """Every prior by the name of its hyperparameter; coefficients are flat."""
    return "; ".join(
        f"{name} {prior.text}" if ends is None else f"{name} uniform({ends[0]:g}, {ends[1]:g})"
        for name, ends in model.bounds.items()
    )


def _coefficients(terms: tuple[str, ...], posterior: GaussianField, level: float) -> pd.DataFrame:
    mixture = posterior.coefficient_mixture
    mean, sd = mixture.moments()
    low, median, high = (mixture.quantile(p) for p in (0.5 * (1 - level), 0.5, 0.5 * (1 + level)))
    columns = {"coef": mean, "sd": sd, "low": low, "median": median, "high": high}
    return pd.DataFrame(columns, index=pd.Index(list(terms), name="term"))


def _components(posterior: GaussianField, level: float) -> pd.Series:
    """Variances, deviations and correlations with their posterior mean, deviation, median and interval."""
    values = posterior.field.natural(posterior.phi)
    squares = {f"sigma2_{name[-1]}": value**2 for name, value in values.items() if name.startswith("sigma_")}
    found: dict[str, Any] = {}
    for name, value in (squares | values).items():
        mean = float(posterior.weights @ value)
        sd = float(np.sqrt(posterior.weights @ (value - mean) ** 2))
        ends = _quantiles(value, posterior.weights, (0.5 * (1 - level), 0.5, 0.5 * (1 + level)))
        found |= parameter_columns(name, *map(np.asarray, (mean, sd, *ends)))
    return pd.Series(found, dtype=float)


def _quantiles(values: np.ndarray, weights: np.ndarray, at: tuple[float, ...]) -> np.ndarray:
    """Quantiles of weighted points, linear between the middles of their weights."""
    order = np.argsort(values)
    middle = np.cumsum(weights[order]) - 0.5 * weights[order]
    return np.interp(at, middle, values[order])


def _residuals(panel: Panel, posterior: GaussianField, beta: np.ndarray, cov: np.ndarray) -> pd.DataFrame:
    """Regression residuals of the sampled rows, each over its standard deviation; they are correlated."""
    rows, arrays = panel.rows, panel.arrays
    effects = posterior.weights @ prior_variance(posterior.field, posterior.phi)
    total = effects + np.where(rows.sampled, arrays.D, 0.0)
    taken = np.einsum("pm,pq,qm->m", arrays.X, cov, arrays.X)
    fitted = beta @ arrays.X
    residual = arrays.y - fitted
    frame = pd.DataFrame({
        "domain": rows.names, "fitted": fitted, "residual": residual,
        "standardised": residual / np.sqrt(np.maximum(total - taken, 1e-12 * total)), "leverage": taken /
        total,
    })  # fmt: skip
    return frame[rows.sampled].rename_axis("row")
