"""The rule of comparability: which grade a figure has beside a reference, and why."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

__all__ = ["GRADES", "Standing", "grade"]

GRADES = {
    "A": "same definition and source",
    "B": "same definition and source, with a break",
    "C": "national definition or other source",
    "X": "not to be compared",
    "": "not known",
}
_ORDER = "ABCX"


@dataclass(frozen=True)
class Standing:
    """What a figure says of its origin; "" where it says nothing.

    Attributes
    ----------
    definition, unit : str
        The definition without the marks of breaks.
    survey, release, layout : str
        Its source: the survey, or "register"; the release of it; the layout that its files were read by.
    eu, geo_version : str
        Composition of the EU that its group rests on, and version of its place.
    flags : str
        Letters of Eurostat, of which b and d count.
    marks : tuple of str
        Breaks that it is marked with.
    year : int or None
    """

    definition: str = ""
    unit: str = ""
    survey: str = ""
    release: str = ""
    layout: str = ""
    eu: str = ""
    geo_version: str = ""
    flags: str = ""
    marks: tuple[str, ...] = ()
    year: int | None = None


def grade(
    one: Standing,
    reference: Standing,
    *,
    own: str = "",
    breaks: Mapping[str, int] | None = None,
    accept: Collection[str] = (),
) -> tuple[str, list[str]]:
    """Return the grade of a figure beside a reference, and the reasons in words, the gravest first.

    ===== ==================================================================================================
    grade when
    ===== ==================================================================================================
    X     the unit differs; the definition, or its version, does and is not accepted by name; the registry
          says that the indicator is not to be compared between countries
    C     the definition differs and is accepted; Eurostat's flag d, "definition differs"; another survey, or
          a register in place of a survey; the registry says that the indicator rests on national sources
    B     a break between the two: another release of the survey, another composition of the EU, another
          version of the places, a known break between their years, the mark of one, Eurostat's flag b; files
          of another layout
    A     none of these
    ""    the figure does not say by which definition it was made
    ===== ==================================================================================================

    The worst that holds counts. What one of the two does not say is no difference.

    Parameters
    ----------
    one, reference : Standing
    own : {"", "A", "B", "C", "X"}
        Grade that the registry gives the indicator (`sae.Indicator.grade`).
    breaks : mapping of str to int, optional
        Known breaks of the indicator and their years.
    accept : collection of str
        Definitions that are accepted by name.

    References
    ----------
    Comparability, geographical and over time, as the quality reports of European statistics have it: Reg.
    (EU) 2019/2180, annex. The grades are those of the registry: A same definition and source, B same source
    with a break, C national source, X refused.

    Examples
    --------
    >>> from sae.compare.grades import Standing, grade
    >>> here = Standing("v1", survey="EU-LFS", year=2023)
    >>> grade(Standing("v1", survey="EU-LFS", year=2019), here, breaks={"lfs_2021": 2021})
    ('B', ['break lfs_2021 between 2019 and 2023'])
    >>> grade(Standing("v1", survey="register", year=2023), here)
    ('C', ['source register, not EU-LFS'])
    """
    if not one.definition:
        return "", ["nothing says by which definition it was made"]
    differences: list[tuple[str, str]] = []
    if own == "X":
        differences.append(("X", "the registry says that it is not to be compared between countries"))
    if _differ(one.unit, reference.unit):
        differences.append(("X", f"unit {one.unit}, not {reference.unit}"))
    if _differ(one.definition, reference.definition):
        accepted = one.definition in accept
        text = f"definition {one.definition!r}, not {reference.definition!r}"
        differences.append(("C", f"{text}, accepted") if accepted else ("X", text))
    if "d" in one.flags:
        differences.append(("C", "flag d: definition differs"))
    if _differ(one.survey, reference.survey):
        differences.append(("C", f"source {one.survey}, not {reference.survey}"))
    elif own == "C":
        differences.append(("C", "the registry says that it rests on national sources"))
    differences += [("B", text) for text in _breaks(one, reference, breaks or {})]
    worst = max((letter for letter, _ in differences), key=_ORDER.index, default="A")
    differences.sort(key=lambda pair: -_ORDER.index(pair[0]))
    return worst, [text for _, text in differences]


def _differ(one: str, other: str) -> bool:
    return one != other and "" not in (one, other)


def _breaks(one: Standing, reference: Standing, breaks: Mapping[str, int]) -> list[str]:
    same = not _differ(one.survey, reference.survey)
    words = {
        "release": "release" if same else "",
        "layout": "layout" if same else "",
        "eu": "composition of the EU",
        "geo_version": "places",
    }
    made = [
        f"{word} {getattr(one, name)}, not {getattr(reference, name)}"
        for name, word in words.items()
        if word and _differ(getattr(one, name), getattr(reference, name))
    ]
    marks = [name for name in one.marks if name not in reference.marks]
    made += [f"marked with the break {name}" for name in marks]
    if one.year is not None and reference.year is not None:
        first, last = sorted((one.year, reference.year))
        made += [
            f"break {name} between {first} and {last}"
            for name, year in breaks.items()
            if first < year <= last and name not in marks
        ]
    return [*made, *(["flag b: break in time series"] if "b" in one.flags else [])]
