"""The release of a survey that a layout describes: what its codes and places refer to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from sae.errors import SaeSpecError

__all__ = ["STATES", "Release", "release_of"]

STATES = ("verified", "remembered")
_TEXTS = ("survey", "name", "eu", "geo")


@dataclass(frozen=True)
class Release:
    """Which survey and release the records come from, as the layout's ``[about]`` says it.

    Attributes
    ----------
    survey : str
        Name of the survey, such as "EU-LFS"; "" where nothing is known.
    name : str
        Name of the release, such as "2021".
    years : tuple of int or None
        First and last year of the release, None where it is open.
    eu : str
        Composition of the EU that the levels eu and non_eu rest on ("EU27_2020", "EU28"), "" if unknown.
    geo : str
        Version of the codes of places, such as "NUTS 2021", "" if unknown.
    age_bands : tuple of int
        Lower limits of the bands of age; () where age is in single years.
    remembered : frozenset of str
        Harmonised variables whose codes are remembered, not verified: each needs to be accepted by name.
    """

    survey: str = ""
    name: str = ""
    years: tuple[int | None, int | None] = (None, None)
    eu: str = ""
    geo: str = ""
    age_bands: tuple[int, ...] = ()
    remembered: frozenset[str] = frozenset()

    @property
    def facts(self) -> dict[str, Any]:
        """What tables made from the survey must agree on, as plain values; empty where nothing is known."""
        facts = {"survey": self.survey, "release": self.name, "eu": self.eu, "geo_version": self.geo}
        return {name: value for name, value in facts.items() if value}


def release_of(about: Any, remembered: frozenset[str]) -> Release:
    """Read the part ``about`` of a layout.

    Raises
    ------
    SaeSpecError
        If a key is not known or its value is of another kind.

    Examples
    --------
    >>> release_of({"survey": "EU-LFS", "name": "2021", "years": [2021]}, frozenset()).years
    (2021, None)
    """
    if not isinstance(about, Mapping):
        raise SaeSpecError(f"The part about of the layout is {about!r}, not a table.")
    known = (*_TEXTS, "years", "age_bands")
    for key in about:
        if key not in known:
            near = get_close_matches(str(key), known, 1)
            raise SaeSpecError(
                f"about.{key} is not known.",
                hint=f"Did you mean {near[0]}?" if near else f"It knows {', '.join(known)}.",
            )
    for key in _TEXTS:
        if not isinstance(about.get(key, ""), str):
            raise SaeSpecError(f"about.{key} is text, not {about[key]!r}.")
    return Release(
        **{key: about[key] for key in _TEXTS if key in about},
        years=_years(about.get("years", [])),
        age_bands=_bands(about.get("age_bands", [])),
        remembered=remembered,
    )


def _years(years: Any) -> tuple[int | None, int | None]:
    if not _whole_numbers(years) or len(years) > 2 or list(years) != sorted(years):
        raise SaeSpecError(
            f"about.years is {years!r}.", hint="Write [first, last], or [first] where it is open."
        )
    first, last = [*years, None, None][:2]
    return first, last


def _bands(limits: Any) -> tuple[int, ...]:
    if not _whole_numbers(limits) or list(limits) != sorted(set(limits)):
        raise SaeSpecError(f"about.age_bands is {limits!r}, not a list of rising lower limits.")
    return tuple(limits)


def _whole_numbers(values: Any) -> bool:
    return isinstance(values, list | tuple) and all(
        isinstance(value, int) and not isinstance(value, bool) for value in values
    )
