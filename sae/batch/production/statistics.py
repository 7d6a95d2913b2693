"""From the records of a survey to its direct estimates, file by file: what later stages know of a survey."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from sae.auxiliary import AreaFile
from sae.batch.production.design import Crossing, Design
from sae.batch.production.surveys import aligned, read_files, with_levels
from sae.design_based.direct_estimation import direct_estimates
from sae.design_based.domains import Domains, cross_domains
from sae.design_based.smoothing import smooth
from sae.errors import SaeError, SaeInputError, SaeWarning
from sae.indicators import break_marks, crossed_breaks, unchecked_arrays
from sae.literals import Smoothing
from sae.survey import Survey
from sae.tables import DirectEstimates, labels

__all__ = ["Direct", "Estimator", "SurveyTables", "direct_of", "in_memory", "survey_tables"]

_FLOATS = ("n_eff", "df", "estimate", "variance", "se", "cv", "ci_low", "ci_high", "deff", "vardir")
_TEXTS = {"interval": "", "status": "no sample", "variance_method": ""}  # of a domain without a record
_ROUNDED = 1e-9  # sums of weights in another order
_MARK = "; break "  # before the breaks that a status names


@dataclass(frozen=True, eq=False)
class SurveyTables:
    """The direct estimates of some files of a survey, not smoothed yet.

    Attributes
    ----------
    files : str
        Which they are.
    tables : mapping of str to DataFrame
        By indicator: `crossing` and `place`, the number of the crossing in the design and of the domain in
        the crossing of the whole survey; the numbers of the direct estimates; `counted`, what the survey
        counts in the denominator.
    facts : mapping of str to mapping
        By indicator: `unit`; `share`, None where no record answers; `failed`, the reason of each crossing
        that has no estimates.
    covariances : mapping of str to ndarray
        By "indicator, number of the crossing", where a model wants them; in the order of the rows.
    """

    files: str
    tables: Mapping[str, pd.DataFrame]
    facts: Mapping[str, Mapping[str, Any]]
    covariances: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Direct:
    """The direct estimates of one indicator in one crossing, of all files.

    Attributes
    ----------
    table : DirectEstimates
    counted : ndarray of float
        What the survey counts in the denominator.
    rough : str
        Why the variances could not be smoothed; "" where they are as wanted.
    """

    table: DirectEstimates
    counted: np.ndarray
    rough: str = ""


class Estimator(Protocol):
    """What estimates the crossings of some files of a survey."""

    def holds(self, by: Sequence[str]) -> bool:
        """Return whether the files have the columns of a crossing."""

    def domains(self, by: Sequence[str]) -> Domains:
        """Return the rows of a crossing."""

    def share(self, indicator: str) -> bool | None:
        """Return whether an indicator is a share; None where no record answers."""

    def counted(self, domains: Domains, indicator: str) -> np.ndarray:
        """Return the weighted denominators."""

    def direct(self, domains: Domains, indicators: Sequence[str], covariance: bool) -> DirectEstimates:
        """Return the direct estimates of indicators, not smoothed, one after the other."""


class InMemory:
    """Estimates from the records of a survey that are all in memory."""

    def __init__(self, design: Design, survey: Survey, indicators: Sequence[str]):
        self.production, self.survey = design.file.production, survey
        self.evaluated = {name: unchecked_arrays(design.known[name], survey) for name in indicators}

    def holds(self, by: Sequence[str]) -> bool:
        """Return whether the files have the columns of a crossing: they were brought in line."""
        return True

    def domains(self, by: Sequence[str]) -> Domains:
        """Return the rows of a crossing."""
        return cross_domains(self.survey, by)

    def share(self, indicator: str) -> bool | None:
        """Return whether an indicator is a share; None where no record answers."""
        data = self.evaluated[indicator]
        return data.share if data.inside.any() else None

    def counted(self, domains: Domains, indicator: str) -> np.ndarray:
        """Return the weighted denominators."""
        inside = domains.codes >= 0
        weights = self.evaluated[indicator].denominator * self.survey.weights
        return np.bincount(domains.codes[inside], weights[inside], minlength=len(domains))

    def direct(self, domains: Domains, indicators: Sequence[str], covariance: bool) -> DirectEstimates:
        """Return the direct estimates of indicators, not smoothed, one after the other."""
        return direct_estimates(
            self.survey,
            [self.evaluated[name] for name in indicators],
            domains,
            variance=self.production.variance,
            seed=self.production.seed,
            covariance=covariance,
            accept=self.production.accept,
        )


def survey_tables(
    design: Design, name: str, files: str, estimator: Estimator, indicators: Sequence[str]
) -> SurveyTables:
    """Estimate indicators in all crossings of a survey from some of its files, in one pass over the records.

    Parameters
    ----------
    design : Design
    name : str
        Of the survey.
    files : str
        Which they are.
    estimator : Estimator
    indicators : sequence of str
        Those that the files carry.
    """
    frames: dict[str, list[pd.DataFrame]] = {one: [] for one in indicators}
    facts: dict[str, dict[str, Any]] = {
        one: {"unit": "", "share": estimator.share(one), "failed": {}} for one in indicators
    }
    covariances: dict[str, np.ndarray] = {}
    lacking: dict[str, None] = {}
    for number, crossing in enumerate(design.crossings):
        if crossing.survey != name or not estimator.holds(crossing.by):
            continue
        domains = estimator.domains(crossing.by)
        if indicators:
            _warn_of_unlabelled(estimator, domains, indicators[0], files)
        place = _places(domains, cross_domains(design.surveys[name], crossing.by))
        for tied in (False, True):
            some = [one for one in indicators if design.tied(one, crossing) is tied]
            for one, made in _estimated(estimator, domains, some, tied).items():
                if isinstance(made, str):
                    facts[one]["failed"][str(number)] = made
                    continue
                facts[one]["unit"] = made.units[one]
                lacking |= dict.fromkeys(text for text in made.log if "belong to no domain" in text)
                numbers = made.frame[["n", *_FLOATS, *_TEXTS]]
                counted = estimator.counted(domains, one)
                frames[one].append(numbers.assign(crossing=number, place=place, counted=counted))
                if made.covariance is not None:
                    covariances[f"{one}, {number}"] = made.covariance.to_numpy()
    for text in lacking:
        warnings.warn(f"{files}: {text}.", SaeWarning, stacklevel=2)
    tables = {
        one: pd.concat(parts, ignore_index=True) if parts else _nothing() for one, parts in frames.items()
    }
    return SurveyTables(files, tables, facts, covariances)


def _warn_of_unlabelled(estimator: Estimator, domains: Domains, indicator: str, files: str) -> None:
    """Warn where records that count are in no row, because a label of theirs is missing."""
    counted = estimator.counted(domains, indicator).sum()
    whole = estimator.counted(estimator.domains([]), indicator).sum()
    if whole > 0 and counted < whole * (1.0 - _ROUNDED):
        warnings.warn(
            f"{files}: {1.0 - counted / whole:.2%} of those whom {indicator} counts are in no row of "
            f"{' × '.join(domains.by)}: a label of theirs is missing.",
            SaeWarning,
            stacklevel=2,
        )


def in_memory(
    design: Design, name: str, paths: Sequence[Path], areas: AreaFile | None, indicators: Sequence[str]
) -> InMemory:
    """Read files of a survey as the whole survey has them."""
    file = design.file
    survey = with_levels(read_files(file.surveys[name], paths), file, areas)
    return InMemory(design, aligned(survey, design.surveys[name]), indicators)


def _nothing() -> pd.DataFrame:
    whole = {"n": 0, "crossing": 0, "place": 0, **dict.fromkeys((*_FLOATS, "counted"), 0.0), **_TEXTS}
    return pd.DataFrame([whole]).iloc[:0]


def _places(domains: Domains, whole: Domains) -> np.ndarray:
    """Return which domain of the whole survey each domain of a file is."""
    if not domains.by:
        return np.arange(len(domains))
    mine, theirs = (
        pd.MultiIndex.from_arrays([labels(one.labels[name]).to_numpy(dtype=object) for name in one.by])
        for one in (domains, whole)
    )
    return theirs.get_indexer(mine)


def _estimated(
    estimator: Estimator, domains: Domains, names: Sequence[str], covariance: bool
) -> dict[str, DirectEstimates | str]:
    """Return the direct estimates by indicator; where all together fail, each alone."""
    if not names:
        return {}
    try:
        whole = estimator.direct(domains, names, covariance)
    except SaeError as error:
        if len(names) == 1:
            return {names[0]: error.what}
        alone = [_estimated(estimator, domains, [name], covariance) for name in names]
        return {name: table for part in alone for name, table in part.items()}
    return {name: _of_one(whole, name, k, len(domains)) for k, name in enumerate(names)}


def _of_one(whole: DirectEstimates, name: str, place: int, size: int) -> DirectEstimates:
    rows = slice(place * size, (place + 1) * size)
    return replace(
        whole,
        frame=whole.frame.iloc[rows].reset_index(drop=True),
        covariance=None if whole.covariance is None else whole.covariance.iloc[rows, rows],
        units={name: whole.units[name]},
    )


def direct_of(
    design: Design, indicator: str, crossing: Crossing, parts: Sequence[SurveyTables]
) -> Direct | str:
    """Return the direct estimates of an indicator in a crossing from those of its files, smoothed as wanted.

    Parameters
    ----------
    design : Design
    indicator : str
    crossing : Crossing
    parts : sequence of SurveyTables
        Of all files of the survey that carry the indicator.

    Returns
    -------
    Direct or str
        The reason where there are none.

    Raises
    ------
    SaeInputError
        If the indicator is a share in some files and a number in others.
    """
    if crossing.survey in design.published:
        published = design.published[crossing.survey]
        table = published.tables[indicator, crossing.level, crossing.groups]
        return Direct(table, np.zeros(len(table)), published.rough.get(indicator, ""))
    number = design.crossings.index(crossing)
    parts = [part for part in parts if indicator in part.facts]
    for part in parts:
        if str(number) in part.facts[indicator]["failed"]:
            reason: str = part.facts[indicator]["failed"][str(number)]
            return f"{part.files}: {reason}" if len(parts) > 1 else reason
    share = _share(indicator, parts)
    survey, one = design.surveys[crossing.survey], design.known[indicator]
    domains = cross_domains(survey, crossing.by)
    tables = [part.tables[indicator] for part in parts]
    some = [table[table["crossing"] == number] for table in tables]
    rows = pd.concat(some, ignore_index=True) if len(some) > 1 else some[0].reset_index(drop=True)
    place, size = rows["place"].to_numpy(), len(domains)
    columns: dict[str, Any] = {str(name): domains.labels[name] for name in domains.labels}
    columns |= {"indicator": one.name, "definition": one.definition, "n": np.zeros(size, dtype=np.int64)}
    columns |= {name: np.full(size, np.nan) for name in _FLOATS}
    columns |= {name: np.full(size, text, dtype=object) for name, text in _TEXTS.items()}
    columns["variance_method"][:] = rows["variance_method"].iloc[0]
    for name in ("n", *_FLOATS, *_TEXTS):
        columns[name][place] = rows[name].to_numpy()
    counted = np.zeros(size)
    counted[place] = rows["counted"].to_numpy()
    breaks = {one.id: one.year for one in crossed_breaks(survey, one, domains.by)}
    columns["status"] = _marked(columns["status"], domains.labels["time"], breaks)
    table = DirectEstimates(
        pd.DataFrame({**columns, "smoothing": ""}),
        domains.by,
        covariance=_covariance(indicator, number, domains, parts, some),
        units={indicator: _unit(indicator, parts)},
        provenance=_provenance(design, crossing, indicator, breaks),
    )
    smoothing = design.file.smoothing(indicator, crossing.level)
    if smoothing is None:
        return Direct(table, counted)
    try:
        return Direct(_smoothed(table, smoothing, share, domains), counted)
    except SaeError as error:  # the direct estimates are there without it
        return Direct(table, counted, error.what)


def _share(indicator: str, parts: Sequence[SurveyTables]) -> bool:
    """Return whether the indicator is a share, in all files alike."""
    kinds = {part.facts[indicator]["share"]: part.files for part in parts}
    if True in kinds and False in kinds:
        raise SaeInputError(
            f"{indicator} is a share in {kinds[True]}, and a number in {kinds[False]}.",
            hint="Code its columns alike in all files of the survey.",
        )
    return True in kinds


def _unit(indicator: str, parts: Sequence[SurveyTables]) -> str:
    told = [part.facts[indicator] for part in parts]
    units = [str(one["unit"]) for one in told if one["share"] is not None]
    return next(iter(units), "")


def _marked(status: np.ndarray, times: pd.Series, breaks: Mapping[str, int]) -> np.ndarray:
    """Return statuses with the breaks between all files in place of those within each."""
    marks = break_marks(times, breaks) if breaks else [""] * len(status)
    plain = [str(text).partition(_MARK)[0] for text in status]
    return np.array(
        [f"{text}{_MARK}{mark}" if mark else text for text, mark in zip(plain, marks, strict=True)],
        dtype=object,
    )


def _covariance(
    indicator: str,
    number: int,
    domains: Domains,
    parts: Sequence[SurveyTables],
    rows: Sequence[pd.DataFrame],
) -> pd.DataFrame | None:
    """Return the covariances of all files, whose samples are independent; missing where a variance is."""
    key = f"{indicator}, {number}"
    if not any(key in part.covariances for part in parts):
        return None
    matrix, known = np.zeros((len(domains), len(domains))), np.zeros(len(domains), dtype=bool)
    for part, some in zip(parts, rows, strict=True):
        if some.empty:  # a file without a column of the crossing
            continue
        place = some["place"].to_numpy()
        matrix[np.ix_(place, place)] = part.covariances[key]
        known[place] = np.isfinite(some["variance"].to_numpy())
    matrix[~known, :] = np.nan
    matrix[:, ~known] = np.nan
    index = pd.MultiIndex.from_arrays(
        [[indicator] * len(domains), domains.labels["domain"], domains.labels["time"]],
        names=["indicator", "domain", "time"],
    )
    return pd.DataFrame(matrix, index=index, columns=index)


def _provenance(
    design: Design, crossing: Crossing, indicator: str, breaks: Mapping[str, int]
) -> dict[str, Any]:
    survey = design.surveys[crossing.survey]
    return {
        **survey.source,
        "layout": survey.layout,
        **({"release": survey.release.facts} if survey.release.facts else {}),
        "indicators": {indicator: design.known[indicator].definition},
        "by": crossing.by,
        "accept": sorted(design.file.production.accept),
        **({"breaks": {indicator: dict(breaks)}} if breaks else {}),
    }


def _smoothed(table: DirectEstimates, smoothing: Smoothing, share: bool, domains: Domains) -> DirectEstimates:
    frame = table.frame
    made = smooth(frame, smoothing, share=share, groups=domains.peers())
    n_eff = np.where(np.isfinite(made.n_eff), made.n_eff, frame["n_eff"])
    return replace(
        table, frame=frame.assign(vardir=made.vardir, n_eff=n_eff, smoothing=smoothing), log=made.log
    )
