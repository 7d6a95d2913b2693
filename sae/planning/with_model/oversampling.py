"""An oversample planned from a fitted model: what to sample so that each area becomes precise enough."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import sparse

from sae._version import __version__
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.numerics.allocation.integer import round_feasible
from sae.numerics.allocation.with_model import PlannedModel, needed_variance, reach_targets
from sae.planning.direct.strata import StrataFrame
from sae.planning.precision import CV, PrecisionRule
from sae.planning.with_model.arrays import Sizes
from sae.planning.with_model.cells import Cells, cheapest, sampling_variances
from sae.planning.with_model.fitted import FittedModel
from sae.planning.with_model.plan import OversamplePlan
from sae.results import Result
from sae.specs import split_formula
from sae.tables import label_text

__all__ = ["oversample"]

_DROPS = 25


def oversample(
    fit: Result,
    frame: pd.DataFrame,
    *,
    targets: float | PrecisionRule | Mapping[str, float | PrecisionRule],
    assurance: float | None = 0.9,
) -> OversamplePlan:
    """Plan the cheapest sample that makes every domain precise enough, direct only and with the model.

    Variances, design effects and the posterior of σu come from the fit. With the model a domain may be short
    of interviews by V/A, where A is the model variance: never one number, but its posterior. g2 and g3 of the
    planned sample are counted. Domains that need no sample, and those that none helps, are named.

    Parameters
    ----------
    fit : Result
        Of `FayHerriot` or `NestedError`; its data must have the sizes of the samples.
    frame : DataFrame
        One row per stratum and domain: ``domain``, ``population``, and where they differ from their
        defaults ``stratum`` (the domain), ``density`` of the group (1), ``cost`` of an interview (1),
        ``screening_cost`` of a contact (0), ``response`` and ``screening_response`` (1), ``minimum`` (0) and
        ``maximum`` interviews, ``n_now``, and ``deff`` and ``sd`` or, with the name of the indicator,
        ``deff_<indicator>`` and ``sd_<indicator>``.
    targets : float, rule, or mapping of domain to either
        A number is a coefficient of variation. Domains that a mapping leaves out have no target.
    assurance : float or None
        Posterior probability with which each domain is to meet its target, counted over 200 equally likely
        values of the model variance; None asks that the mean squared error averaged over the posterior does.

    Raises
    ------
    SaeInputError, SaeSpecError
        If the frame, the fit or a target cannot be used; offenders are named.

    References
    ----------
    Rao and Molina (2015), section 6.2.1 (g1, g2, g3); Kalton and Anderson (1986), JRSS A 149, 65–82; Bethel
    (1989), Survey Methodology 15, 47–57.
    """
    if assurance is not None and not 0.5 <= assurance < 1.0:
        raise SaeSpecError(f"assurance = {assurance}; give a probability from 0.5 to below 1, or None.")
    model = FittedModel.of(fit)
    strata = StrataFrame.of_cells(frame, list(model.domain))
    cells = Cells.of(strata, list(model.domain))
    rows = pd.Index(model.domain).get_indexer(cells.domains)
    indicator = _indicator(fit)
    unit = _own_unit(strata, indicator, cells, model, rows)
    bound, fewest, rules = _bounds(targets, cells, model, rows, unit)
    a = cells.variances(unit)
    with np.errstate(divide="ignore"):
        direct = _settle(a, np.minimum(bound, unit / fewest), cells)
    slope2 = model.slope[rows] ** 2
    held = model.planned(rows, unit) if assurance is None else model.equally_likely(rows, unit, assurance)
    with_model = _with_model(a, bound, slope2, held.thinned(), cells)
    provenance = {
        "sae": __version__,
        "indicator": indicator,
        "fit": fit.provenance.get("run", ""),
        "frame": _digest(frame),
        "model": fit.spec.label,
        "notes": list(model.notes),
    }
    return OversamplePlan(model, rows, cells, unit, bound, rules, assurance, direct, with_model, provenance)


def _settle(a: sparse.csr_matrix, bound: np.ndarray, cells: Cells) -> Sizes:
    """Cheapest whole-numbered sizes; bounds that all members together miss make no demand."""
    hopeless = np.isfinite(bound) & (np.asarray(a.T @ (1.0 / cells.upper)) > bound)
    needed = np.where(hopeless, np.inf, bound)
    n, price = cheapest(a, needed, cells.cost, cells.lower, cells.upper)
    return Sizes(_whole(a, needed, cells, n, price), n, price, needed, hopeless)


def _whole(
    a: sparse.csr_matrix, needed: np.ndarray, cells: Cells, n: np.ndarray, price: np.ndarray
) -> np.ndarray:
    asked = np.isfinite(needed)
    whole = cells.lower.astype(np.int64)
    if not asked.any():
        return whole
    scaled = a[:, asked].multiply(1.0 / needed[asked]).tocsr()
    inside = np.flatnonzero(scaled.getnnz(axis=1) > 0)
    low = np.maximum(cells.lower[inside], 1.0)
    high = np.maximum(cells.upper[inside], low)
    whole[inside] = round_feasible(
        scaled[inside], cells.cost[inside], low, high, np.clip(n[inside], low, high), price[asked]
    )
    return whole


def _with_model(
    a: sparse.csr_matrix, bound: np.ndarray, slope2: np.ndarray, planned: PlannedModel, cells: Cells
) -> Sizes:
    """Let g2 and g3 settle; a domain that misses its target with all its members makes no demand."""
    best = np.asarray(a.T @ (1.0 / cells.upper))
    hopeless = np.isfinite(bound) & ~planned.met(best / slope2, bound / slope2)

    def cheapest_psi(psi: np.ndarray) -> np.ndarray:
        n, _ = cheapest(
            a, np.maximum(psi * slope2, best * (1.0 + 1e-9)), cells.cost, cells.lower, cells.upper
        )
        return sampling_variances(a, n) / slope2

    for _ in range(_DROPS):
        asked = np.where(hopeless, np.inf, bound)
        needed = reach_targets(planned, asked / slope2, cheapest_psi).needed * slope2
        short = np.isfinite(asked) & (needed < best * (1.0 - 1e-9))
        if not short.any():
            break
        hopeless = hopeless | short
    # a whole number is more than was needed, which may raise an error (g3): its domain gets the next step
    for _ in range(_DROPS):
        needed = np.where(np.isfinite(asked), np.maximum(needed, best * (1.0 + 1e-12)), np.inf)
        n, price = cheapest(a, needed, cells.cost, cells.lower, cells.upper)
        whole = _whole(a, needed, cells, n, price)
        psi = sampling_variances(a, whole)
        short = np.isfinite(asked) & ~planned.met(psi / slope2, asked / slope2) & (psi > best * (1.0 + 1e-9))
        if not short.any():
            break
        demand = np.where(short, asked, 1.0) / slope2
        needed = np.where(
            short, np.minimum(needed, needed_variance(planned, demand, psi / slope2) * slope2), needed
        )
    return Sizes(whole, n, price, needed, hopeless)


def _own_unit(
    strata: StrataFrame, indicator: str, cells: Cells, model: FittedModel, rows: np.ndarray
) -> np.ndarray:
    """Return the fit's unit variances, unless the frame has design effects or standard deviations."""
    own_deff, own_sd = strata.deff_of(indicator), strata.sd_of(indicator)
    if own_deff is None and own_sd is None:
        return model.unit[rows].copy()
    if own_sd is None and not model.share:
        raise SaeInputError("The frame has deff but no sd, and the figures are no shares.", column="sd")
    if own_deff is None and not model.share:
        raise SaeInputError(
            "The frame has sd but no deff, which a fit of other figures than shares does not tell.",
            column="deff",
        )
    firsts = strata.frame["domain"].drop_duplicates()  # the first row of a domain speaks for it
    place = firsts.index[pd.Index(firsts).get_indexer(cells.domains)]
    estimate = model.estimate[rows]
    deff = model.deff[rows] if own_deff is None else own_deff[place]
    person = estimate * (1.0 - estimate) if own_sd is None else own_sd[place] ** 2
    wrong = ~(np.isfinite(deff * person) & (deff * person > 0))
    if wrong.any():
        raise SaeInputError(
            f"deff × sd² is not positive in {name_some(cells.domains[wrong])}.", areas=cells.domains[wrong]
        )
    return np.asarray(deff * person)


