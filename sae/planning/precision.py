"""Precision rules as objects: each turns into the largest variance that a domain's estimate may have."""

# ruff: noqa: D102 - the members of a rule are documented by `PrecisionRule`

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from scipy.special import ndtri

from sae.errors import SaeSpecError, name_some
from sae.quality import Policy, Rule, load_policy

__all__ = [
    "CV",
    "RMSE",
    "EffectiveSize",
    "Grade",
    "HalfWidth",
    "Measure",
    "PrecisionRule",
    "Published",
    "Regulation",
    "Target",
]

Grade = Literal["reliable", "publishable"]


class Measure(StrEnum):
    """What a precision rule sets a limit to."""

    CV = "cv"
    RMSE = "rmse"
    HALF_WIDTH = "half_width"
    EFFECTIVE_SIZE = "effective_size"


@dataclass(frozen=True)
class PrecisionRule:
    """What every precision rule answers.

    Attributes
    ----------
    size : str
        Column of the frame whose sum over the domain is the rule's N; "" for the population.
    """

    size: str = field(default="", kw_only=True)

    @property
    def text(self) -> str:
        """The rule in words, as tables show it."""
        raise NotImplementedError

    @property
    def phrase(self) -> str:
        """The rule inside a sentence, after "for"."""
        return self.text

    @property
    def measures(self) -> frozenset[Measure]:
        """What the rule sets limits to; empty where only a number of interviews is asked for."""
        raise NotImplementedError

    @property
    def least_n(self) -> int:
        """Fewest interviews in the domain, whatever their precision."""
        return 0

    def bound(self, mean: np.ndarray, unit_variance: np.ndarray, size: np.ndarray) -> np.ndarray:
        """Return the largest variance allowed in each domain; infinite where nothing is asked.

        Parameters
        ----------
        mean, unit_variance, size : ndarray, shape (domains,)
            What is estimated; variance between the domain's units, p (1 - p) for a share; N.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class CV(PrecisionRule):
    """Coefficient of variation of at most `limit`.

    Parameters
    ----------
    limit : float
        A fraction: 0.10 for 10 %.
    smaller_side : bool
        Judge a share p by se / min(p, 1 - p): a CV misleads near 1.

    Examples
    --------
    >>> sae.planning.CV(0.1).bound(np.array([0.25]), np.array([0.1875]), np.array([1e6])).round(8).tolist()
    [0.000625]
    """

    limit: float
    smaller_side: bool = False

    def __post_init__(self) -> None:
        _check_positive("CV", self.limit)
        if self.limit >= 1:
            raise SaeSpecError(
                f"A CV of {self.limit:g} is no target.", hint="Give a fraction: 0.10 for 10 %."
            )

    @property
    def text(self) -> str:
        return f"CV <= {self._limit_text}"

    @property
    def phrase(self) -> str:
        return f"a CV of {self._limit_text}"

    @property
    def measures(self) -> frozenset[Measure]:
        return frozenset({Measure.CV})

    @property
    def _limit_text(self) -> str:
        side = " of the smaller of p and 1 - p" if self.smaller_side else ""
        return f"{100 * self.limit:g} %{side}"

    def bound(self, mean: np.ndarray, unit_variance: np.ndarray, size: np.ndarray) -> np.ndarray:
        reference = np.minimum(np.abs(mean), np.abs(1.0 - mean)) if self.smaller_side else np.abs(mean)
        return (self.limit * reference) ** 2


@dataclass(frozen=True)
class RMSE(PrecisionRule):
    """Root mean squared error of at most `limit`, in the unit of the indicator."""

    limit: float

    def __post_init__(self) -> None:
        _check_positive("RMSE", self.limit)

    @property
    def text(self) -> str:
        return f"RMSE <= {self.limit:g}"

    @property
    def measures(self) -> frozenset[Measure]:
        return frozenset({Measure.RMSE})

    def bound(self, mean: np.ndarray, unit_variance: np.ndarray, size: np.ndarray) -> np.ndarray:
        return np.full(len(mean), self.limit**2)


@dataclass(frozen=True)
class HalfWidth(PrecisionRule):
    """Half the width of the confidence interval of at most `limit`, in the unit of the indicator."""

    limit: float
    level: float = 0.95

    def __post_init__(self) -> None:
        _check_positive("half-width", self.limit)
        if not 0 < self.level < 1:
            raise SaeSpecError(f"level = {self.level} is no confidence level.", hint="Such as 0.95.")

    @property
    def text(self) -> str:
        return f"half-width of the {100 * self.level:g} % interval <= {self.limit:g}"

    @property
    def measures(self) -> frozenset[Measure]:
        return frozenset({Measure.HALF_WIDTH})

    def bound(self, mean: np.ndarray, unit_variance: np.ndarray, size: np.ndarray) -> np.ndarray:
        return np.full(len(mean), (self.limit / ndtri(0.5 + self.level / 2)) ** 2)


@dataclass(frozen=True)
class EffectiveSize(PrecisionRule):
    """Effective sample size, unit variance over variance, of at least `limit`."""

    limit: float

    def __post_init__(self) -> None:
        _check_positive("effective size", self.limit)

    @property
    def text(self) -> str:
        return f"effective size >= {self.limit:g}"

    @property
    def measures(self) -> frozenset[Measure]:
        return frozenset({Measure.EFFECTIVE_SIZE})

    def bound(self, mean: np.ndarray, unit_variance: np.ndarray, size: np.ndarray) -> np.ndarray:
        return unit_variance / self.limit


@dataclass(frozen=True)
class Regulation(PrecisionRule):
    """A requirement of the European survey regulation: effective size of at least f(N) = a √N + b.

    Parameters
    ----------
    name : str
        A row of the table, such as "lfs_unemployment_national".
    table : str or Path, optional
        A TOML file of the same shape, if not the table of the package (`regulation.toml`).

    Attributes
    ----------
    row : mapping
        a, b, source, and whether the values were verified in the regulation's own text.

    Examples
    --------
    >>> rule = sae.planning.Regulation("lfs_unemployment_national")
    >>> rule.effective_size(np.array([35.0e6, 0.3e6])).round(2).tolist()     # N = 0.3 million: exempt
    [41645.42, 0.0]
    """

    name: str
    table: str | Path | None = None
    row: Mapping[str, Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        path = files("sae.planning") / "regulation.toml" if self.table is None else Path(self.table)
        try:
            rows = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise SaeSpecError(f"The table of requirements {self.table} cannot be read: {error}.") from error
        if self.name not in rows:
            near = get_close_matches(self.name, rows, 1)
            raise SaeSpecError(
                f"There is no requirement {self.name!r}" + (f"; did you mean {near[0]!r}?" if near else "."),
                hint=f"Use one of {', '.join(rows)}.",
            )
        row = rows[self.name]
        missing = [key for key in ("a", "b", "verified", "source") if key not in row]
        if missing:
            raise SaeSpecError(f"The requirement {self.name} has no {name_some(missing)}.")
        object.__setattr__(self, "row", row)

    @property
    def text(self) -> str:
        mark = "" if self.row["verified"] else " (values not verified in the Official Journal)"
        return f"{self.name}: effective size >= {self.row['a']:g} √N {self.row['b']:+g}{mark}"

    @property
    def measures(self) -> frozenset[Measure]:
        return frozenset({Measure.EFFECTIVE_SIZE})

    def effective_size(self, size: np.ndarray) -> np.ndarray:
        """Return f(N), 0 where a domain is exempt; `size` in persons or households, not millions."""
        millions = np.round(np.asarray(size, float) / 1e6, 3)
        a, b = self.row["a"], self.row["b"]
        needed = a * np.sqrt(millions) + b
        below = self.row.get("linear_below", 0.0)
        if below:
            at_limit = a * np.sqrt(below) + b
            needed = np.where(millions < below, at_limit * millions / below, needed)
        return np.maximum(needed, 0.0)

    def bound(self, mean: np.ndarray, unit_variance: np.ndarray, size: np.ndarray) -> np.ndarray:
        needed = self.effective_size(size)
        return np.where(needed > 0, unit_variance / np.where(needed > 0, needed, 1.0), np.inf)


@dataclass(frozen=True)
class Published(PrecisionRule):
    """A publication policy reversed: how many interviews until the estimate passes.

    Parameters
    ----------
    policy : str, Path, mapping or Policy
        As in `sae.quality.load_policy`.
    grade : {"reliable", "publishable"}
        Free of any flag, or at least not suppressed.
    rows : {"direct", "model"}
        The estimates that are to pass: direct ones, or those of a model.

    Examples
    --------
    >>> rule = sae.planning.Published("statcan")
    >>> rule.text
    'statcan: reliable (CV <= 16.5 %)'
    >>> sae.planning.Published("eurostat_silc", grade="publishable").least_n
    20
    """

    policy: str | Path | Mapping[str, Any] | Policy
    grade: Grade = "reliable"
    rows: Literal["direct", "model"] = "direct"
    loaded: Policy = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.grade not in get_args(Grade):
            raise SaeSpecError(
                f"grade = {self.grade!r} is none of a policy's.", hint='Use "reliable" or "publishable".'
            )
        if self.rows not in ("direct", "model"):
            raise SaeSpecError(f"rows = {self.rows!r} are none.", hint='Use "direct" or "model".')
        object.__setattr__(self, "loaded", load_policy(self.policy))
        if not self._rules and self.least_n == 0:
            raise SaeSpecError(
                f"The policy {self.loaded.name} has no limit on {self.rows} rows that more interviews can "
                "reach.",
                hint="Use CV(...), EffectiveSize(...) or a policy with a limit on n, n_eff, cv or ci_width.",
            )

    @property
    def least_n(self) -> int:
        limits = [rule[1] for rule in self._limits("n")]
        return int(np.ceil(max(limits, default=0)))

    @property
    def text(self) -> str:
        limits = [f"n >= {self.least_n}"] if self.least_n else []
        limits += [rule.text for rule in self._rules]
        return f"{self.loaded.name}: {self.grade} ({', '.join(limits)})"

    @property
    def measures(self) -> frozenset[Measure]:
        return frozenset().union(*(rule.measures for rule in self._rules))

    def bound(self, mean: np.ndarray, unit_variance: np.ndarray, size: np.ndarray) -> np.ndarray:
        bounds = [rule.bound(mean, unit_variance, size) for rule in self._rules]
        return np.min([np.full(len(mean), np.inf), *bounds], axis=0)

    @property
    def _rules(self) -> list[PrecisionRule]:
        return [
            *(CV(limit, rule.smaller_side) for rule, limit in self._limits("cv")),
            *(EffectiveSize(limit) for _, limit in self._limits("n_eff")),
            *(HalfWidth(limit / 2) for _, limit in self._limits("ci_width")),
        ]

    def _limits(self, measure: str) -> list[tuple[Rule, float]]:
        """Rules on this measure that judge direct rows, with the stricter limit that the grade asks for."""
        limits = []
        for rule in self.loaded.rules:
            if rule.measure != measure or rule.applies_to not in ("all", self.rows):
                continue
            low = [rule.suppress_below] + ([rule.flag_below] if self.grade == "reliable" else [])
            high = [rule.suppress_above] + ([rule.flag_above] if self.grade == "reliable" else [])
            given_low, given_high = ([v for v in side if v is not None] for side in (low, high))
            if given_low:
                limits.append((rule, max(given_low)))
            elif given_high:
                limits.append((rule, min(given_high)))
        return limits


@dataclass(frozen=True)
class Target:
    """A precision rule for one indicator, in every domain that some columns make.

    Parameters
    ----------
    indicator : str
        The frame holds ``share_<indicator>``, or ``mean_<indicator>`` and ``sd_<indicator>``.
    rule : PrecisionRule
    by : str or tuple of str
        Columns whose value combinations are the domains; none: all strata together.
    group : str
        A rare group inside the strata, with ``density_<group>`` in the frame; "" for everybody.
    only : mapping, optional
        Values of columns to which the target is confined: ``{"region": ["AT13"]}``.
    """

    indicator: str
    rule: PrecisionRule
    by: str | tuple[str, ...] = ()
    group: str = ""
    only: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "by", (self.by,) if isinstance(self.by, str) else tuple(self.by))
        if not isinstance(self.rule, PrecisionRule):
            raise SaeSpecError(
                f"The rule of the target on {self.indicator} is {self.rule!r}.",
                hint="Use CV(0.1), RMSE, HalfWidth, EffectiveSize, Regulation or Published.",
            )


def _check_positive(what: str, limit: float) -> None:
    if not (isinstance(limit, (int, float)) and np.isfinite(limit) and limit > 0):
        raise SaeSpecError(f"A target needs a positive {what}, not {limit!r}.")
