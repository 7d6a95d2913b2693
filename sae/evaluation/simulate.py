"""Draw a design from a known population again and again, and hold the estimates against the truth."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.datasets import Country
from sae.design_based import direct
from sae.errors import SaeInputError, SaeSpecError, SaeWarning, name_some
from sae.indicators import Indicator, IndicatorArrays, arrays, check_accept, resolve
from sae.literals import Smoothing
from sae.numerics.random.streams import generator, seed_of
from sae.planning.with_model.plan import OversamplePlan
from sae.survey import Survey
from sae.tables import Allocation, Covariates, DirectEstimates, label_text, labels, pandas_frame, require

__all__ = ["BANDS", "Evaluation", "evaluate"]

BANDS = ((0, 0), (1, 4), (5, 9), (10, 19), (20, 39), (40, None))  # interviews in the domain
_PREDICTORS = ("direct", "model")

Design = Allocation | OversamplePlan | Mapping[str, int] | Callable[[int], Survey]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Errors over repetitions.

    Attributes
    ----------
    cells : DataFrame
        One row per repetition and domain: ``repetition, domain, n, truth``, and for ``direct`` and ``model``
        the estimate and the ends of the interval, ``*_low`` and ``*_high``.
    expected, required : Series
        Root mean squared error of the model by domain that the plan expects, averaged over the posterior of
        the model variance, and that was asked for with the plan's assurance;
        NaN where the design was no plan.
    failed : tuple of str
        Repetitions in which the model could not be fitted, with the reason; they are in `cells` without its
        estimates.
    """

    cells: pd.DataFrame
    expected: pd.Series
    required: pd.Series
    failed: tuple[str, ...]

    @cached_property
    def bands(self) -> pd.DataFrame:
        """Bias, RMSE, coverage and mean length of the intervals by sample size and predictor."""
        lines = []
        for low, high in BANDS:
            name = f"{low}" if low == high else f"{low}-{high}" if high is not None else f"{low}+"
            inside = self.cells[self.cells["n"].between(low, np.inf if high is None else high)]
            lines += [{"band": name, "predictor": which, **_figures(inside, which)} for which in _PREDICTORS]
        lines += [{"band": "all", "predictor": which, **_figures(self.cells, which)} for which in _PREDICTORS]
        return pd.DataFrame(lines)

    @cached_property
    def domains(self) -> pd.DataFrame:
        """Truth, mean sample size, and RMSE of both predictors by domain, beside what was planned."""
        grouped = self.cells.groupby("domain", sort=False)
        table = pd.DataFrame({"truth": grouped["truth"].first(), "n": grouped["n"].mean()})
        for which in _PREDICTORS:
            square = (self.cells[which] - self.cells["truth"]) ** 2
            table[f"{which}_rmse"] = np.sqrt(square.groupby(self.cells["domain"], sort=False).mean())
        table = table.assign(expected_rmse=self.expected, required_rmse=self.required)
        return table.rename_axis("domain").reset_index()

    @property
    def promise(self) -> pd.Series:
        """Whether the plan kept its promise, over domains with a target: root mean squares over them.

        The promise is one over domains like these, not for each: a domain far off the regression line errs
        more in every sample. ``error`` is the standard error of ``attained``, domains being the clusters.
        """
        table = self.domains[np.isfinite(self.domains["required_rmse"])]
        square = table["model_rmse"].to_numpy() ** 2
        attained = float(np.sqrt(square.mean())) if len(table) else np.nan
        error = np.nan
        if len(table) > 1:
            error = float(square.std(ddof=1) / np.sqrt(len(square)) / (2.0 * attained))
        expected, required = (
            float(np.sqrt((table[name] ** 2).mean())) for name in ("expected_rmse", "required_rmse")
        )
        return pd.Series(
            {
                "domains": len(table),
                "required": required,
                "expected": expected,
                "attained": attained,
                "error": error,
                "direct": float(np.sqrt((table["direct_rmse"] ** 2).mean())),
                "share_within": float((table["model_rmse"] <= table["required_rmse"]).mean()),
                "kept": bool(attained <= required + 2.0 * error),
            }
        )

    def __repr__(self) -> str:
        samples, domains = self.cells["repetition"].nunique(), self.cells["domain"].nunique()
        head = f"Evaluation: {samples} samples of {domains} domains"
        failed = f"; {len(self.failed)} without a model" if self.failed else ""
        return f"{head}{failed}\n{self.bands.to_string(index=False, float_format='{:.4g}'.format)}"


