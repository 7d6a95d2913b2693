"""Quarters or months pooled to years, with the panel's overlap in the variance.

A panel asks the same households in several quarters, so that the quarters of a year are not independent:
their mean has a larger variance than a quarter of one of them. Where a key links the units over the
quarters the design sees it; where none does, the overlap is stated, or independence is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.errors import SaeInputError, SaeSpecError, counted, name_some
from sae.survey.codes import as_text, combine, encode
from sae.survey.design import Stage, treat_lonely
from sae.survey.survey import Survey

__all__ = ["Overlap", "pool_periods"]

_PERIOD = re.compile(r"((?:19|20)\d\d)\W*([QMHS]?)\W*0?(\d{1,2})", re.IGNORECASE)
_IN_A_YEAR = {"Q": 4, "M": 12, "H": 2, "S": 2}
_MODES = ("linked", "independent")


@dataclass(frozen=True)
class Overlap:
    """How alike the samples of neighbouring periods are, where no key tells.

    Parameters
    ----------
    shares : sequence of float
        Share of the sample in common with the period 1, 2, ... before: one for each lag inside a year.
    correlations : sequence of float
        Correlation of the variable with itself that many periods before, in the common part.

    Examples
    --------
    Half of a quarter's sample is in the next quarter too, none in later ones:

    >>> sae.survey.Overlap([0.5, 0, 0], [0.8, 0, 0]).factor(4)
    1.6
    """

    shares: Sequence[float]
    correlations: Sequence[float]

    def __post_init__(self) -> None:
        for name, values, low in (("shares", self.shares, 0.0), ("correlations", self.correlations, -1.0)):
            numbers_only = isinstance(values, Sequence) and all(
                isinstance(one, int | float) and low <= one <= 1.0 for one in values
            )
            if not numbers_only or not values:
                raise SaeSpecError(
                    f"Overlap.{name} is a list of numbers from {low:g} to 1, one per lag, not {values!r}."
                )
        if len(self.shares) != len(self.correlations):
            raise SaeSpecError(
                f"Overlap states {len(self.shares)} shares, but {len(self.correlations)} correlations.",
                hint="Give one of each for every lag inside a year: three for quarters.",
            )

    def factor(self, periods: int) -> float:
        """Variance of the mean of k periods over that of k independent ones: 1 + 2 Σ (1 - l/k) o_l ρ_l.

        Raises
        ------
        SaeSpecError
            If a lag inside the year is not stated.
        """
        if len(self.shares) < periods - 1:
            raise SaeSpecError(
                f"Overlap states {len(self.shares)} lags, but {periods} periods have {periods - 1}.",
                hint="Say 0 for the lags without a common part.",
            )
        pairs = zip(self.shares, self.correlations, strict=True)
        terms = [
            (1 - lag / periods) * share * rho for lag, (share, rho) in enumerate(pairs, 1) if lag < periods
        ]
        return 1.0 + 2.0 * sum(terms)


@answered
def pool_periods(
    survey: Survey, panel: str | Overlap, *, partial: bool = False, yearly_weights: bool = False
) -> Survey:
    """Pool the quarters (or months) of every year: a survey whose period is the year.

    Weights are divided by the number of the year's periods, each of which stands for the population, so that
    a total is the year's mean. How the periods hang together has to be said; nothing is assumed.

    Parameters
    ----------
    survey : Survey
        With a period such as 2021Q1 or 2021-03 (`Survey.time`), not calibrated, not a subset.
    panel : {"linked", "independent"} or Overlap
        "linked": the first-stage unit (the household, or the psu that holds it) bears the same label in every
        period, and is the cluster over the periods. "independent": equal labels in two periods are other
        units. An `Overlap`: as "independent", and the variance is multiplied by its factor.
    partial : bool
        Accept years that lack periods; what is missing is in the notes.
    yearly_weights : bool
        The weights stand for the population over the year already, as in yearly files (COEFFY), and are not
        divided.

    Returns
    -------
    Survey
        With the column and period ``year``, and `Survey.panel`.

    Raises
    ------
    SaeInputError
        If periods cannot be read, a year lacks some, a country lacks periods of a year that others have, or
        no unit occurs in two periods of a year though they are said to be linked.
    SaeSpecError
        If nothing is said about the panel, or the survey is calibrated, a subset, or brings replicate weights
        that are not those of linked units.

    References
    ----------
    Kish (1965), Survey Sampling, section 12.4: variances of means over overlapping samples.

    Examples
    --------
    >>> frame = pd.DataFrame({"w": 1.0, "home": [1, 2, 1, 2], "t": ["2021Q1", "2021Q1", "2021Q2", "2021Q2"]})
    >>> survey = sae.Survey.from_frame(frame, weights="w", household="home", time="t")
    >>> year = sae.survey.pool_periods(survey, "linked", partial=True)
    >>> year.weights.tolist(), year.time
    ([0.5, 0.5, 0.5, 0.5], 'year')
    """
    _check(survey, panel)
    period, labels, years = _periods(survey)
    of_year = _of_year(labels, years)
    missing = _missing(labels, of_year)
    if missing and not partial:
        raise SaeInputError(
            f"The years lack periods: {name_some(missing, limit=8)}.",
            hint="Read them too, or accept the mean of those that are there: partial=True.",
            areas=missing,
        )
    _check_countries(survey, period, labels, of_year)
    names = sorted(of_year)
    year = np.array([names.index(one) for one in years])[period]
    sizes = np.array([len(of_year[name]) for name in names])
    divisor = np.ones(len(year)) if yearly_weights else sizes[year].astype(float)
    weights = survey.weights / divisor
    weights.setflags(write=False)
    replicates = survey.replicates
    if replicates is not None:
        replicates = replace(replicates, weights=replicates.weights / divisor[:, None])
    stages, method, mode = _design(survey, panel, period, labels, year, sizes)
    divided = "the weights are the year's" if yearly_weights else _sizes_text(names, sizes)
    notes = [f"pooled to years ({survey.time}): {divided}; {method}"]
    if missing:
        notes.append(f"years that lack periods: {name_some(missing, limit=12)}")
    return replace(
        survey,
        frame=_with_year(survey.frame, year, names),
        weights=weights,
        replicates=replicates,
        stages=stages,
        time="year",
        panel=mode,
        notes=(*survey.notes, *notes),
    )


def _check(survey: Survey, panel: str | Overlap) -> None:
    if not isinstance(panel, Overlap) and panel not in _MODES:
        raise SaeSpecError(
            f"How the periods hang together is not said: panel is {panel!r}.",
            hint='"linked" where a label is the same unit in every period, "independent" where no unit is '
            "asked twice, or sae.survey.Overlap(shares, correlations) where units come back unlinked.",
        )
    if survey.time is None:
        raise SaeSpecError("The survey has no period to pool.", hint="Name its column: time='...'.")
    if survey.calibration is not None or survey.is_subset:
        what = "calibrated" if survey.calibration is not None else "a subset"
        raise SaeSpecError(
            f"The survey is {what}: its periods cannot be pooled.", hint="Pool first, then go on."
        )
    if survey.replicates is not None and panel != "linked":
        raise SaeSpecError(
            "The replicate weights repeat the sampling of the units that they came with.",
            hint='Pool with panel="linked" if the replicates go on over the periods; else read the survey '
            "without them.",
        )


def _periods(survey: Survey) -> tuple[np.ndarray, list[str], list[str]]:
    """Code of the period of each record, the labels of the periods and the year of each."""
    codes, labels = encode(survey.frame[survey.time])
    texts = as_text(labels)
    unreadable = [text for text in texts if _PERIOD.fullmatch(text) is None]
    if unreadable or (codes < 0).any():
        lost = f"{int(np.sum(codes < 0)):,} records without one" if (codes < 0).any() else ""
        raise SaeInputError(
            f"The periods of {survey.time!r} are no quarters or months of a year: "
            f"{', '.join(filter(None, (name_some(unreadable), lost)))}.",
            hint="They are written 2021Q1 or 2021-03; a survey of whole years needs no pooling.",
            column=survey.time,
        )
    return codes, texts, [_parts(text)[0] for text in texts]


def _parts(text: str) -> tuple[str, str, int]:
    match = _PERIOD.fullmatch(text)
    assert match is not None
    return match[1], match[2].upper(), int(match[3])


def _of_year(labels: Sequence[str], years: Sequence[str]) -> dict[str, list[str]]:
    of_year: dict[str, list[str]] = {}
    for label, year in zip(labels, years, strict=True):
        of_year.setdefault(year, []).append(label)
    return of_year


def _missing(labels: Sequence[str], of_year: Mapping[str, Sequence[str]]) -> list[str]:
    """Labels of the periods that should be there, spelt as those that are."""
    letters = {_parts(label)[1] for label in labels}
    numbers = [_parts(label)[2] for label in labels]
    letter = letters.pop() if len(letters) == 1 else ""
    count = _IN_A_YEAR.get(letter, 4 if max(numbers) <= 4 else 12)
    pattern = re.sub(r"\d{1,2}$", "", labels[0])[4:]
    width = 2 if re.search(r"\d\d$", labels[0][4:]) else 1
    return [
        f"{year}{pattern}{number:0{width}d}"
        for year, held in sorted(of_year.items())
        for number in range(1, count + 1)
        if number not in {_parts(label)[2] for label in held}
    ]


def _check_countries(
    survey: Survey, period: np.ndarray, labels: Sequence[str], of_year: Mapping[str, Sequence[str]]
) -> None:
    """Refuse a country that lacks periods of a year: divided by all of them, its weights were too small."""
    if "country" not in survey.frame:
        return
    codes, countries = encode(survey.frame["country"])
    known = codes >= 0
    held = np.zeros((len(countries), len(labels)), dtype=bool)
    held[codes[known], period[known]] = True
    lacking = [
        f"{country} {label}"
        for country, present in zip(as_text(countries), held, strict=True)
        for year in of_year.values()
        if any(present[labels.index(one)] for one in year)
        for label in year
        if not present[labels.index(label)]
    ]
    if lacking:
        raise SaeInputError(
            f"Countries lack periods that others have in the same year: {name_some(lacking, limit=8)}.",
            hint="Pool them country by country: the weights are divided by the periods of the year.",
            areas=lacking,
            column="country",
        )


def _sizes_text(names: Sequence[str], sizes: np.ndarray) -> str:
    if len(set(sizes)) == 1:
        return f"weights divided by {sizes[0]}, the periods of a year"
    return "weights divided by the periods of the year: " + ", ".join(
        f"{name} {size}" for name, size in zip(names, sizes, strict=True)
    )


def _design(
    survey: Survey,
    panel: str | Overlap,
    period: np.ndarray,
    labels: Sequence[str],
    year: np.ndarray,
    sizes: np.ndarray,
) -> tuple[tuple[Stage, ...], str, str]:
    """Stages of the pooled survey, what is said about them, and the mode."""
    if panel == "linked":
        return survey.stages, _linked_text(survey.stages[0], period, labels, year), "linked"
    stages, remark = _apart(survey, period, labels)
    if not isinstance(panel, Overlap):
        return stages, f"periods taken as independent{remark}", "independent"
    factors = np.array([panel.factor(int(size)) for size in sizes])
    inflated = tuple(replace(stage, inflation=factors[year]) for stage in stages)
    shown = ", ".join(f"{value:.3f}" for value in sorted(set(factors)))
    stated = f"shares {list(panel.shares)}, correlations {list(panel.correlations)}"
    return inflated, f"stated overlap ({stated}): variance x {shown}{remark}", "stated overlap"


def _linked_text(stage: Stage, period: np.ndarray, labels: Sequence[str], year: np.ndarray) -> str:
    """Say how many units the key finds again; refuse one that finds none."""
    column = stage.columns.get("psu", "no column")
    pairs, units, _ = combine(stage.psu, period, len(labels))
    of_pair = np.empty(len(units), dtype=np.int64)
    of_pair[pairs] = year
    unit_years, _, _ = combine(units, of_pair, int(year.max()) + 1)
    times = np.bincount(unit_years)
    again = int(np.sum(times > 1))
    if again == 0:
        raise SaeInputError(
            f"No sampling unit ({column}) occurs in two periods of a year: nothing is linked.",
            hint="Name the household or psu that is the same in every period, state the overlap, or say "
            'panel="independent".',
            column=column,
        )
    return (
        f"linked by {column}: {again:,} of {counted(len(times), 'unit', 'units')} of a year occur in "
        f"several periods, {times.mean():.2f} on average"
    )


def _apart(survey: Survey, period: np.ndarray, labels: Sequence[str]) -> tuple[tuple[Stage, ...], str]:
    """Give every period strata and units of its own."""
    stages: list[Stage] = []
    notes: list[str] = []
    for level, stage in enumerate(survey.stages):
        strata, of_stratum, in_period = combine(stage.strata, period, len(labels))
        units, of_unit, unit_period = combine(stage.psu, period, len(labels))
        apart = replace(
            stage,
            strata=strata,
            psu=units,
            strata_labels=_crossed(stage.strata_labels, of_stratum, labels, in_period),
            psu_labels=_crossed(stage.psu_labels, of_unit, labels, unit_period),
        )
        if survey.replicates is None and all(above.fpc is not None for above in stages):
            apart, more = treat_lonely(apart, survey.lonely_psu, level)
            notes += more
        stages.append(apart)
    return tuple(stages), "".join(f"; {note}" for note in notes)


def _crossed(names: np.ndarray, codes: np.ndarray, labels: Sequence[str], periods: np.ndarray) -> np.ndarray:
    texts = as_text(names)
    return np.array(
        [f"{texts[code]} {labels[one]}" for code, one in zip(codes, periods, strict=True)], dtype=object
    )


def _with_year(frame: pd.DataFrame, year: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    column = pd.Series(pd.Categorical.from_codes(year, categories=pd.Index(names)))
    if "year" in frame:
        codes, labels = encode(frame["year"])
        same = (codes >= 0).all() and [as_text(labels)[code] for code in codes] == column.tolist()
        if not same:
            raise SaeInputError(
                "The survey has a column 'year' that is not the year of its period.",
                hint="Rename it before pooling.",
                column="year",
            )
    return frame.assign(year=column)
