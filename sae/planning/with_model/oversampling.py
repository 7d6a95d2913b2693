"""An oversample planned from a fitted model: what to sample so that each area becomes precise enough."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import sparse

from sae._version import __version__
from sae.calls import answered
from sae.errors import SaeInputError, SaeSpecError, SaeWarning, name_some
from sae.numerics.allocation.integer import round_feasible
from sae.numerics.allocation.with_model import PlannedModel, needed_variance, reach_targets
from sae.planning.direct.strata import StrataFrame, announce_unread
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
_COLUMNS = frozenset(
    {
        "domain",
        "stratum",
        "population",
        "density",
        "cost",
        "screening_cost",
        "response",
        "screening_response",
        "minimum",
        "maximum",
        "n_now",
        "deff",
        "sd",
    }
)


@answered
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
        ``maximum`` interviews, ``n_now`` (by default the interviews behind the fit, spread as the members
        are), and ``deff`` and ``sd`` or, with the name of the indicator, ``deff_<indicator>`` and
        ``sd_<indicator>``. Columns whose names come near one of these are refused, others are named in a
        warning.
    targets : float, rule, or mapping of domain to either
        A number is a coefficient of variation. Domains that a mapping leaves out have no target. A target
        for all needs strata of every domain of the fit.
    assurance : float or None
        Posterior probability with which each domain is to meet its target, counted over 200 equally likely
        values of the model variance; None asks that the mean squared error averaged over the posterior does.

    Raises
    ------
    SaeInputError, SaeSpecError
        If the frame, the fit or a target cannot be used; offenders are named.

    Notes
    -----
    The population being finite, n of N members leave a direct estimate the variance V (1/n - 1/N), V being
    that of one interview, design effect included: a census leaves none. The variances of the fit are taken
    to be without that factor, so that V is at most a little too small where today's samples are a large part
    of the members.

    References
    ----------
    Rao and Molina (2015), section 6.2.1 (g1, g2, g3); Kalton and Anderson (1986), JRSS A 149, 65–82; Bethel
    (1989), Survey Methodology 15, 47–57.
    """
    if assurance is not None and not 0.5 <= assurance < 1.0:
        raise SaeSpecError(f"assurance = {assurance}; give a probability from 0.5 to below 1, or None.")
    model, indicator = FittedModel.of(fit), _indicator(fit)
    strata = StrataFrame.of_cells(frame, list(model.domain))
    announce_unread(strata.refuse_misspelt(_columns(strata, indicator)))
    cells = Cells.of(strata, list(model.domain), model.n)
    rows = pd.Index(model.domain).get_indexer(cells.domains)
    unit = _own_unit(strata, indicator, cells, model, rows)
    bound, fewest, rules = _bounds(targets, cells, model, rows, unit)
    notes = [*model.notes, *_notes(cells, model, rows, rules)]
    a = cells.variances(unit)
    fixed = np.asarray(a.T @ (1.0 / cells.group))
    with np.errstate(divide="ignore"):
        direct = _settle(a, fixed, np.minimum(bound + fixed, unit / fewest), cells)
    slope2 = model.slope[rows] ** 2
    held = (
        model.planned(rows, unit, cells.of_domain)
        if assurance is None
        else model.equally_likely(rows, unit, cells.of_domain, assurance)
    )
    with_model = _with_model(a, fixed, bound, slope2, held.thinned(), cells)
    provenance = {
        "sae": __version__,
        "indicator": indicator,
        "fit": fit.provenance.get("run", ""),
        "frame": _digest(frame),
        "model": fit.spec.label,
        "notes": notes,
    }
    return OversamplePlan(model, rows, cells, unit, bound, rules, assurance, direct, with_model, provenance)


def _columns(strata: StrataFrame, indicator: str) -> frozenset[str]:
    own = {
        f"{kind}_{indicator}" for kind in ("deff", "sd") if strata.named(kind, indicator) != kind
    }  # the plain column stands for all
    return _COLUMNS | own


