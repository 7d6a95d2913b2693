"""The two-fold Fay–Herriot model: sub-areas within areas, such as districts within cities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.special import stdtrit

import sae
from sae.area_level.arrays import AreaProblem
from sae.area_level.fay_herriot.structured import (
    coefficients_of,
    joint_of_root,
    pooled_quantiles,
    warn_structured,
    with_errors,
)
from sae.area_level.intervals import FEW_AREAS, area_intervals
from sae.area_level.rows import AreaRows, read_rows
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.numerics.fay_herriot.two_fold import (
    TwoFoldFit,
    TwoFoldMse,
    TwoFoldProblem,
    bootstrap_twofold,
    fit_twofold,
    mse_twofold,
)
from sae.numerics.inference.joint_error import JointError
from sae.numerics.inference.transforms import TRANSFORMS
from sae.numerics.random.streams import seed_of
from sae.results import NormalDraws, Result
from sae.specs import Specification, one_of, split_formula

if TYPE_CHECKING:
    from sae.tables import DirectEstimates

__all__ = ["TwoFoldFayHerriot"]


@dataclass(frozen=True, repr=False)
class TwoFoldFayHerriot(Specification):
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
        Of the intervals: Student's t on the MSE from 50 sampled areas on; with fewer, pooled quantiles of
        the bootstrap errors times √MSE, which needs a seed; if both variances are estimated 0, the posterior
        of the model with independent effects.
    replicates : int
        Of the bootstrap.

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
    >>> fit = TwoFoldFayHerriot("y ~ 1", area="city").fit(frame.assign(vardir=0.3))
    >>> len(fit.estimates), len(fit.aggregate(by="city"))
    (240, 60)
    """

    kind: ClassVar[str] = "two_fold_fay_herriot"

    formula: str
    area: str = "area"
    domain: str = "domain"
    vardir: str = "vardir"
    method: str = "reml"
    mse: str = "auto"
    level: float = 0.95
    replicates: int = 200

    def __post_init__(self) -> None:
        split_formula(self.formula)
        one_of("method", self.method, ("reml", "ml"))
        one_of("mse", self.mse, ("auto", "analytical", "bootstrap"))
        if not 0.0 < self.level < 1.0:
            raise SaeSpecError(f"level = {self.level} is not between 0 and 1.")
        if self.replicates < 2:
            raise SaeSpecError(f"replicates = {self.replicates}: a bootstrap needs at least 2.")

    def _words(self) -> str:
        outcome, covariates = split_formula(self.formula)
        effects = f"an effect of {self.area} and one of each sub-area"
        return f"models {outcome} by {covariates}, {effects}; {self.method}"

    def fit(
        self,
        data: DirectEstimates | pd.DataFrame,
        *,
        areas: pd.DataFrame | None = None,
        seed: int | np.random.Generator | None = None,
    ) -> Result:
        """Fit the model and predict every sub-area; parameters as of `FayHerriot.fit`.

        Raises
        ------
        SaeInputError
            If a sub-area has an estimate but no positive variance, lacks covariates or its area, or no area
            has two sampled sub-areas, without which the two variances cannot be told apart.
        SaeSpecError
            If a bootstrap is needed and there is no seed.
        """
        outcome, covariates = split_formula(self.formula)
        rows = read_rows(
            data, areas, outcome=outcome, domain=self.domain, vardir=self.vardir, n_eff="n_eff", per=()
        )
        arrays = AreaProblem.build(rows, TRANSFORMS["identity"], covariates)
        names, codes = _areas_of(rows, self.area)
        problem = TwoFoldProblem(arrays.y, arrays.D, np.ascontiguousarray(arrays.X.T), codes, arrays.sampled)
        sampled = np.bincount(codes[arrays.sampled], minlength=len(names))
        if sampled.max() < 2:
            raise SaeInputError(
                f"No value of {self.area} has two sub-areas with a direct estimate: the variances between "
                "areas and between sub-areas cannot be told apart.",
                hint="Use FayHerriot.",
                column=self.area,
            )
        few = int((sampled > 0).sum()) < FEW_AREAS
        if seed is None and (few or self.mse == "bootstrap"):
            raise SaeSpecError(
                f'The MSE (mse="bootstrap") or the intervals (fewer than {FEW_AREAS} areas) come from a '
                "bootstrap, which draws random numbers; it has no seed.",
                hint="Call fit(..., seed=1), with any number.",
            )
        return _solve(self, arrays, problem, names, few, None if seed is None else seed_of(seed))


