"""From estimates by domain to the table: intervals, smoothing, marks of breaks, provenance."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from sae.design_based.design import Design
from sae.design_based.domains import Domains
from sae.design_based.estimates import DomainEstimates
from sae.design_based.intervals import intervals
from sae.design_based.smoothing import smooth
from sae.indicators import BREAKS, Indicator, break_marks, crossed_breaks
from sae.literals import DesignVariance, Smoothing
from sae.survey import Survey
from sae.tables import DirectEstimates, cv_of

__all__ = ["covariance_table", "direct_table"]


def direct_table(
    survey: Survey,
    indicators: Sequence[Indicator],
    estimates: Sequence[DomainEstimates],
    domains: Domains,
    *,
    method: DesignVariance,
    described: str,
    smoothing: Smoothing | None,
    level: float,
    accept: Collection[str],
    log: Iterable[str],
    covariance: pd.DataFrame | None = None,
    drawn: Mapping[str, Any] | None = None,
) -> DirectEstimates:
    """Put the estimates of indicators into one table.

    Parameters
    ----------
    survey : Survey
        Its periods, release, layout and source are told.
    indicators : sequence of Indicator
    estimates : sequence of DomainEstimates
        One per indicator.
    domains : Domains
    method, described : str
        Of the variance: its name, and the words of the table.
    smoothing, level, accept
        As in `sae.direct`.
    log : iterable of str
        What is said of the survey and the indicators.
    covariance : DataFrame, optional
    drawn : mapping, optional
        What belongs to random replicates, for the provenance.
    """
    log = [*log, *domains.log]
    columns = []
    breaks: dict[str, dict[str, int]] = {}
    for indicator, of_domains in zip(indicators, estimates, strict=True):
        numbers, lines = _columns(indicator, of_domains, domains, smoothing, level)
        crossed = crossed_breaks(survey, indicator, domains.by)
        if crossed:
            years = breaks[indicator.name] = {one.id: one.year for one in crossed}
            marks = break_marks(domains.labels["time"], years)
            status = [
                f"{word}; break {mark}" if mark else word
                for word, mark in zip(numbers["status"], marks, strict=True)
            ]
            numbers["status"] = np.array(status, dtype=object)
            log.extend(f"{indicator.name}: accepted across {one}; later rows are marked" for one in crossed)
        columns.append(numbers)
        log.extend(f"{indicator.name}: {line}" for line in (*of_domains.notes, *lines))
    labels = domains.labels
    if len(indicators) > 1:
        labels = labels.iloc[np.tile(np.arange(len(domains)), len(indicators))]
    numbers = {name: np.concatenate([part[name] for part in columns]) for name in columns[0]}
    methods = {"variance_method": described, "smoothing": smoothing or ""}
    # a mapping becomes the frame as the table is made
    table: Any = {**{str(name): labels[name].reset_index(drop=True) for name in labels}, **numbers, **methods}
    names = [indicator.name for indicator in indicators]
    known = {indicator.name: _known_breaks(survey, indicator) for indicator in indicators}
    known = {name: years for name, years in known.items() if years}
    provenance = {
        **survey.source,
        "layout": survey.layout,
        **({"release": survey.release.facts} if survey.release.facts else {}),
        "indicators": {indicator.name: indicator.definition for indicator in indicators},
        "by": list(domains.by),
        "variance": method,
        "smoothing": smoothing,
        "level": level,
        **({"accept": sorted(accept)} if accept else {}),
        **({"breaks": breaks} if breaks else {}),
        **({"known_breaks": known} if known else {}),
        **(drawn or {}),
    }
    return DirectEstimates(
        table,
        domains.by,
        covariance=covariance,
        units={name: of_domains.unit for name, of_domains in zip(names, estimates, strict=True)},
        log=tuple(log),
        provenance=provenance,
    )


def _known_breaks(survey: Survey, indicator: Indicator) -> dict[str, int]:
    """Return the breaks of the indicator in such a survey, crossed or not: for tables of other years."""
    if survey.release.survey not in ("", indicator.survey or survey.release.survey):
        return {}
    return {one: BREAKS[one].year for one in indicator.breaks}


def _columns(
    indicator: Indicator,
    estimates: DomainEstimates,
    domains: Domains,
    smoothing: Smoothing | None,
    level: float,
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Numbers of one indicator by column of the table, and what smoothing has to say."""
    low, high, names = intervals(
        estimates.estimate,
        estimates.variance,
        estimates.n,
        estimates.n_eff,
        estimates.df,
        share=estimates.share,
        level=level,
    )
    with np.errstate(invalid="ignore"):
        se = np.sqrt(estimates.variance)
    cv = cv_of(se, estimates.estimate)
    size = estimates.n.size
    columns = {
        "indicator": np.full(size, indicator.name, dtype=object),
        "definition": np.full(size, indicator.definition, dtype=object),
        "n": estimates.n,
        "n_eff": estimates.n_eff,
        "df": estimates.df,
        "estimate": estimates.estimate,
        "variance": estimates.variance,
        "se": se,
        "cv": cv,
        "ci_low": low,
        "ci_high": high,
        "interval": names,
        "deff": estimates.deff,
        "vardir": np.where(estimates.variance > 0, estimates.variance, np.nan),
        "status": estimates.status,
    }
    if smoothing is None:
        return columns, ()
    inputs = {name: columns[name] for name in ("n", "n_eff", "estimate", "variance", "deff", "df")}
    frame = pd.DataFrame({**inputs, "weight_total": estimates.weight_total})
    smoothed = smooth(frame, smoothing, share=estimates.share, groups=domains.peers())
    n_eff = np.where(np.isfinite(smoothed.n_eff), smoothed.n_eff, estimates.n_eff)
    return {**columns, "vardir": smoothed.vardir, "n_eff": n_eff}, smoothed.log


def covariance_table(
    design: Design, names: Sequence[str], estimates: Sequence[DomainEstimates], domains: Domains
) -> pd.DataFrame:
    """Covariances between all domains and indicators, labelled."""
    variance = np.concatenate([one.variance for one in estimates])
    scores = [one.scores for one in estimates if one.scores is not None]
    factors = [one.factors for one in estimates if one.factors is not None]
    if scores:
        matrix = design.covariance(scores, np.nan_to_num(variance))
    elif sparse.issparse(factors[0]):
        records = sparse.vstack(factors)
        matrix = (records @ records.T).toarray()
    else:
        deviations = np.nan_to_num(np.vstack(factors))
        matrix = deviations @ deviations.T
    matrix[variance == 0, :] = 0.0  # all or nobody: what is left would be the error of the threshold alone
    matrix[:, variance == 0] = 0.0
    missing = ~np.isfinite(variance)
    matrix[missing, :] = np.nan
    matrix[:, missing] = np.nan
    index = pd.MultiIndex.from_tuples(
        [
            (name, domain, time)
            for name in names
            for domain, time in zip(domains.labels["domain"], domains.labels["time"], strict=True)
        ],
        names=["indicator", "domain", "time"],
    )
    return pd.DataFrame(matrix, index=index, columns=index)
