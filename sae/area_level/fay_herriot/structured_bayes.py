"""Bayesian Fay–Herriot models with spatial and temporal effects: BYM2, Leroux, CAR, SAR; AR(1), RW1, RW2."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.sparse.csgraph import connected_components

from sae.area_level.effects.panel import Panel
from sae.area_level.effects.spatial import SpatialEffect
from sae.area_level.effects.temporal import AR1, TemporalEffect
from sae.area_level.priors import check_proper, resolved_prior
from sae.errors import SaeInputError, name_some
from sae.numerics.inference.joint_error import JointError
from sae.numerics.spacetime.area_field import AreaField, area_field
from sae.numerics.spacetime.posterior import prior_variance
from sae.numerics.spacetime.precision import independent, map_structure
from sae.results import (
    FitTables,
    Message,
    PosteriorFit,
    coefficient_index,
    credible_table,
    parameter_row,
    posterior_joint,
)
from sae.samplers.gaussian_field import JOINT_DRAWS, JOINT_ROWS, GaussianField, gaussian_field
from sae.specs.priors import Prior

__all__ = ["field_of", "fit_structured_bayes"]


def fit_structured_bayes(
    panel: Panel,
    spatial: SpatialEffect | None,
    temporal: TemporalEffect | None,
    *,
    prior: Prior | str | None,
    level: float,
) -> PosteriorFit:
    """Integrate the posterior of a panel with spatial or temporal effects.

    Estimates, deviations, intervals and the covariances between areas come from nodes of the hyperparameters,
    without random numbers.

    Parameters
    ----------
    panel : Panel
    spatial, temporal : component or None
        At least one of them.
    prior : Prior, str or None
        Of the standard deviations, as a specification has it.
    level : float
        Of the intervals.

    Raises
    ------
    SaeInputError
        If the posterior is improper, a random walk has too few periods, or the map and the areas do not
        match.
    """
    rows, arrays = panel.rows, panel.arrays
    resolved = resolved_prior(prior, arrays.y[rows.sampled])
    check_proper(resolved, len(np.unique(panel.area[rows.sampled])), arrays.X.shape[1])
    posterior = gaussian_field(field_of(panel, spatial, temporal, resolved.code))
    _, sd = posterior.moments()
    within = posterior.weights @ posterior.at.sds**2
    gamma = np.where(rows.sampled, within / np.where(rows.sampled, arrays.D, 1.0), 0.0)
    return PosteriorFit(
        posterior,
        JointError.later(lambda: posterior_joint(sd**2, posterior.shared())),
        _prior_text(posterior.field, resolved),
        _tables(panel, posterior, gamma, level),
        gamma,
        messages=(*panel.messages(), *_endless(panel, spatial), *_drawn_joint(len(sd))),
        more={"islands": tuple(panel.islands)},
    )


def field_of(
    panel: Panel,
    spatial: SpatialEffect | None,
    temporal: TemporalEffect | None,
    prior: tuple[int, float],
) -> AreaField:
    """Lay the panel out as arrays with the structure of its effects; `prior` is of every deviation."""
    if spatial is None or panel.adjacency is None:
        structure = independent(len(panel.areas))
    else:
        structure = map_structure(spatial.structure, panel.adjacency)
    name = None
    if temporal is not None:
        periods = panel.problem.seen.shape[1]
        if temporal.order >= periods:
            raise SaeInputError(
                f"{temporal!r} needs at least {temporal.order + 1} periods; "
                f"{temporal.column!r} has {periods}.",
                hint="Use AR1, or leave temporal= out.",
                column=temporal.column,
            )
        name = f"rw{temporal.order}" if temporal.order else "ar1"
        if isinstance(temporal, AR1) and temporal.rho is not None:
            name = "iid"
    return area_field(
        structure,
        np.where(panel.rows.sampled, panel.arrays.y, np.nan),
        panel.arrays.X,
        panel.problem.psi,
        panel.area,
        panel.period,
        temporal=name,
        priors=(prior,) * (2 if temporal else 1),
    )


def _tables(panel: Panel, posterior: GaussianField, gamma: np.ndarray, level: float) -> FitTables:
    sampled = panel.rows.sampled
    effects = posterior.weights @ prior_variance(posterior.field, posterior.phi)
    residuals = _residuals(panel, posterior, effects)
    explained, effect = float(np.var(residuals["fitted"], ddof=1)), float(effects.mean())
    diagnostics = {
        "areas": len(sampled),
        "sampled": int(sampled.sum()),
        "coefficients": posterior.field.n_coefficients,
        "r2_marginal": explained / (explained + effect),
        "gamma_median": float(np.median(gamma[sampled])),
        "islands": len(panel.islands),
    }
    mixture, values = posterior.coefficient_mixture, posterior.field.natural(posterior.phi)
    mean, sd = mixture.moments()
    ends = np.array([mixture.quantile(p) for p in (0.5 * (1 - level), 0.5, 0.5 * (1 + level))])
    return FitTables(
        credible_table(mean, sd, ends, coefficient_index(panel.arrays.design.columns)),
        pd.Series(parameter_row(values, posterior.weights, level), dtype=float),
        pd.DataFrame([diagnostics]),
        residuals,
    )


def _endless(panel: Panel, spatial: SpatialEffect | None) -> list[Message]:
    """Name the parts of the map without a sample where ρ near its end leaves their level without a limit."""
    if spatial is None or spatial.structure in ("bym2", "icar"):
        return []
    _, part = connected_components(panel.adjacency, directed=False)
    seen = np.isin(part, part[panel.area[panel.rows.sampled]])
    if seen.all():
        return []
    areas = [panel.areas[k] for k in np.flatnonzero(~seen)]
    text = (
        f"{len(areas)} areas lie on a part of the map without a sample: {name_some(areas)}. As ρ nears its "
        "end the level of the other parts, and so theirs, is known less and less: they have no finite "
        "variance; their intervals are valid."
    )
    return [Message(text)]


def _drawn_joint(n_rows: int) -> list[Message]:
    """Say that covariances are drawn where there are too many rows to compute them."""
    if n_rows <= JOINT_ROWS:
        return []
    text = (
        f"There are more than {JOINT_ROWS} rows: the covariances between them, and with them the errors of "
        f"aggregates, come from {JOINT_DRAWS} draws of the posterior."
    )
    return [Message(text)]


def _prior_text(model: AreaField, prior: Prior) -> str:
    """Every prior by the name of its hyperparameter; coefficients are flat."""
    return "; ".join(
        f"{name} {prior.text}" if ends is None else f"{name} uniform({ends[0]:g}, {ends[1]:g})"
        for name, ends in model.bounds.items()
    )


def _residuals(panel: Panel, posterior: GaussianField, effects: np.ndarray) -> pd.DataFrame:
    """Regression residuals of the sampled rows, each over its standard deviation; they are correlated."""
    weights, at, basis = posterior.weights, posterior.at, posterior.field.basis
    roots = basis.root(at.beta_root)
    off = basis.root((at.beta - weights @ at.beta)[..., None])
    roots = np.sqrt(weights)[:, None, None] * np.concatenate([roots, off], axis=2)
    cov = np.einsum("kij,klj->il", roots, roots)
    return panel.residuals(panel.arrays.X @ (weights @ at.beta), effects, cov)
