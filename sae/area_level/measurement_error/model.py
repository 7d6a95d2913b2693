"""The Fay–Herriot model with covariates that are estimates themselves, from the same or another sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import pandas as pd

from sae.area_level.arrays import AreaArrays
from sae.area_level.measurement_error.bayes import fit_measured_bayes
from sae.area_level.measurement_error.errors import read_errors
from sae.area_level.measurement_error.moments import fit_measured
from sae.area_level.priors import check_bayes
from sae.area_level.reading import read_rows
from sae.errors import SaeSpecError, name_some
from sae.numerics.inference.transforms import TRANSFORMS
from sae.results import AreaModel, Message, Result, RunRecord, eblup_result, posterior_result
from sae.specs import one_of, split_formula
from sae.specs.priors import Prior

__all__ = ["MeasurementErrorFayHerriot"]


@dataclass(frozen=True, repr=False)
class MeasurementErrorFayHerriot(AreaModel[Result]):
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
    >>> fit = sae.MeasurementErrorFayHerriot("y ~ x", errors={"x": "x_var"}).fit(frame)
    >>> bool(fit.coefficients.loc["x", "coef"] > 1.2 * naive.coefficients.loc["x", "coef"])
    True
    """

    kind: ClassVar[str] = "measurement_error_fay_herriot"

    errors: Mapping[Any, str] | Sequence[Sequence[str]] = ()
    vardir: str = "vardir"
    method: Literal["moments", "bayes"] = "moments"
    prior: Prior | str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("method", self.method, ("moments", "bayes"))
        check_bayes(self.method, self.prior, {})
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

    def _description(self) -> str:
        outcome, covariates = split_formula(self.formula)
        mse = "structural, posterior" if self.method == "bayes" else "MSE: jackknife"
        return f"models {outcome} by {covariates} and an area effect; {self.assumption}; {mse}"

    def _fit(self, data: Any, areas: pd.DataFrame | None, seed: int | None) -> Result:
        outcome, covariates = split_formula(self.formula)
        rows = read_rows(
            data, areas, outcome=outcome, domain=self.domain, vardir=self.vardir, n_eff="n_eff", per=()
        )
        arrays = AreaArrays.build(rows, TRANSFORMS["identity"], covariates)
        errors = read_errors(tuple(self.errors), outcome, arrays)
        assumption = Message(f"{self.assumption}.")
        if self.method == "bayes":
            measured = [entry[0] for entry in self.errors if len(entry) == 2]
            posterior = fit_measured_bayes(arrays, errors, measured, prior=self.prior, level=self.level)
            title = "Fay–Herriot, structural measurement error"
            label = f"{title}, {self.assumption}: {self.formula}"
            run = arrays.run_id(self, seed, errors.C, errors.c)
            record = RunRecord(f"{title} (Bayes)", "posterior mean", run, seed, label)
            return posterior_result(self, rows, arrays.data, posterior, record)
        eblup = fit_measured(arrays, errors, level=self.level)
        eblup = replace(eblup, messages=(*eblup.messages, assumption))
        title = "Measurement-error Fay–Herriot (Ybarra–Lohr)"
        run = arrays.run_id(self, None, errors.C, errors.c)
        record = RunRecord(title, "Ybarra–Lohr, moments", run, None, f"{title}: {self.formula}")
        return eblup_result(self, rows, arrays.data, eblup, record)