def _areas_of(rows: AreaRows, column: str) -> tuple[list[str], np.ndarray]:
    """Names of the areas in order of appearance, and the area of each row."""
    if column not in rows.covariates:
        raise SaeInputError(
            f"Neither the data nor the areas have a column {column!r} (the areas).",
            hint=f"Name it with area=. The columns are {name_some(rows.covariates, 15)}.",
            column=column,
        )
    empty = rows.covariates[column].isna().to_numpy()
    if empty.any():
        raise SaeInputError(
            f"{column} is missing in {name_some(rows.names[empty])}.", areas=rows.names[empty], column=column
        )
    codes, labels = pd.factorize(rows.covariates[column].astype("object").map(str))
    return [str(label) for label in labels], codes.astype(np.int64)


def _solve(
    spec: TwoFoldFayHerriot, arrays: AreaProblem, problem: TwoFoldProblem, names: list[str], few: bool,
    seed: int | None,
) -> Result:  # fmt: skip
    fit = fit_twofold(problem, method=spec.method)
    rows = arrays.rows
    errors = None
    if seed is not None and (few or spec.mse == "bootstrap"):
        errors = bootstrap_twofold(
            problem, fit, areas=names, subareas=list(rows.labels), replicates=spec.replicates, seed=seed,
            method=spec.method,
        )  # fmt: skip
    if errors is not None and spec.mse == "bootstrap":
        mse, words = (errors**2).mean(axis=0), f"parametric bootstrap, {spec.replicates} replicates"
        joint = joint_of_root(sparse.csr_array(errors.T / np.sqrt(len(errors))), mse)
        streams = tuple(f"replicate {b}" for b in range(len(errors)))
    else:
        parts = mse_twofold(problem, fit, method=spec.method)
        mse, words, joint = parts.mse, "analytical, Torabi–Rao", _joint(problem, fit, parts)
        streams = (*(f"area\x1f{label}" for label in rows.labels), *arrays.coefficient_labels)
    low, high, interval, prior = _intervals(spec, arrays, fit, mse, errors if few else None)
    both_zero = fit.sigma2_v == 0.0 and fit.sigma2_u == 0.0
    messages = warn_structured(arrays, both_zero)
    run = arrays.run_id(spec.to_toml(), seed)
    title = f"Two-fold Fay–Herriot ({spec.method.upper()})"
    table = rows.table.assign(
        estimate=fit.eblup, mse=mse, ci_low=low, ci_high=high, interval=interval, prior=prior,
        gamma=fit.gamma, in_sample=rows.sampled, mse_method=words, method=f"EBLUP, {spec.method.upper()}",
        model=f"{title}: {spec.formula}", run=run,
    )  # fmt: skip
    return Result(
        estimates=with_errors(table, rows.groups),
        coefficients=coefficients_of(arrays.design.columns, fit.beta, fit.beta_cov),
        variance_components=_components(problem, fit, spec.method),
        diagnostics=_diagnostics(problem, fit),
        residuals=_residuals(arrays, fit),
        provenance={
            "sae": sae.__version__, "model": spec.to_toml(), "seed": seed, "run": run, "warnings": messages,
            "direct": dict(rows.provenance),
        },
        spec=spec,
        areas=rows.covariates,
        title=title,
        joint=joint,
        source=NormalDraws(fit.eblup, joint, TRANSFORMS["identity"], rows.labels, streams),
    )  # fmt: skip


