"""The exception tree and the warning tree of the whole package.

Every message says what is wrong (with names and counts), what was expected, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "BoundaryVarianceWarning",
    "CollinearityWarning",
    "ConvergenceWarning",
    "ExtrapolationWarning",
    "SaeConvergenceError",
    "SaeError",
    "SaeInputError",
    "SaeSpecError",
    "SaeTypeError",
    "SaeWarning",
    "SmallSampleWarning",
    "counted",
    "name_some",
]


def counted(number: int, one: str, many: str) -> str:
    """Return a number with the words that go with it.

    Examples
    --------
    >>> sae.errors.counted(1, "stratum has", "strata have"), sae.errors.counted(1200, "unit", "units")
    ('1 stratum has', '1,200 units')
    """
    return f"{number:,} {one if number == 1 else many}"


def name_some(names: Iterable[object], limit: int = 5) -> str:
    """Return the first `limit` different names joined by commas, and how many more there are.

    Examples
    --------
    >>> sae.errors.name_some(["BE10", "ES63", "BE10", "ES64"], limit=2)
    'BE10, ES63 and 1 more'
    """
    listed = list(dict.fromkeys(map(str, names)))
    shown = ", ".join(listed[:limit])
    rest = len(listed) - limit
    return f"{shown} and {rest} more" if rest > 0 else shown


class SaeError(ValueError):
    """Root of every error that the package raises on purpose.

    Parameters
    ----------
    what : str
        What is wrong, with names and counts, as a full sentence.
    hint : str, optional
        What to do about it, as a full sentence; printed on its own line.
    areas : iterable of str, optional
        The areas, rows or PSUs at fault, for programs that read the error.
    column : str, optional
        The column at fault.

    Attributes
    ----------
    fits : dict of int to SaeError
        Where a model has several fits: the error of each that cannot be had, by its place.
    """

    def __init__(self, what: str, *, hint: str = "", areas: Iterable[object] = (), column: str | None = None):
        super().__init__(f"{what}\n{hint}" if hint else what)
        self.what = what
        self.hint = hint
        self.areas = tuple(str(area) for area in areas)
        self.column = column
        self.fits: dict[int, SaeError] = {}


class SaeInputError(SaeError):
    """The data cannot be used as they are: a file, a column, a value, a name."""


class SaeSpecError(SaeError):
    """The specification contradicts itself or names something that does not exist."""


class SaeTypeError(SaeSpecError, TypeError):
    """An object was asked for what its kind does not do; Python's protocols expect a `TypeError`."""


class SaeConvergenceError(SaeError):
    """An algorithm ended without a usable answer."""


class SaeWarning(UserWarning):
    """Root of every warning of the package."""


class BoundaryVarianceWarning(SaeWarning):
    """A variance component was estimated exactly 0: the model borrows all strength from the covariates."""


class CollinearityWarning(SaeWarning):
    """Covariates nearly explain each other, so that their coefficients are uncertain."""


class ConvergenceWarning(SaeWarning):
    """Draws that hardly agree with each other, or importance weights that a few draws dominate."""


class ExtrapolationWarning(SaeWarning):
    """A prediction uses covariates outside the range that the model was fitted on."""


class SmallSampleWarning(SaeWarning):
    """A result stands on so few records, clusters or areas that its uncertainty is itself uncertain."""