def _notes(
    cells: Cells, model: FittedModel, rows: np.ndarray, rules: tuple[PrecisionRule | None, ...]
) -> list[str]:
    """Say which domains are left out, where two figures of today disagree, which rule asks nothing."""
    notes = []
    outside = _without_strata(cells, model)
    if outside:
        notes.append(
            f"{len(outside)} domains of the fit have no strata in the frame and no target; the plan is not "
            f"about them: {name_some(outside)}."
        )
    now = np.asarray(cells.now.sum(axis=0)).ravel()
    other = np.abs(now - model.n[rows]) > 0.5
    if other.any():
        notes.append(
            f"Today's interviews are those of the frame, {now.sum():,.0f}; behind the fit, and so behind "
            f"today's precision, are {model.n[rows].sum():,.0f}. They differ in {int(other.sum())} domains: "
            f"{name_some(cells.domains[other])}."
        )
    more = now > cells.of_domain * (1.0 + 1e-9)
    if more.any():
        notes.append(
            f"In {int(more.sum())} domains today's interviews are more than the members of the frame: "
            f"{name_some(cells.domains[more])}. Is its population counted in persons?"
        )
    for rule in dict.fromkeys(rule for rule in rules if rule is not None and not rule.measures):
        at = cells.domains[[one == rule for one in rules]]
        notes.append(
            f"{rule.text} limits no error: it asks nothing of the model in {len(at)} domains, "
            f"{name_some(at)}. Put least numbers into the column minimum of the frame."
        )
    for note in notes:
        warnings.warn(note, SaeWarning, stacklevel=4)
    return notes


def _without_strata(cells: Cells, model: FittedModel) -> list[str]:
    present = set(cells.domains)
    return [name for name in model.domain if name not in present]


def _settle(a: sparse.csr_matrix, fixed: np.ndarray, right: np.ndarray, cells: Cells) -> Sizes:
    """Cheapest whole-numbered sizes with a' (1/n) <= right; what all members together miss is no demand."""
    hopeless = np.isfinite(right) & (np.asarray(a.T @ (1.0 / cells.upper)) > right * (1.0 + 1e-12))
    right = np.where(hopeless, np.inf, right)
    n, price = cheapest(a, right, cells.cost, cells.lower, cells.upper)
    whole = _whole(a, right, cells, n, price)
    return Sizes(whole, n, _price_of(price, right, fixed), right - fixed, hopeless)