def _bounds(
    targets: float | PrecisionRule | Mapping[str, float | PrecisionRule],
    cells: Cells,
    model: FittedModel,
    rows: np.ndarray,
    unit: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, tuple[PrecisionRule | None, ...]]:
    """Return the error each domain may have, the fewest interviews of a direct estimate, and its rule."""
    if isinstance(targets, Mapping):
        targets = {label_text(name): rule for name, rule in targets.items()}
        unknown = [name for name in targets if name not in set(cells.domains)]
        if unknown:
            raise SaeInputError(
                f"Targets for domains that the frame does not have: {name_some(unknown)}.", areas=unknown
            )
        given = [targets.get(name) for name in cells.domains]
    else:
        given = [targets] * len(rows)
    rules = [CV(float(rule)) if isinstance(rule, (int, float)) else rule for rule in given]
    estimate = model.estimate[rows]
    person = np.where(np.isfinite(model.deff[rows]), estimate * (1.0 - estimate), unit)
    bound, fewest = np.full(len(rows), np.inf), np.zeros(len(rows))
    for rule in dict.fromkeys(rule for rule in rules if rule is not None):
        here = np.array([other == rule for other in rules])
        bound[here] = rule.bound(estimate[here], person[here], cells.of_domain[here])
        if rule.least_n:
            fewest[here] = rule.least_n
    if not (bound > 0).all():
        at = cells.domains[~(bound > 0)]
        raise SaeInputError(f"No error is small enough for the targets of {name_some(at)}.", areas=at)
    return bound, fewest, tuple(rules)


def _indicator(fit: Result) -> str:
    named = str(fit.estimates.frame["indicator"].iloc[0])
    return named or split_formula(fit.spec.formula)[0]


def _digest(frame: pd.DataFrame) -> str:
    text = frame.to_csv(index=False, lineterminator="\n")
    return hashlib.sha256(text.encode()).hexdigest()[:12]