@answered
def evaluate(
    population: pd.DataFrame | Country,
    design: Design,
    model: Any,
    indicator: str | Indicator,
    *,
    domain: str,
    stratum: str | None = None,
    areas: pd.DataFrame | Covariates | None = None,
    group: str = "",
    smoothing: Smoothing | None = "deff",
    repetitions: int = 100,
    seed: int | np.random.Generator,
    accept: str | Sequence[str] = (),
) -> Evaluation:
    """Repeat a design on a population, estimate directly and by the model, and compare with the truth.

    Parameters
    ----------
    population : DataFrame or Country
        One row per person. Every figure of it is known.
    design : Allocation, OversamplePlan, mapping of stratum to n, or callable
        Sizes by stratum: simple random samples of the members of `group` without replacement, weighted by
        N/n. A callable makes a survey from a seed, such as ``country.lfs``.
    model : specification
        What is fitted to the direct estimates, such as `FayHerriot`.
    indicator : str or Indicator
    domain, stratum : str
        Columns of the population; `stratum` by default the domain.
    areas : DataFrame or Covariates, optional
        Covariates of the model by domain.
    group : str
        Expression of who is interviewed, such as ``"birth == 'foreign' and 20 <= age <= 64"``; a callable's
        survey is cut down to it.
    smoothing : str or None
        Of the sampling variances: see `sae.direct`.
    repetitions : int
    seed : int or Generator
        Streams are named by repetition and stratum: another stratum or repetition changes no other.
    accept : str or sequence of str
        As in `sae.direct`: what runs by name only.

    Raises
    ------
    SaeInputError, SaeSpecError
        If strata of the design are not in the population or hold fewer members than it wants; they are named.

    Examples
    --------
    >>> land = sae.datasets.country(seed=1, regions=24)
    >>> model = sae.FayHerriot("employment_rate ~ register_employment")
    >>> result = sae.evaluation.evaluate(land, land.lfs, model, "employment_rate", domain="region",
    ...                                  areas=land.areas, repetitions=2, seed=1)
    >>> result.cells["repetition"].nunique(), result.bands["band"].iloc[-1]
    (2, 'all')
    """
    if repetitions < 1:
        raise SaeSpecError(f"repetitions = {repetitions}: at least one sample is needed.")
    people = (
        population.population if isinstance(population, Country) else pandas_frame(population, "The persons")
    )
    _refuse_columns(people, [domain, *([stratum] if stratum else [])])
    number = seed_of(seed)
    whole = Survey.from_frame(people.assign(_one=1.0), weights="_one")
    chosen = whole.subset(group) if group else whole
    resolved = resolve(indicator, chosen)
    truth = _truth(arrays(resolved, chosen, check_accept(accept, [resolved])), chosen, domain)
    draw = _drawer(chosen, design, stratum or domain, group, number)
    cells, failed = [], []
    for repetition in range(repetitions):
        survey = draw(repetition)
        table = _direct(survey, indicator, domain, smoothing, accept)
        cell, reason = _one(table, domain, model, areas, truth, number, repetition)
        cells.append(cell)
        failed += [f"{repetition}: {reason}"] if reason else []
    expected, required = _planned(design, truth.index)
    return Evaluation(pd.concat(cells, ignore_index=True), expected, required, tuple(failed))


def _refuse_columns(people: pd.DataFrame, wanted: list[str]) -> None:
    require(people, wanted, "The population has")


def _truth(data: IndicatorArrays, chosen: Survey, domain: str) -> pd.Series:
    """Return the true figures by domain; a domain without anybody in the universe has none."""
    names = labels(chosen.frame[domain], keep_missing=True).to_numpy(dtype=object)
    sums = (
        pd.DataFrame(
            {
                "domain": names[data.inside],
                "numerator": np.asarray(data.numerator, float)[data.inside],
                "denominator": np.asarray(data.denominator, float)[data.inside],
            }
        )
        .groupby("domain")
        .sum()
    )
    return (sums["numerator"] / sums["denominator"]).rename("truth")


