"""The catalogue of all that reports say: one file per language, and how figures are written in it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Any

from sae.errors import SaeSpecError, name_some

__all__ = ["LANGUAGES", "Catalogue", "catalogue"]

LANGUAGES = ("en", "de", "fr", "es", "pt")


@dataclass(frozen=True, eq=False)
class Catalogue:
    """What reports say in one language.

    Attributes
    ----------
    language : str
        Its code.
    draft : bool
        Whether nobody who knows the field has read it yet.
    parts : mapping of str to mapping of str to str
        The sections of its file.
    """

    language: str
    draft: bool
    parts: Mapping[str, Mapping[str, str]]

    @cached_property
    def _texts(self) -> dict[str, str]:
        parts = [part for name, part in self.parts.items() if name != "language"]
        return {key: text for part in parts for key, text in part.items()}

    def __call__(self, key: str, **values: Any) -> str:
        """Return a sentence or a label, filled."""
        return self.text(key).format(**values)

    def text(self, key: str) -> str:
        """Return a sentence or a label as the catalogue has it, with its braces."""
        return self._texts[key]

    def count(self, key: str, number: int) -> str:
        """Return a number of things in words: "12 areas", "1 area"."""
        return self(f"{key}_one" if number == 1 else key, count=self.number(number))

    def number(self, value: float, digits: int = 10) -> str:
        """Return a number as it is written in this language, with at most so many digits."""
        signs = self.parts["language"]
        text = f"{value:,.{digits}g}" if abs(value) < 10**digits else f"{value:,.0f}"
        return text.translate({ord(","): signs["group"], ord("."): signs["decimal"]})

    def figure(self, value: float, unit: str) -> str:
        r"""Return a published figure in words: "62.3 %" of a share, thousands grouped otherwise.

        Examples
        --------
        >>> from sae.publish.report_catalogue import catalogue
        >>> [catalogue(code).figure(0.623, "share") for code in ("en", "de")]
        ['62.3\xa0%', '62,3\xa0%']
        >>> [catalogue(code).figure(18_200.0, "EUR") for code in ("en", "de", "fr")]
        ['18,200 EUR', '18.200 EUR', '18\u202f200 EUR']
        """
        if unit == "share":
            return self.number(round(100 * value, 1)) + self.parts["language"]["percent"]
        return self.number(value) + (f" {self.term(unit)}" if unit not in ("", "<NA>") else "")

    def width(self, low: float, high: float, unit: str) -> str:
        """Return the width of a range: percentage points of a share."""
        if unit == "share":
            width = round(100 * (high - low), 1)
            return self("points_one" if width == 1 else "points", width=self.number(width))
        return self.figure(float(f"{high - low:.6g}"), unit)

    def names(self, names: Iterable[object], limit: int = 5) -> str:
        """Return the first names joined by commas, and how many more there are."""
        listed = [str(name) for name in names]
        shown, rest = ", ".join(listed[:limit]), len(listed) - limit
        return self("more", names=shown, count=rest) if rest > 0 else shown

    def term(self, word: str) -> str:
        """Return a word of a policy or a unit in this language; as it is where the catalogue lacks it."""
        return self.parts["terms"].get(word, word)


@cache
def catalogue(language: str = "en") -> Catalogue:
    """Return the catalogue of a language.

    Raises
    ------
    SaeSpecError
        If there is none.
    """
    if language not in LANGUAGES:
        raise SaeSpecError(
            f"language={language!r}: reports are not written in it.", hint=f"There is {name_some(LANGUAGES)}."
        )
    name = "sentences.toml" if language == "en" else f"sentences.{language}.toml"
    parts = tomllib.loads((files("sae.publish") / "templates" / name).read_text(encoding="utf-8"))
    return Catalogue(language, bool(parts["language"]["draft"]), parts)
