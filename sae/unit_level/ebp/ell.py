"""Elbers, Lanjouw and Lanjouw's method on the population of an EBP, a reference: no area effect is known."""

from __future__ import annotations

import numpy as np

from sae.errors import SaeSpecError, SaeWarning
from sae.numerics.ebp.ell import ell_draws
from sae.numerics.ebp.indicators import Indicators
from sae.numerics.ebp.transforms import Scale
from sae.numerics.nested_error.fit import NestedErrorFits
from sae.results import Message
from sae.unit_level.ebp.rows import FigureRows
from sae.unit_level.ebp.sample import EbpArrays

__all__ = ["REFERENCE", "ell_rows", "refuse_ell"]

REFERENCE = Message(
    "ELL is a reference: it draws the effect of every area anew, and what the units of an area say of it is "
    'not used. The predictor of the same fit that uses it, method="reml", has the smaller error wherever an '
    "area has units and the effects vary.",
    SaeWarning,
)


def ell_rows(
    arrays: EbpArrays,
    scale: Scale,
    fits: NestedErrorFits,
    indicators: Indicators,
    rows: FigureRows,
    draws: int,
    seed: int | None,
) -> np.ndarray:
    """Return the figures of simulated populations as rows of the table, shape (draws, M)."""
    assert seed is not None  # there is a random step
    people = arrays.people
    levels = [one for one, _ in people.levels.values()]
    names = [str(name) for name in arrays.names]
    population = people.rows
    return rows.flat(
        ell_draws(scale, fits, arrays.units.n, population, indicators, levels, names, draws, seed)
    )


def refuse_ell(*, mse: str, linked: str | None) -> None:
    """Refuse options that have no meaning with ELL.

    Raises
    ------
    SaeSpecError
    """
    if mse != "auto":
        raise SaeSpecError(
            f'mse={mse!r} has no meaning with method="ell".', hint="The variance of its draws is its MSE."
        )
    if linked is not None:
        raise SaeSpecError(
            f'linked={linked!r} has no meaning with method="ell", which does not know the sample.',
            hint='Use method="reml".',
        )
