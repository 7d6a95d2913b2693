"""Clusters of units, such as primary sampling units, in the sample and the population of an EBP."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from sae.errors import BoundaryVarianceWarning, SaeInputError, SaeSpecError, name_some
from sae.numerics.ebp.clusters import Clusters, SampleClusters
from sae.numerics.ebp.population import Parameters, Population
from sae.numerics.ebp.units import SampleUnits
from sae.results import Message
from sae.tables import check_spelling, require
from sae.unit_level.ebp.people import People, PeopleColumns
from sae.unit_level.rows import coded_labels, refuse_missing

__all__ = [
    "cluster_messages",
    "place_clusters",
    "refuse_clusters",
    "refuse_unclustered",
    "sample_clusters",
]


def refuse_clusters(column: str, *, method: str, mse: str, weights: str | None) -> None:
    """Refuse options that have no meaning, or no method, with clusters.

    Raises
    ------
    SaeSpecError
    """
    hint = 'Clusters go with method="reml" or "ml" and the parametric bootstrap.'
    others = (
        ("method", method, method in ("bayes", "ell")),
        ("mse", mse, mse == "wild"),
        ("weights", weights, weights is not None),
    )
    for name, value, other in others:
        if other:
            raise SaeSpecError(f"{name}={value!r} is not done with clusters={column!r}.", hint=hint)


def place_clusters(
    people: People, frame: pd.DataFrame, units: pd.DataFrame, area: np.ndarray, columns: PeopleColumns
) -> tuple[People, np.ndarray]:
    """Put the rows of each area in the order of its clusters, where the population names them.

    Clusters of the population are those of the sample that bear their names in the same area.

    Parameters
    ----------
    people : People
    frame : DataFrame
        The rows that `people` was built from.
    units : DataFrame
        The sample.
    area : ndarray of int, shape (n,)
        Of its units.
    columns : PeopleColumns

    Returns
    -------
    People
    cluster : ndarray of int, shape (n,)
        Of the units, numbered from 0, those of an area together.

    Raises
    ------
    SaeInputError
        If a label is missing or spelt in two ways, or a linked unit lies in two clusters.
    """
    column = columns.clusters
    assert column is not None
    require(units, [column], "The units have", hint="clusters= names it.")
    refuse_missing(units, column)
    code, names, _ = coded_labels(units[column])
    if column not in frame:
        if columns.linked is not None:
            raise SaeInputError(
                f"The population has no column {column!r}: where the other units of the clusters of the "
                f"sample are is not known.",
                hint=f"linked={columns.linked!r} with clusters={column!r} needs the clusters of the "
                "population; without linked= it may go without.",
                column=column,
            )
        _, cluster = np.unique(area * len(names) + code, return_inverse=True)
        return people, cluster
    refuse_missing(frame, column, "rows of the population")
    both = [side[[column]].drop_duplicates() for side in (units, frame)]
    check_spelling(both[0], both[1], [column], ("the units", "the population"))
    row_code, theirs, _ = coded_labels(frame[column])
    row_area, _, _ = coded_labels(frame[columns.domain])
    every = pd.Index(theirs).append(pd.Index(names)).unique()
    ours, cluster = np.unique(area * len(every) + every.get_indexer(names)[code], return_inverse=True)
    keys, of_row = np.unique(row_area * len(every) + row_code, return_inverse=True)
    within = np.argsort(of_row[np.argsort(row_area, kind="stable")], kind="stable")
    sampled = pd.Index(ours).get_indexer(keys)
    clusters = Clusters(
        np.concatenate([[0], np.cumsum(np.bincount(of_row, minlength=len(keys)))]),
        np.searchsorted(keys // len(every), np.arange(len(people.names) + 1)),
        sampled,
    )
    population = _sorted(people.rows, within, clusters)
    if population.linked is not None:
        of_sorted = np.repeat(np.arange(len(keys)), clusters.sizes)
        mine = population.linked >= 0
        moved = np.flatnonzero(cluster[population.linked[mine]] != sampled[of_sorted[mine]])
        if len(moved):
            named = units[columns.linked].iloc[population.linked[mine][moved]]
            raise SaeInputError(
                f"{len(moved)} units lie in another {column} in the sample than in the population: "
                f"{name_some(named)}.",
                column=column,
            )
    return replace(people, population=population), cluster


def _sorted(population: Population, order: np.ndarray, clusters: Clusters) -> Population:
    """Return the rows in another order, which keeps their areas."""
    names = ("X", "weight", "group", "linked", "count")
    columns = {name: getattr(population, name) for name in names}
    moved = {name: values[order] for name, values in columns.items() if values is not None}
    return replace(population, clusters=clusters, **moved)


def sample_clusters(units: SampleUnits, cluster: np.ndarray) -> SampleClusters:
    """Return the clusters of sorted units, (n,) each."""
    first = np.flatnonzero(np.diff(cluster, prepend=-1))
    of_clusters = SampleUnits.of(units.X, cluster, len(first))
    return SampleClusters(of_clusters, units.area[first], units.areas)


def cluster_messages(
    sample: SampleClusters, clusters: Clusters | None, at: Parameters, column: str
) -> list[Message]:
    """Say what is known of the clusters of the population, and whether they matter."""
    messages = []
    if clusters is None:
        messages.append(
            Message(
                f"The population has no column {column!r}: each of its units has an effect of a {column} of "
                "its own, as if an area had very many of them. The MSE misses what few of them change."
            )
        )
    else:
        known = int((clusters.sampled >= 0).sum())
        messages.append(
            Message(
                f"{known} of {len(sample.area)} values of {column} in the sample are in the population, in "
                "the same area and by name: their units there have the effect that the sample tells. The "
                f"population has {len(clusters.sampled)}."
            )
        )
    if at.sigma2_u == 0.0:
        messages.append(
            Message(
                "The variance between areas is estimated exactly 0: covariates and effects of clusters of "
                "the sample alone tell areas apart. The bootstrap draws no area effects, and its errors come "
                "out too small.",
                BoundaryVarianceWarning,
            )
        )
    if at.sigma2_v == 0.0:
        messages.append(Message(f"The variance between values of {column} is estimated exactly 0."))
    return messages


def refuse_unclustered(sample: SampleClusters, column: str, outcome: str, error: ValueError) -> None:
    """Say by name why the units cannot tell areas and clusters apart, as a kernel found.

    Raises
    ------
    SaeInputError
    """
    code = error.args[1] if len(error.args) > 1 else 0
    clusters, n = len(sample.area), len(sample.units.X)
    if code == -2:
        raise SaeInputError(
            f"{outcome} does not vary within the {clusters} values of {column} beyond what the covariates "
            "explain: σe² would be 0.",
            hint="Persons of a household with one income are one unit: take households as rows, with "
            'population_weights="..." their numbers of persons, and leave clusters= out.',
            column=column,
        ) from None
    if code == -1:
        raise SaeInputError(
            f"{n} units in {clusters} values of {column} leave no degree of freedom within them.",
            hint="Leave clusters= out, or name clusters of several units each.",
            column=column,
        ) from None
    if code == -4:
        raise SaeInputError(
            f"No area has two values of {column} with units: areas and clusters cannot be told apart.",
            hint="Leave clusters= out.",
            column=column,
        ) from None
    if code == -5:
        sampled = len(np.unique(sample.area))
        raise SaeInputError(
            f"{sampled} areas with a sample are too few for their effect beside the covariates that are the "
            "same in all units of each.",
            hint="Use fewer such covariates.",
        ) from None
