"""The sampling error of figures whose population is a large survey: the variance of weighted means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

from sae.design_based.design import read_design
from sae.design_based.domains import Domains
from sae.design_based.linear import replicate_variance
from sae.numerics.design.replicates import replicate_totals
from sae.numerics.ebp.closed_form import unit_values
from sae.numerics.ebp.indicators import Indicators
from sae.numerics.ebp.population import Level, Parameters
from sae.survey import Survey
from sae.unit_level.ebp.off_census import LargeSurvey
from sae.unit_level.ebp.people import People
from sae.unit_level.rows import coded_labels

__all__ = ["SamplingError", "sampling_error"]


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
    large: LargeSurvey, people: People, domain: str, parameters: Parameters, indicators: Indicators
) -> SamplingError:
    """Return the sampling error of all figures of all levels, each level raveled as of `predict`.

    Replicate weights are used where the survey has them, else the variance is linearised, with its strata,
    units, stages, finite population corrections and calibration.

    Raises
    ------
    SaeInputError
        If a stratum has one unit and the survey was read with lonely_psu="fail".
    """
    population = people.population
    order = np.argsort(coded_labels(large.frame[domain])[0], kind="stable")
    record = large.inside[order]
    persons = large.persons[order]
    area = np.repeat(np.arange(population.areas), population.sizes)
    values = unit_values(population, parameters, indicators.names, indicators.threshold)
    parts = []
    for level, _ in people.levels.values():
        part = level.part[area]
        pieces = [_of_domains(large.survey, record, persons, part, level.size, values)]
        if population.group is not None:
            G = population.groups
            cell = part * G + population.group
            pieces.append(_of_domains(large.survey, record, persons, cell, level.size * G, values))
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


def _of_domains(
    survey: Survey,
    record: np.ndarray,
    persons: np.ndarray,
    domain: np.ndarray,
    size: int,
    values: np.ndarray,
) -> SamplingError:
    """Return the sampling error of ratios Σ w p v / Σ w p of domains, in the order (domain, K)."""
    n = len(survey.weights)
    codes = np.full(n, -1, dtype=np.int32)
    codes[record] = domain
    inside = codes >= 0
    x, w = np.zeros(n), np.asarray(survey.weights, dtype=float)
    x[record] = persons
    total = np.bincount(domain, w[record] * persons, size)
    alone = np.bincount(domain, minlength=size) == 1
    domains = Domains(("domain",), codes, pd.DataFrame(index=range(size)), ())
    design = None if survey.replicates is not None else read_design(survey, domains)
    variances, roots = [], []
    for v in values:
        y = np.zeros(n)
        y[record] = persons * v
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.bincount(domain, (w * y)[record], size) / total
        if survey.replicates is not None:
            sums = replicate_totals(
                np.ascontiguousarray(survey.replicates.weights, dtype=float), codes, inside, y, x, size
            )
            with np.errstate(invalid="ignore", divide="ignore"):
                theta = sums[0] / sums[1]
            part = replicate_variance(theta, mean, survey.replicates)
            variances.append(np.nan_to_num(part["variance"]))
            roots.append(scipy.sparse.csr_array(np.nan_to_num(part["factors"])))
            continue
        assert design is not None
        local = np.zeros(n)
        local[record] = (y[record] - mean[domain] * x[record]) / total[domain]
        scores = design.scores(local, inside, np.empty((n, 0)), np.empty((size, 0)))
        variances.append(design.variance(scores))
        roots.append(design.root(scores))
    place = np.arange(len(values) * size).reshape(len(values), size).T.ravel()
    root = scipy.sparse.csr_array(scipy.sparse.vstack(roots))
    return SamplingError(np.concatenate(variances)[place], root[place], np.repeat(alone, len(values)))
