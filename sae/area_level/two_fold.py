"""The two-fold Fay–Herriot model: sub-areas within areas, such as districts within cities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from scipy import sparse

from sae.area_level.arrays import AreaArrays, refuse_unit
from sae.area_level.reading import read_rows
from sae.area_level.rows import AreaRows
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.literals import MomentMse
from sae.numerics.fay_herriot.two_fold import (
    TwoFoldFit,
    TwoFoldMse,
    TwoFoldProblem,
    bootstrap_twofold,
    fit_twofold,
    mse_twofold,
)
from sae.numerics.inference.joint_error import JointError, block_diagonal
from sae.numerics.inference.transforms import TRANSFORMS
from sae.numerics.linalg.basis import orthonormal_basis
from sae.numerics.spacetime.area_field import AreaField, area_field
from sae.numerics.spacetime.precision import independent
from sae.results import (
    FEW_AREAS,
    AreaModel,
    Eblup,
    FitTables,
    Interval,
    IntervalKind,
    NormalDraws,
    Result,
    RunRecord,
    area_intervals,
    boundary_all,
    coefficient_index,
    coefficient_table,
    eblup_result,
    explained_share,
    field_intervals,
    no_interval,
    no_seed,
    residual_table,
    same_source,
    t_interval,
)
from sae.specs import one_of, split_formula
from sae.tables import labels, require

__all__ = ["TwoFoldFayHerriot"]

_WIDE = 120  # sub-areas of one area from which on the posterior of the intervals takes minutes


@dataclass(frozen=True, repr=False)
class TwoFoldFayHerriot(AreaModel[Result]):
    """Fay–Herriot model of sub-areas within areas.

    y_ij = x_ij'β + v_i + u_ij + e_ij with area effects v, sub-area effects u and known sampling variances: a
    sub-area without a sample borrows from the others of its area. Estimates of the areas are those of their
    sub-areas put together: ``fit.aggregate(by=area, weights=...)``, unsampled sub-areas included.

    Parameters
    ----------
    formula : str
        "outcome ~ covariates", as in `FayHerriot`.
    area : str
        Column of the areas, in the data or in ``areas=``.
    domain, vardir : str
        Columns of a plain frame: labels of the sub-areas and sampling variances.
    method : {"reml", "ml"}
    mse : {"auto", "analytical", "bootstrap"}
        "auto" is the analytical MSE, of second order. The parametric bootstrap needs a seed.
    level : float
        Of the intervals: Student's t on the MSE with 50 sampled areas or more and both variances positive;
        else the exact posterior with flat priors of the variances.
    replicates : int, optional
        Of the bootstrap; by default as many, from 200 to 1,600, as bring the Monte Carlo error of every MSE
        to 2 %, which is 1 % of its root.

    References
    ----------
    Torabi and Rao (2014), Journal of Multivariate Analysis 127, 36-55.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> domain, city = [f"S{k}" for k in range(240)], np.repeat(range(60), 4)
    >>> frame = pd.DataFrame({"domain": domain, "city": city})
    >>> frame["y"] = 5 + np.repeat(rng.normal(size=60), 4) + rng.normal(size=240)
    >>> frame["y"] = frame["y"].mask(frame.index % 9 == 0)
    >>> fit = sae.TwoFoldFayHerriot("y ~ 1", area="city").fit(frame.assign(vardir=0.3))
    >>> len(fit.estimates), len(fit.aggregate(by="city"))
    (240, 60)
    """

    kind: ClassVar[str] = "two_fold_fay_herriot"

    area: str = "area"
    vardir: str = "vardir"
    method: Literal["reml", "ml"] = "reml"
    mse: MomentMse = "auto"
    replicates: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("method", self.method, ("reml", "ml"))
        one_of("mse", self.mse, MomentMse)
        if self.replicates is not None and self.replicates < 2:
            raise SaeSpecError(f"replicates = {self.replicates}: a bootstrap needs at least 2.")

    @property
    def _title(self) -> str:
        return f"Two-fold Fay–Herriot ({self.method.upper()})"

    @property
    def label(self) -> str:
        """The model in a few words, as it stands in the estimate table."""
        return f"{self._title}: {self.formula}"

    def _description(self) -> str:
        outcome, covariates = split_formula(self.formula)
        effects = f"an effect of {self.area} and one of each sub-area"
        return f"models {outcome} by {covariates}, {effects}; {self.method}"

    def _fit(self, data: Any, areas: pd.DataFrame | None, seed: int | None) -> Result:
        outcome, covariates = split_formula(self.formula)
        rows = read_rows(
            data, areas, outcome=outcome, domain=self.domain, vardir=self.vardir, n_eff="n_eff", per=()
        )
        arrays = AreaArrays.build(rows, TRANSFORMS["identity"], covariates)
        names, codes = _areas_of(rows, self.area)
        eblup = fit_two_fold(
            arrays,
            names,
            codes,
            column=self.area,
            method=self.method,
            bootstrap=self.mse == "bootstrap",
            level=self.level,
            replicates=self.replicates,
            seed=seed,
        )
        run = arrays.run_id(self, seed, codes)
        record = RunRecord(self._title, f"EBLUP, {self.method.upper()}", run, seed)
        return eblup_result(self, rows, arrays.data, eblup, record)


def _areas_of(rows: AreaRows, column: str) -> tuple[list[str], np.ndarray]:
    """Names of the areas in order of appearance, and the area of each row."""
    require(
        rows.covariates, [column], "The data and the areas have", "(the areas)", hint="Name it with area=."
    )
    empty = rows.covariates[column].isna().to_numpy()
    if empty.any():
        raise SaeInputError(
            f"{column} is missing in {name_some(rows.names[empty])}.", areas=rows.names[empty], column=column
        )
    codes, areas = pd.factorize(labels(rows.covariates[column]))
    return list(areas), codes.astype(np.int64)


def fit_two_fold(
    arrays: AreaArrays,
    names: list[str],
    codes: np.ndarray,
    *,
    column: str,
    method: str,
    bootstrap: bool,
    level: float,
    replicates: int | None,
    seed: int | None,
) -> Eblup:
    """Fit, predict every sub-area and measure the error.

    Parameters
    ----------
    arrays : AreaArrays
        The M sub-areas.
    names : list of str
        Of the areas.
    codes : ndarray of int, shape (M,)
        Area of each sub-area.
    column : str
        What the areas are called, for messages.
    method : {"reml", "ml"}
    bootstrap : bool
        Whether the MSE is that of the parametric bootstrap; else it is analytical.
    level : float
        Of the intervals.
    replicates, seed
        Of the bootstrap.

    Raises
    ------
    SaeInputError
        If no area has two sampled sub-areas.
    SaeSpecError
        If a bootstrap is needed and there is no seed.
    """
    sampled = np.bincount(codes[arrays.sampled], minlength=len(names))
    if sampled.max() < 2:
        raise SaeInputError(
            f"No value of {column} has two sub-areas with a direct estimate: the variances between "
            "areas and between sub-areas cannot be told apart.",
            hint="Use FayHerriot.",
            column=column,
        )
    few = int((sampled > 0).sum()) < FEW_AREAS
    if seed is None and bootstrap:
        raise no_seed("The MSE comes from a parametric bootstrap")
    refuse_unit(arrays)
    basis = orthonormal_basis(arrays.X[arrays.sampled], arrays.y[arrays.sampled])
    taken_out = arrays.X @ basis.fitted
    problem = TwoFoldProblem(arrays.y - taken_out, arrays.D, basis.of(arrays.X), codes, arrays.sampled)
    fit = fit_twofold(problem, method=method)
    estimate, fitted = fit.eblup + taken_out, problem.X @ fit.beta + taken_out
    if seed is not None and bootstrap:
        tally, errors = bootstrap_twofold(
            problem,
            fit,
            areas=names,
            subareas=list(arrays.rows.labels),
            replicates=replicates,
            seed=seed,
            method=method,
        )
        mse, name = tally.mean, f"parametric bootstrap, {tally.text}"
        drawn = (errors**2).mean(axis=0)
        scale = np.sqrt(mse / np.where(drawn > 0.0, drawn, 1.0))
        joint = JointError.of_root(sparse.csr_array((errors * scale / np.sqrt(len(errors))).T), mse)
        streams = tuple(f"replicate {b}" for b in range(len(errors)))
    else:
        parts = mse_twofold(problem, fit, method=method)
        mse, name, joint = parts.mse, "analytical, Torabi–Rao", _joint(problem, fit, parts)
        streams = (*(f"area\x1f{label}" for label in arrays.rows.labels), *arrays.coefficient_labels)
    at_zero = fit.sigma2_v == 0.0 and fit.sigma2_u == 0.0
    ends = _interval(arrays, problem, fit, estimate, mse, few, level)
    normal = NormalDraws(estimate, joint, TRANSFORMS["identity"], arrays.rows.labels, streams)
    joint, source = same_source([ends], [np.arange(len(mse))], estimate, joint, normal)
    missing = np.full(len(mse), ends.kind is IntervalKind.NONE)
    cov = basis.natural_covariance(fit.beta_cov)
    return Eblup.of(
        estimate,
        mse,
        ends,
        fit.gamma,
        name,
        joint,
        source,
        FitTables(
            coefficient_table(
                basis.natural(fit.beta), np.sqrt(np.diag(cov)), coefficient_index(arrays.design.columns)
            ),
            _components(problem, fit, method),
            _diagnostics(problem, fit, fitted),
            _residuals(arrays, problem, fit, fitted),
        ),
        [
            *([boundary_all()] if at_zero else []),
            *arrays.messages(),
            *no_interval(missing, arrays.rows.names, "so few areas"),
        ],
    )


def _joint(problem: TwoFoldProblem, fit: TwoFoldFit, parts: TwoFoldMse) -> JointError:
    """Joint error from the blocks of the areas and what all share through the coefficients."""
    roots = []
    for block in parts.blocks:
        eigen, vectors = np.linalg.eigh(block)
        roots.append(vectors * np.sqrt(np.maximum(eigen, 0.0)))
    order = np.argsort(problem.area, kind="stable")
    within = block_diagonal([root.T for root in roots])[np.argsort(order)]
    shared = sparse.csr_array(parts.loose @ np.linalg.cholesky(fit.beta_cov))
    return JointError.of_root(sparse.csr_array(sparse.hstack([within, shared])), parts.mse)


def _interval(
    arrays: AreaArrays,
    problem: TwoFoldProblem,
    fit: TwoFoldFit,
    estimate: np.ndarray,
    mse: np.ndarray,
    few: bool,
    level: float,
) -> Interval:
    wide = np.bincount(problem.area).max() > _WIDE
    if (few or not (fit.sigma2_v and fit.sigma2_u)) and not wide:
        return field_intervals(
            lambda prior: _field(arrays, problem, prior), arrays.X, problem.area, arrays.sampled, level
        )
    if not (fit.sigma2_v or fit.sigma2_u):
        X = np.ascontiguousarray(arrays.X.T)
        ends = area_intervals(0.0, estimate, mse, arrays.y, arrays.D, X, arrays.sampled, level)
        return ends.detailed("independent effects")
    return t_interval(estimate, mse, int(arrays.sampled.sum()) - arrays.X.shape[1], level)


def _field(arrays: AreaArrays, problem: TwoFoldProblem, prior: tuple[int, float]) -> AreaField:
    """Lay the sub-areas out as independent effects within areas, each at its place in its area."""
    order = np.argsort(problem.area, kind="stable")
    first = np.searchsorted(problem.area[order], problem.area[order])
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order)) - first
    n_areas, size = int(problem.area.max()) + 1, int(place.max()) + 1
    psi = np.zeros((n_areas, size, size))
    psi[problem.area, place, place] = np.where(problem.seen, problem.psi, 0.0)
    return area_field(
        independent(n_areas),
        np.where(problem.seen, arrays.y, np.nan),
        arrays.X,
        psi,
        problem.area,
        place,
        temporal="iid",
        priors=(prior, prior),
    )


def _components(problem: TwoFoldProblem, fit: TwoFoldFit, method: str) -> pd.Series:
    error = np.sqrt(np.diag(np.linalg.inv(mse_twofold(problem, fit, method=method).information)))
    values = {
        "sigma2_v": fit.sigma2_v,
        "sigma2_v_se": error[0],
        "sigma2_u": fit.sigma2_u,
        "sigma2_u_se": error[1],
    }
    return pd.Series(values)


def _diagnostics(problem: TwoFoldProblem, fit: TwoFoldFit, fitted: np.ndarray) -> pd.DataFrame:
    sampled, k = problem.seen, len(fit.beta) + 2
    explained = float(np.var(fitted[sampled], ddof=1))
    values = {
        "areas": len(sampled),
        "sampled": int(sampled.sum()),
        "coefficients": len(fit.beta),
        "loglik": fit.loglik,
        "aic": 2.0 * k - 2.0 * fit.loglik,
        "bic": np.log(sampled.sum()) * k - 2.0 * fit.loglik,
        "r2_marginal": explained_share(explained, fit.sigma2_v + fit.sigma2_u),
        "gamma_median": float(np.median(fit.gamma[sampled])),
        "upper_areas": problem.n_areas,
    }
    return pd.DataFrame([values])


def _residuals(
    arrays: AreaArrays, problem: TwoFoldProblem, fit: TwoFoldFit, fitted: np.ndarray
) -> pd.DataFrame:
    """Regression residuals of the sampled sub-areas, each over its own standard deviation."""
    on = np.flatnonzero(arrays.sampled)
    X = problem.X[on]
    total = fit.sigma2_v + fit.sigma2_u + arrays.D[on]
    taken = np.einsum("mp,pq,mq->m", X, fit.beta_cov, X)
    residual = arrays.y[on] - fitted[on]
    standardised = residual / np.sqrt(np.maximum(total - taken, 1e-12 * total))
    return residual_table(on, arrays.rows.names[on], fitted[on], residual, standardised, taken / total)
