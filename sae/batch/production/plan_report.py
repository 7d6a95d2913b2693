"""The plan of a production run as a report: Markdown that an office can read and pass on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pandas as pd

from sae.batch.production.plan_needs import Rules
from sae.batch.production.spec import ProductionFile

__all__ = ["report_text"]

_TOTAL = "total"
_LARGEST = 20  # areas that the report shows; the table has all


def report_text(
    file: ProductionFile,
    rules: Rules,
    rows: pd.DataFrame,
    cells: pd.DataFrame,
    areas: pd.DataFrame,
    groups: Sequence[str],
) -> str:
    """Return the report.

    Parameters
    ----------
    file : ProductionFile
    rules : Rules
    rows : DataFrame
        All cells that were looked at.
    cells, areas : DataFrame
        As in `ProductionPlan`.
    groups : sequence of str
    """
    parts = [
        _head(file, rules, rows),
        _of_surveys(file, rows, areas, groups),
        _of_indicators(rows),
        _of_areas(file, areas, groups),
        _out_of_reach(cells),
        _method(file),
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _head(file: ProductionFile, rules: Rules, rows: pd.DataFrame) -> Iterator[str]:
    yield f"# {file.title or file.id}: the interviews that are lacking"
    yield ""
    run = "".join(rows["run"].head(1))
    yield f"Run {run} of `{file.id}.toml`. For the office: it tells how many records cells have."
    yield ""
    yield f"- Direct estimates are to fulfil: {rules.direct.text}."
    yield f"- Estimates of models are to fulfil: {rules.model.text}."
    yield f"- Records of fewer than {rules.model.least_n} persons are confidential."
    yield f"- Of {len(rows):,} cells of the last period, {int(rows['fails'].sum()):,} fail."


def _of_surveys(
    file: ProductionFile, rows: pd.DataFrame, areas: pd.DataFrame, groups: Sequence[str]
) -> Iterator[str]:
    assert file.plan is not None
    priced = file.plan.cost is not None
    money = f" {file.plan.currency}".rstrip()
    yield "## In all"
    yield ""
    names = [
        "survey",
        "period",
        "level",
        "cells",
        "fail",
        "interviews today",
        "add, direct",
        "add, with models",
    ]
    names += [f"cost, direct{money}", f"cost, with models{money}"] if priced else []
    lines = []
    whole = areas[(areas[list(groups)] == _TOTAL).all(axis=1)] if groups else areas
    for (survey, level), part in whole.groupby(["survey", "level"], sort=False):
        own = rows[(rows["survey"] == survey) & (rows["level"] == level)]
        figures = [part[name].sum() for name in ("interviews", "extra_direct", "extra_model")]
        costs = [part[name].sum() for name in ("cost_direct", "cost_model")] if priced else []
        counts = [len(own), int(own["fails"].sum()), *figures, *costs]
        lines.append([survey, own["time"].iloc[0], level, *(f"{value:,.0f}" for value in counts)])
    yield from _table(names, lines)
    yield ""
    yield (
        "An interview serves all indicators of its survey, its groups and all larger units: the levels are "
        "not to be added up, and neither are the indicators."
    )


def _of_indicators(rows: pd.DataFrame) -> Iterator[str]:
    yield "## By indicator"
    yield ""
    names = [
        "indicator",
        "level",
        "cells",
        "fail",
        "persons to add, direct",
        "persons to add, with models",
        "open",
    ]
    lines = []
    for (indicator, level), part in rows.groupby(["indicator", "level"], sort=False):
        fails = part["fails"]
        sums = [part[name].sum() for name in ("extra_direct", "extra_model")]
        counts = [len(part), fails.sum(), *sums, (fails & part["extra_model"].isna()).sum()]
        lines.append([indicator, level, *(f"{value:,.0f}" for value in counts)])
    yield from _table(names, lines)
    yield ""
    yield "Persons of the indicator's denominator, over all groups of the file; those of groups overlap."


def _of_areas(file: ProductionFile, areas: pd.DataFrame, groups: Sequence[str]) -> Iterator[str]:
    kept = areas[areas["level"].eq(file.lowest) & areas["extra_model"].gt(0)]
    kept = kept.sort_values("extra_model", ascending=False, kind="stable")
    yield f"## Where: {min(len(kept), _LARGEST)} of {len(kept):,} groups of areas"
    yield ""
    names = ["survey", "area", *groups, "interviews today", "add, direct", "add, with models", "decided by"]
    columns = ["survey", "geo", *groups, "interviews", "extra_direct", "extra_model", "decided_by"]
    yield from _table(names, kept.head(_LARGEST)[columns].astype(str).to_numpy().tolist())
    yield ""
    yield f"All of them: `{file.id}.plan.areas.csv`; every cell that fails: `{file.id}.plan.csv`."


def _out_of_reach(cells: pd.DataFrame) -> Iterator[str]:
    yield "## What interviews do not mend"
    yield ""
    lost = cells[cells["extra_model"].isna()]
    if not len(lost):
        yield "Nothing: every cell that fails has a number."
        return
    counts = lost.groupby(["indicator", "why"], sort=False).size().reset_index(name="cells")
    lines = zip(counts["indicator"], counts["cells"].map("{:,}".format), counts["why"], strict=True)
    yield from _table(["indicator", "cells", "why"], lines)


def _method(file: ProductionFile) -> Iterator[str]:
    assert file.plan is not None
    level = "its estimate"
    if file.plan.assurance:
        level = f"the {file.plan.assurance:.0%} limit of its asymptotic distribution"
    yield "## How"
    yield ""
    yield (
        "- An interview has the variance V = ψ n of today's design, design effect included; a cell without a "
        "sample has the median design effect of its fit."
    )
    yield "- Direct: V / M persons for a variance of M, and at least what the policy asks."
    yield (
        "- With a Fay–Herriot model: the fewest at which g1 + g2 + 2 g3 stays within M, the model variance "
        f"being at {level}; that other areas get more interviews too is not counted."
    )
    yield (
        "- With a model of another kind: its part of the precision, 1/MSE − 1/ψ, stays as it is today. A "
        "synthetic estimate gains nothing from interviews: its cell needs what a direct one does."
    )
    yield (
        "- Of an indicator whose denominator is a part of the persons, interviews count with that part, as it"
        " is in the group and level as a whole. Non-response, screening and the finite population are not "
        "counted: see `sae plan`."
    )


def _table(names: Sequence[str], lines: Iterable[Iterable[object]]) -> Iterator[str]:
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    for line in lines:
        yield f"| {' | '.join(str(value).replace('|', '/') for value in line)} |"