def _drawer(chosen: Survey, design: Design, stratum: str, group: str, seed: int) -> Callable[[int], Survey]:
    if not isinstance(design, (Allocation, OversamplePlan, Mapping)):
        if not callable(design):
            raise SaeSpecError("The design is neither an allocation nor sizes by stratum nor makes surveys.")

        def surveyed(repetition: int) -> Survey:
            survey = design(int(generator(seed, "survey", repetition).integers(2**31)))
            return survey.subset(group) if group else survey

        return surveyed
    sizes = _sizes(design)
    rows = np.flatnonzero(chosen.mask) if chosen.mask is not None else np.arange(len(chosen.frame))
    codes, strata = pd.factorize(labels(chosen.frame[stratum].iloc[rows]), sort=True)
    order = np.argsort(codes, kind="stable")
    members = dict(zip(strata, np.split(rows[order], np.cumsum(np.bincount(codes))[:-1]), strict=True))
    missing = [name for name, n in sizes.items() if n > 0 and name not in members]
    if missing:
        raise SaeInputError(
            f"{len(missing)} strata of the design have nobody in the population: {name_some(missing)}.",
            areas=missing,
            column=stratum,
        )
    short = {name: n for name, n in sizes.items() if n > 0 and n > len(members[name])}
    if short:
        shown = [f"{name} ({n} of {len(members[name])})" for name, n in short.items()]
        raise SaeInputError(
            f"The design wants more interviews than there are members: {name_some(shown)}.", areas=short
        )
    frame = chosen.frame.drop(columns="_one")

    def drawn(repetition: int) -> Survey:
        parts, weights, counts = [], [], []
        for name, n in sizes.items():
            if n > 0:
                here = members[name]
                rng = generator(seed, "sample", f"{repetition}\x1f{name}")
                parts.append(rng.choice(here, n, replace=False))
                weights.append(np.full(n, len(here) / n))
                counts.append(np.full(n, float(len(here))))
        sample = frame.iloc[np.concatenate(parts)].reset_index(drop=True)
        sample = sample.assign(_weight=np.concatenate(weights), _members=np.concatenate(counts))
        return Survey.from_frame(
            sample, weights="_weight", strata=stratum, fpc="_members", lonely_psu="average"
        )

    return drawn


def _sizes(design: Allocation | OversamplePlan | Mapping[str, int]) -> dict[str, int]:
    if isinstance(design, OversamplePlan):
        design = design.allocation
    if isinstance(design, Allocation):
        return dict(zip(design.frame["stratum"], design.frame["n"].astype(int), strict=True))
    return {label_text(name): int(n) for name, n in design.items()}


def _direct(
    survey: Survey,
    indicator: str | Indicator,
    domain: str,
    smoothing: Smoothing | None,
    accept: str | Sequence[str],
) -> DirectEstimates:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaeWarning)
        return direct(survey, indicator, by=[domain], smoothing=smoothing, accept=accept)


def _one(
    table: DirectEstimates,
    domain: str,
    model: Any,
    areas: pd.DataFrame | Covariates | None,
    truth: pd.Series,
    seed: int,
    repetition: int,
) -> tuple[pd.DataFrame, str]:
    """Estimate from one sample; one row per domain of the truth, and why there is no model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaeWarning)
        lines = table.frame.set_index(labels(table.frame[domain])).reindex(truth.index)
        cell = pd.DataFrame(
            {
                "repetition": repetition,
                "domain": truth.index,
                "n": lines["n"].astype("Float64").fillna(0).to_numpy(int),
                "truth": truth.to_numpy(),
                "direct": lines["estimate"].to_numpy(float),
                "direct_low": lines["ci_low"].to_numpy(float),
                "direct_high": lines["ci_high"].to_numpy(float),
            }
        )
        try:
            draws = generator(seed, "fit", repetition)
            fit = model.fit(table, areas=areas, seed=int(draws.integers(2**31)))
        except (SaeInputError, ArithmeticError) as error:
            nothing = np.full(len(cell), np.nan)
            reason = str(error).splitlines()[0]
            return cell.assign(model=nothing, model_low=nothing, model_high=nothing), reason
    frame = fit.estimates.frame
    frame = frame.set_index("domain").reindex(truth.index)
    return cell.assign(
        model=frame["estimate"].to_numpy(float),
        model_low=frame["ci_low"].to_numpy(float),
        model_high=frame["ci_high"].to_numpy(float),
    ), ""


def _planned(design: Design, domains: pd.Index) -> tuple[pd.Series, pd.Series]:
    nothing = pd.Series(np.nan, index=domains)
    if not isinstance(design, OversamplePlan):
        return nothing, nothing
    table = design.domains.set_index("domain")
    expected = table["model_cv"] * table["estimate"].abs()
    required = table["required_rmse"].where(table["met"] & np.isfinite(table["required_rmse"]))
    return expected.reindex(domains), required.reindex(domains)


def _figures(cells: pd.DataFrame, which: str) -> dict[str, float]:
    known = cells[np.isfinite(cells[which])]
    error = known[which] - known["truth"]
    low, high = known[f"{which}_low"], known[f"{which}_high"]
    bounded = np.isfinite(low) & np.isfinite(high)
    covered = (low <= known["truth"]) & (known["truth"] <= high)
    nothing = {"cells": 0, "bias": np.nan, "rmse": np.nan, "coverage": np.nan, "length": np.nan}
    if not len(known):
        return nothing
    return {
        "cells": len(known),
        "bias": float(error.mean()),
        "rmse": float(np.sqrt((error**2).mean())),
        "coverage": float(covered[bounded].mean()) if bounded.any() else np.nan,
        "length": float((high - low)[bounded].mean()) if bounded.any() else np.nan,
    }
