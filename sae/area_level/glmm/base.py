"""What models with area effects under a likelihood that is not normal share: options, data, result."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

import sae
from sae.area_level.fay_herriot.bayes import check_proper, resolved_prior
from sae.area_level.rows import AreaRows, read_rows
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.numerics.glmm.likelihoods import Likelihood
from sae.numerics.glmm.separation import separating
from sae.numerics.inference.transforms import Transform
from sae.results import Result, parameter_columns, posterior_joint, posterior_result, weighted_summary
from sae.samplers.grid import GridPosterior
from sae.specs import Design, Specification, split_formula
from sae.specs.design import check_rank
from sae.specs.priors import Prior, prior_of

if TYPE_CHECKING:
    from sae.tables import DirectEstimates

__all__ = ["AreaEffects", "Observed", "column_of", "refuse_values"]


class Observed(NamedTuple):
    """What a model takes from the rows.

    Attributes
    ----------
    likelihood : Likelihood
        Of the sampled rows.
    direct : ndarray of float, shape (n_rows,)
        Direct estimates on the reported scale; nan without a sample.
    sampled : ndarray of bool, shape (n_rows,)
    link : Transform
    ends : ndarray of int, shape (n_sampled,)
        -1 and 1 where the likelihood is largest at the lower or upper end of the scale, else 0.
    coefficient_sd : float
        Of the prior of the coefficients on centred and scaled columns; infinite is flat.
    more : tuple of str
        Further priors, as texts.
    """

    likelihood: Likelihood
    direct: np.ndarray
    sampled: np.ndarray
    link: Transform
    ends: np.ndarray
    coefficient_sd: float = np.inf
    more: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class AreaEffects(Specification):
    """The options that all these models have; see the models."""

    formula: str
    domain: str = "domain"
    prior: Prior | str | None = None
    level: float = 0.95

    def __post_init__(self) -> None:
        split_formula(self.formula)
        prior_of(self.prior)
        if not 0.0 < self.level < 1.0:
            raise SaeSpecError(f"level = {self.level} is not between 0 and 1.")

    @property
    def _title(self) -> str:
        raise NotImplementedError

    @property
    def _columns(self) -> tuple[str, str]:
        """Columns that `read_rows` takes for sampling variances and effective sample sizes."""
        raise NotImplementedError

    def _observed(self, rows: AreaRows) -> Observed:
        raise NotImplementedError

    @property
    def _posterior(self) -> Callable[..., GridPosterior]:
        return GridPosterior

    @property
    def words(self) -> str:
        """The model in a few words, as it stands in the estimate table."""
        return f"{self._title}, Bayes: {self.formula}"

    def _words(self) -> str:
        outcome, covariates = split_formula(self.formula)
        return (
            f"{self._title}: models {outcome} by {covariates} and an area effect; posterior by quadrature, "
            f"{prior_of(self.prior).text} prior"
        )

    def fit(
        self,
        data: DirectEstimates | pd.DataFrame,
        *,
        areas: pd.DataFrame | None = None,
        seed: int | np.random.Generator | None = None,
    ) -> Result:
        """Fit the model and predict every area, those without an observation included.

        Parameters
        ----------
        data : DirectEstimates or DataFrame
            One row per area.
        areas : DataFrame, optional
            Covariates, joined by name on every grouping column they have; their areas that `data` lacks are
            predicted too.
        seed : int or Generator, optional
            Nothing in the fit is random; ``Result.draws`` takes its own seed.

        Returns
        -------
        Result

        Raises
        ------
        SaeInputError
            If observations or covariates cannot be used, or the posterior is improper; the areas or columns
            are named.
        SaeConvergenceError
            If the weights of the hyperparameters are not to be trusted.
        """
        outcome, covariates = split_formula(self.formula)
        vardir, n_eff = self._columns
        if isinstance(data, pd.DataFrame):
            column_of(data, vardir or n_eff)
        rows = read_rows(
            data, areas, outcome=outcome, domain=self.domain, vardir=vardir or "vardir",
            n_eff=n_eff or "n_eff", per=(),
        )  # fmt: skip
        seen = self._observed(rows)
        names = rows.names
        design, X = Design.learn(covariates, rows.covariates[seen.sampled], list(names[seen.sampled]))
        check_rank(X, design.columns)
        prior = resolved_prior(self.prior, seen.likelihood.guess())
        check_proper(prior, int((seen.ends == 0).sum()), X.shape[1])
        if np.isinf(seen.coefficient_sd):
            _refuse_separated(X, seen.ends, design.columns)
        posterior = self._posterior(
            seen.likelihood, design.rebuild(rows.covariates, list(names)), seen.sampled, prior.code,
            seen.link, rows.labels, seen.coefficient_sd,
        )  # fmt: skip
        return _result(self, rows, seen, posterior, prior, design)


def column_of(frame: pd.DataFrame, column: str) -> None:
    """Refuse a frame that lacks a column of the specification."""
    if column not in frame:
        raise SaeInputError(
            f"The data have no column {column!r}.",
            hint=f"The columns are {name_some(frame, 15)}.",
            column=column,
        )


def refuse_values(
    rows: AreaRows, bad: np.ndarray, values: np.ndarray, what: str, hint: str, column: str
) -> None:
    """Refuse rows by name, each with its value."""
    if not bad.any():
        return
    words = [f"{name} ({value:g})" for name, value in zip(rows.names[bad], values[bad], strict=True)]
    raise SaeInputError(
        f"{what} in {int(bad.sum())} of {len(bad)} areas: {name_some(words)}.",
        hint=hint, areas=rows.names[bad], column=column,
    )  # fmt: skip


def _refuse_separated(X: np.ndarray, ends: np.ndarray, columns: tuple[str, ...]) -> None:
    """Refuse a design along which the likelihood never falls: with flat coefficients nothing is proper."""
    direction = separating(X, ends)
    if direction is None:
        return
    guilty = [column for column, weight in zip(columns, direction, strict=True) if abs(weight) > 1e-6]
    raise SaeInputError(
        f"The posterior is improper: along {name_some(guilty)} the data are separated, all areas with "
        "observations strictly inside the scale lying on one side or apart.",
        hint="Leave these columns out, join levels, or check an outcome that is 0 or all everywhere.",
        column=guilty[0],
    )


def _result(
    spec: AreaEffects, rows: AreaRows, seen: Observed, posterior: GridPosterior, prior: Prior, design: Design
) -> Result:
    _, sd = posterior.moments()
    beta, sigma, weights = posterior.parameters()
    level = np.array([0.5 * (1.0 - spec.level), 0.5, 0.5 * (1.0 + spec.level)])
    mean, spread, quantiles = weighted_summary(beta, weights, level)
    coefficients = pd.DataFrame(
        {"coef": mean, "sd": spread, **dict(zip(("low", "median", "high"), quantiles, strict=True))},
        index=pd.Index(list(design.columns), name="term"),
    )
    squares = weighted_summary(sigma[:, None] ** 2, weights, level)
    deviations = weighted_summary(sigma[:, None], weights, level)
    variances = {
        **parameter_columns("sigma2_u", squares[0], squares[1], *squares[2]),
        **parameter_columns("sigma_u", deviations[0], deviations[1], *deviations[2]),
    }
    for name, (value, deviation, ends) in posterior.further(level).items():
        variances.update(parameter_columns(name, *np.array([[value], [deviation], *ends[:, None]])))
    explained = float(np.var(posterior.X[seen.sampled] @ mean, ddof=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        cv = rows.table["direct_se"].to_numpy(dtype=float) / np.abs(seen.direct)
    return posterior_result(
        spec, posterior, rows.table.assign(direct=seen.direct, direct_cv=cv),
        groups=rows.groups,
        in_sample=seen.sampled,
        prior="; ".join([prior.text, *seen.more]),
        joint=posterior_joint(sd**2, posterior.shared()),
        title=f"{spec._title} (Bayes)",
        model=spec.words,
        run=_run_id(spec, rows, posterior),
        seed=None,
        coefficients=coefficients,
        variance_components=pd.DataFrame(variances).iloc[0].rename(None),
        diagnostics=pd.DataFrame([{
            "areas": len(seen.sampled), "sampled": int(seen.sampled.sum()), "coefficients": len(mean),
            "r2_marginal": explained / (explained + float(squares[0][0])),
        }]),
        residuals=_residual_table(rows, seen, posterior),
        areas=rows.covariates,
        bounds=seen.link.range,
        provenance={"direct": dict(rows.provenance)},
    )  # fmt: skip


def _residual_table(rows: AreaRows, seen: Observed, posterior: GridPosterior) -> pd.DataFrame:
    """Direct estimates less what the model says of an area without one, on the reported scale."""
    place = np.flatnonzero(seen.sampled)
    fitted, sd = posterior.synthetic()
    residual = seen.direct[place] - fitted
    table = {
        "domain": rows.names[place], "fitted": fitted, "residual": residual,
        "standardised": residual / np.sqrt(sd**2 + posterior.noise(fitted)), "leverage": np.nan,
    }  # fmt: skip
    return pd.DataFrame(table, index=pd.Index(place, name="row"))


def _run_id(spec: AreaEffects, rows: AreaRows, posterior: GridPosterior) -> str:
    digest = hashlib.sha256("\0".join((sae.__version__, spec.to_toml(), *rows.labels, "")).encode())
    observed = [value for value in vars(posterior.likelihood).values() if isinstance(value, np.ndarray)]
    for array in (posterior.X, posterior.sampled, *observed):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:12]
