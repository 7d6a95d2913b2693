"""Robust EBLUPs: independent area effects, and effects over a map or time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from scipy import sparse

from sae.area_level.arrays import AreaArrays, refuse_unit
from sae.area_level.effects.options import free_parameters
from sae.area_level.effects.panel import Panel
from sae.area_level.effects.spatial import SAR
from sae.area_level.effects.temporal import AR1
from sae.area_level.fay_herriot.structured import residuals_of
from sae.area_level.fay_herriot.structured_bayes import field_of
from sae.errors import SaeConvergenceError, name_some
from sae.numerics.inference.joint_error import JointError
from sae.numerics.inference.transforms import TRANSFORMS
from sae.numerics.linalg.basis import orthonormal_basis
from sae.numerics.robust.bootstrap import bootstrap_robust, bootstrap_robust_spacetime
from sae.numerics.robust.fit import RobustFit, fit_robust, reblup, variance_of_variance
from sae.numerics.robust.mse import pseudo_joint, synthetic_share
from sae.numerics.robust.spacetime import RobustSpaceTimeFit, fit_robust_spacetime
from sae.numerics.robust.spacetime_mse import own_weight, pseudo_root
from sae.numerics.spacetime.likelihood import PARAMETERS
from sae.results import (
    Eblup,
    FitTables,
    Interval,
    Message,
    NormalDraws,
    boundary_all,
    coefficient_index,
    coefficient_table,
    explained_share,
    field_intervals,
    posterior_intervals,
    residual_table,
    same_source,
)

__all__ = ["RobustOptions", "fit_areas", "fit_panel"]

OUTLYING = 3.0  # standard deviations off the regression: farther areas are named, and clipped for intervals


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustOptions:
    """How a robust model is fitted.

    Attributes
    ----------
    k, c : float
        Tuning constants of Huber's ψ and of the bias correction.
    corrected : bool
        Whether the predictor is the bias-corrected one.
    bootstrap : bool
        Whether the MSE is that of the parametric bootstrap; else it is pseudo-linear.
    mse_name : str
        As it stands in the estimate table.
    level : float
        Of the intervals.
    replicates : int
    seed : int or None
        Of the bootstrap.
    """

    k: float
    c: float
    corrected: bool
    bootstrap: bool
    mse_name: str
    level: float
    replicates: int | None
    seed: int | None


@dataclass(frozen=True, eq=False, kw_only=True)
class _Solved:
    """What both forms of the model hand over, by row of the table."""

    estimate: np.ndarray
    gamma: np.ndarray
    joint: JointError
    streams: tuple[str, ...]
    beta: np.ndarray
    beta_cov: np.ndarray
    components: dict[str, float]
    residuals: pd.DataFrame
    solutions: int
    mse_name: str
    notes: list[Message] = field(default_factory=list)

    @property
    def variances(self) -> list[float]:
        """The model variances."""
        return [value for name, value in self.components.items() if name in ("sigma2_u", "sigma2_v")]


def fit_areas(arrays: AreaArrays, options: RobustOptions) -> Eblup:
    """Fit the model of independent area effects.

    Raises
    ------
    SaeConvergenceError
        If the robust equations have no solution that could be found.
    """
    on, D = arrays.sampled, arrays.D
    basis = orthonormal_basis(arrays.X[on], arrays.y[on])
    level, X = arrays.X @ basis.fitted, basis.of(arrays.X)
    y = arrays.y - level
    fit = fit_robust(y[on], D[on], X[on], options.k)
    _check(fit.status, fit.residual)
    predictor = int(options.corrected)
    estimate, share = X @ fit.beta, np.ones(len(X))
    share[on] = synthetic_share(fit, y[on], D[on], X[on], options.c)[predictor]
    estimate[on] = reblup(y[on], D[on], estimate[on], fit.variance, options.k, options.c)[predictor]
    if options.bootstrap and options.seed is not None:
        tally, errors = bootstrap_robust(
            fit,
            D,
            X,
            on,
            arrays.rows.labels,
            replicates=options.replicates,
            seed=options.seed,
            c=options.c,
            corrected=options.corrected,
        )
        joint, streams = _joint_of_errors(errors, tally.mean)
        mse_name = f"parametric bootstrap, {tally.text}"
    else:
        mse_name = options.mse_name
        joint, streams = pseudo_joint(fit, share, D, X, on), arrays.coefficient_labels
    components = {
        "sigma2_u": fit.variance,
        "sigma2_u_se": float(np.sqrt(variance_of_variance(fit.variance, D[on], options.k))),
    }
    solved = _Solved(
        estimate=estimate + level,
        gamma=1.0 - share,
        joint=joint,
        streams=streams,
        beta=basis.natural(fit.beta),
        beta_cov=basis.natural_covariance(fit.beta_cov),
        components=components,
        residuals=_residuals(replace(arrays, y=y, X=X), fit, level[on]),
        solutions=fit.solutions,
        mse_name=mse_name,
    )
    X_rows = np.ascontiguousarray(arrays.X.T)

    def intervals(clipped: np.ndarray) -> Interval:
        return posterior_intervals(clipped, D, X_rows, on, options.level)

    return _eblup(arrays, solved, options, [], intervals)


def fit_panel(panel: Panel, spatial: SAR | None, temporal: AR1 | None, options: RobustOptions) -> Eblup:
    """Fit a model with spatial or temporal effects.

    Raises
    ------
    SaeConvergenceError
        If the robust equations have no solution that could be found.
    """
    refuse_unit(panel.arrays)
    free = free_parameters(spatial, temporal)
    problem, corrected = panel.problem, options.corrected
    fit = fit_robust_spacetime(problem, free, k=options.k, c=options.c)
    _check(fit.status, max(fit.residual, fit.effect_residual))
    components = {name: float(fit.parameters[PARAMETERS.index(name)]) for name in free}
    notes = []
    if options.bootstrap and options.seed is not None:
        tally, errors, unfinished = bootstrap_robust_spacetime(
            problem,
            fit,
            free,
            areas=panel.areas,
            cells=panel.cells,
            replicates=options.replicates,
            seed=options.seed,
            corrected=corrected,
        )
        joint, streams = _joint_of_errors(panel.of_rows(errors), panel.of_rows(tally.mean))
        mse_name = f"parametric bootstrap, {tally.text}"
        if unfinished:
            text = f"{unfinished} of {tally.count} bootstrap replicates ended near no solution; they count."
            notes.append(Message(text))
    else:
        mse_name = options.mse_name
        joint, streams = _pseudo_panel(panel, fit, corrected)
    solved = _Solved(
        estimate=panel.estimates(fit.reblupbc if corrected else fit.reblup),
        gamma=panel.of_rows(own_weight(problem, fit, corrected=corrected)),
        joint=joint,
        streams=streams,
        beta=panel.basis.natural(fit.beta),
        beta_cov=panel.basis.natural_covariance(fit.beta_cov),
        components=components,
        residuals=residuals_of(panel, fit.parameters, fit.beta_cov, panel.fitted(fit.beta)),
        solutions=len(fit.solutions),
        mse_name=mse_name,
        notes=[*panel.gaps, *notes],
    )
    arrays = panel.arrays

    def intervals(y: np.ndarray) -> Interval:
        clipped = replace(panel, arrays=replace(arrays, y=y))
        return field_intervals(
            lambda prior: field_of(clipped, spatial, temporal, prior),
            arrays.X,
            panel.area,
            arrays.sampled,
            options.level,
        )

    return _eblup(arrays, solved, options, panel.islands, intervals)


def _check(status: str, residual: float) -> None:
    if status == "not converged":
        raise SaeConvergenceError(
            "The robust equations have no solution that could be found: they are off by "
            f"{residual:.1g} at the best point.",
            hint="Take a larger k, or FayHerriot; see whether a few areas differ from all others.",
        )


def _joint_of_errors(errors: np.ndarray, mse: np.ndarray) -> tuple[JointError, tuple[str, ...]]:
    drawn = (errors**2).mean(axis=0)
    scale = np.sqrt(mse / np.where(drawn > 0.0, drawn, 1.0))
    root = sparse.csr_array((errors * scale / np.sqrt(len(errors))).T)
    streams = tuple(f"replicate {b}" for b in range(len(errors)))
    return JointError.of_root(root, mse), streams


def _pseudo_panel(
    panel: Panel, fit: RobustSpaceTimeFit, corrected: bool
) -> tuple[JointError, tuple[str, ...]]:
    place = panel.area * panel.problem.seen.shape[1] + panel.period
    root = pseudo_root(panel.problem, fit, corrected=corrected)[place]
    cells, sampled = panel.cells, panel.problem.seen.ravel()
    streams = (
        *(f"effect\x1f{name}" for name in panel.areas if fit.parameters[0] > 0),
        *(f"period\x1f{name}" for name in cells if fit.parameters[2] > 0),
        *(f"error\x1f{name}" for name, there in zip(cells, sampled, strict=True) if there),
    )
    return JointError.of_root(sparse.csr_array(root), (root**2).sum(axis=1)), streams


def _residuals(arrays: AreaArrays, fit: RobustFit, level: np.ndarray) -> pd.DataFrame:
    """Residuals of the robust regression, each over its standard deviation at the robust estimates.

    Parameters
    ----------
    arrays : AreaArrays
        In the coordinates of the fit.
    fit : RobustFit
    level : ndarray, shape (n,)
        What was taken out of the outcome of the sampled areas.
    """
    on = arrays.sampled
    X, D, P = arrays.X[on], arrays.D[on], fit.projection
    total, own = fit.variance + D, np.einsum("dp,pd->d", X, P)
    variance = total * (1.0 - 2.0 * own) + np.einsum("dp,pq,dq->d", X, (P * total) @ P.T, X)
    fitted = X @ fit.beta
    residual = arrays.y[on] - fitted
    standardised = residual / np.sqrt(np.maximum(variance, 1e-12 * total))
    return residual_table(arrays.order[on], arrays.names[on], fitted + level, residual, standardised, own)


def _interval(arrays: AreaArrays, solved: _Solved, intervals: Callable[[np.ndarray], Interval]) -> Interval:
    """Quantiles of the posterior with normal effects, outlying areas clipped; they hold the robust estimate.

    The pseudo-linear MSE takes variances and weights as known, and quantiles on it, or of bootstrap errors
    drawn at the estimated variance, are short where nothing is outlying (89 % at 30 areas).
    """
    rest = solved.residuals
    shrink = np.minimum(1.0, OUTLYING / np.maximum(rest["standardised"].abs(), OUTLYING))
    on = arrays.sampled
    y = arrays.y.copy()
    y[on] = (rest["fitted"] + shrink * rest["residual"]).loc[arrays.order[on]].to_numpy()
    ends = intervals(y)
    low, high = np.minimum(ends.low, solved.estimate), np.maximum(ends.high, solved.estimate)
    return replace(ends, low=low, high=high).detailed(f"residuals within {OUTLYING:g} sd")


def _eblup(
    arrays: AreaArrays,
    solved: _Solved,
    options: RobustOptions,
    islands: list[str],
    intervals: Callable[[np.ndarray], Interval],
) -> Eblup:
    sampled, mse = arrays.rows.sampled, solved.joint.mse()
    far = solved.residuals["domain"][solved.residuals["standardised"].abs() > OUTLYING]
    messages = [] if any(solved.variances) else [boundary_all()]
    messages += arrays.messages()
    if islands:
        messages.append(Message(f"{len(islands)} areas have no neighbour: {name_some(islands)}."))
    if len(far):
        text = f"{len(far)} rows more than {OUTLYING:g} sd off the regression: {name_some(far)}."
        messages.append(Message(text))
    explained = float(np.var((arrays.X @ solved.beta)[sampled], ddof=1))
    diagnostics = {
        "areas": len(mse),
        "sampled": int(sampled.sum()),
        "coefficients": len(solved.beta),
        "r2_marginal": explained_share(explained, sum(solved.variances)),
        "gamma_median": float(np.median(solved.gamma[sampled])),
        "outlying": len(far),
        "solutions": solved.solutions,
    }
    source = NormalDraws(
        solved.estimate,
        solved.joint,
        TRANSFORMS["identity"],
        arrays.rows.labels,
        solved.streams,
        "REBLUPBC" if options.corrected else "REBLUP",
    )
    tables = FitTables(
        coefficient_table(
            solved.beta, np.sqrt(np.diag(solved.beta_cov)), coefficient_index(arrays.design.columns)
        ),
        pd.Series(solved.components),
        pd.DataFrame([diagnostics]),
        solved.residuals,
    )
    ends = _interval(arrays, solved, intervals)
    joint, draws = same_source([ends], [np.arange(len(mse))], solved.estimate, solved.joint, source)
    return Eblup.of(
        solved.estimate,
        mse,
        ends,
        solved.gamma,
        solved.mse_name,
        joint,
        draws,
        tables,
        [*messages, *solved.notes],
        {"islands": tuple(islands)},
    )
