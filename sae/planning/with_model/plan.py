"""The plan that `oversample` makes: its tables, its sentences, its allocations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sae.errors import name_some
from sae.numerics.allocation.rare_groups import oversampling_deff
from sae.numerics.allocation.with_model import PlannedModel, model_size
from sae.planning.with_model.cells import Cells, sampling_variances
from sae.planning.with_model.fitted import FittedModel
from sae.tables import Allocation

if TYPE_CHECKING:
    from scipy import sparse

__all__ = ["OversamplePlan", "Sizes"]

_LEVEL = 0.95  # of the interval of what the model is worth
_PERCENT = 0.02  # a standard error that may be 1 % larger is a variance that may be 2 % larger


@dataclass(frozen=True, eq=False)
class Sizes:
    """One answer to the targets: interviews of the group by stratum.

    Attributes
    ----------
    n : ndarray of int64, shape (H,)
    continuous : ndarray, shape (H,)
        The real-valued optimum.
    price : ndarray, shape (D,)
        What the cost falls by when a domain's bound is relaxed, per unit of relative relaxation.
    needed : ndarray, shape (D,)
        Sampling variance that each domain may have (reported scale); infinite without a demand.
    hopeless : ndarray of bool, shape (D,)
        Domains that no sample within the bounds makes precise enough; they make no demand.
    """

    n: np.ndarray
    continuous: np.ndarray
    price: np.ndarray
    needed: np.ndarray
    hopeless: np.ndarray


@dataclass(frozen=True, eq=False)
class OversamplePlan:
    """A plan with and without the model; all tables of the report are made from it.

    Attributes
    ----------
    model : FittedModel
        What was taken from the fit.
    rows : ndarray of int, shape (D,)
        Rows of the fit that the plan is about, in the order of `cells.domains`.
    cells : Cells
    unit : ndarray, shape (D,)
        Sampling variance of one interview, reported scale.
    bound : ndarray, shape (D,)
        Mean squared error allowed, reported scale; infinite: no target.
    rules : tuple of str
        The target of each domain in words.
    assurance : float or None
        Probability with which each target is to be met; None: on average over what is known of σu.
    direct, with_model : Sizes
    provenance : mapping
    """

    model: FittedModel
    rows: np.ndarray
    cells: Cells
    unit: np.ndarray
    bound: np.ndarray
    rules: tuple[str, ...]
    assurance: float | None
    direct: Sizes
    with_model: Sizes
    provenance: Mapping[str, Any]

    @cached_property
    def planned(self) -> PlannedModel:
        """The model with all that is known of σu, for the domains of the plan."""
        return self.model.planned(self.rows, self.unit)

    @cached_property
    def spread(self) -> PlannedModel:
        """The same with equally likely values of σu, for probabilities."""
        return self.model.spread(self.rows, self.unit, self.assurance)

    @property
    def held_at(self) -> float:
        """The model variance that a plan speaks of: its assured quantile, or its mean."""
        if self.assurance is None:
            return float(self.planned.weights @ self.planned.variance)
        return float(self.model.quantiles([self.assurance])[0])

    @cached_property
    def a(self) -> sparse.csr_matrix:
        """Sampling variances of direct estimates are a' (1/n), shape (H, D), reported scale."""
        return self.cells.variances(self.unit)

    def psi(self, n: np.ndarray) -> np.ndarray:
        """Return the variance of each domain's direct estimate, reported scale; inf without a sample."""
        return sampling_variances(self.a, n)

    def mse(self, n: np.ndarray) -> np.ndarray:
        """Return the model's mean squared error at every node of σu, reported scale, shape (K, D)."""
        slope2 = self.model.slope[self.rows] ** 2
        return self.planned.mse(self.psi(n) / slope2) * slope2

    def publishable(self, n: np.ndarray, *, with_model: bool) -> np.ndarray:
        """Return which domains meet their target with interviews n, shape (D,)."""
        if not with_model:
            return self.psi(n) <= self.bound * (1.0 + 1e-9)
        slope2 = self.model.slope[self.rows] ** 2
        held = self.planned if self.assurance is None else self.spread
        return held.met(self.psi(n) / slope2, self.bound / slope2)

    def _quantiles(self, n: np.ndarray, probabilities: list[float]) -> list[np.ndarray]:
        """Return quantiles of the mean squared error over what is known of σu, reported scale."""
        slope2 = self.model.slope[self.rows] ** 2
        mse = np.sort(self.spread.mse(self.psi(n) / slope2), axis=0) * slope2
        return [mse[int(np.ceil(p * len(mse) - 1e-9)) - 1] for p in probabilities]

    @cached_property
    def worth(self) -> pd.DataFrame:
        """What the model is worth by domain, in interviews: V/A less to ask on average, with its interval.

        Columns n_direct (V/M), worth, worth_low, worth_high, n_model = n_direct - worth, and n_assured, what
        the assured quantile of A leaves. The interval is that of the posterior of A; worth_high is infinite
        where the model may be so good that no interview is needed.
        """
        tail = 0.5 * (1.0 - _LEVEL)
        low, middle, high = self.model.quantiles([tail, 0.5, 1.0 - tail])
        slope2 = self.model.slope[self.rows] ** 2
        unit, bound = self.unit / slope2, self.bound / slope2
        direct = unit / bound
        worth, least, most = unit / middle, unit / high, unit / low
        return pd.DataFrame({
            "domain": self.cells.domains, "n_direct": direct, "worth": np.minimum(worth, direct),
            "worth_low": np.minimum(least, direct), "worth_high": np.where(most < direct, most, np.inf),
            "n_model": model_size(bound, unit, middle), "n_assured": model_size(bound, unit, self.held_at),
        })  # fmt: skip

    @property
    def sentences(self) -> tuple[str, ...]:
        """One sentence per domain with a target, which an official can quote."""
        return self.told()

    def told(self, areas_called: str = "domains") -> tuple[str, ...]:
        """Return the sentences with the word for several domains, such as "cities"."""
        planned = np.where(self.domains["met"] & bool(self.assurance), self.domains["n_model"], np.nan)
        return tuple(
            _sentence(line, rule, self.assurance, n, areas_called)
            for line, rule, n in zip(self.worth.to_dict("records"), self.rules, planned, strict=True)
            if line["n_direct"] > 0
        )

    @cached_property
    def domains(self) -> pd.DataFrame:
        """One row per domain: today, the target, the recommendation, what it attains, and why."""
        now = self.model.now.iloc[self.rows].reset_index(drop=True)
        estimate = self.model.estimate[self.rows]
        size = np.abs(estimate)
        n, alone = self.with_model.n, self.direct.n
        slope2 = self.model.slope[self.rows] ** 2
        low, high = self._quantiles(n, [0.025, 0.975])
        cv = lambda variance: np.sqrt(variance) / size  # noqa: E731
        table = pd.DataFrame({
            "domain": self.cells.domains, "estimate": estimate, "rule": self.rules,
            "required_rmse": np.sqrt(self.bound), "required_cv": cv(self.bound),
            "n_now": self.model.n[self.rows], "n_eff_now": now["n_eff"], "direct_cv_now": now["direct_cv"],
            "model_cv_now": now["cv"], "gamma_now": now["gamma"], "flag_now": now["flag"],
            "publishable_now": now["publishable"],
            "members": self.cells.of_domain, "deff": self.model.deff[self.rows],
            "unit_sd": np.sqrt(self.unit),
            "n_direct": self.cells.interviews(alone), "n_model": self.cells.interviews(n),
            "direct_cv": cv(self.psi(n)), "model_cv": cv(self.planned.weights @ self.mse(n)),
            "model_cv_low": cv(low), "model_cv_high": cv(high),
            "direct_only_cv": cv(self.psi(alone)),
            "probability": self.spread.probability(self.psi(n) / slope2, self.bound / slope2),
            "met": self.publishable(n, with_model=True),
            "met_direct_only": self.publishable(alone, with_model=False),
            "price": _PERCENT * self.with_model.price, "price_direct_only": _PERCENT * self.direct.price,
        })  # fmt: skip
        worth = self.worth.drop(columns=["domain", "n_direct", "n_model"])
        return pd.concat([table, worth], axis=1).assign(reason=self._reasons())

    @cached_property
    def strata(self) -> pd.DataFrame:
        """One row per stratum: the frame, the recommendation and what one more interview is worth."""
        cells, n, alone = self.cells, self.with_model.n, self.direct.n
        now = np.where(np.isfinite(cells.n_now), cells.n_now, self._now())
        rate = n * cells.contacts / cells.persons
        return pd.DataFrame({
            "stratum": cells.strata, "population": cells.persons, "members": cells.group,
            "density": cells.group / cells.persons, "cost_per_interview": cells.cost,
            "minimum": cells.lower, "maximum": cells.upper, "n_now": now, "n_direct": alone, "n": n,
            "n_continuous": self.with_model.continuous, "extra": n - now,
            "contacts": n * cells.contacts, "contact_rate": rate, "cost": n * cells.cost,
            "cost_direct_only": alone * cells.cost,
            "price": self._price(self.with_model), "price_direct_only": self._price(self.direct),
        })  # fmt: skip

    @cached_property
    def price_for_national_estimates(self) -> pd.DataFrame:
        """Design effects of the unequal rates: of the group, and of everybody, for national estimates."""
        cells, lines = self.cells, []
        for name, sizes in (("direct only", self.direct), ("with the model", self.with_model)):
            contacted = sizes.n * cells.contacts
            rate = contacted / cells.persons
            used = rate > 0
            lines.append({
                "allocation": name, "interviews": int(sizes.n.sum()), "contacts": float(contacted.sum()),
                "cost": float(sizes.n @ cells.cost),
                "group_deff": oversampling_deff(cells.group[used], rate[used]) if used.any() else np.nan,
                "total_deff": oversampling_deff(cells.persons[used], rate[used]) if used.any() else np.nan,
                "group_covered": float(cells.group[used].sum() / cells.group.sum()),
                "population_covered": float(cells.persons[used].sum() / cells.persons.sum()),
            })  # fmt: skip
        frame = pd.DataFrame(lines)
        people = frame["contacts"] if cells.screened else frame["interviews"]
        return frame.assign(
            n_eff_group=frame["interviews"] / frame["group_deff"], n_eff_total=people / frame["total_deff"]
        )

    @cached_property
    def allocation(self) -> Allocation:
        """The recommendation as the table that all plans share."""
        return self._table(self.with_model, "cheapest with the model")

    @cached_property
    def direct_allocation(self) -> Allocation:
        """What the same targets take without the model."""
        return self._table(self.direct, "cheapest, direct estimates only")

    def _table(self, sizes: Sizes, method: str) -> Allocation:
        strata, cells, n = self.strata, self.cells, sizes.n
        frame = pd.DataFrame({
            "stratum": cells.strata, "population": cells.persons, "n_now": strata["n_now"].round(), "n": n,
            "extra": n - strata["n_now"].round(), "issued": np.ceil(n * cells.contacts),
            "rate": n * cells.contacts / cells.persons, "n_continuous": sizes.continuous,
            "minimum": cells.lower, "maximum": cells.upper, "cost": cells.cost,
            "response": 1.0 / cells.contacts, "shadow_price": self._price(sizes),
        })  # fmt: skip
        domains, asked = self.domains, np.isfinite(self.bound)
        se = np.sqrt(self.psi(n))
        model = np.sqrt(self.planned.weights @ self.mse(n))
        size = np.abs(self.model.estimate[self.rows])
        targets = pd.DataFrame({
            "indicator": self.provenance["indicator"], "by": "domain", "domain": cells.domains, "group": "",
            "rule": self.rules, "population": cells.of_domain, "mean": self.model.estimate[self.rows],
            "n_now": domains["n_now"], "least_n": 0, "n": cells.interviews(n),
            "required_se": np.sqrt(self.bound),
            "se_now": domains["direct_cv_now"] * size, "se": se, "required_cv": np.sqrt(self.bound) / size,
            "cv_now": domains["direct_cv_now"], "cv": se / size, "model_se": model, "model_cv": model / size,
            "met": self.publishable(n, with_model=sizes is self.with_model), "price": _PERCENT * sizes.price,
        })  # fmt: skip
        return Allocation(frame, targets[asked].reset_index(drop=True), method, provenance=self.provenance)

    @property
    def cost(self) -> float:
        """Cost of the recommendation."""
        return float(self.with_model.n @ self.cells.cost)

    def summary(self) -> str:
        """Return what is asked, what it takes and what it costs, in a few lines."""
        domains, asked = self.domains, np.isfinite(self.bound)
        n, alone = int(self.with_model.n.sum()), int(self.direct.n.sum())
        rules = [rule for rule in dict.fromkeys(self.rules) if rule]
        sure = f", {100 * self.assurance:.0f} % sure" if self.assurance else ", on average"
        met, met_alone = (int(domains[name][asked].sum()) for name in ("met", "met_direct_only"))
        lines = [
            f"Oversample plan for {self.provenance['indicator']}: {len(domains)} domains, "
            f"{len(self.cells.strata)} strata",
            f"asked: {'; '.join(rules[:3] + ['…'] * (len(rules) > 3))} in {int(asked.sum())} domains{sure}",
            f"with the model: {n:,} interviews, cost {_amount(self.cost)}, {met} of {int(asked.sum())} met",
            f"direct only: {alone:,} interviews, cost {_amount(float(self.direct.n @ self.cells.cost))}, "
            f"{met_alone} of {int(asked.sum())} met",
            f"today: {domains['n_now'].sum():,.0f} interviews",
        ]
        missed = domains[asked & ~domains["met"]]
        if len(missed):
            names = name_some(f"{line.domain} ({line.reason})" for line in missed.itertuples())
            lines.append(f"not met: {names}")
        return "\n".join(lines)

    def _shown(self) -> pd.DataFrame:
        names = ["domain", "n_now", "n_model", "n_direct", "required_cv", "model_cv", "probability", "met"]
        return (
            self.domains[names]
            .round({"n_now": 0, "n_model": 0, "n_direct": 0})
            .astype({"n_now": int, "n_model": int, "n_direct": int})
        )

    def __repr__(self) -> str:
        table, rows = self._shown(), 10
        shown = table.head(rows).to_string(index=False, float_format="{:.3g}".format)
        more = f"\n… {len(table) - rows} more domains" if len(table) > rows else ""
        return f"{self.summary()}\n{shown}{more}"

    @property
    def assumptions(self) -> pd.DataFrame:
        """What the plan takes for granted, with where it comes from."""
        low, middle, high = np.sqrt(self.model.quantiles([0.025, 0.5, 0.975]))
        scale = "" if self.model.scale == "identity" else f", {self.model.scale} scale"
        cells = self.cells
        lines = [
            (
                "σu",
                f"median {middle:.3g}, 95 % interval {low:.3g} to {high:.3g}{scale}",
                f"posterior, {self.model.prior} prior",
            ),
            (
                "S √deff of an interview",
                f"median {np.median(np.sqrt(self.unit)):.3g}",
                "sampling variances of the fit × n",
            ),
            ("areas, covariates", "the same in the next round", "the fit"),
            ("cost per interview", _range(cells.cost), "frame"),
            ("contacts per interview", _range(cells.contacts), "frame"),
        ]
        if np.isfinite(self.model.deff).any():
            lines.insert(
                2, ("design effect", f"median {np.nanmedian(self.model.deff[self.rows]):.3g}", "the fit")
            )
        lines += [("note", note, "the fit") for note in self.model.notes]
        return pd.DataFrame(lines, columns=["assumption", "value", "source"])

    def _now(self) -> np.ndarray:
        """Spread the interviews of today over the strata of their domains, as the members are."""
        share = self.cells.members.multiply(self.model.n[self.rows] / self.cells.of_domain)
        return np.asarray(share.sum(axis=1)).ravel()

    def _price(self, sizes: Sizes) -> np.ndarray:
        """Return what one more interview in each stratum would save elsewhere, targets held."""
        asked = np.isfinite(sizes.needed)
        pull = self.a[:, asked] @ (sizes.price[asked] / sizes.needed[asked])
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(pull > 0, pull / sizes.continuous**2, 0.0)

    def _reasons(self) -> list[str]:
        best = self.mse(self.cells.upper)
        held = best.T @ self.planned.weights
        if self.assurance is not None:
            held = self._quantiles(self.cells.upper, [self.assurance])[0]
        met, words = self.publishable(self.with_model.n, with_model=True), []
        for d in range(len(self.rows)):
            if not np.isfinite(self.bound[d]):
                words.append("no target")
            elif self.with_model.hopeless[d] and not met[d]:
                cv = np.sqrt(held[d]) / abs(self.model.estimate[self.rows[d]])
                words.append(
                    f"no budget suffices: all {self.cells.of_domain[d]:.0f} members leave a CV of "
                    f"{100 * cv:.3g} %" if np.isfinite(best[:, d]).all() else "no budget suffices"
                )  # fmt: skip
            elif not np.isfinite(self.with_model.needed[d]):
                words.append("no own sample needed: the model alone is precise enough")
            elif not met[d]:
                words.append("the target is missed: sizes that meet it were not found")
            elif self.direct.hopeless[d]:
                words.append("only with the model")
            else:
                words.append("")
        return words


