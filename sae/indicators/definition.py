"""What an indicator is: numerator, denominator, universe and kind, under one id and version."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from typing import Literal, get_args

from sae.calls import Answering
from sae.errors import SaeSpecError, name_some
from sae.indicators.breaks import BREAKS
from sae.survey.expressions import names_in

__all__ = ["DISTRIBUTIONAL", "KINDS", "UNSAMPLED", "Direction", "Grade", "Indicator", "State"]

Direction = Literal["more is better", "less is better", "neither"]
Grade = Literal["", "A", "B", "C", "X"]
State = Literal["verified", "remembered"]

DISTRIBUTIONAL = (  # of an income, linearised
    "median",
    "arpr",
    "poverty_gap",
    "qsr",
    "gini",
    "threshold",
    "median_ratio",
)
# what no survey tells, and the function of `sae.indicators` that does
UNSAMPLED = {"register_rate": "register_rate", "segregation": "segregation"}
KINDS = ("ratio", "mean", "total", *DISTRIBUTIONAL, *UNSAMPLED)


@dataclass(frozen=True)
class Indicator(metaclass=Answering):
    """One versioned definition of an indicator.

    Parameters
    ----------
    numerator : str
        A column or an expression over columns; for the kinds of an income distribution, the income.
    denominator : str, optional
        A column or an expression. Without it a ratio is the mean (or share) over the universe.
    universe : str, optional
        A yes/no expression: who the indicator is about. Without it, everybody.
    kind : {"ratio", "mean", "total", "median", "arpr", "poverty_gap", "qsr", "gini", "threshold", \
"median_ratio", "register_rate", "segregation"}
        "mean" is "ratio" without a denominator. The thresholds of "arpr", "poverty_gap" and "threshold" are
        `threshold_share` of the national median, "median_ratio" divides the median of the domain by it: the
        national median is over all records of the survey with a known income, whatever the universe, the
        subset or the domain, within each period where the survey has a time column and within each country
        where its column ``country`` holds several.
        "qsr" is Eurostat's S80/S20: the income of those above q80 over that of those up to q20, quintiles of
        the domain; where several records with more than 1 % of the weight tie at a quintile, the tied weight
        is split there, so that both sides hold a fifth, and the log says so.
        "register_rate" and "segregation" are of no survey: see `register_rate` and `segregation`.
    id, version, label, unit, source : str
        Name in the tables; version of the definition; words for people; unit ("share", "persons", ...; found
        from the data when empty); where the definition comes from.
    threshold_share : float
        Share of the median that makes the threshold, in (0, 1].
    union : str, optional
        Of kind "arpr", a yes/no expression: who counts besides the poor. A person counts once, by either;
        of whom the income or a variable of the expression is missing is left out and counted, as everywhere.
    topic, survey, ages, weight : str
        Topic; the survey that the definition belongs to ("EU-LFS", "EU-SILC", "register" or ""); the ages in
        words; the weight of the survey that it takes.
    state : {"verified", "remembered"}
        A remembered definition was not checked against its source: it runs only where accepted by name.
    breaks : tuple of str
        Ids of the `BREAKS` across which its figures do not compare.
    grade : {"", "A", "B", "C", "X"}
        Comparability between countries: A same definition and source; B same source with a break; C national
        source; X not to be compared.
    direction : {"more is better", "less is better", "neither"}
    tables : tuple of str
        Codes of the Eurostat tables that print it; a code in doubt says so.
    years : tuple of int
        The only years in which it exists, of a module; none where it is of every year.

    Raises
    ------
    SaeSpecError
        If the parts contradict one another.

    Examples
    --------
    >>> sae.Indicator(numerator="labour_status == 'employed'", universe="20 <= age <= 64").definition
    "labour_status == 'employed' | 20 <= age <= 64"
    """

    numerator: str
    denominator: str | None = None
    universe: str | None = None
    kind: str = "ratio"
    id: str = ""
    version: str = ""
    label: str = ""
    unit: str = ""
    source: str = ""
    threshold_share: float = 0.6
    union: str | None = None
    topic: str = ""
    survey: str = ""
    ages: str = ""
    weight: str = ""
    state: State = "verified"
    breaks: tuple[str, ...] = ()
    grade: Grade = ""
    direction: Direction = "neither"
    tables: tuple[str, ...] = ()
    years: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.numerator, str) or not self.numerator.strip():
            raise SaeSpecError(
                "An indicator needs a numerator: a column name or an expression as text.",
                hint="For example sae.Indicator(numerator=\"labour_status == 'employed'\").",
            )
        if self.kind not in KINDS:
            raise SaeSpecError(
                f"The indicator kind {self.kind!r} does not exist.", hint=f"Kinds are {', '.join(KINDS)}."
            )
        if self.denominator is not None and self.kind not in ("ratio", *UNSAMPLED):
            raise SaeSpecError(
                f"An indicator of kind {self.kind!r} has no denominator, but got {self.denominator!r}.",
                hint="Leave it out, or use kind='ratio'.",
            )
        if self.union is not None and self.kind != "arpr":
            raise SaeSpecError(
                f"union joins a condition to those at risk of poverty, but the kind is {self.kind!r}.",
                hint="Write a union of conditions as one numerator: \"a == 'yes' or b == 'yes'\".",
            )
        if not 0.0 < self.threshold_share <= 1.0:
            raise SaeSpecError(
                f"threshold_share is a share of the median in (0, 1], but got {self.threshold_share}."
            )
        for name, words in (("state", State), ("grade", Grade), ("direction", Direction)):
            if getattr(self, name) not in get_args(words):
                raise SaeSpecError(
                    f"{name}={getattr(self, name)!r} is not known.",
                    hint=f"It is one of {', '.join(map(repr, get_args(words)))}.",
                )
        unknown = [one for one in self.breaks if one not in BREAKS]
        if unknown:
            raise SaeSpecError(
                f"The breaks {name_some(unknown)} are not known.", hint=f"Known: {', '.join(BREAKS)}."
            )

    @property
    def name(self) -> str:
        """The id, or the numerator where the indicator has no id."""
        return self.id or self.numerator

    @property
    def distributional(self) -> bool:
        """Whether the indicator describes an income distribution (a median, a threshold, an inequality)."""
        return self.kind in DISTRIBUTIONAL

    @property
    def thresholded(self) -> bool:
        """Whether incomes are compared with a share of the national median."""
        return self.kind in ("arpr", "poverty_gap", "threshold", "median_ratio")

    @property
    def reference_share(self) -> float:
        """Share of the national median that incomes are compared with: all of it for a ratio of medians."""
        return 1.0 if self.kind == "median_ratio" else self.threshold_share

    @property
    def parts(self) -> tuple[str, ...]:
        """Its expressions: numerator, denominator, universe and union, those that it has."""
        every = (self.numerator, self.denominator, self.universe, self.union)
        return tuple(part for part in every if part is not None)

    def variables(self, columns: Container[str]) -> list[str]:
        """Return the columns that it names, each once; a part that is the name of a column is that column."""
        named = [(part,) if part in columns else names_in(part) for part in self.parts]
        return list(dict.fromkeys(name for names in named for name in names))

    @property
    def definition(self) -> str:
        """The version where there is one, else the definition itself in words."""
        if self.version:
            return self.version
        ratio = self.numerator if self.denominator is None else f"{self.numerator} / {self.denominator}"
        head = ratio if self.kind in ("ratio", "mean") else f"{self.kind} of {ratio}"
        head += f" or {self.union}" if self.union else ""
        return head if self.universe is None else f"{head} | {self.universe}"

    def with_universe(self, universe: str) -> Indicator:
        """Return this indicator over another universe; its version says so.

        Examples
        --------
        >>> sae.Indicator("poor", version="v1").with_universe("age < 18").definition
        'v1, universe age < 18'
        """
        if universe == self.universe:
            return self
        version = f"{self.version}, universe {universe}" if self.version else ""
        return replace(self, universe=universe, version=version)

    def __str__(self) -> str:
        """Return the definition as a page of text, with what it has."""
        share = f"{self.reference_share:.0%} of the national median" if self.thresholded else ""
        lines = {
            "version": self.version,
            "state": self.state + (f": runs with accept=[{self.name!r}]" * (self.state == "remembered")),
            "topic": self.topic,
            "kind": self.kind,
            "numerator": self.numerator,
            "denominator": self.denominator,
            "or": self.union,
            "universe": self.universe or "everybody",
            "compared with": share,
            "ages": self.ages,
            "unit": self.unit,
            "direction": self.direction,
            "survey": self.survey,
            "weight": self.weight,
            "breaks": "; ".join(str(BREAKS[one]) for one in self.breaks),
            "comparability": self.grade,
            "years": ", ".join(map(str, self.years)),
            "tables": ", ".join(self.tables),
            "source": self.source,
        }
        head = f"{self.name}: {self.label}" if self.label else self.name
        return "\n".join([head, *(f"  {name}: {text}" for name, text in lines.items() if text)])
