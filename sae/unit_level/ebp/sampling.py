"""The sampling error of figures whose population is a large survey."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

import numpy as np
import pandas as pd
import scipy

from sae.design_based.design import read_design
from sae.design_based.domains import Domains
from sae.design_based.linear import replicate_variance
from sae.design_based.poverty_statistics import LOCAL
from sae.numerics.design.quantiles import income_densities, quantiles, sort_segments
from sae.numerics.design.replicates import replicate_totals
from sae.numerics.ebp.closed_form import unit_values
from sae.numerics.ebp.indicators import ADDITIVE, Indicators, Parts, quantile_share
from sae.numerics.ebp.population import Level, Parameters, Population
from sae.numerics.ebp.simulation import DRAW_BLOCK, welfare
from sae.survey import Survey
from sae.unit_level.ebp.off_census import SIMULATED, LargeSurvey, expanded
from sae.unit_level.ebp.people import People
from sae.unit_level.rows import coded_labels

__all__ = ["SamplingError", "sampling_error"]

_DRAWS = 5 * DRAW_BLOCK  # simulated populations in which figures that are no means are differentiated


@dataclass(frozen=True, eq=False)
class SamplingError:
    """What the large survey adds to the errors of M figures.

    Attributes
    ----------
    variance : ndarray of float, shape (M,)
    root : sparse array, shape (M, C)
        Its covariance is root root', but for what a policy for lonely strata adds.
    alone : ndarray of bool, shape (M,)
        Figures of a single record: it shows no spread, and its variance is 0.
    """

    variance: np.ndarray
    root: scipy.sparse.csr_array
    alone: np.ndarray


def sampling_error(
    large: LargeSurvey,
    people: People,
    domain: str,
    parameters: Parameters,
    indicators: Indicators,
    keys: np.ndarray,
) -> SamplingError:
    """Return the sampling error of all figures of all levels, each level raveled as of `predict`.

    Replicate weights are used where the survey has them, else the variance is linearised, with its strata,
    units, stages, finite population corrections and calibration. What is no mean is differentiated by the
    weight of every record in simulated populations, or computed anew in them with the replicate weights.

    Raises
    ------
    SaeInputError
        If a stratum has one unit and the survey was read with lonely_psu="fail".
    """
    population = people.rows
    order = np.argsort(coded_labels(large.frame[domain])[0], kind="stable")
    record = large.inside[order]
    persons = large.persons[order]
    area = np.repeat(np.arange(population.areas), population.sizes)
    closed = tuple(name for name in indicators.names if name in ADDITIVE)
    values = dict(zip(closed, unit_values(population, parameters, closed, indicators.threshold), strict=True))
    sample = _Records(large.survey, record, persons, values, indicators, None)
    if len(closed) < len(indicators.names):
        sample = replace(sample, drawn=_Drawn(expanded(population, SIMULATED), parameters, keys))
    parts = []
    for level, _ in people.levels.values():
        part = level.part[area]
        pieces = [_of_domains(sample, part, level.size)]
        if population.group is not None:
            G = population.groups
            cell = part * G + population.group
            pieces.append(_of_domains(sample, cell, level.size * G))
        parts.append(_level(level, population.groups, pieces))
    return SamplingError(
        np.concatenate([one.variance for one in parts]),
        scipy.sparse.csr_array(scipy.sparse.vstack([one.root for one in parts])),
        np.concatenate([one.alone for one in parts]),
    )


def _level(level: Level, groups: int, pieces: list[SamplingError]) -> SamplingError:
    """Put the figures of parts and of their groups in the order (part, 1 + groups, K)."""
    K = len(pieces[0].variance) // level.size
    of_part = np.arange(level.size)[:, None] * K + np.arange(K)
    of_group = level.size * K + np.arange(level.size * groups * K).reshape(level.size, groups, K)
    place = np.concatenate([of_part[:, None, :], of_group], axis=1).ravel()
    root = scipy.sparse.csr_array(scipy.sparse.vstack([one.root for one in pieces]))
    return SamplingError(
        np.concatenate([one.variance for one in pieces])[place],
        root[place],
        np.concatenate([one.alone for one in pieces])[place],
    )


@dataclass(frozen=True, eq=False)
class _Drawn:
    """Simulated welfare of the units that records stand for.

    Attributes
    ----------
    population : Population
        Whose rows have a count.
    parameters : Parameters
    keys : ndarray of uint64, shape (D,)
    """

    population: Population
    parameters: Parameters
    keys: np.ndarray

    @property
    def count(self) -> np.ndarray:
        """Units of each record, (N,)."""
        assert self.population.count is not None
        return self.population.count

    @cached_property
    def record(self) -> np.ndarray:
        """Record of each unit, (units,)."""
        return np.repeat(np.arange(len(self.count)), self.count)

    def welfare(self) -> Iterator[np.ndarray]:
        """Yield welfare of the units, some draws at a time."""
        population, areas = self.population, np.arange(self.population.areas)
        score = population.scores(self.parameters)
        for start in range(0, _DRAWS, DRAW_BLOCK):
            stop = start + DRAW_BLOCK
            yield welfare(population, self.parameters, score, areas, self.keys, start, stop)

    def influence(self, name: str, weight: np.ndarray, domain: np.ndarray, size: int) -> np.ndarray:
        """Return the mean derivative of a figure of domains by the weight of each record, (N,)."""
        codes, w = domain[self.record], (weight / self.count)[self.record]
        share, total = quantile_share(name), np.zeros(len(domain))
        for y in chain.from_iterable(self.welfare()):
            if share is not None:
                local = _quantile(y, w, codes, size, share)
            else:
                local = LOCAL["gini" if name == "gini" else "qsr"](y, w, codes, size)[1]
            total += np.bincount(self.record, local, len(domain))
        return np.asarray(total / (_DRAWS * self.count))

    def figures(
        self, indicators: Indicators, weight: np.ndarray, domain: np.ndarray, size: int
    ) -> np.ndarray:
        """Return the mean figures of domains with other weights of the records, (size, K)."""
        w = (weight / self.count)[self.record]
        order = np.argsort(domain[self.record], kind="stable")
        order = order[w[order] > 0.0]
        units = np.bincount(domain[self.record[order]], minlength=size)
        there = np.flatnonzero(units)
        bounds = np.concatenate([[0], np.cumsum(units[there])])
        out = np.full((size, len(indicators.names)), np.nan)
        parts = Parts(bounds, w[order])
        drawn = [indicators.of_parts(Y[:, order], parts)[:, :, 0].sum(axis=0) for Y in self.welfare()]
        out[there] = np.sum(drawn, axis=0) / _DRAWS
        return out


def _quantile(y: np.ndarray, w: np.ndarray, codes: np.ndarray, size: int, share: float) -> np.ndarray:
    segments = sort_segments(y, codes, size, np.isfinite(y))
    sorted_w, domain = w[segments.order], codes[segments.order]
    at = quantiles(segments.values, sorted_w, segments.offsets, np.full(size, share))
    density = income_densities(segments.values, sorted_w, segments.offsets, at)
    total = np.bincount(domain, sorted_w, size)
    local = np.zeros(len(y))
    with np.errstate(invalid="ignore", divide="ignore"):
        local[segments.order] = (share - (segments.values <= at[domain])) / (total * density)[domain]
    return np.nan_to_num(local, posinf=0.0, neginf=0.0)


@dataclass(frozen=True, eq=False)
class _Records:
    """Records of the large survey in the order of the population, and what they say of the figures.

    Attributes
    ----------
    survey : Survey
    record : ndarray of int, shape (N,)
        Their places in it.
    persons : ndarray of float, shape (N,)
    values : mapping of str to ndarray of float, shape (N,)
        Of figures that are means: what each is expected to add.
    indicators : Indicators
    drawn : _Drawn or None
        For the others.
    """

    survey: Survey
    record: np.ndarray
    persons: np.ndarray
    values: dict[str, np.ndarray]
    indicators: Indicators
    drawn: _Drawn | None


def _of_domains(sample: _Records, domain: np.ndarray, size: int) -> SamplingError:
    """Return the sampling error of figures of domains, in the order (domain, K).

    Means are ratios Σ w p v / Σ w p.
    """
    survey, record = sample.survey, sample.record
    n = len(survey.weights)
    codes = np.full(n, -1, dtype=np.int32)
    codes[record] = domain
    inside = codes >= 0
    w = np.asarray(survey.weights, dtype=float)
    alone = np.bincount(domain, minlength=size) == 1
    domains = Domains(("domain",), codes, pd.DataFrame(index=range(size)), ())
    design = None if survey.replicates is not None else read_design(survey, domains)
    simulated = None if design is not None else _simulated_replicates(sample, domain, size)
    variances, roots = [], []
    for k, name in enumerate(sample.indicators.names):
        if design is not None:
            local = np.zeros(n)
            local[record] = _local(sample, name, w[record] * sample.persons, domain, size)
            scores = design.scores(local, inside, np.empty((n, 0)), np.empty((size, 0)))
            variances.append(design.variance(scores))
            roots.append(design.root(scores))
            continue
        assert survey.replicates is not None
        if name in sample.values:
            mean, theta = _mean_replicates(sample, name, codes, inside, size)
        else:
            assert simulated is not None
            mean, theta = simulated[0][:, k], simulated[1][:, :, k].T
        part = replicate_variance(theta, mean, survey.replicates)
        variances.append(np.nan_to_num(part["variance"]))
        roots.append(scipy.sparse.csr_array(np.nan_to_num(part["factors"])))
    K = len(sample.indicators.names)
    place = np.arange(K * size).reshape(K, size).T.ravel()
    root = scipy.sparse.csr_array(scipy.sparse.vstack(roots))
    return SamplingError(np.concatenate(variances)[place], root[place], np.repeat(alone, K))


def _local(sample: _Records, name: str, weight: np.ndarray, domain: np.ndarray, size: int) -> np.ndarray:
    """Return the derivative of a figure of domains by the weight of each record in the survey, (N,)."""
    if name not in sample.values:
        assert sample.drawn is not None
        return sample.persons * sample.drawn.influence(name, weight, domain, size)
    total, v = np.bincount(domain, weight, size), sample.values[name]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(domain, weight * v, size) / total
    return np.asarray(sample.persons * (v - mean[domain]) / total[domain])


def _mean_replicates(
    sample: _Records, name: str, codes: np.ndarray, inside: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return means of domains, (size,), and those of every replicate, (size, R)."""
    survey, record = sample.survey, sample.record
    assert survey.replicates is not None
    y, x = np.zeros(len(codes)), np.zeros(len(codes))
    x[record], y[record] = sample.persons, sample.persons * sample.values[name]
    w = np.asarray(survey.weights, dtype=float)
    replicates = np.ascontiguousarray(survey.replicates.weights, dtype=float)
    sums = replicate_totals(replicates, codes, inside, y, x, size)
    total = np.bincount(codes[record], (w * x)[record], size)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.bincount(codes[record], (w * y)[record], size) / total, sums[0] / sums[1]


def _simulated_replicates(
    sample: _Records, domain: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return figures that are no means, (size, K), and those of every replicate, (R, size, K)."""
    survey = sample.survey
    if sample.drawn is None or survey.replicates is None:
        return None
    every = [survey.weights, *np.asarray(survey.replicates.weights, dtype=float).T]
    made = [
        sample.drawn.figures(
            sample.indicators, np.asarray(w, dtype=float)[sample.record] * sample.persons, domain, size
        )
        for w in every
    ]
    return made[0], np.stack(made[1:])
