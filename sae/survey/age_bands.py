"""Limits of age that would cut the bands in which a file gives the age."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from sae.errors import SaeSpecError, name_some
from sae.survey.expressions import comparisons_in

__all__ = ["check_age_limits"]


def check_age_limits(what: str, expressions: Iterable[str], bands: Sequence[int], remedy: str = "") -> None:
    """Refuse conditions on the age whose answer changes inside a band.

    Parameters
    ----------
    what : str
        Whose conditions they are.
    expressions : iterable of str
    bands : sequence of int
        Lower limits of the bands, the last one open; empty where the age is in single years.
    remedy : str
        What to do.

    Raises
    ------
    SaeSpecError

    Examples
    --------
    >>> check_age_limits("the subset", ["15 <= age <= 24"], (0, 15, 25, 65))
    """
    if not bands:
        return
    starts = {
        start
        for expression in expressions
        for name, sign, value in comparisons_in(expression)
        if name == "age"
        for start in _starts(sign, value)
    }
    cut = sorted(start for start in starts if start > bands[0] and start not in bands)
    if cut:
        places = []
        for start in cut:
            low = max(limit for limit in bands if limit < start)
            above = [limit - 1 for limit in bands if limit > start]
            places.append(f"{start:g} lies inside {low}-{above[0]}" if above else f"{start:g} inside {low}+")
        raise SaeSpecError(
            f"The limits of age of {what} cut the bands of the file: {name_some(places)}.",
            hint=f"The file can carry limits at {', '.join(map(str, bands))}{remedy}.",
            column="age",
        )


def _starts(sign: str, value: object) -> list[float]:
    """Ages at which a comparison changes its answer."""
    values = [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, int | float)]
    after = [float(math.floor(one)) + 1 for one in values]
    here = [float(math.ceil(one)) for one in values]
    return here if sign in (">=", "<") else after if sign in (">", "<=") else [*here, *after]
