"""The empirical best predictor: figures of all levels and their bootstrap error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import scipy
from numba import config

from sae.errors import SaeWarning, counted, name_some
from sae.numerics.ebp.bootstrap import Bootstrap
from sae.numerics.ebp.closed_form import share_at_top
from sae.numerics.ebp.freedom import error_freedom
from sae.numerics.ebp.indicators import ADDITIVE, Indicators
from sae.numerics.ebp.population import Level, Parameters
from sae.numerics.ebp.prediction import predict
from sae.numerics.ebp.streamed import StreamedPopulation, means
from sae.numerics.inference.joint_error import JointError
from sae.numerics.inference.transforms import TRANSFORMS
from sae.numerics.nested_error.adjusted import adjusted_variance
from sae.numerics.nested_error.profile import AreaSums
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
from sae.unit_level.ebp.intervals import replicate_intervals, without_interval
from sae.unit_level.ebp.learnt import (
    area_residuals,
    coefficient_se,
    diagnostics_of,
    error_sizes,
    gammas,
    shape_note,
    transformation,
    variances,
)
from sae.unit_level.ebp.misfit import Misfit, misfit_root
from sae.unit_level.ebp.off_census import SIMULATED, TRUE, LargeSurvey, expanded
from sae.unit_level.ebp.points import PointsOnly
from sae.unit_level.ebp.reach import FINITE, reach_messages
from sae.unit_level.ebp.rows import FigureRows
from sae.unit_level.ebp.sample import EbpArrays
from sae.unit_level.ebp.scale import EbpFit, unit_residuals
from sae.unit_level.tables import population_messages

__all__ = ["MANY", "fit_ebp", "fitted_data", "population_notes"]

MANY = 10**6  # values from which on threads are worth their start
_NOISE = 0.01  # Monte Carlo error of an estimate, as a share of it, from which on it is told
_FEW = 0.05  # share of an area's persons outside the range of the sample that goes without a word


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
    misfits: Sequence[Misfit] = (),
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
    misfits : sequence of Misfit
        To be in the error.

    Raises
    ------
    SaeInputError, SaeConvergenceError
        If an indicator has no expectation on the fitted scale.
    """
    population = arrays.people.population
    truth = fit.parameters
    if truth.sigma2_u == 0.0 and arrays.clusters is None:
        truth = replace(truth, sigma2_u=adjusted_variance(fit.sums, "ml" if method == "ml" else "reml"))
    apart = reach_messages(indicators, fit.scale, arrays.y, _share_at_top(arrays, fit, indicators))
    true_population = None
    if arrays.large is not None:
        simulated = not set(indicators.names) <= set(ADDITIVE)
        true_population = expanded(arrays.people.rows, TRUE) if simulated else arrays.people.rows
        population = expanded(arrays.people.rows, SIMULATED) if simulated else population
    names = list(arrays.names)
    levels = [one for one, _ in arrays.people.levels.values()]
    values = int(population.unit_offsets[-1]) * draws
    threads = int(config.NUMBA_NUM_THREADS) if values >= MANY else 1
    keys = None if seed is None else stream_keys(seed, "welfare", names)
    drawn = ell_rows(arrays, fit.scale, fit.fits, indicators, rows, draws, seed) if method == "ell" else None
    if isinstance(population, StreamedPopulation):
        estimate = rows.of(means(population, fit.parameters, indicators, levels, threads))
        noise = np.zeros(len(estimate))
    elif drawn is None:
        parts = [
            predict(population, fit.parameters, indicators, one, keys, draws, threads=threads)
            for one in levels
        ]
        estimate = rows.of([part for part, _ in parts])
        noise = rows.of([error for _, error in parts])
    else:
        estimate, noise = drawn.mean(axis=0), drawn.std(axis=0, ddof=1) / np.sqrt(draws)
    diagnostics = diagnostics_of(arrays, fit, method)
    messages = [*fit.messages, *apart, *population_notes(arrays, rows)]
    messages += [*_simulation_notes(rows, estimate, noise, draws), shape_note(diagnostics.iloc[0])]
    rows.refuse_infinite(~np.isfinite(estimate), indicators)
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
    more |= error_sizes(arrays, fit)
    if drawn is not None:
        predicted, true = np.broadcast_to(estimate, drawn.shape), drawn
        errors, text, predictor = drawn - estimate, f"ELL, {draws} draws", "ELL"
        messages.append(REFERENCE)
    elif mse == "none" or seed is None:
        missing = np.full(len(estimate), np.nan)
        joint = JointError.of_fits(missing, [np.zeros((0, len(estimate)))])
        ends = (missing, missing, missing, "none: no MSE", "")
        return Eblup(estimate, *ends, weight, "none", joint, PointsOnly(), tables, tuple(messages), more)
    else:
        residuals = _whole_residuals(arrays, fit) if mse == "wild" else None
        boot = Bootstrap(
            arrays.units,
            population,
            truth,
            indicators,
            levels,
            names,
            draws,
            method,
            residuals,
            arrays.weights if arrays.weighted else None,
            line,
            arrays.weights,
            true_population,
            arrays.clusters,
        )
        predicted, true = map(rows.flat, boot.pairs(replicates, seed, threads=threads))
        errors = predicted - true
        bad = ~np.isfinite(errors)
        where = f"{int(bad.any(axis=1).sum())} of {replicates} replicates of the bootstrap, of "
        rows.refuse_infinite(bad.any(axis=0), indicators, where)
        kind, share = "wild" if mse == "wild" else "parametric", float(np.sqrt(0.5 / replicates))
        what = "" if line is None else ", threshold of each replicate"
        what += "" if truth is fit.parameters else f", σu² {truth.sigma2_u:.3g} in the place of 0"
        what += "" if arrays.large is None else ", and the sampling of the survey in place of the population"
        what += ", and what the units show it to miss" if misfits else ""
        text = f"{kind} bootstrap, {replicates} replicates{what}, se to about {share:.0%}"
        predictor = "EBP"
    error = (errors**2).mean(axis=0)
    root = scipy.sparse.csr_array(errors.T / np.sqrt(len(errors)))
    shared = tuple(f"replicate {k + 1}" for k in range(len(errors)))
    if arrays.large is not None:
        from sae.unit_level.ebp.sampling import sampling_error

        domain = next(iter(arrays.people.levels))
        assert seed is not None
        keys = stream_keys(seed, "welfare of the large survey", names)
        sampling = sampling_error(arrays.large, arrays.people, domain, fit.parameters, indicators, keys)
        variance, alone = rows.flat(sampling.variance), rows.flat(sampling.alone)
        messages += _off_census(arrays.large, rows, variance, error, alone)
        error = error + variance
        root = scipy.sparse.csr_array(scipy.sparse.hstack([root, sampling.root[np.flatnonzero(rows.keep)]]))
        shared += tuple(f"large survey {k + 1}" for k in range(sampling.root.shape[1]))
    if misfits:
        columns, labels = misfit_root(misfits, arrays, rows, estimate)
        error = error + np.asarray(columns.multiply(columns).sum(axis=1)).ravel()
        root = scipy.sparse.csr_array(scipy.sparse.hstack([root, columns]))
        shared += labels
    freedom = _freedom(arrays, truth, fit.sums, rows, len(indicators.names))
    low, high, interval = replicate_intervals(
        indicators, rows, estimate, predicted, true, error, freedom, level
    )
    messages += without_interval(rows, interval)
    joint = JointError.of_root(root, error)
    source = NormalDraws(estimate, joint, TRANSFORMS["identity"], rows.streams, shared, predictor)
    return Eblup(
        estimate, error, low, high, interval, "", weight, text, joint, source, tables, tuple(messages), more
    )


