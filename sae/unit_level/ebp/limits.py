"""How many persons can be simulated at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sae.errors import SaeInputError
from sae.numerics.ebp.indicators import ADDITIVE, Indicators
from sae.unit_level.ebp.people import People

__all__ = ["held_rows", "refuse_large"]

_UNIT = 64.0  # bytes that a simulated person takes: a block of draws
_DRAWN = 128.0  # four draws from a posterior, and a copy of each for what sorts them
_MEMORY = 2e9


def held_rows(
    names: Sequence[str], method: str, mse: str, line: bool, clusters: str | None
) -> tuple[str, str] | None:
    """Return what needs the rows of the population in memory, and what to do where they do not fit.

    None where rows may be read one after the other.

    Parameters
    ----------
    names : sequence of str
        Of the indicators.
    method, mse : str
    line : bool
        Whether the threshold comes from the sample.
    clusters : str, optional
    """
    parts = "give the population in parts, whole areas in each, whose figures do not depend on the others"
    simulated = [name for name in names if name not in ADDITIVE]
    if line and mse != "none" and method not in ("bayes", "ell"):
        return "The MSE with a threshold that comes from the sample", 'ask for mse="none"'
    if clusters is not None:
        return f"clusters={clusters!r}", parts
    if method in ("bayes", "ell"):
        return f'method="{method}"', parts
    if simulated:
        return simulated[0], parts
    return ('mse="wild"', parts) if mse == "wild" else None


def refuse_large(people: People, indicators: Indicators, method: str, mse: str, line: bool) -> None:
    """Refuse to simulate more persons at a time than the memory holds.

    `line` says whether the threshold comes from the sample. Means, head counts, gaps and severities are not
    simulated, and below a fixed threshold their parametric bootstrap goes area by area: they have no limit.
    With "bayes" and "ell" all figures are simulated, and there is no bootstrap.
    """
    population = people.rows
    simulated = [name for name in indicators.names if method in ("bayes", "ell") or name not in ADDITIVE]
    each = _DRAWN if method == "bayes" else _UNIT
    summed = method == "bayes" and set(simulated) <= set(ADDITIVE)  # levels are added up from areas
    for name, (level, parts) in list(people.levels.items())[: 1 if summed else None]:
        units = np.bincount(level.part, population.units, level.size)
        worst = int(units.argmax())
        if simulated and each * units[worst] > _MEMORY:
            raise SaeInputError(
                f"{parts[worst]} ({name}) has {int(units[worst]):,} persons: {simulated[0]} simulates all of "
                f"them at once, which takes {each * units[worst] / 1e9:,.1f} GB.",
                hint="A posterior simulates every figure; other than means, head counts, gaps and severities "
                "those of a level at once: leave it out, or ask for smaller areas."
                if method == "bayes"
                else f"Means, head counts, gaps and severities are not simulated. Ask for {simulated[0]} of "
                "smaller areas, in a fit of its own.",
            )
    total = float(population.units.sum())
    whole = method == "ell" or (method != "bayes" and mse != "none" and (simulated or mse == "wild" or line))
    if whole and _UNIT * total > _MEMORY:
        why = "a threshold that comes from the sample" if line else "a wild bootstrap"
        how = "ELL" if method == "ell" else f'mse="{mse}"'
        raise SaeInputError(
            f"{how} of {simulated[0] if simulated else why} holds the whole population in memory, "
            f"{int(total):,} persons or {_UNIT * total / 1e9:,.1f} GB.",
            hint='Ask for means, head counts, gaps and severities with mse="bootstrap", which goes area by '
            'area; and for the others with mse="none".',
        )
