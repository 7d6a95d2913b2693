"""The interviews that a production run lacks: every cell that fails the gate, and all indicators at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import ndtri

from sae.batch.production.plan_needs import Need, Rules, direct_need, model_need
from sae.batch.production.plan_report import report_text
from sae.batch.production.sections import PlanTable
from sae.batch.production.spec import ProductionFile
from sae.quality.appearance import PROTECTING, confidential_rows
from sae.tables import EstimateTable, labels, write_table

__all__ = ["ProductionPlan", "production_plan"]

TOTAL = "total"  # of a group that a row does not tell apart
_ROUNDED = 1e-9


@dataclass(frozen=True, eq=False)
class ProductionPlan:
    """What to ask, where, so that the cells that fail the gate pass it.

    Attributes
    ----------
    cells : DataFrame
        One row per cell that fails: what it has, its target, ``extra_direct`` and ``extra_model``, persons
        of its denominator to be interviewed in addition, and why where no number of them helps.
    areas : DataFrame
        Interviews to add per survey, level, area and group, for all indicators at once: those of finer groups
        count in the coarser ones. ``interviews`` are those of today.
    text : str
        The report, in Markdown.
    """

    cells: pd.DataFrame
    areas: pd.DataFrame
    text: str

    def write(self, stage: Path, identifier: str) -> None:
        """Write ``{id}.plan.csv``, ``{id}.plan.areas.csv`` and ``{id}.plan.md``."""
        write_table(self.cells, stage / f"{identifier}.plan.csv")
        write_table(self.areas, stage / f"{identifier}.plan.areas.csv")
        (stage / f"{identifier}.plan.md").write_bytes(self.text.encode())


def production_plan(
    file: ProductionFile,
    table: EstimateTable,
    direct: pd.DataFrame,
    ladder: pd.DataFrame,
    served: Mapping[str, str],
) -> ProductionPlan | None:
    """Plan the next sample from a finished run; None where the file has no ``[plan]``.

    Parameters
    ----------
    file : ProductionFile
    table : EstimateTable
        Every cell, judged.
    direct, ladder : DataFrame
        The direct estimates of the cells, and what became of each rung.
    served : mapping of str to str
        Survey of each indicator.

    Notes
    -----
    A cell fails where the policy does not let it be published, where its records are confidential, or where
    it misses the ``cv`` of ``[plan]``; only the last period of each survey is planned for. An interview has
    the variance V = ψ n, design effect included. A direct estimate of variance M takes V / M of them; with a
    Fay-Herriot model they are the fewest at which g1 + g2 + 2 g3 stays within M, the model variance at its
    upper limit of probability `assurance`, A + z √(2 / Σ (A + ψ)⁻²); what other cells add to the fit is not
    counted. A model that tells no γ adds 1/MSE − 1/ψ to the precision of the interviews, today and then.

    The persons behind an indicator are those of its denominator. Per interview they are as many as the group
    has in the whole of the level, beside the indicator of its survey that counts most of them.

    References
    ----------
    Rao and Molina (2015), section 6.2.1 (g1, g2, g3), and section 6.1.2 (the asymptotic variance of A).
    """
    section = file.plan
    if section is None:
        return None
    groups = list(dict.fromkeys(name for names in file.production.groups for name in names))
    rules = Rules.of(file.publish.policy, section)
    rows = _rows(file, table, direct, ladder, served, groups)
    direct_, model = direct_need(rows, rules), model_need(rows, rules, _quantile(section))
    failing = rows["fails"].to_numpy(dtype=bool)
    extra = {
        "extra_direct": _extra(direct_, rows["n"], failing),
        "extra_model": _extra(_better(model, direct_, rows), rows["n"], failing),
    }
    none = failing & (extra["extra_direct"] == 0) & (extra["extra_model"] == 0)
    why = _why(rows, direct_, failing, extra["extra_direct"], none)
    rows = rows.assign(**{name: np.where(none, np.nan, values) for name, values in extra.items()}, why=why)
    areas = _together(rows, groups, section)
    cells = _cells(rows[failing].reset_index(drop=True), groups)
    return ProductionPlan(cells, areas, report_text(file, rules, rows, cells, areas, groups))


def _quantile(section: PlanTable) -> float:
    return float(ndtri(section.assurance)) if section.assurance else 0.0


def _rows(
    file: ProductionFile,
    table: EstimateTable,
    direct: pd.DataFrame,
    ladder: pd.DataFrame,
    served: Mapping[str, str],
    groups: Sequence[str],
) -> pd.DataFrame:
    """Return the cells of the last period of each survey with all that is known of their error."""
    frame = table.frame.assign(confidential=confidential_rows(table.frame))
    frame["survey"] = frame["indicator"].map(dict(served)).astype(object)
    frame = frame[frame["survey"].notna() & frame["level"].ne("")].reset_index(drop=True)
    last = frame.groupby("survey")["time"].transform("max")
    frame = frame[frame["time"].eq(last)].reset_index(drop=True)
    keys = ["indicator", "level", "geo", "time", *groups]
    vardir = direct[[*keys, "vardir"]].astype(dict.fromkeys(keys, "string"))
    frame[keys] = frame[keys].astype("string")
    frame = frame.merge(vardir, on=keys, how="left", validate="one_to_one")
    frame["n"] = frame["n"].astype(float).fillna(0.0)
    frame["rung"], frame["fit"] = _fits(file, frame, ladder, groups)
    frame["share"] = frame["unit"].eq("share").to_numpy(dtype=bool)
    publishable = frame["publishable"]
    own = ~frame["reason"].str.startswith(PROTECTING)  # one hidden for another lacks no interviews
    fails = (publishable.notna() & ~publishable.fillna(True) & own) | frame["confidential"]
    if file.plan is not None and file.plan.cv is not None:
        limit = Rules.of(None, file.plan).model.bound(frame)
        fails |= frame["mse"].to_numpy(dtype=float) > limit
    frame["fails"] = fails.to_numpy(dtype=bool)
    return frame


def _fits(
    file: ProductionFile, frame: pd.DataFrame, ladder: pd.DataFrame, groups: Sequence[str]
) -> tuple[list[str], np.ndarray]:
    """Return the rung that each row was taken from, and the number of its fit."""
    taken = ladder[ladder["verdict"] == "accepted"]
    rungs = {
        (indicator, level, names, fit): rung
        for indicator, level, names, fit, rung in zip(
            *(taken[name] for name in ("indicator", "level", "groups", "fit", "rung")), strict=True
        )
    }
    by = {frozenset(names): names for names in file.production.groups}
    texts = {name: labels(frame[name]).tolist() for name in [*groups, "time"]}
    keys, taken_from = [], []
    for k, (indicator, level) in enumerate(zip(frame["indicator"], frame["level"], strict=True)):
        own = by.get(frozenset(name for name in groups if texts[name][k] != TOTAL), [])
        of = file.ladder(indicator, level)
        per = [*own, "time"] if of is None or of.per is None else of.per
        values = [texts[name if name in groups else "time"][k] for name in per]
        key = indicator, level, " × ".join(own)
        fit = _fit_text(values)
        if (*key, fit) not in rungs:  # the survey has one period, which names no fit
            fit = _fit_text([texts[name][k] for name in per if name in groups])
        keys.append((*key, fit))
        taken_from.append(rungs.get((*key, fit), ""))
    return taken_from, pd.factorize(pd.Series(keys, dtype=object))[0]


def _fit_text(values: Sequence[str]) -> str:
    return " / ".join(filter(None, values)) or "all"


def _extra(need: Need, n: pd.Series, failing: np.ndarray) -> np.ndarray:
    """Return whole interviews beyond those of today; missing where no number of them helps."""
    with np.errstate(invalid="ignore"):
        extra = np.ceil(np.maximum(need.n - n.to_numpy(dtype=float), 0.0) - _ROUNDED)
    return np.where(failing, np.where(np.isfinite(extra), extra, np.nan), 0.0)


def _better(model: Need, direct: Need, rows: pd.DataFrame) -> Need:
    """Return the need with the model; that of the direct estimate where there is no model."""
    alone = rows["rung"].eq("direct").to_numpy(dtype=bool) | ~np.isfinite(model.n)
    return Need(np.where(alone, direct.n, model.n), model.bound)


def _why(
    rows: pd.DataFrame, direct: Need, failing: np.ndarray, extra: np.ndarray, none: np.ndarray
) -> np.ndarray:
    """Return why a cell that fails has no number of interviews, or what else there is to know."""
    estimate = rows["estimate"].to_numpy(dtype=float)
    lost = failing & np.isnan(extra)
    cases: list[tuple[np.ndarray, str]] = [
        (lost & ~np.isfinite(estimate), "no estimate to plan from"),
        (lost & (direct.bound <= 0), "an estimate at the end of its range has no CV to be reached"),
        (lost, "the variance of an interview is not known"),
        (none, "it fails by what interviews do not change"),
        (failing & (extra == 0), "its direct estimate passes today"),
    ]
    return np.select([case for case, _ in cases], [text for _, text in cases], default="")


def _cells(rows: pd.DataFrame, groups: Sequence[str]) -> pd.DataFrame:
    names = ["survey", "indicator", "level", "geo", "time", *groups, "domain", "rung", "n", "n_eff", "deff"]
    names += ["estimate", "cv", "direct_cv", "gamma", "extra_direct", "extra_model", "why", "reason"]
    with np.errstate(invalid="ignore", divide="ignore"):
        deff = rows["n"].to_numpy(dtype=float) / rows["n_eff"].to_numpy(dtype=float)
    rows = rows.assign(deff=np.where(deff > 0, deff, np.nan))
    return rows[names].astype(dict.fromkeys(("n", "extra_direct", "extra_model"), "Int64"))


def _together(rows: pd.DataFrame, groups: Sequence[str], section: PlanTable) -> pd.DataFrame:
    """Return the interviews of each area and group: the most that an indicator needs, groups in totals."""
    place = ["survey", "level", "geo", "time"]
    cell = [*place, *groups]
    today = rows.groupby(cell, sort=False)["n"].transform("max")
    wide = [name for name in cell if name != "geo"]
    one = rows.groupby([*wide, "indicator"], sort=False)["n"].transform("sum")
    all_ = today.groupby([rows[name] for name in [*wide, "indicator"]], sort=False).transform("sum")
    share = (one / all_.where(all_ > 0)).where(one > 0)  # of the interviews that count for the indicator
    scaled = rows.assign(
        interviews=today,
        **{name: np.ceil(rows[name] / share - _ROUNDED) for name in ("extra_direct", "extra_model")},
    )
    scaled["open"] = scaled["extra_model"].isna() & rows["fails"]
    first = scaled["extra_model"].fillna(-1.0).groupby([scaled[name] for name in cell], sort=False)
    leading = scaled.loc[first.idxmax()].set_index(cell)
    out = scaled.groupby(cell, sort=False).agg(
        interviews=("interviews", "max"),
        extra_direct=("extra_direct", "max"),
        extra_model=("extra_model", "max"),
        failing=("fails", "sum"),
        open=("open", "sum"),
    )
    out["decided_by"] = leading["indicator"].where(leading["extra_model"] > 0, "").reindex(out.index)
    nested = _nested(out.reset_index(), place, groups)
    prices = section.prices(dict.fromkeys(nested["survey"]))
    price = nested["survey"].map(prices).astype(float)
    counts = ["interviews", "extra_direct", "extra_model"]
    nested[counts] = nested[counts].fillna(0.0)
    for name in ("direct", "model"):
        nested[f"cost_{name}"] = nested[f"extra_{name}"].abs() * price
    return nested.astype(dict.fromkeys([*counts, "failing", "open"], "Int64"))


def _nested(cells: pd.DataFrame, place: Sequence[str], groups: Sequence[str]) -> pd.DataFrame:
    """Raise the interviews of coarser groups to the sum of the finer ones, the total of the area last."""
    kinds = _kinds(cells, groups)
    if () not in set(kinds):  # of the area as a whole, where the file has groups only
        whole = cells[list(place)].drop_duplicates().assign(**dict.fromkeys(groups, TOTAL))
        whole = whole.assign(failing=0, open=0, decided_by="")
        cells = pd.concat([cells, whole], ignore_index=True)
        kinds = _kinds(cells, groups)
    counts = ["interviews", "extra_direct", "extra_model"]
    rows = {kind: [k for k, one in enumerate(kinds) if one == kind] for kind in set(kinds)}
    for finer in sorted(rows, key=lambda kind: (-len(kind), kind)):
        for coarser in rows:
            if set(coarser) < set(finer):
                keys = [*place, *coarser]
                sums = cells.loc[rows[finer]].groupby(keys, sort=False)[counts].sum()
                own = cells.loc[rows[coarser]]
                parts = sums.reindex(pd.MultiIndex.from_frame(own[keys])).to_numpy(dtype=float)
                cells.loc[rows[coarser], counts] = np.fmax(own[counts].to_numpy(dtype=float), parts)
    order = [*place[:2], "size", "geo", *groups]
    cells = cells.assign(size=[len(kind) for kind in kinds]).sort_values(order, kind="stable")
    return cells.drop(columns="size").reset_index(drop=True)


def _kinds(cells: pd.DataFrame, groups: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the groups that each row tells apart."""
    told = [labels(cells[name]).to_numpy(dtype=object) != TOTAL for name in groups]
    return [tuple(name for name, one in zip(groups, told, strict=True) if one[k]) for k in range(len(cells))]
