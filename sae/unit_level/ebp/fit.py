"""The empirical best predictor: figures of all levels and their bootstrap error."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy
from numba import config

from sae.errors import SaeConvergenceError, SaeInputError, SaeWarning, name_some
from sae.numerics.ebp.bootstrap import Bootstrap
from sae.numerics.ebp.closed_form import unreached
from sae.numerics.ebp.indicators import Indicators, quantile_share
from sae.numerics.ebp.prediction import predict
from sae.numerics.inference.joint_error import JointError
from sae.numerics.inference.tails import student_quantile
from sae.numerics.inference.transforms import TRANSFORMS
from sae.numerics.random.streams import stream_keys
from sae.results import (
    Eblup,
    FitTables,
    FittedData,
    Message,
    NormalDraws,
    coefficient_index,
    coefficient_table,
)
from sae.unit_level.ebp.ell import REFERENCE, ell_rows
from sae.unit_level.ebp.learnt import (
    area_residuals,
    coefficient_se,
    diagnostics_of,
    gammas,
    shape_note,
    transformation,
    variances,
)
from sae.unit_level.ebp.off_census import LargeSurvey
from sae.unit_level.ebp.points import PointsOnly
from sae.unit_level.ebp.rows import FigureRows
from sae.unit_level.ebp.sample import EbpArrays
from sae.unit_level.ebp.scale import EbpFit, unit_residuals
from sae.unit_level.tables import population_messages

__all__ = ["FINITE", "MANY", "fit_ebp", "fitted_data", "population_notes"]

MANY = 10**6  # values from which on threads are worth their start
_NOISE = 0.01  # Monte Carlo error of an estimate, as a share of it, from which on it is told
_FEW = 0.05  # share of an area's persons outside the range of the sample that goes without a word
FINITE = ("head_count", "gap", "severity")  # finite whatever welfare is


def fit_ebp(
    arrays: EbpArrays,
    fit: EbpFit,
    indicators: Indicators,
    rows: FigureRows,
    *,
    method: str,
    mse: str,
    level: float,
    draws: int,
    replicates: int,
    seed: int | None,
    line: Callable[[np.ndarray, np.ndarray], float] | None = None,
) -> Eblup:
    """Predict the figures and measure their error.

    Parameters
    ----------
    arrays : EbpArrays
    fit : EbpFit
    indicators : Indicators
    rows : FigureRows
        The rows of the table.
    method : {"reml", "ml", "ell"}
    mse : {"none", "bootstrap", "wild"}
        Not of ELL, whose draws give both.
    level : float
        Of the intervals.
    draws, replicates : int
        Simulated populations of a prediction, and bootstrap replicates.
    seed : int or None
    line : callable, optional
        What the threshold comes from, where it is none of its own: a function of (values, weights).

    Raises
    ------
    SaeInputError, SaeConvergenceError
        If an indicator has no expectation on the fitted scale.
    """
    population = arrays.people.population
    _refuse_infinite(arrays, fit, indicators)
    names = list(arrays.names)
    levels = [one for one, _ in arrays.people.levels.values()]
    values = int(population.unit_offsets[-1]) * draws
    threads = int(config.NUMBA_NUM_THREADS) if values >= MANY else 1
    keys = None if seed is None else stream_keys(seed, "welfare", names)
    drawn = ell_rows(arrays, fit.scale, fit.fits, indicators, rows, draws, seed) if method == "ell" else None
    if drawn is None:
        parts = [
            predict(population, fit.parameters, indicators, one, keys, draws, threads=threads)
            for one in levels
        ]
        estimate = rows.of([part for part, _ in parts])
        noise = rows.of([error for _, error in parts])
    else:
        estimate, noise = drawn.mean(axis=0), drawn.std(axis=0, ddof=1) / np.sqrt(draws)
    diagnostics = diagnostics_of(arrays, fit, method)
    messages = [*fit.messages, *population_notes(arrays, rows)]
    messages += [*_simulation_notes(rows, estimate, noise, draws), shape_note(diagnostics.iloc[0])]
    if not np.isfinite(estimate).all():
        raise SaeConvergenceError(
            f"{name_some(rows.indicator[~np.isfinite(estimate)])} is no finite number in "
            f"{name_some(rows.domain[~np.isfinite(estimate)])}.",
            hint="Shares of the total need a total above 0: look for negative welfare among the simulated.",
            areas=rows.domain[~np.isfinite(estimate)],
        )
    tables = FitTables(
        coefficient_table(
            fit.parameters.coefficients, coefficient_se(fit), coefficient_index(arrays.design.columns)
        ),
        variances(arrays, fit),
        diagnostics,
        area_residuals(arrays, fit, rows),
    )
    gamma = gammas(arrays, fit) if drawn is None else np.zeros(len(names))
    weight = np.where(rows.area >= 0, gamma[rows.area], np.nan)
    more = {"transformation": transformation(fit), "threshold": indicators.threshold}
    if drawn is not None:
        errors, text, predictor = drawn - estimate, f"ELL, {draws} draws", "ELL"
        messages.append(REFERENCE)
    elif mse == "none" or seed is None:
        missing = np.full(len(estimate), np.nan)
        joint = JointError.of_fits(missing, [np.zeros((0, len(estimate)))])
        ends = (missing, missing, missing, "none: no MSE", "")
        return Eblup(estimate, *ends, weight, "none", joint, PointsOnly(), tables, tuple(messages), more)
    else:
        residuals = unit_residuals(arrays, fit) if mse == "wild" else None
        boot = Bootstrap(
            arrays.units,
            population,
            fit.parameters,
            indicators,
            levels,
            names,
            draws,
            method,
            residuals,
            arrays.weights if arrays.weighted else None,
            line,
            arrays.weights,
            arrays.large is not None,
        )
        errors = rows.flat(boot.errors(replicates, seed, threads=threads))
        kind, share = "wild" if mse == "wild" else "parametric", float(np.sqrt(0.5 / replicates))
        what = "" if line is None else ", threshold of each replicate"
        what += "" if arrays.large is None else ", and the sampling of the survey in place of the population"
        text = f"{kind} bootstrap, {replicates} replicates{what}, se to about {share:.0%}"
        predictor = "EBP"
    error = (errors**2).mean(axis=0)
    root = scipy.sparse.csr_array(errors.T / np.sqrt(len(errors)))
    shared = tuple(f"replicate {k + 1}" for k in range(len(errors)))
    if arrays.large is not None:
        from sae.unit_level.ebp.sampling import sampling_error

        domain = next(iter(arrays.people.levels))
        sampling = sampling_error(arrays.large, arrays.people, domain, fit.parameters, indicators)
        variance, alone = rows.flat(sampling.variance), rows.flat(sampling.alone)
        messages += _off_census(arrays.large, rows, variance, error, alone)
        error = error + variance
        root = scipy.sparse.csr_array(scipy.sparse.hstack([root, sampling.root[np.flatnonzero(rows.keep)]]))
        shared += tuple(f"large survey {k + 1}" for k in range(sampling.root.shape[1]))
    m = int((arrays.units.n > 0).sum()) - len(arrays.design.columns)
    low, high, interval = _interval(indicators, rows, estimate, error, max(m, 1), level)
    joint = JointError.of_root(root, error)
    source = NormalDraws(estimate, joint, TRANSFORMS["identity"], rows.streams, shared, predictor)
    return Eblup(
        estimate, error, low, high, interval, "", weight, text, joint, source, tables, tuple(messages), more
    )


def _off_census(
    large: LargeSurvey, rows: FigureRows, variance: np.ndarray, model: np.ndarray, alone: np.ndarray
) -> list[Message]:
    """Say what stands for the population, and which of its figures show no sampling error."""
    with np.errstate(invalid="ignore", divide="ignore"):
        share = float(np.nanmedian(variance / (variance + model)))
    messages = [
        Message(
            f"Off-census: {len(large.inside)} records of a survey, weighted, stand for the population. Its "
            f"sampling error is in the MSE, {share:.0%} of it at the median."
        )
    ]
    single = list(dict.fromkeys(rows.domain[alone]))
    if single:
        messages.append(
            Message(
                f"The survey in place of the population has a single record in {len(single)} domains, whose "
                f"sampling error cannot be seen: their MSE is too small ({name_some(single)}).",
                SaeWarning,
            )
        )
    return messages


def fitted_data(arrays: EbpArrays, fit: EbpFit, rows: FigureRows) -> FittedData:
    """Return what was fitted, unit by unit."""
    first = rows.first_of_area
    return FittedData(
        fit.scale.forward(arrays.y),
        np.full(len(arrays.y), np.nan),
        arrays.units.X,
        arrays.design.columns,
        rows.sampled,
        rows.domain,
        first[arrays.units.area],
        np.zeros(len(rows.domain), dtype=np.int64),
        fit.scale.name,
    )


def _refuse_infinite(arrays: EbpArrays, fit: EbpFit, indicators: Indicators) -> None:
    asked = [name for name in indicators.names if name not in FINITE and quantile_share(name) is None]
    many = unreached(arrays.people.population, fit.parameters) if asked else 0
    if many:
        raise SaeInputError(
            f"{name_some(asked)}: with λ = {fit.scale.parameter:.4g} the expected welfare of {many} units of "
            "the population is infinite: Box–Cox with a negative λ never reaches them.",
            hint='Use transform="log" or "dual-power", which reach all of it.',
        )


def population_notes(arrays: EbpArrays, rows: FigureRows) -> list[Message]:
    """Return what is to be said of a population beside its sample."""
    people, messages = arrays.people, []
    alone = people.names[people.present :]
    if len(alone):
        messages.append(
            Message(
                f"{len(alone)} areas of the sample are not in the population and are not predicted: "
                f"{name_some(alone)}."
            )
        )
    if rows.nobody:
        messages.append(Message(f"{rows.nobody} combinations of part and group have nobody and no row."))
    population, D = people.population, people.present
    few = people.names[:D][arrays.units.n[:D] > population.units[:D]]
    if len(few):
        messages.append(
            Message(
                f"The population has fewer units than the sample in {len(few)} of {D} areas: "
                f"{name_some(few)}. It needs a row for each of them: means of areas have no distribution.",
                SaeWarning,
            )
        )
    beyond = arrays.design.outside(population.X)
    if population.count is not None:
        beyond = beyond * population.count[:, None]
    share = np.add.reduceat(beyond, population.offsets[:D], axis=0, dtype=np.int64)
    outside = share > _FEW * population.units[:D, None]
    return messages + population_messages(arrays.units.X, outside, arrays.design.columns, people.names[:D])


def _simulation_notes(rows: FigureRows, estimate: np.ndarray, noise: np.ndarray, draws: int) -> list[Message]:
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = noise / np.abs(estimate)
    if np.nanmax(relative, initial=0.0) <= _NOISE:
        return []
    worst = int(np.nanargmax(relative))
    return [
        Message(
            f"Simulated with {draws} populations: Monte Carlo error up to {relative[worst]:.1%} of an "
            f"estimate ({rows.indicator[worst]} of {rows.domain[worst]}); draws= takes more."
        )
    ]


def _interval(
    indicators: Indicators,
    rows: FigureRows,
    estimate: np.ndarray,
    mse: np.ndarray,
    freedom: int,
    level: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Student's t on the MSE: of shares on the logit scale, of what is positive on the logarithm."""
    half = student_quantile(0.5 + 0.5 * level, freedom) * np.sqrt(mse)
    low, high = estimate - half, estimate + half
    text = np.full(len(estimate), "t on the MSE", dtype=object)
    share = np.isin(rows.indicator, [*FINITE, "gini"]) & (estimate > 0.0) & (estimate < 1.0)
    if share.any():
        p = estimate[share]
        step, middle = half[share] / (p * (1.0 - p)), scipy.special.logit(p)
        low[share], high[share] = (scipy.special.expit(middle + s * step) for s in (-1.0, 1.0))
        text[share] = "t on the MSE, logit scale"
    positive = ~share & (estimate > 0.0) & ~np.isin(rows.indicator, list(indicators.functions))
    positive &= (low < 0.0) | (rows.indicator == "quintile_share")
    if positive.any():
        step = np.exp(half[positive] / estimate[positive])
        low[positive], high[positive] = estimate[positive] / step, estimate[positive] * step
        text[positive] = "t on the MSE, log scale"
    return low, high, text
