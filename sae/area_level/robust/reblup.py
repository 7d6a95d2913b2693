"""Solve a robust Fay–Herriot model, measure its error, and wrap it all up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.special import stdtrit

import sae
from sae.area_level.arrays import AreaProblem
from sae.area_level.effects.options import free_parameters
from sae.area_level.effects.panel import Panel
from sae.area_level.fay_herriot.structured import (
    coefficients_of,
    joint_of_root,
    pooled_quantiles,
    residuals_of,
    warn_structured,
    with_errors,
)
from sae.area_level.intervals import area_intervals
from sae.errors import SaeConvergenceError, SaeSpecError, name_some
from sae.numerics.inference.joint_error import JointError
from sae.numerics.inference.transforms import TRANSFORMS
from sae.numerics.robust.bootstrap import bootstrap_robust, bootstrap_robust_spacetime
from sae.numerics.robust.fit import RobustFit, fit_robust, reblup, variance_of_variance
from sae.numerics.robust.mse import pseudo_joint, synthetic_share
from sae.numerics.robust.spacetime import RobustSpaceTimeFit, fit_robust_spacetime
from sae.numerics.robust.spacetime_mse import own_weight, pseudo_root
from sae.numerics.spacetime.likelihood import PARAMETERS
from sae.results import NormalDraws, Result

if TYPE_CHECKING:
    from sae.area_level.robust.model import RobustFayHerriot

__all__ = ["fit_areas", "fit_panel", "no_seed"]

OUTLYING = 3.0  # standard deviations off the regression from which an area is named


def no_seed(what: str) -> SaeSpecError:
    """Return the error of a bootstrap that is needed, for `what`, and has no seed."""
    return SaeSpecError(
        f"{what} come from a bootstrap, which draws random numbers; it has no seed.",
        hint="Call fit(..., seed=1), with any number.",
    )


@dataclass(frozen=True, eq=False)
class _Solved:
    """What both forms of the model hand over, by row of the table; errors of the bootstrap, shape (B, M)."""

    estimate: np.ndarray
    gamma: np.ndarray
    joint: JointError
    streams: tuple[str, ...]
    errors: np.ndarray | None
    beta: np.ndarray
    beta_cov: np.ndarray
    components: dict[str, float]
    residuals: pd.DataFrame
    solutions: int
    notes: list[str]
    islands: list[str]

    @property
    def variances(self) -> list[float]:
        """The model variances."""
        return [value for name, value in self.components.items() if name in ("sigma2_u", "sigma2_v")]


def fit_areas(spec: RobustFayHerriot, problem: AreaProblem, seed: int | None, *, few: bool) -> Result:
    """Fit the model of independent area effects."""
    on, D, X = problem.sampled, problem.D, np.ascontiguousarray(problem.X.T)
    fit = fit_robust(problem.y[on], D[on], X[on], spec.k)
    _check(fit.status, fit.residual)
    bc = int(spec.predictor == "reblupbc")
    estimate, share = X @ fit.beta, np.ones(len(X))
    residuals = _residuals(problem, fit)
    share[on] = synthetic_share(fit, problem.y[on], D[on], X[on], spec.c)[bc]
    estimate[on] = reblup(problem.y[on], D[on], estimate[on], fit.variance, spec.k, spec.c)[bc]
    errors = None
    if _bootstraps(spec, [fit.variance], few, seed):
        assert seed is not None
        errors = bootstrap_robust(
            fit, D, X, on, problem.rows.labels, replicates=spec.replicates, seed=seed, c=spec.c
        )[bc]
    if spec.mse == "bootstrap" and errors is not None:
        joint, streams = _joint_of_errors(errors)
    else:
        joint, streams = pseudo_joint(fit, share, D, X, on), problem.coefficient_labels
    components = {
        "sigma2_u": fit.variance,
        "sigma2_u_se": float(np.sqrt(variance_of_variance(fit.variance, D[on], spec.k))),
    }
    solved = _Solved(
        estimate, 1.0 - share, joint, streams, errors, fit.beta, fit.beta_cov, components, residuals,
        fit.solutions, [], [],
    )  # fmt: skip
    return _result(spec, problem, solved, seed, few)


def fit_panel(spec: RobustFayHerriot, panel: Panel, seed: int | None, *, few: bool) -> Result:
    """Fit a model with spatial or temporal effects."""
    problem, bc = panel.problem, spec.predictor == "reblupbc"
    free = free_parameters(spec.spatial, spec.temporal)
    fit = fit_robust_spacetime(problem, free, k=spec.k, c=spec.c)
    _check(fit.status, max(fit.residual, fit.effect_residual))
    components = {name: float(fit.parameters[PARAMETERS.index(name)]) for name in free}
    variances = [components[name] for name in free if name.startswith("sigma2")]
    errors, notes = None, []
    if _bootstraps(spec, variances, few, seed):
        assert seed is not None
        drawn, unfinished = bootstrap_robust_spacetime(
            problem, fit, free, areas=panel.areas, cells=panel.cells, replicates=spec.replicates, seed=seed
        )
        errors = panel.of_rows(drawn[int(bc)])
        if unfinished:
            notes = [
                f"{unfinished} of {spec.replicates} bootstrap replicates ended near no solution; they count."
            ]
    if spec.mse == "bootstrap" and errors is not None:
        joint, streams = _joint_of_errors(errors)
    else:
        joint, streams = _pseudo_panel(panel, fit, bc)
    solved = _Solved(
        panel.of_rows(fit.reblupbc if bc else fit.reblup),
        panel.of_rows(own_weight(problem, fit, corrected=bc)), joint, streams, errors, fit.beta, fit.beta_cov,
        components, residuals_of(panel, fit, fit.beta @ panel.arrays.X), len(fit.solutions), notes,
        panel.islands,
    )  # fmt: skip
    return _result(spec, panel.arrays, solved, seed, few)


def _check(status: str, residual: float) -> None:
    if status == "not converged":
        raise SaeConvergenceError(
            "The robust equations have no solution that could be found: they are off by "
            f"{residual:.1g} at the best point.",
            hint="Take a larger k, or FayHerriot; see whether a few areas differ from all others.",
        )


def _bootstraps(spec: RobustFayHerriot, variances: list[float], few: bool, seed: int | None) -> bool:
    """Whether MSE or intervals need bootstrap errors; without a seed for them, refuse."""
    if spec.mse == "bootstrap":
        return True
    if not any(variances):  # the posterior gives the intervals
        return False
    if seed is None and not all(variances):
        raise no_seed("Intervals with a variance estimated 0")
    return few or not all(variances)


def _joint_of_errors(errors: np.ndarray) -> tuple[JointError, tuple[str, ...]]:
    root = sparse.csr_array(errors.T / np.sqrt(len(errors)))
    streams = tuple(f"replicate {b}" for b in range(len(errors)))
    return joint_of_root(root, (errors**2).mean(axis=0)), streams


def _pseudo_panel(panel: Panel, fit: RobustSpaceTimeFit, bc: bool) -> tuple[JointError, tuple[str, ...]]:
    place = panel.area * panel.problem.seen.shape[1] + panel.period
    root = pseudo_root(panel.problem, fit, corrected=bc)[place]
    cells, seen = panel.cells, panel.problem.seen.ravel()
    streams = (
        *(f"effect\x1f{name}" for name in panel.areas if fit.parameters[0] > 0),
        *(f"period\x1f{name}" for name in cells if fit.parameters[2] > 0),
        *(f"error\x1f{name}" for name, there in zip(cells, seen, strict=True) if there),
    )
    return joint_of_root(sparse.csr_array(root), (root**2).sum(axis=1)), streams


def _residuals(problem: AreaProblem, fit: RobustFit) -> pd.DataFrame:
    """Residuals of the robust regression, each over its standard deviation at the robust estimates."""
    on = problem.sampled
    X, D, P = problem.X.T[on], problem.D[on], fit.projection
    total, own = fit.variance + D, np.einsum("dp,pd->d", X, P)
    spread = total * (1.0 - 2.0 * own) + np.einsum("dp,pq,dq->d", X, (P * total) @ P.T, X)
    fitted = X @ fit.beta
    residual = problem.y[on] - fitted
    standardised = residual / np.sqrt(np.maximum(spread, 1e-12 * total))
    return pd.DataFrame({
        "domain": problem.names[on], "fitted": fitted, "residual": residual, "standardised": standardised,
        "leverage": own,
    }, index=pd.Index(problem.order[on], name="row"))  # fmt: skip


def _intervals(
    spec: RobustFayHerriot, problem: AreaProblem, solved: _Solved, mse: np.ndarray, few: bool
) -> tuple[np.ndarray, np.ndarray, str, str]:
    """Low and high ends, what they rest on, and the prior where there is one."""
    estimate = solved.estimate
    if not any(solved.variances):
        arrays = (problem.y, problem.D, problem.X, problem.sampled)
        ends = area_intervals(0.0, estimate, mse, *arrays, spec.level)
        # the posterior does not clip an outlier, so that its ends may leave the robust estimate out
        low, high = np.minimum(ends.low, estimate), np.maximum(ends.high, estimate)
        return low, high, f"{ends.words}, independent effects, not robust", ends.prior
    if solved.errors is not None and (few or not all(solved.variances)):
        low, high = pooled_quantiles(solved.errors, spec.level)
        words = f"bootstrap errors pooled, {spec.replicates} replicates"
    else:
        high = float(stdtrit(problem.sampled.sum() - len(problem.X), 0.5 * (1.0 + spec.level)))
        low, words = -high, "t on the MSE"
    se = np.sqrt(mse)
    return estimate + low * se, estimate + high * se, words, ""


def _result(
    spec: RobustFayHerriot, problem: AreaProblem, solved: _Solved, seed: int | None, few: bool
) -> Result:
    rows, mse = problem.rows, solved.joint.mse()
    low, high, interval, prior = _intervals(spec, problem, solved, mse, few)
    far = solved.residuals["domain"][solved.residuals["standardised"].abs() > OUTLYING]
    notes = (
        [f"{len(far)} rows more than {OUTLYING:g} sd off the regression: {name_some(far)}."]
        if len(far)
        else []
    )
    messages = warn_structured(problem, not any(solved.variances), solved.islands) + notes + solved.notes
    run = problem.run_id(spec.to_toml(), seed)
    predictor = spec.predictor.upper()
    title = f"{', '.join(filter(None, ('Robust Fay–Herriot', spec.structure)))} ({predictor})"
    table = rows.table.assign(
        estimate=solved.estimate, mse=mse, ci_low=low, ci_high=high, interval=interval, prior=prior,
        gamma=solved.gamma, in_sample=rows.sampled, mse_method=spec.mse_words,
        method=f"{predictor}, Huber k {spec.k:g}", model=f"{title}: {spec.formula}", run=run,
    )  # fmt: skip
    explained = float(np.var((solved.beta @ problem.X)[rows.sampled], ddof=1))
    whole = explained + sum(solved.variances)
    diagnostics = pd.DataFrame([{
        "areas": len(mse), "sampled": int(rows.sampled.sum()), "coefficients": len(solved.beta),
        "r2_marginal": explained / whole if whole > 0 else np.nan,
        "gamma_median": float(np.median(solved.gamma[rows.sampled])), "outlying": len(far),
        "solutions": solved.solutions,
    }])  # fmt: skip
    return Result(
        estimates=with_errors(table, rows.groups),
        coefficients=coefficients_of(problem.design.columns, solved.beta, solved.beta_cov),
        variance_components=pd.Series(solved.components),
        diagnostics=diagnostics,
        residuals=solved.residuals,
        provenance={
            "sae": sae.__version__, "model": spec.to_toml(), "seed": seed, "run": run, "warnings": messages,
            "islands": tuple(solved.islands), "direct": dict(rows.provenance),
        },
        spec=spec,
        areas=rows.covariates,
        title=title,
        joint=solved.joint,
        source=NormalDraws(
            solved.estimate, solved.joint, TRANSFORMS["identity"], rows.labels, solved.streams, predictor
        ),
    )  # fmt: skip
