"""Population means of the covariates by area: from a table of means, or from a census of units."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, counted, name_some
from sae.specs import Design
from sae.tables import labels, to_numbers
from sae.unit_level.rows import constant_columns

__all__ = ["PopulationTable", "population_table", "refuse_without_population"]

_DUMMY = re.compile(r"^(?:C\()?(?P<variable>[^()\[\]]+?)(?:,.*)?\)?\[(?:T\.)?(?P<level>.*)\]$")


@dataclass(frozen=True, eq=False)
class PopulationTable:
    """The areas to be predicted.

    Attributes
    ----------
    names : ndarray of str, shape (D,)
    x_mean : ndarray of float, shape (D, p)
        Population means of the columns of the design.
    size : ndarray of float, shape (D,)
        Numbers of units; inf where they are not known.
    frame : DataFrame
        One row per area with all that is known of it.
    """

    names: np.ndarray
    x_mean: np.ndarray
    size: np.ndarray
    frame: pd.DataFrame


def population_table(
    design: Design, frame: pd.DataFrame, names: np.ndarray, row: np.ndarray, *, domain: str, size: str | None
) -> PopulationTable:
    """Find the population mean of every column of the design, by name.

    Parameters
    ----------
    design : Design
        Learnt on the sample.
    frame : DataFrame
        One row per area with a column of means per column of the design, or several rows per area: a census
        of units or of cells, with the covariates of the formula.
    names : ndarray of str, shape (D,)
        The areas, those without a sample included.
    row : ndarray of int, shape (len(frame),)
        Area of each row.
    domain : str
        Column of the labels.
    size : str or None
        Column of the population sizes, of the cells' sizes in a census of cells.

    Raises
    ------
    SaeInputError
        If a mean, a level or a size is missing; names are given.
    """
    sizes = None if size is None else _sizes(frame, domain, size)
    if len(names) < len(frame):
        return _census(design, frame, names, row, domain, sizes)
    x_mean = np.column_stack([_column_means(design, name, frame, domain) for name in design.columns])
    return PopulationTable(names, x_mean, np.full(len(frame), np.inf) if sizes is None else sizes, frame)


def refuse_without_population(design: Design, size: str | None) -> None:
    """Refuse to predict areas of which nothing is known, where the model needs their means or sizes."""
    needed = [name for name in design.columns if name != "Intercept"]
    if needed or size is not None:
        what = "population sizes" if not needed else f"population means of {name_some(needed)}"
        raise SaeInputError(
            f"No {what}: an area's mean is predicted from those of its covariates.",
            hint="Call fit(..., areas=...) with one row per area and a column of means for each, or with a "
            "census of units.",
            column=needed[0] if needed else size,
        )


def _census(
    design: Design,
    frame: pd.DataFrame,
    names: np.ndarray,
    row: np.ndarray,
    domain: str,
    sizes: np.ndarray | None,
) -> PopulationTable:
    """Average a census of units, or of cells with their sizes."""
    X = design.rebuild(frame, names[row])
    weights = np.ones(len(frame)) if sizes is None else sizes
    total = np.bincount(row, weights, minlength=len(names))
    sums = [np.bincount(row, weights * X[:, j], minlength=len(names)) for j in range(X.shape[1])]
    x_mean = np.column_stack(sums) / total[:, None]
    others = [name for name in frame if name not in design.variables and name not in design.columns]
    constant = constant_columns(frame[list(dict.fromkeys([domain, *others]))], row)
    means = {name: x_mean[:, j] for j, name in enumerate(design.columns) if name != "Intercept"}
    table = constant.assign(**means)
    if "population" not in table:
        table = table.assign(population=total)
    return PopulationTable(names, x_mean, total, table)


def _sizes(frame: pd.DataFrame, domain: str, size: str) -> np.ndarray:
    values = _figures(frame, size, domain)
    bad = ~(values > 0)
    if bad.any():
        shown = [f"{name} ({value:g})" for name, value in zip(frame[domain][bad], values[bad], strict=True)]
        raise SaeInputError(
            f"The population size {size} is not positive in {counted(len(shown), 'row', 'rows')}: "
            f"{name_some(shown)}.",
            areas=frame[domain][bad],
            column=size,
        )
    return values


def _column_means(design: Design, name: str, frame: pd.DataFrame, domain: str) -> np.ndarray:
    """Find the means of one column of the design."""
    if name == "Intercept":
        return np.ones(len(frame))
    if name in frame:
        values = _figures(frame, name, domain)
        return values if name in design.variables or ":" in name else _shares(values, name, frame, domain)
    factors = name.split(":")
    parts = [_factor_means(design, factor, frame, domain) for factor in factors]
    known = [values for values, _ in parts if values is not None]
    # the mean of a product is the product of the means only where all but one are the same in the whole area
    varying = sum(not constant for _, constant in parts)
    if len(known) == len(factors) and varying <= 1:
        return np.prod(known, axis=0)
    raise SaeInputError(
        f"The areas have no population means of {name}.",
        hint=f"Add a column {name!r} with them: for a level of a factor its share in the population, for a "
        "function of a covariate the mean of that function; or give a census of units. "
        f"The columns are {name_some(frame, 12)}.",
        column=name,
    )


def _factor_means(
    design: Design, factor: str, frame: pd.DataFrame, domain: str
) -> tuple[np.ndarray | None, bool]:
    """Return the means of one factor of a column, and whether it is the same for all units of an area."""
    if factor in design.variables and factor not in design.levels and factor in frame:
        return _figures(frame, factor, domain), False
    dummy = _DUMMY.match(factor)
    if dummy is None:
        return None, False
    variable, level = dummy["variable"].strip(), dummy["level"]
    for spelling in (f"{variable}[T.{level}]", f"{variable}[{level}]", f"C({variable})[T.{level}]"):
        if spelling in frame:
            return _shares(_figures(frame, spelling, domain), spelling, frame, domain), False
    if variable not in frame or variable not in design.levels:
        return None, False
    _refuse_empty(frame[variable].isna().to_numpy(), frame, domain, variable)
    values, known = labels(frame[variable]).astype("object"), design.levels[variable]
    strange = ~values.isin(known).to_numpy()
    if strange.any():
        raise SaeInputError(
            f"{variable} has levels that the sample never saw: {name_some(values[strange].unique())} "
            f"(in {name_some(frame[domain][strange])}).",
            hint=f"The sample knows {name_some(known, 10)}.",
            areas=frame[domain][strange],
            column=variable,
        )
    return (values == level).to_numpy(dtype=float), True


def _shares(values: np.ndarray, column: str, frame: pd.DataFrame, domain: str) -> np.ndarray:
    """Refuse the share of a level outside [0, 1]; other columns pass."""
    bad = (values < -1e-9) | (values > 1.0 + 1e-9)
    if _DUMMY.match(column) and bad.any():
        shown = [f"{name} ({value:g})" for name, value in zip(frame[domain][bad], values[bad], strict=True)]
        raise SaeInputError(
            f"The share {column} lies outside [0, 1] in {counted(len(shown), 'area', 'areas')}: "
            f"{name_some(shown)}.",
            hint="Divide percentages by 100, counts by the population size.",
            areas=frame[domain][bad],
            column=column,
        )
    return values


def _figures(frame: pd.DataFrame, column: str, domain: str) -> np.ndarray:
    values = to_numbers(frame, column, names=frame[domain], what="The areas have")
    _refuse_empty(~np.isfinite(values), frame, domain, column)
    return values


def _refuse_empty(empty: np.ndarray, frame: pd.DataFrame, domain: str, column: str) -> None:
    if empty.any():
        areas = frame[domain][empty]
        raise SaeInputError(
            f"The population figure {column} is missing in {len(areas)} of {len(frame)} rows of the areas: "
            f"{name_some(areas)}.",
            hint="Every area needs it, those without a sample too. Fill it in, or take the areas out.",
            areas=areas,
            column=column,
        )