def _sentence(
    line: Mapping[Any, Any], rule: str, assurance: float | None, planned: float, called: str
) -> str:
    """Say what the model is worth over domains like this one."""
    direct, low = line["n_direct"], line["worth_low"]
    rule = f"a CV of {rule[6:]}" if rule.startswith("CV <= ") else rule
    if line["worth_low"] >= direct:
        return (
            f"Over {called} like {line['domain']} the model alone is precise enough: it is worth all the "
            f"{direct:,.0f} interviews that {rule} takes without it."
        )
    start = f"Over {called} like {line['domain']} the model is worth "
    sure = ""
    if assurance and np.isfinite(planned):
        sure = f"; to be {100 * assurance:.0f} % sure, the plan takes {planned:,.0f}"
    some = f"some {line['n_model']:,.0f}" if line["n_model"] >= 0.5 else "no own sample"
    end = f"{some} instead of {direct:,.0f} for {rule}{sure}."
    if not np.isfinite(line["worth_high"]):
        return (
            f"{start}about {_count(line['worth'])} interviews, at least {_count(low)}, and as far as the "
            f"data tell it may be worth all {direct:,.0f}: {end}"
        )
    interval = f"95 % interval {_count(low)} to {_count(line['worth_high'])}"
    return f"{start}about {_count(line['worth'])} interviews, {interval}: {end}"


def _amount(cost: float) -> str:
    """Write a cost to the unit, small ones with three digits."""
    return f"{cost:,.0f}" if abs(cost) >= 100 else f"{cost:.3g}"


def _range(values: np.ndarray) -> str:
    low, high = _amount(float(values.min())), _amount(float(values.max()))
    return low if low == high else f"{low} to {high}"


def _count(n: float) -> str:
    """Write a number of interviews with two digits: 61, 140, 1,200."""
    if n < 100:
        return f"{n:.0f}"
    return f"{float(f'{n:.2g}'):,.0f}"
