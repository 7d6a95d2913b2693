"""The Fay–Herriot model with covariates that are estimates themselves, from the same or another sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from sae.area_level.arrays import AreaProblem
from sae.area_level.measurement_error.bayes import fit_measured_bayes
from sae.area_level.measurement_error.errors import read_errors
from sae.area_level.measurement_error.moments import fit_measured
from sae.area_level.rows import read_rows
from sae.errors import SaeSpecError, name_some
from sae.numerics.inference.transforms import TRANSFORMS
from sae.numerics.random.streams import seed_of
from sae.results import Result
from sae.specs import Specification, one_of, split_formula
from sae.specs.priors import Prior, prior_of

if TYPE_CHECKING:
    from sae.tables import DirectEstimates

__all__ = ["MeasurementErrorFayHerriot"]


@dataclass(frozen=True, repr=False)
class MeasurementErrorFayHerriot(Specification):
    """Fay–Herriot model of Ybarra and Lohr: covariates measured with error of known variance.

    y_d = x_d'β + u_d + e_d, where X_d = x_d + η_d is known instead of x_d. Taken as exact, such covariates
    give slopes that are too flat and weights of the regression that are too large where the error is large.

    Parameters
    ----------
    formula : str
        "outcome ~ covariates", as in `FayHerriot`; a covariate with an error stands in it by itself, not
        transformed and in no interaction.
    domain, vardir : str
        Columns of a plain frame: area labels and sampling variances.
    errors : mapping
        Columns of the data or of ``areas=`` with the error variances of covariates, and covariances, in
        squared units: {"x1": "x1_var", "x2": "x2_var", ("x1", "x2"): "x1_x2_cov", ("y", "x1"): "y_x1_cov"}.
        Covariances that are not named are taken as 0. Those with the outcome are needed where a covariate
        comes from the same sample and the same persons: they move the slopes and the weights (an extension of
        the article, by the same moments; the weight of the direct estimate can then leave [0, 1]).
    level : float
        Of the intervals: Student's t on the MSE with 50 sampled areas or more and a positive variance; else
        quantiles over the posterior of the variance, given the slopes, with a flat prior.

    method : {"moments", "bayes"}
        "bayes" is the structural model: true covariates x ~ N(M z, Σ) given the exact ones z, jointly with y,
        all parameters integrated over.
    prior : Prior or str, optional
        Of the standard deviation of the area effects, with method="bayes": see `sae.priors`. The others are
        in the table too: half-normal spread of the true covariates, wide normal slopes, flat intercepts.

    Notes
    -----
    With method="moments" the variance comes from moments and can be exactly 0. The MSE is the jackknife's;
    where its bias term makes it negative it is left out, as the table says.

    References
    ----------
    Ybarra and Lohr (2008), Biometrika 95, 919–931; Jiang, Lahiri and Wan (2002), Annals of Statistics 30,
    1782–1810.

    Examples
    --------
    >>> rng = np.random.default_rng(4)
    >>> x, frame = rng.normal(size=60), pd.DataFrame({"domain": [f"A{k}" for k in range(60)], "vardir": 0.3})
    >>> frame["x"], frame["x_var"] = x + np.sqrt(0.4) * rng.normal(size=60), 0.4
    >>> frame["y"] = 1 + 2 * x + rng.normal(size=60) + np.sqrt(0.3) * rng.normal(size=60)
    >>> naive = sae.FayHerriot("y ~ x").fit(frame)
    >>> fit = MeasurementErrorFayHerriot("y ~ x", errors={"x": "x_var"}).fit(frame)
    >>> bool(fit.coefficients.loc["x", "coef"] > 1.2 * naive.coefficients.loc["x", "coef"])
    True
    """

    kind: ClassVar[str] = "measurement_error_fay_herriot"

    formula: str
    errors: Mapping[Any, str] | Sequence[Sequence[str]] = ()
    domain: str = "domain"
    vardir: str = "vardir"
    level: float = 0.95
    method: str = "moments"
    prior: Prior | str | None = None

    def __post_init__(self) -> None:
        one_of("method", self.method, ("moments", "bayes"))
        if self.method != "bayes" and self.prior is not None:
            raise SaeSpecError(
                f'prior={self.prior!r} has no meaning with method="{self.method}".',
                hint='Use method="bayes".',
            )
        prior_of(self.prior)
        outcome, _ = split_formula(self.formula)
        given = self.errors
        entries = given.items() if isinstance(given, Mapping) else [(tuple(e[:-1]), e[-1]) for e in given]
        errors = tuple(((*((key,) if isinstance(key, str) else key), column)) for key, column in entries)
        object.__setattr__(self, "errors", errors)
        if not errors:
            raise SaeSpecError(
                "errors= names no column: nothing is measured with error.",
                hint='Give errors={"x": "x_var"}, or use FayHerriot.',
            )
        with_variance = {entry[0] for entry in errors if len(entry) == 2}
        for entry in errors:
            names, text = entry[:-1], " and ".join(map(str, entry[:-1]))
            if not 2 <= len(entry) <= 3 or not all(isinstance(part, str) for part in entry):
                raise SaeSpecError(
                    f"errors= has an entry {entry} that is neither a variance nor a covariance.",
                    hint='Write {"x": "column"} or {("x", "z"): "column"}.',
                )
            if len(names) == 1 and names[0] == outcome:
                raise SaeSpecError(
                    f"The variance of {outcome} is vardir={self.vardir!r}, not one of errors=."
                )
            lacking = [name for name in names if name != outcome and name not in with_variance]
            if lacking or len(set(names)) < len(names):
                raise SaeSpecError(
                    f"errors= gives a covariance of {text}, but no variance of {name_some(lacking or names)}."
                )
        keys = [frozenset(entry[:-1]) for entry in errors]
        if len(set(keys)) < len(keys):
            raise SaeSpecError("errors= names a variance or covariance twice.")
        if not 0.0 < self.level < 1.0:
            raise SaeSpecError(f"level = {self.level} is not between 0 and 1.")

    @property
    def assumption(self) -> str:
        """What is assumed of the errors of the covariates and of the outcome."""
        outcome, _ = split_formula(self.formula)
        measured = [entry[0] for entry in self.errors if len(entry) == 2]
        joined = [next(n for n in e[:-1] if n != outcome) for e in self.errors if outcome in e[:-1]]
        free = [name for name in measured if name not in joined]
        parts = [f"independent in {name_some(free)}"] if free else []
        parts += [f"correlated as given in {name_some(joined)}"] if joined else []
        return f"errors of covariates and of {outcome}: {', '.join(parts)}"

    def _words(self) -> str:
        outcome, covariates = split_formula(self.formula)
        mse = "structural, posterior" if self.method == "bayes" else "MSE: jackknife"
        return f"models {outcome} by {covariates} and an area effect; {self.assumption}; {mse}"

    def fit(
        self,
        data: DirectEstimates | pd.DataFrame,
        *,
        areas: pd.DataFrame | None = None,
        seed: int | np.random.Generator | None = None,
    ) -> Result:
        """Fit the model and predict every area, with or without a direct estimate.

        Parameters as of `FayHerriot.fit`; nothing is random, so that no seed is needed.

        Raises
        ------
        SaeInputError
            If an area has an estimate but no positive variance, lacks covariates or their error variances, or
            the covariates are mostly error; areas and columns are named.
        SaeConvergenceError
            If the equations do not settle.
        """
        outcome, covariates = split_formula(self.formula)
        rows = read_rows(
            data, areas, outcome=outcome, domain=self.domain, vardir=self.vardir, n_eff="n_eff", per=()
        )
        problem = AreaProblem.build(rows, TRANSFORMS["identity"], covariates)
        errors = read_errors(tuple(self.errors), outcome, problem)
        if self.method == "bayes":
            return fit_measured_bayes(self, problem, errors, None if seed is None else seed_of(seed))
        return fit_measured(self, problem, errors)