def _whole_residuals(arrays: EbpArrays, fit: EbpFit) -> np.ndarray:
    """Return residuals of units with a mean square of σe²: the predicted effects have a part of theirs."""
    residuals = unit_residuals(arrays, fit)
    return np.asarray(residuals * np.sqrt(fit.parameters.sigma2_e / np.mean(residuals**2)))


def _freedom(
    arrays: EbpArrays, truth: Parameters, sums: AreaSums, rows: FigureRows, figures: int
) -> np.ndarray:
    """Return the degrees of freedom of the error of every row, (M,).

    Areas less coefficients at the least, which is what σu² has; and with clusters, whose variance is not in
    the formula.
    """
    population, levels = arrays.people.population, [one for one, _ in arrays.people.levels.values()]
    least = max(int((arrays.units.n > 0).sum()) - len(arrays.design.columns), 1)
    if arrays.clusters is not None:
        return np.full(len(rows.domain), float(least))
    parts = error_freedom(population, sums, levels, truth.sigma2_u, truth.sigma2_e)
    shape = 1, 1 + population.groups, figures
    return rows.of([np.tile(np.maximum(part, least)[:, None, None], shape) for part in parts])


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
                "The survey in place of the population has a single record in "
                f"{counted(len(single), 'domain', 'domains')}, whose sampling error cannot be seen: their "
                f"MSE is too small ({name_some(single)}).",
                SaeWarning,
            )
        )
    return messages


def fitted_data(arrays: EbpArrays, fit: EbpFit, rows: FigureRows) -> FittedData:
    """Return what was fitted, unit by unit."""
    first, size = rows.first_of_area, fit.parameters.errors.sizes(arrays.units.X)
    known = fit.parameters.sigma2_e * size**2 if len(size) else np.full(len(arrays.y), np.nan)
    return FittedData(
        fit.scale.forward(arrays.y),
        known,
        arrays.units.X,
        arrays.design.columns,
        rows.sampled,
        rows.domain,
        first[arrays.units.area],
        np.zeros(len(rows.domain), dtype=np.int64),
        fit.scale.name,
    )


def _share_at_top(arrays: EbpArrays, fit: EbpFit, indicators: Indicators) -> float:
    """Return `share_at_top`, of rows that are streamed in a pass that is spared where nothing rests on it."""
    population, at = arrays.people.population, fit.parameters
    if not isinstance(population, StreamedPopulation):
        return share_at_top(population, at)
    if not at.scale.topped or set(indicators.names) <= set(FINITE):
        return 0.0
    everybody = Level(np.zeros(population.areas, dtype=np.int64), 1)
    below = means(population, at, Indicators(("head_count",), at.scale.top), [everybody])[0]
    return max(1.0 - float(below[0, 0, 0]), 0.0)


def population_notes(arrays: EbpArrays, rows: FigureRows) -> list[Message]:
    """Return what is to be said of a population beside its sample."""
    people, messages = arrays.people, []
    alone = people.names[people.present :]
    if len(alone):
        messages.append(
            Message(
                f"{counted(len(alone), 'area of the sample is', 'areas of the sample are')} not in the "
                f"population and not predicted: {name_some(alone)}."
            )
        )
    if rows.nobody:
        empty = counted(rows.nobody, "combination", "combinations")
        messages.append(Message(f"Without a row for want of persons: {empty} of part and group."))
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
    outside = people.outside > _FEW * population.units[:D, None]
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
