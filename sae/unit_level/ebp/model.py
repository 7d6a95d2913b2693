"""The empirical best predictor: indicators of the distribution of welfare in areas."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from sae.numerics.ebp.indicators import ADDITIVE, Indicators
from sae.numerics.ebp.population import Population
from sae.results import Message, Result, RunRecord, UnitModel, eblup_result, posterior_result
from sae.specs import one_of, split_formula
from sae.specs.priors import Prior
from sae.survey import Survey
from sae.unit_level.alike import alike_messages
from sae.unit_level.ebp.bayes import fit_bayes
from sae.unit_level.ebp.checks import compare_units, comparison_messages
from sae.unit_level.ebp.fit import fit_ebp, fitted_data
from sae.unit_level.ebp.limits import held_rows, refuse_large
from sae.unit_level.ebp.misfit import area_misfits, misfit_messages
from sae.unit_level.ebp.off_census import refuse_off_census
from sae.unit_level.ebp.options import POOR, REPLICATES, check_options, is_number, listed_indicators
from sae.unit_level.ebp.people import PeopleColumns
from sae.unit_level.ebp.rows import FigureRows
from sae.unit_level.ebp.sample import EbpArrays, poverty_line
from sae.unit_level.ebp.scale import EbpFit, fit_scale
from sae.unit_level.priors import unit_prior
from sae.unit_level.rows import UnitRows
from sae.unit_level.unit_context import refuse_unit_context

__all__ = ["EBP"]

Welfare = Literal["none", "log", "log-shift", "box-cox", "dual-power"]
EbpMethod = Literal["reml", "ml", "bayes", "ell"]
EbpMse = Literal["auto", "bootstrap", "wild", "none"]
Errors = Literal["normal", "empirical", "heteroscedastic"]
_DRAWS, _POSTERIOR_DRAWS = 100, 1000  # where draws= says nothing


@dataclass(frozen=True, repr=False)
class EBP(UnitModel[Result]):
    """Empirical best predictor of indicators of a distribution, after Molina and Rao.

    h(y_di) = x_di'β + u_d + e_di, u_d ~ N(0, σu²), e_di ~ N(0, σe²), with h a transformation of welfare y.
    The figures of an area are what indicators of its whole population are expected to be, given the sample.

    Parameters
    ----------
    formula : str
        "welfare ~ covariates": columns of the units; the population has the covariates.
    domain : str
        Column of the area labels, in the units and in the population.
    indicators : sequence of str and callable, or mapping
        "mean", "head_count", "gap", "severity" (Foster–Greer–Thorbecke with α = 0, 1, 2), "median",
        "quantile_1" to "quantile_99", "quintile_share" (S80/S20), "gini"; or functions of one's own, of
        (values, weights) to a number, by their own names or in a mapping from names.
    transform : {"box-cox", "log-shift", "dual-power", "log", "none"}
        λ, or the shift of "log-shift", is estimated by the likelihood of `method`, and again in each
        replicate of the bootstrap. The dual power (y^λ - y^-λ) / 2λ depends on the unit of money: figures of
        welfare in euros and in thousands of euros differ, if only in a later digit; with the others they are
        the same.
    shift : float, optional
        Added before "log", "box-cox" or "dual-power". By default welfare of 0 or less gets one for "box-cox"
        and "dual-power", which a note names, and is refused for "log".
    threshold : float, str or callable, optional
        Poverty line; poor is who is strictly below. A number; "60% of the median", of the units, with their
        weights; or a function of (values, weights) of the units. One that comes from the units has an error,
        which is in the MSE: every replicate of the bootstrap takes that of its own sample, and is judged by
        that of its own population, weighted by `population_weights`. "bayes" and "ell" take it as it stands.
    weights : str, optional
        Column of survey weights: the pseudo-EB predictor of Guadarrama, Molina and Rao, which leans on the
        weighted mean of an area, so that a sample drawn with an eye to welfare biases it hardly. The
        variances and the parameter of the transformation are estimated without weights. The weights serve a
        threshold taken from the units too; those of a `Survey` serve it alone.
    population_weights : str, optional
        Column of the population: what each row counts for, such as the size of a household. Where the sample
        has it too its units count so when they are compared with the fit.
    levels : str or sequence of str
        Columns of the population that put whole areas together: further rows of the table, from the same
        populations.
    groups : str, optional
        Column of the population that divides areas: further rows for each of its values.
    linked : str, optional
        Column of names of units, in both: units of the sample keep their observed welfare. By default all
        units of the population are predicted (census EB).
    clusters : str, optional
        Column of the units that names clusters whose units are alike, such as the primary sampling units of
        the survey: one effect of the area and one of each cluster in it, h(y_dci) = x_dci'β + u_d + v_dc +
        e_dci, v_dc ~ N(0, σv²). A cluster of several areas has an effect in each. Where the population has
        the column its units share the effects of their clusters, and those of clusters that bear the name of
        one of the sample, in the same area, are as the sample tells them; else each unit stands alone, and
        the MSE misses that an area has few clusters. With "reml", "ml" and the parametric bootstrap; sizes
        of heteroscedastic errors, and the transformation with them, are then those of one effect a cluster.
    unit_context : bool
        Allow a model whose covariates are all the same for all units of an area. It is refused otherwise:
        beyond means without a transformation its figures are biased.
    method : {"reml", "ml", "bayes", "ell"}
        Restricted or full maximum likelihood; or the exact posterior, of which each draw makes a population:
        estimates are means of its indicators over draws, intervals their quantiles. "ell" is Elbers, Lanjouw
        and Lanjouw's on the REML fit, a reference and no rival: it draws all effects anew, so that the units
        of an area say nothing of it; mean and variance of `draws` populations.
    mse : {"auto", "bootstrap", "wild", "none"}
        "bootstrap" is the parametric one, of the model as it stands. "auto" adds to it what the units of the
        sample show the fit to miss beyond chance (level 1 %), all of them or area by area, of means, head
        counts, gaps and severities; a message says so. With "bayes" it is the posterior variance. "wild"
        keeps the sizes of the residuals; or figures alone.
    prior : Prior or str, optional
        For "bayes", of σu: an object of `sae.priors` or its text; by default half-normal with the standard
        deviation of h(y) for its scale. "flat-ratio" is flat on σu²/σe². σe² has density 1/σe², the
        coefficients are flat.
    errors : {"normal", "empirical", "heteroscedastic"}
        Of units on the transformed scale: "empirical" puts the residuals of the fit, smoothed and scaled to
        σe², in the place of the normal, in figures and bootstrap; "heteroscedastic" divides them first by
        sizes exp(x'α / 2), which the likelihood estimates with the transformation and the variances, and
        which weigh the units of an area. Area effects stay normal, and so does the likelihood that
        estimates: a semi-parametric predictor for tails that no transformation makes normal.
    replicates : int
        Of the bootstrap.
    draws : int, optional
        Simulated populations of each prediction of an indicator without a closed form, by default 100.
        Means, head counts, gaps and severities are not simulated. With "bayes" independent draws from the
        posterior, by default 1,000, each with a population, whatever the indicator.
    level : float
        Of the intervals.

    Notes
    -----
    The population, ``fit(..., areas=)``, is

    - a frame, one row per person or household;
    - the path of a Parquet file or a folder of them, which may be larger than the memory: rows alike in all
      columns that are used are counted in one pass, and figures are made of the counts. Means, head counts,
      gaps and severities, and their parametric bootstrap, are then those of all rows; what is simulated is
      simulated person by person. Numbers that are all different (an age in days, calibrated weights) make no
      counts: such a file is read in blocks, checked in one pass and added up in the next, and the bootstrap
      takes a pass for as many replicates as 250 MB of sums and streams hold. What is simulated and "wild"
      need its rows in memory and are refused where they do not fit: give whole areas in parts, whose figures
      do not depend on the others. An MSE with a threshold of the sample is refused too;
    - a `Survey`: off-census EB. A large survey stands for a population that nobody has: figures are those of
      its records by their weights, and its own sampling error is in the MSE, independent of that of the
      sample. For quantiles, quintile shares, the Gini and functions every record stands for several persons,
      1,000 in an area, 10,000 in a replicate's truth; their sampling error is linearised in simulated
      populations, or that of replicate weights, which functions need.

    Intervals of the bootstrap are taken where errors are nearly normal of one size: shares on the arcsine
    scale, what is positive on the logarithm, with the bias and the standard deviation of the replicates there
    and Student's t. Its degrees of freedom are those of the two estimated variances in the error of the part
    (Satterthwaite), areas less coefficients at the least. Where σu² is estimated 0, replicates have the
    variance at which the likelihood times σu is largest. Under the model 95 % intervals held .953 to .965 of
    the truths with 40 areas, and up to .99 with 8 or 12 and hardly any variance between them.

    Box–Cox with λ < 0 ends before all of welfare: welfare of the population is held at five times the largest
    of the sample, by likelihood, in replicates and in draws of the posterior alike. A note says what part of
    the mean rests on it; above 10 % means, quintile shares, Gini and own functions are refused.

    Whatever is random has a stream of its area, in which the units of sample and population follow each other
    as their rows do: the order of the areas, and areas beside them, change no number; that of the rows of an
    area changes figures that are simulated, and bootstraps, as another seed would.

    With "bayes" the parameter of the transformation has a posterior too: λ is flat over its range, as is the
    logarithm of what a shift makes of the least welfare, and the other priors are those of h(y) / J^(1/n), J
    being the Jacobian, as Box and Cox have it. A scale in the prior of σu is one at the λ of restricted
    likelihood and moves with the standard deviation of h(y). Coefficients, variances and residuals of the
    table are those at that λ. The mean of an area estimates from 1,000 draws to 3 % of its posterior standard
    deviation. On a logarithmic scale the posterior expectation of a mean is infinite by a tail that no draw
    reaches unless the sample has few degrees of freedom, which a note says; quantiles always exist. A
    threshold that comes from the units is taken as known.

    References
    ----------
    Molina and Rao (2010), Canadian J. Statist. 38, 369–385; Rojas-Perilla, Pannier, Schmid and Tzavidis
    (2020), JRSS A 183, 121–148; Guadarrama, Molina and Rao (2018), Comput. Stat. Data Anal. 121, 20–40;
    Corral, Molina and Nguyen (2021), J. Surv. Stat. Methodol. 9 (census EB); Molina, Marín and Acero (2025),
    arXiv:2510.10812 (off-census); Molina, Nandram and Rao (2014), Ann. Appl. Stat. 8, 852–885 (hierarchical
    Bayes); Box and Cox (1964), JRSS B 26, 211–252.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> people = pd.DataFrame({"city": np.repeat(list("ABCDEF"), 50), "age": rng.integers(20, 65, 300)})
    >>> effect = people["city"].map({"A": 0.3, "B": 0.1, "C": 0.0, "D": -0.1, "E": -0.2, "F": 0.1})
    >>> people["income"] = np.exp(9.0 + 0.01 * people["age"] + effect + 0.4 * rng.normal(size=300))
    >>> sample = people[people["city"] != "F"].groupby("city").head(12)
    >>> model = sae.EBP("income ~ age", domain="city", indicators=["head_count", "gini"], transform="log",
    ...                 threshold=9000.0, replicates=50, draws=50)
    >>> fit = model.fit(sample, areas=people[["city", "age"]], seed=1)
    >>> fit.estimates[["domain", "indicator", "n"]].head(3).values.tolist()
    [['A', 'head_count', 12], ['A', 'gini', 12], ['B', 'head_count', 12]]
    """

    kind: ClassVar[str] = "ebp"

    indicators: Any = ("mean", "head_count", "gap")
    transform: Welfare = "box-cox"
    shift: float | None = None
    threshold: Any = None
    weights: str | None = None
    population_weights: str | None = None
    levels: Any = ()
    groups: str | None = None
    linked: str | None = None
    method: EbpMethod = "reml"
    mse: EbpMse = "auto"
    prior: Prior | str | None = None
    replicates: int = REPLICATES
    draws: int | None = None
    unit_context: bool = False
    errors: Errors = "normal"
    clusters: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("transform", self.transform, Welfare)
        one_of("method", self.method, EbpMethod)
        one_of("mse", self.mse, EbpMse)
        one_of("errors", self.errors, Errors)
        object.__setattr__(self, "indicators", listed_indicators(self.indicators))
        levels = (self.levels,) if isinstance(self.levels, str) else tuple(self.levels)
        object.__setattr__(self, "levels", levels)
        check_options(self, self._names)
        if self.prior is not None:
            object.__setattr__(self, "prior", unit_prior(self.prior))

    @property
    def overlapping(self) -> tuple[str, ...]:
        """Columns whose rows count the same persons again: levels, and groups with their total."""
        return (*(("level",) if self.levels else ()), *((self.groups,) if self.groups is not None else ()))

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(name if isinstance(name, str) else name[0] for name in self.indicators)

    @property
    def _likelihood(self) -> str:
        return "ml" if self.method == "ml" else "reml"

    @property
    def label(self) -> str:
        """The model in a few words, as it stands in the estimate table."""
        return f"{self._predictor}, {self.transform}, {self._method}: {self.formula}"

    @property
    def _method(self) -> str:
        errors = f", {self.errors} errors" if self.errors != "normal" else ""
        return "Bayes" if self.method == "bayes" else self.method.upper() + errors

    @property
    def _error(self) -> str:
        """The bootstrap, or "none"."""
        return "bootstrap" if self.mse == "auto" else self.mse

    def to_dict(self) -> dict[str, Any]:
        """Return kind, formula and every option that differs from its default; of functions their names."""
        options = super().to_dict()
        if "indicators" in options:
            options["indicators"] = list(self._names)
        if callable(self.threshold):
            options["threshold"] = f"function {getattr(self.threshold, '__name__', 'of the units')}"
        return options

    def _description(self) -> str:
        outcome, covariates = split_formula(self.formula)
        what = (
            f"predicts {', '.join(self._names)} of {outcome} ({self.transform}) by {covariates} and an effect"
        )
        if self.method == "ell":
            return f"{what} of {self.domain}, drawn anew; ELL, {self.draws or _DRAWS} draws"
        if self.method == "bayes":
            return (
                f"{what} of {self.domain}; exact posterior, prior of σu {unit_prior(self.prior)}, "
                f"{self.draws or _POSTERIOR_DRAWS} draws"
            )
        what += f" of {self.domain}" + ("" if self.clusters is None else f" and one of {self.clusters}")
        mse = {"bootstrap": "parametric bootstrap", "wild": "wild bootstrap", "none": "no MSE"}[self._error]
        more = "" if self.mse == "none" else f", {self.replicates} replicates"
        weights = "" if self.weights is None else f"; pseudo-EB with the weights {self.weights}"
        return f"{what}; {self.method.upper()}{weights}; {mse}{more}"

    @property
    def _predictor(self) -> str:
        if self.clusters is not None:
            return "two-fold EBP"
        return "EBP" if self.weights is None else "pseudo-EBP"

    @property
    def _random_step(self) -> str:
        if self.method == "ell":
            return "ELL comes from simulated populations"
        if self.method == "bayes":
            return "The figures come from populations drawn from the posterior"
        if self.mse != "none":
            return "The MSE comes from a bootstrap"
        simulated = [name for name in self._names if name not in ADDITIVE]
        return f"{simulated[0]} comes from simulated populations" if simulated else ""

    def _fit(
        self, data: pd.DataFrame | Survey, areas: pd.DataFrame | Survey | str | Path | None, seed: int | None
    ) -> Result:
        functions = {one[0]: one[1] for one in self.indicators if not isinstance(one, str)}
        if isinstance(areas, Survey):
            wanted = Indicators(self._names, functions=functions)
            refuse_off_census(areas, wanted, self.method, self.mse, self.linked, self.clusters)
        outcome, covariates = split_formula(self.formula)
        columns = PeopleColumns(
            self.domain, self.population_weights, self.levels, self.groups, self.linked, self.clusters
        )
        moves = any(name in POOR for name in self._names) and not is_number(self.threshold)
        arrays = EbpArrays.build(
            data,
            areas,
            outcome=outcome,
            covariates=covariates,
            columns=columns,
            weights=self.weights,
            held=held_rows(self._names, self.method, self._error, moves, self.clusters),
        )
        if self._names != ("mean",) or self.transform != "none":
            units = arrays.units
            refuse_unit_context(units.X, units.area, arrays.design.columns, unit_context=self.unit_context)
        line = np.nan if self.threshold is None else poverty_line(self.threshold, arrays.y, arrays.weights)
        line_of = partial(poverty_line, self.threshold) if moves else None
        indicators = Indicators(self._names, line, functions)
        population = arrays.people.population
        if isinstance(population, Population) and population.count is not None:
            refuse_large(arrays.people, indicators, self.method, self._error, line_of is not None)
        rows = FigureRows.build(arrays, indicators, self.groups)
        fit = fit_scale(
            arrays,
            outcome=outcome,
            transform=self.transform,
            shift=self.shift,
            method=self._likelihood,
            clusters=self.clusters,
            errors=self.errors,
        )
        comparisons = compare_units(arrays, fit, indicators)
        added = self.mse == "auto" and self.method in ("reml", "ml")
        misfits = [] if self.method == "ell" else area_misfits(arrays, fit, indicators, comparisons)
        held = [one.indicator for one in misfits if one.common > 0.0] if added else []
        apart = comparison_messages(comparisons, errors=self.errors, added=held)
        apart += misfit_messages(misfits, added=added)
        fit = replace(fit, messages=(*fit.messages, *apart, *self._alike(data, outcome, arrays, fit)))
        overall = {
            "overall": {one.indicator: one.record for one in comparisons},
            "misfit": {one.indicator: one.record for one in misfits},
        }
        groups = rows.groups(arrays, self.groups)
        table = UnitRows(
            rows.columns(groups),
            rows.frame(),
            {"units": len(arrays.y), "population": int(population.unit_offsets[-1])},
            groups,
        )
        run = arrays.run_id(self, seed)
        if self.method == "bayes":
            assert seed is not None
            made = fit_bayes(
                arrays,
                fit,
                indicators,
                rows,
                prior=self.prior,
                level=self.level,
                draws=self.draws or _POSTERIOR_DRAWS,
                seed=seed,
            )
            made = replace(made, more={**made.more, **overall})
            title = f"EBP ({self.transform}, Bayes, prior of σu {made.prior})"
            record = RunRecord(title, "posterior predictive mean", run, seed)
            return posterior_result(self, table, fitted_data(arrays, fit, rows), made, record)
        eblup = fit_ebp(
            arrays,
            fit,
            indicators,
            rows,
            method=self.method,
            mse=self._error,
            level=self.level,
            draws=self.draws or _DRAWS,
            replicates=self.replicates,
            seed=seed,
            line=line_of,
            misfits=[one for one in misfits if one.counts and added],
        )
        eblup = replace(eblup, more={**eblup.more, **overall})
        predictor = "ELL, REML" if self.method == "ell" else f"{self._predictor}, {self._method}"
        record = RunRecord(f"{self._predictor} ({self.transform}, {self._method})", predictor, run, seed)
        return eblup_result(self, table, fitted_data(arrays, fit, rows), eblup, record)

    def _alike(
        self, data: pd.DataFrame | Survey, outcome: str, arrays: EbpArrays, fit: EbpFit
    ) -> list[Message]:
        units = arrays.units
        return alike_messages(
            data,
            arrays.y,
            fit.scale.forward(arrays.y) - units.X @ fit.parameters.coefficients,
            units.area,
            units.order,
            outcome=outcome,
            remedy="" if self.clusters else 'clusters="{}" gives each an effect, with method="reml"',
            shared=", with population_weights= the persons of each",
        )
