"""What an indicator is: numerator, denominator, universe and kind, under one id and version."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sae.errors import SaeSpecError

__all__ = ["DISTRIBUTIONAL", "KINDS", "Indicator"]

DISTRIBUTIONAL = ("median", "arpr", "poverty_gap", "qsr", "gini", "threshold")  # of an income, linearised
KINDS = ("ratio", "mean", "total", *DISTRIBUTIONAL)


@dataclass(frozen=True)
class Indicator:
    """One versioned definition of an indicator.

    Parameters
    ----------
    numerator : str
        A column or an expression over columns; for the kinds of an income distribution, the income.
    denominator : str, optional
        A column or an expression. Without it a ratio is the mean (or share) over the universe.
    universe : str, optional
        A yes/no expression: who the indicator is about. Without it, everybody.
    kind : {"ratio", "mean", "total", "median", "arpr", "poverty_gap", "qsr", "gini", "threshold"}
        "mean" is "ratio" without a denominator. The thresholds of "arpr", "poverty_gap" and "threshold" are
        `threshold_share` of the national median: over all records of the survey with a known income, whatever
        the universe, the subset or the domain, and within each period where the survey has a time column.
        "qsr" is Eurostat's S80/S20: the income of those above q80 over that of those up to q20, quintiles of
        the domain; where several records with more than 1 % of the weight tie at a quintile, the tied weight
        is split there, so that both sides hold a fifth, and the log says so.
    id, version, label, unit, source : str
        Name in the tables; version of the definition; words for people; unit ("share", "persons", ...; found
        from the data when empty); where the definition comes from.
    threshold_share : float
        Share of the median that makes the threshold, in (0, 1].

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
        if self.denominator is not None and self.kind != "ratio":
            raise SaeSpecError(
                f"An indicator of kind {self.kind!r} has no denominator, but got {self.denominator!r}.",
                hint="Leave it out, or use kind='ratio'.",
            )
        if not 0.0 < self.threshold_share <= 1.0:
            raise SaeSpecError(
                f"threshold_share is a share of the median in (0, 1], but got {self.threshold_share}."
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
    def definition(self) -> str:
        """The version where there is one, else the definition itself in words."""
        if self.version:
            return self.version
        ratio = self.numerator if self.denominator is None else f"{self.numerator} / {self.denominator}"
        head = ratio if self.kind in ("ratio", "mean") else f"{self.kind} of {ratio}"
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