def _joint(problem: TwoFoldProblem, fit: TwoFoldFit, parts: TwoFoldMse) -> JointError:
    """Joint error from the blocks of the areas and what all share through the coefficients."""
    roots = []
    for block in parts.blocks:
        eigen, vectors = np.linalg.eigh(block)
        roots.append(vectors * np.sqrt(np.maximum(eigen, 0.0)))
    order = np.argsort(problem.area, kind="stable")
    within = sparse.csr_array(sparse.block_diag(roots, format="csr"))[np.argsort(order)]
    shared = sparse.csr_array(parts.loose @ np.linalg.cholesky(fit.beta_cov))
    return joint_of_root(sparse.csr_array(sparse.hstack([within, shared])), parts.mse)


def _intervals(
    spec: TwoFoldFayHerriot, arrays: AreaProblem, fit: TwoFoldFit, mse: np.ndarray, errors: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, str, str]:
    if fit.sigma2_v == 0.0 and fit.sigma2_u == 0.0:
        ends = area_intervals(0.0, fit.eblup, mse, arrays.y, arrays.D, arrays.X, arrays.sampled, spec.level)
        return ends.low, ends.high, f"{ends.words}, independent effects", ends.prior
    if errors is not None:
        low, high = pooled_quantiles(errors, spec.level)
        words = f"bootstrap errors pooled, {spec.replicates} replicates"
    else:
        high = float(stdtrit(arrays.sampled.sum() - len(arrays.X), 0.5 * (1.0 + spec.level)))
        low, words = -high, "t on the MSE"
    se = np.sqrt(mse)
    return fit.eblup + low * se, fit.eblup + high * se, words, ""


def _components(problem: TwoFoldProblem, fit: TwoFoldFit, method: str) -> pd.Series:
    spread = np.sqrt(np.diag(np.linalg.inv(mse_twofold(problem, fit, method=method).information)))
    values = {
        "sigma2_v": fit.sigma2_v,
        "sigma2_v_se": spread[0],
        "sigma2_u": fit.sigma2_u,
        "sigma2_u_se": spread[1],
    }
    return pd.Series(values)


def _diagnostics(problem: TwoFoldProblem, fit: TwoFoldFit) -> pd.DataFrame:
    seen, k = problem.seen, len(fit.beta) + 2
    explained = float(np.var(problem.X[seen] @ fit.beta, ddof=1))
    whole = explained + fit.sigma2_v + fit.sigma2_u
    return pd.DataFrame([{
        "areas": len(seen), "sampled": int(seen.sum()), "coefficients": len(fit.beta), "loglik": fit.loglik,
        "aic": 2.0 * k - 2.0 * fit.loglik, "bic": np.log(seen.sum()) * k - 2.0 * fit.loglik,
        "r2_marginal": explained / whole if whole > 0 else np.nan,
        "gamma_median": float(np.median(fit.gamma[seen])), "upper_areas": problem.n_areas,
    }])  # fmt: skip


def _residuals(arrays: AreaProblem, fit: TwoFoldFit) -> pd.DataFrame:
    """Regression residuals of the sampled sub-areas, each over its own standard deviation."""
    fitted = fit.beta @ arrays.X
    total = fit.sigma2_v + fit.sigma2_u + arrays.D
    taken = np.einsum("pm,pq,qm->m", arrays.X, fit.beta_cov, arrays.X)
    residual = arrays.y - fitted
    standardised = residual / np.sqrt(np.maximum(total - taken, 1e-12 * total))
    frame = pd.DataFrame({
        "domain": arrays.rows.names, "fitted": fitted, "residual": residual, "standardised": standardised,
        "leverage": taken / total,
    })  # fmt: skip
    return frame[arrays.sampled].rename_axis("row")
