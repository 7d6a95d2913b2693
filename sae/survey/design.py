"""Stages of a design from columns: units in strata, population counts, and strata with a single unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, counted, name_some
from sae.literals import LonelyPolicy
from sae.survey.checks import column_of, numbers, rows_text
from sae.survey.codes import as_text, combine, encode

__all__ = ["LONELY_POLICIES", "Stage", "make_stages", "treat_lonely"]

LONELY_POLICIES = ("fail", "certainty", "average", "collapse")


@dataclass(frozen=True, eq=False)
class Stage:
    """One stage of the design; arrays stand in the order of the records.

    Attributes
    ----------
    strata : ndarray of int64, shape (n,)
        Stratum code, 0 .. H-1. From the second stage on, a stratum lies inside one unit of the stage before.
    psu : ndarray of int64, shape (n,)
        Code of the sampling unit of this stage, 0 .. C-1, unique over the whole file.
    fpc : ndarray of float or None, shape (n,)
        Number of units in the population in the record's stratum at this stage; None: drawn with replacement.
    strata_labels, psu_labels : ndarray
        Labels of the codes, as they stand in the file (nested labels may repeat between strata).
    columns : mapping of str to str
        Column of the file behind "strata", "psu" and "fpc"; a role without a column is left out.
    inflation : ndarray of float or None, shape (n,)
        Factor of the variance in the record's stratum: the overlap of pooled periods that no key links.
    """

    strata: np.ndarray
    psu: np.ndarray
    fpc: np.ndarray | None
    strata_labels: np.ndarray
    psu_labels: np.ndarray
    columns: Mapping[str, str] = field(default_factory=dict)
    inflation: np.ndarray | None = None

    @property
    def n_strata(self) -> int:
        """Number of strata, H."""
        return len(self.strata_labels)

    @property
    def n_psu(self) -> int:
        """Number of sampling units, C."""
        return len(self.psu_labels)

    def stratum_of_psu(self) -> np.ndarray:
        """Stratum code of each unit, shape (C,)."""
        strata = np.empty(self.n_psu, dtype=np.int64)
        strata[self.psu] = self.strata
        return strata

    def psu_counts(self) -> np.ndarray:
        """Count the sampled units in each stratum, shape (H,)."""
        return np.bincount(self.stratum_of_psu(), minlength=self.n_strata)

    def stratum_fpc(self) -> np.ndarray:
        """Return the population count of each stratum, shape (H,); infinite when drawn with replacement."""
        sizes = np.full(self.n_strata, np.inf)
        if self.fpc is not None:
            sizes[self.strata] = self.fpc
        return sizes


def make_stages(
    frame: pd.DataFrame,
    strata: Sequence[str],
    psu: Sequence[str],
    fpc: Sequence[str],
    *,
    lonely_psu: LonelyPolicy,
    nest: bool,
    check_lonely: bool = True,
) -> tuple[tuple[Stage, ...], list[str]]:
    """Code the design columns and check them.

    Parameters
    ----------
    frame : DataFrame
        The records, n rows.
    strata, psu, fpc : sequence of str
        One column per stage; `strata` and `fpc` may be shorter. No `psu`: every record is its own unit.
    lonely_psu : str
        One of `LONELY_POLICIES`.
    nest : bool
        Whether the units' labels are unique only within a stratum.
    check_lonely : bool
        False where replicate weights carry the variance.

    Returns
    -------
    stages : tuple of Stage
    notes : list of str

    Raises
    ------
    SaeInputError
        If a design value is missing, a unit lies in two strata, a population count varies within a
        stratum or is smaller than the sample, or a stratum has one unit under the policy "fail".
    """
    if lonely_psu not in LONELY_POLICIES:
        raise SaeSpecError(
            f"lonely_psu={lonely_psu!r} is not a policy.", hint=f"Use one of {', '.join(LONELY_POLICIES)}."
        )
    depth = max(len(psu), 1)
    for role, given in (("strata", strata), ("fpc", fpc)):
        if len(given) > depth:
            raise SaeSpecError(
                f"{role} names {len(given)} stages, but psu names {len(psu)}.",
                hint="Give one psu column per stage.",
            )
    stages: list[Stage] = []
    notes: list[str] = []
    for level in range(depth):
        parent = stages[-1] if stages else None
        stage = _make_stage(
            frame,
            strata[level] if level < len(strata) else None,
            psu[level] if psu else None,
            fpc[level] if level < len(fpc) else None,
            parent,
            nest,
        )
        # without a population count a stage is drawn with replacement, and what lies below it adds no
        # variance
        matters = all(above.fpc is not None for above in stages)
        if check_lonely and matters:
            stage, lonely_notes = treat_lonely(stage, lonely_psu, level)
            notes += lonely_notes
        stages.append(stage)
    return tuple(stages), notes


def _make_stage(
    frame: pd.DataFrame,
    strata: str | None,
    psu: str | None,
    fpc: str | None,
    parent: Stage | None,
    nest: bool,
) -> Stage:
    n = len(frame)
    if strata is None:
        stratum, strata_labels = np.zeros(n, dtype=np.int64), np.array(["all"], dtype=object)
    else:
        stratum, strata_labels = _complete(frame, strata, "strata")
    if parent is not None:
        stratum, parents, _ = combine(parent.psu, stratum, len(strata_labels))
        strata_labels = parent.psu_labels[parents]
    if psu is None:
        unit, labels = np.arange(n), np.arange(1, n + 1)
    else:
        unit, labels = _complete(frame, psu, "psu")
        if nest or parent is not None:
            unit, _, of_label = combine(stratum, unit, len(labels))
            labels = labels[of_label]
        else:
            _check_nested(unit, stratum, labels, strata_labels, psu, strata)
    roles = {"strata": strata, "psu": psu, "fpc": fpc}
    columns = {role: name for role, name in roles.items() if name is not None}
    stage = Stage(stratum, unit, None, strata_labels, labels, columns)
    return stage if fpc is None else _with_fpc(stage, frame, fpc)


def _complete(frame: pd.DataFrame, name: str, role: str) -> tuple[np.ndarray, np.ndarray]:
    codes, labels = encode(column_of(frame, name, role))
    missing = np.flatnonzero(codes < 0)
    if missing.size:
        raise SaeInputError(
            f"The {role} column {name!r} is missing in {missing.size:,} of {len(frame):,} records "
            f"(rows {rows_text(missing)}).",
            hint="Every record needs its place in the design: complete the column, or leave the records "
            "out beforehand.",
            column=name,
        )
    return codes, labels


def _check_nested(
    unit: np.ndarray,
    stratum: np.ndarray,
    labels: np.ndarray,
    strata_labels: np.ndarray,
    psu: str,
    strata: str | None,
) -> None:
    last = np.empty(len(labels), dtype=np.int64)
    last[unit] = stratum
    torn = np.unique(unit[last[unit] != stratum])
    if torn.size:
        first = torn[0]
        places = np.unique(stratum[unit == first])
        raise SaeInputError(
            f"{torn.size:,} of {len(labels):,} labels of the psu column {psu!r} occur in more than one "
            f"stratum of "
            f"{strata!r}: {name_some(as_text(labels[torn]))} (the first in strata "
            f"{name_some(as_text(strata_labels[places]))}).",
            hint="If the labels are unique only within a stratum, pass nest=True; otherwise correct the "
            "strata.",
            areas=as_text(labels[torn]),
            column=psu,
        )


def _with_fpc(stage: Stage, frame: pd.DataFrame, name: str) -> Stage:
    values = numbers(column_of(frame, name, "fpc"), "fpc")
    bad = np.flatnonzero(~(values > 0))
    if bad.size:
        raise SaeInputError(
            f"The fpc column {name!r} is missing, not a number, or not positive in "
            f"{counted(bad.size, 'record', 'records')} "
            f"(rows {rows_text(bad)}).",
            hint="fpc counts the sampling units in the population of the record's stratum.",
            column=name,
        )
    sizes = np.empty(stage.n_strata)
    sizes[stage.strata] = values
    varying = np.unique(stage.strata[sizes[stage.strata] != values])
    if varying.size:
        labels = as_text(stage.strata_labels[varying])
        raise SaeInputError(
            f"The fpc column {name!r} varies within {varying.size:,} of {stage.n_strata:,} strata: "
            f"{name_some(labels)}.",
            hint="fpc counts the units in the population of a stratum: one number per stratum.",
            areas=labels,
            column=name,
        )
    counts = stage.psu_counts()
    small = np.flatnonzero(sizes < counts * (1 - 1e-6))  # counts read back from products are not whole
    if small.size:
        labels = as_text(stage.strata_labels[small])
        first = small[0]
        raise SaeInputError(
            f"The fpc column {name!r} is smaller than the sample in {small.size:,} of {stage.n_strata:,} "
            f"strata: "
            f"{name_some(labels)} (the first: {sizes[first]:g} in the population, {counts[first]} sampled).",
            hint="fpc counts units in the population; divide the sampled units by the fraction if it "
            "holds fractions.",
            areas=labels,
            column=name,
        )
    return replace(stage, fpc=values)


def treat_lonely(stage: Stage, policy: str, level: int) -> tuple[Stage, list[str]]:
    """Apply the policy for strata with one sampled unit out of several (a census of one is no problem)."""
    lonely = np.flatnonzero((stage.psu_counts() == 1) & (stage.stratum_fpc() > 1 + 1e-6))
    if lonely.size == 0:
        return stage, []
    labels = as_text(stage.strata_labels[lonely])
    where = "stratum has" if lonely.size == 1 else "strata have"
    at = "" if level == 0 else f" at stage {level + 1}"
    what = f"{lonely.size:,} of {stage.n_strata:,} {where} a single sampled unit{at}: {name_some(labels)}"
    if policy == "fail":
        raise SaeInputError(
            f"{what}. Their variance cannot be estimated.",
            hint="Choose lonely_psu='certainty', 'average' or 'collapse', or join strata beforehand.",
            areas=labels,
        )
    if policy == "collapse" and level == 0:
        return _collapse(stage, lonely, labels)
    if policy == "collapse":  # a unit alone inside its parent has no neighbour to be joined to
        return stage, [f"{what}; they add no variance at this stage"]
    return stage, [f"{what}; policy {policy}"]


def _collapse(stage: Stage, lonely: np.ndarray, labels: list[str]) -> tuple[Stage, list[str]]:
    counts, sizes = stage.psu_counts(), stage.stratum_fpc()
    if stage.n_strata == 1:
        raise SaeInputError(
            "The only stratum has a single sampled unit, and there is no other to join it to.",
            hint="The variance cannot be estimated from one unit: give a finer psu column.",
            areas=labels,
        )
    is_lonely = np.zeros(stage.n_strata, dtype=bool)
    is_lonely[lonely] = True
    group = np.empty(stage.n_strata, dtype=np.int64)
    current, held = 0, 0  # units held by a group still waiting for a second one
    for stratum in range(stage.n_strata):
        group[stratum] = current
        held += counts[stratum]
        if held > 1 or not is_lonely[stratum]:
            current, held = current + 1, 0
    if held:  # lonely at the very end: back to the group before
        group[group == current] = current - 1
    n_groups = int(group.max()) + 1
    merged_labels = [
        "+".join(as_text(part)) for part in np.split(stage.strata_labels, np.flatnonzero(np.diff(group)) + 1)
    ]
    fpc = (
        None
        if stage.fpc is None
        else np.bincount(group, weights=sizes, minlength=n_groups)[group[stage.strata]]
    )
    merged = [name for name in merged_labels if "+" in name]
    labels_now = np.array(merged_labels, dtype=object)
    collapsed = replace(stage, strata=group[stage.strata], fpc=fpc, strata_labels=labels_now)
    note = f"{lonely.size:,} strata with a single sampled unit joined to the next in sorted order"
    return collapsed, [f"{note}: {name_some(merged)}"]