def _price_of(price: np.ndarray, right: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Turn prices of the right sides into those of the variances, which are `fixed` less."""
    return price * np.where(np.isfinite(right), 1.0 - fixed / np.where(np.isfinite(right), right, 1.0), 1.0)


def _whole(
    a: sparse.csr_matrix, right: np.ndarray, cells: Cells, n: np.ndarray, price: np.ndarray
) -> np.ndarray:
    asked = np.isfinite(right)
    whole = cells.lower.astype(np.int64)
    if not asked.any():
        return whole
    scaled = a[:, asked].multiply(1.0 / right[asked]).tocsr()
    inside = np.flatnonzero(scaled.getnnz(axis=1) > 0)
    low = np.maximum(cells.lower[inside], 1.0)
    high = np.maximum(cells.upper[inside], low)
    whole[inside] = round_feasible(
        scaled[inside], cells.cost[inside], low, high, np.clip(n[inside], low, high), price[asked]
    )
    return whole


def _with_model(
    a: sparse.csr_matrix,
    fixed: np.ndarray,
    bound: np.ndarray,
    slope2: np.ndarray,
    planned: PlannedModel,
    cells: Cells,
) -> Sizes:
    """Let g2 and g3 settle; a domain that misses its target with all its members makes no demand."""
    least = np.asarray(a.T @ (1.0 / cells.upper))  # of a' (1/n)
    best = sampling_variances(a, fixed, cells.upper) / slope2
    hopeless = np.isfinite(bound) & ~planned.met(best, bound / slope2)

    def cheapest_psi(psi: np.ndarray) -> np.ndarray:
        right = np.maximum(psi * slope2 + fixed, least * (1.0 + 1e-9))
        n, _ = cheapest(a, right, cells.cost, cells.lower, cells.upper)
        return sampling_variances(a, fixed, n) / slope2

    for _ in range(_DROPS):
        asked = np.where(hopeless, np.inf, bound)
        needed = reach_targets(planned, asked / slope2, cheapest_psi).needed * slope2
        short = np.isfinite(asked) & (needed + fixed < least * (1.0 - 1e-9))
        if not short.any():
            break
        hopeless = hopeless | short
    # a whole number is more than was needed, which may raise an error (g3): its domain gets the next step
    for _ in range(_DROPS):
        right = np.where(np.isfinite(asked), np.maximum(needed + fixed, least * (1.0 + 1e-12)), np.inf)
        n, price = cheapest(a, right, cells.cost, cells.lower, cells.upper)
        whole = _whole(a, right, cells, n, price)
        psi = sampling_variances(a, fixed, whole)
        missed = np.isfinite(asked) & ~planned.met(psi / slope2, asked / slope2)
        short = missed & (psi + fixed > least * (1.0 + 1e-9))
        if not short.any():
            break
        demand = np.where(short, asked, 1.0) / slope2
        needed = np.where(
            short, np.minimum(needed, needed_variance(planned, demand, psi / slope2) * slope2), needed
        )
    return Sizes(whole, n, _price_of(price, right, fixed), right - fixed, hopeless)


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
    code, names = pd.factorize(strata.frame["domain"])
    for kind, values in (("deff", own_deff), ("sd", own_sd)):
        if values is not None:
            spread = pd.Series(values).groupby(code).agg(lambda part: part.max() > part.min())
            several = names[spread.to_numpy(dtype=bool)]
            if len(several):
                raise SaeInputError(
                    f"{kind} differs between the strata of {len(several)} domains: {name_some(several)}.",
                    hint="A plan from a model takes one value for each domain.",
                    areas=several,
                    column=kind,
                )
    place = strata.frame["domain"].drop_duplicates().index[pd.Index(names).get_indexer(cells.domains)]
    deff = model.deff[rows] if own_deff is None else own_deff[place]
    person = model.person[rows] if own_sd is None else own_sd[place] ** 2
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
    given = _rules_by_domain(targets, cells, model)
    rules = [CV(float(rule)) if isinstance(rule, (int, float)) else rule for rule in given]
    estimate = model.estimate[rows]
    person = np.where(np.isfinite(model.deff[rows]), model.person[rows], unit)
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


def _rules_by_domain(
    targets: float | PrecisionRule | Mapping[str, float | PrecisionRule], cells: Cells, model: FittedModel
) -> list[float | PrecisionRule | None]:
    """Return the target of each domain of the plan; none may speak of a domain without strata."""
    if not isinstance(targets, Mapping):
        _check_rule(targets, "all domains")
        lost = _without_strata(cells, model)
        if lost:
            raise SaeInputError(
                f"{len(lost)} of {len(model.domain)} domains of the fit have no strata in the frame: "
                f"{name_some(lost)}.",
                hint="Add their strata, or give targets as a mapping of the domains that the plan is for.",
                areas=lost,
                column="domain",
            )
        return [targets] * len(cells.domains)
    if any(name is None or name != name or name == "" for name in targets):
        raise SaeInputError("A target has no domain.", hint="Its key is the label of a domain.")
    names = [label_text(name) for name in targets]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise SaeInputError(f"{len(twice)} domains have several targets: {name_some(twice)}.", areas=twice)
    named = dict(zip(names, targets.values(), strict=True))
    present = set(cells.domains)
    unknown = [name for name in named if name not in present]
    if unknown:
        raise SaeInputError(
            f"Targets for domains that the frame does not have: {name_some(unknown)}.", areas=unknown
        )
    for name, rule in named.items():
        _check_rule(rule, name)
    if not named:
        raise SaeInputError("There is no target.", hint="Such as targets=0.1, a CV of 10 % in every domain.")
    return [named.get(name) for name in cells.domains]


def _check_rule(rule: object, name: str) -> None:
    number = isinstance(rule, (int, float)) and not isinstance(rule, bool)
    if not (number or isinstance(rule, PrecisionRule)):
        raise SaeSpecError(
            f"The target of {name} is {rule!r}.",
            hint="Give a coefficient of variation such as 0.1, or a rule such as HalfWidth(0.05).",
        )


def _indicator(fit: Result) -> str:
    named = str(fit.estimates.frame["indicator"].iloc[0])
    return named or split_formula(fit.spec.formula)[0]


def _digest(frame: pd.DataFrame) -> str:
    text = frame.to_csv(index=False, lineterminator="\n")
    return hashlib.sha256(text.encode()).hexdigest()[:12]
