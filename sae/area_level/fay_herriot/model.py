"""The Fay–Herriot model: direct estimates and covariates of areas, joined by an area effect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

import sae
from sae.area_level.arrays import AreaProblem
from sae.area_level.effects.options import (
    AR1,
    BOOTSTRAPS,
    BYM2,
    CAR,
    RW1,
    RW2,
    SAR,
    Leroux,
    check_structure,
    structure_words,
)
from sae.area_level.fay_herriot.bayes import check_bayes, fit_bayes
from sae.area_level.fay_herriot.mse import BACKS, MSES, check_mse, chosen_mse, mse_words, reported_mse
from sae.area_level.fay_herriot.structured import fit_structured
from sae.area_level.fay_herriot.structured_bayes import fit_structured_bayes
from sae.area_level.finite_population import FinitePopulation, check_population
from sae.area_level.intervals import area_intervals
from sae.area_level.rows import read_rows
from sae.area_level.tables import (
    coefficient_table,
    fit_diagnostics,
    residual_table,
    variance_table,
    warn,
)
from sae.errors import SaeSpecError
from sae.numerics.fay_herriot.fit import METHODS
from sae.numerics.fay_herriot.mse import Predictions, predict
from sae.numerics.inference.joint_error import JointError
from sae.numerics.inference.transforms import TRANSFORMS, Transform
from sae.numerics.random.streams import seed_of
from sae.results import NormalDraws, Result
from sae.specs import Specification, one_of, split_formula
from sae.specs.priors import Prior, prior_of
from sae.tables import EstimateTable

if TYPE_CHECKING:
    from sae.tables import DirectEstimates

__all__ = ["FayHerriot"]

_METHOD_WORDS = {
    "reml": "REML",
    "ml": "ML",
    "fh": "Fay–Herriot moment",
    "pr": "Prasad–Rao moment",
    "ll-reml": "Li–Lahiri adjusted REML",
    "ll-ml": "Li–Lahiri adjusted ML",
    "yl-reml": "Yoshimori–Lahiri adjusted REML",
    "yl-ml": "Yoshimori–Lahiri adjusted ML",
    "bayes": "Bayes",
}


@dataclass(frozen=True, repr=False)
class FayHerriot(Specification):
    """Fay–Herriot model of area-level direct estimates.

    h(y_d) = x_d'β + u_d + e_d, u_d ~ N(0, A), e_d ~ N(0, D_d) with D_d known.

    Parameters
    ----------
    formula : str
        "outcome ~ covariates". The outcome is an indicator of `DirectEstimates`, or a column of a frame.
    domain, vardir, n_eff : str
        Columns of a plain frame: area labels, sampling variances (natural scale, squared units), effective
        sample sizes.
    method : {"reml", "ml", "fh", "pr", "ll-reml", "ll-ml", "yl-reml", "yl-ml", "bayes"}
        Restricted or full maximum likelihood, Fay–Herriot moment, Prasad–Rao moment; likelihoods adjusted by
        Li and Lahiri or by Yoshimori and Lahiri, with which the variance is never 0; the exact posterior
        with flat coefficients.
    transform : {None, "arcsin", "log", "logit"}
        Model arcsin √y of a share, with D = 1 / (4 n_eff), or vardir by the delta method where there is no
        n_eff; log y of a positive figure; logit y of a share inside (0, 1); vardir by the delta method.
    back : {"unbiased", "naive", "crude"}
        The way back h^-1. "unbiased" is E h^-1(θ) for θ ~ N(θ̂, A (1 - γ)): (1 - exp(-2 s²) cos 2θ̂) / 2 for
        arcsin, exp(θ̂ + s²/2) for log, quadrature for logit; "naive" is h^-1(θ̂); "crude", for log only, takes
        the MSE for s².
    mse : {"auto", "analytical", "bootstrap", "bootstrap-corrected", "jackknife", "weighted-jackknife"}
        "auto" is the analytical MSE without a transformation and for log (Slud–Maiti), else the parametric
        bootstrap on the reported scale. Bootstraps need a seed.
    per : sequence of str
        Columns whose values get a fit of their own, all in one kernel call.
    level : float
        Of the intervals.
    replicates : int
        Of the bootstrap.
    spatial : SAR, BYM2, Leroux or CAR, optional
        Area effects that neighbours share; all but SAR need method="bayes". ``mse`` may then also be
        "nonparametric" or "nonparametric-corrected".
    temporal : AR1, RW1 or RW2, optional
        Effects over time within each area, beside the area effect: one row per area and period; random walks
        need method="bayes". The MSE of a likelihood estimate comes from the parametric bootstrap.
    prior : Prior or str, optional
        Of √A, with method="bayes": "flat-variance", "flat-sd", "half-normal(0.5)", "half-cauchy(0.5)",
        "pc(1, 0.01)", or an object of `sae.priors`. By default half-normal; a scale left out is the standard
        deviation of h(y) over the areas of the fit.
    population : str
        Column with the sizes N_d of the populations, which turns the estimates into figures of these finite
        populations: f·direct + (1 - f)·model with f = n/N, the MSE and the intervals counting the chance of
        the N - n persons not asked. Needs n, in a plain frame a column of that name; vardir and n_eff are
        those of the design given n: they hold its factor 1 - f.

    References
    ----------
    Fay and Herriot (1979), JASA 74, 269–277; Rao and Molina (2015), Small Area Estimation, 2nd ed., chapter
    6, and section 7.1 for the finite-population predictor.

    Examples
    --------
    >>> frame = pd.DataFrame({"area": list("ABCDEFGH"), "y": [1.1, 5.9, 5.2, 9.3, 8.6, 13.5, 13.1, None],
    ...                       "vardir": 0.4, "x": [1, 2, 3, 4, 5, 6, 7, 4]})
    >>> fit = FayHerriot("y ~ x", domain="area").fit(frame)
    >>> fit.coefficients["coef"].round(2).to_dict()
    {'Intercept': 0.3, 'x': 1.95}
    >>> round(float(fit.estimates["estimate"].iloc[7]), 1)  # H has no direct estimate
    8.1
    """

    kind: ClassVar[str] = "fay_herriot"

    formula: str
    domain: str = "domain"
    vardir: str = "vardir"
    n_eff: str = "n_eff"
    method: str = "reml"
    transform: str | None = None
    mse: str = "auto"
    per: tuple[str, ...] = ()
    level: float = 0.95
    replicates: int = 200
    spatial: SAR | BYM2 | Leroux | CAR | None = None
    temporal: AR1 | RW1 | RW2 | None = None
    back: str = "unbiased"
    population: str = ""
    prior: Prior | str | None = None

    def __post_init__(self) -> None:
        split_formula(self.formula)
        one_of("method", self.method, (*METHODS, "bayes"))
        one_of("transform", self.transform or "identity", list(TRANSFORMS))
        one_of("mse", self.mse, tuple(dict.fromkeys((*MSES, *BOOTSTRAPS))))
        one_of("back", self.back, BACKS)
        per = (self.per,) if isinstance(self.per, str) else tuple(self.per)
        object.__setattr__(self, "per", per)
        check_structure(self)
        check_bayes(self)
        if self.method != "bayes":
            check_mse(self)
        check_population(self)
        if not 0.0 < self.level < 1.0:
            raise SaeSpecError(f"level = {self.level} is not between 0 and 1.")
        if self.replicates < 2:
            raise SaeSpecError(f"replicates = {self.replicates}: a bootstrap needs at least 2.")

    @property
    def _transform(self) -> Transform:
        transform = TRANSFORMS[self.transform or "identity"]
        return transform.naive() if self.back == "naive" else transform

    @property
    def _bootstraps(self) -> bool:
        return self.method != "bayes" and chosen_mse(self).startswith("bootstrap")

    @property
    def words(self) -> str:
        """The model in a few words, as it stands in the estimate table."""
        parts = ["Fay–Herriot", _METHOD_WORDS[self.method], *([self.transform] if self.transform else [])]
        return f"{', '.join(parts)}: {self.formula}"

    def _words(self) -> str:
        if self.spatial is not None or self.temporal is not None:
            return structure_words(self)
        outcome, covariates = split_formula(self.formula)
        scale = {"arcsin": f"arcsin √{outcome}", None: outcome}.get(
            self.transform, f"{self.transform} {outcome}"
        )
        fits = f", one fit per {' × '.join(self.per)}" if self.per else ""
        if self.method == "bayes":
            prior = prior_of(self.prior).text
            return f"models {scale} by {covariates} and an area effect; exact posterior, {prior} prior{fits}"
        mse = chosen_mse(self).replace("-", " ")
        if mse == "analytical":
            mse = mse_words(self.method)
        if self._bootstraps:
            mse = f"parametric {mse}, {self.replicates} replicates"
        method = _METHOD_WORDS[self.method]
        finite = f"; figures of populations of {self.population}" if self.population else ""
        return f"models {scale} by {covariates} and an area effect; {method}{fits}; MSE: {mse}{finite}"

    def fit(
        self,
        data: DirectEstimates | pd.DataFrame,
        *,
        areas: pd.DataFrame | None = None,
        seed: int | np.random.Generator | None = None,
    ) -> Result:
        """Fit the model and predict every area, those without a direct estimate included.

        Parameters
        ----------
        data : DirectEstimates or DataFrame
            Direct estimates with their sampling variances, one row per area.
        areas : DataFrame, optional
            Covariates, joined by name on every grouping column they have; their areas that `data` lacks are
            predicted too.
        seed : int or Generator, optional
            Of the bootstrap.

        Returns
        -------
        Result

        Raises
        ------
        SaeInputError
            If an area has an estimate but no positive variance, lacks covariates, or there are no more areas
            than coefficients; the areas or columns are named.
        SaeSpecError
            If the bootstrap has no seed.
        """
        if self.spatial is not None or self.temporal is not None:
            fit = fit_structured_bayes if self.method == "bayes" else fit_structured
            return fit(self, data, areas, seed)
        if self._bootstraps and seed is None:
            raise SaeSpecError(
                "The MSE comes from a parametric bootstrap, which draws random numbers; it has no seed.",
                hint="Call fit(..., seed=1), with any number.",
            )
        outcome, covariates = split_formula(self.formula)
        rows = read_rows(
            data,
            areas,
            outcome=outcome,
            domain=self.domain,
            vardir=self.vardir,
            n_eff=self.n_eff,
            per=self.per,
        )
        finite = FinitePopulation.of_rows(rows, self.population) if self.population else None
        if finite is not None:
            rows = finite.superpopulation(rows)
        problem = AreaProblem.build(rows, self._transform, covariates)
        if self.method == "bayes":
            return fit_bayes(self, problem, None if seed is None else seed_of(seed))
        return _solve(self, problem, None if seed is None else seed_of(seed), finite)


def _solve(
    spec: FayHerriot, problem: AreaProblem, seed: int | None, finite: FinitePopulation | None
) -> Result:
    """Fit, predict, measure the error, take it back to the reported scale, and wrap it all up."""
    rows, transform, offsets = problem.rows, spec._transform, problem.offsets
    fits = problem.fit(spec.method)
    in_order = np.argsort(problem.order, kind="stable")
    chance = np.zeros(len(problem.y))
    if finite is not None:
        chance = finite.chance(problem.D[in_order], rows.sampled, rows.fit)[problem.order]
    parts: list[Predictions] = []
    size = len(problem.y)
    low, high = np.empty(size), np.empty(size)
    interval, prior = np.empty(size, dtype=object), np.empty(size, dtype=object)
    for k in range(len(rows.fits)):
        areas = slice(offsets[k], offsets[k + 1])
        A, sampled = float(fits.variance[0, k]), problem.sampled[areas]
        data = problem.y[areas], problem.D[areas], problem.X[:, areas], sampled
        part = predict(A, fits.coefficients[0, k], fits.root[0, k], *data, spec.method)
        ends = area_intervals(A, part.estimate, part.mse, *data, spec.level, chance[areas])
        low[areas], high[areas], interval[areas], prior[areas] = ends.low, ends.high, ends.words, ends.prior
        parts.append(part)
    estimate, mse, gamma, left = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("estimate", "mse", "gamma", "g1")
    )
    joint = JointError.of_fits(mse, [part.factor for part in parts])
    reported = reported_mse(spec, problem, fits, parts, seed)
    reported_joint = joint.scaled(transform.slope(estimate, left), reported.mse)
    messages = warn(problem, fits, interval)
    run = problem.run_id(spec.to_toml() + (finite.text if finite else ""), seed)
    columns = {
        "estimate": transform.mean(estimate, mse if spec.back == "crude" else left),
        "mse": reported.mse,
        "ci_low": transform.inverse(np.clip(low, *transform.bounds)),
        "ci_high": transform.inverse(np.clip(high, *transform.bounds)),
        "interval": _on_scale(interval, transform),
        "gamma": gamma,
        "mse_method": reported.words,
        "prior": prior,
    }
    columns = {name: values[in_order] for name, values in columns.items()}
    reported_joint, labels = reported_joint.reordered(in_order), problem.coefficient_labels
    source = NormalDraws(estimate[in_order], joint.reordered(in_order), transform, rows.labels, labels)
    if finite is not None:
        columns, reported_joint, source = finite.figures(columns, reported_joint, source, chance[in_order])
    table = rows.table.assign(
        **columns, in_sample=rows.sampled,
        method=f"EBLUP, {_METHOD_WORDS[spec.method]}", model=spec.words, run=run,
    )  # fmt: skip
    return Result(
        estimates=_with_errors(table, rows.groups),
        coefficients=coefficient_table(problem, fits),
        variance_components=variance_table(problem, fits, spec.method),
        diagnostics=fit_diagnostics(problem, fits, parts),
        residuals=residual_table(problem, fits, parts),
        provenance={
            "sae": sae.__version__, "model": spec.to_toml(), "seed": seed, "run": run, "warnings": messages,
            "direct": dict(rows.provenance),
        },
        spec=spec,
        areas=rows.covariates,
        title=f"Fay–Herriot ({', '.join(filter(None, (spec.transform, _METHOD_WORDS[spec.method])))})",
        joint=reported_joint,
        source=source,
    )  # fmt: skip


def _on_scale(interval: np.ndarray, transform: Transform) -> np.ndarray:
    """Say in the name of each interval on which scale its ends were computed."""
    if transform.name == "identity":
        return interval
    return np.array([f"{words}, {transform.name} scale" for words in interval], dtype=object)


def _with_errors(table: pd.DataFrame, groups: tuple[str, ...]) -> EstimateTable:
    se, magnitude = np.sqrt(table["mse"]), table["estimate"].abs()
    return EstimateTable(table.assign(se=se, cv=(se / magnitude).where(magnitude > 0), flag="e"), groups)
