"""How many persons can be simulated at a time."""

from __future__ import annotations

import numpy as np

from sae.errors import SaeInputError
from sae.numerics.ebp.indicators import ADDITIVE, Indicators
from sae.unit_level.ebp.people import People

__all__ = ["refuse_large"]

_UNIT = 64.0  # bytes that a simulated person takes: a block of draws
_MEMORY = 2e9


def refuse_large(people: People, indicators: Indicators, method: str, mse: str, line: bool) -> None:
    """Refuse to simulate more persons at a time than the memory holds.

    `line` says whether the threshold comes from the sample. Means, head counts, gaps and severities are not
    simulated, and below a fixed threshold their parametric bootstrap goes area by area: they have no limit.
    With "bayes" and "ell" all figures are simulated, and there is no bootstrap.
    """
    population = people.population
    simulated = [name for name in indicators.names if method in ("bayes", "ell") or name not in ADDITIVE]
    for name, (level, parts) in people.levels.items():
        units = np.bincount(level.part, population.units, level.size)
        worst = int(units.argmax())
        if simulated and _UNIT * units[worst] > _MEMORY:
            raise SaeInputError(
                f"{parts[worst]} ({name}) has {int(units[worst]):,} persons: {simulated[0]} simulates all of "
                f"them at once, which takes {_UNIT * units[worst] / 1e9:,.1f} GB.",
                hint="A posterior simulates every figure: leave this level out, or ask for smaller areas."
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
