"""Indicators that divide the same persons among them: adjusted together, to 1 in every cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from sae.batch.production.benchmarks import SHARES, Benchmarked, Figures, benchmarked
from sae.batch.production.cells import Cells, Part
from sae.batch.production.sections import LevelBenchmark
from sae.tables import labels

__all__ = ["Makers", "shares_met"]

Makers = Sequence[Callable[[], Figures]]
_SAME = 1e-9  # what two shares of the same persons count


def shares_met(
    fitted: Mapping[str, tuple[Cells, pd.DataFrame, Mapping[int, Part]]],
    section: LevelBenchmark,
    upper: Mapping[str, Makers],
    coarser: Mapping[str, Makers],
) -> dict[str, Benchmarked]:
    """Return the cells of each indicator adjusted to their own figures, and to 1 together.

    One linear system holds all: the cells of all indicators are rows, the 1 of each cell is a figure beside
    those of the level above and of coarser groups. The joint error of the indicators' fits, which are taken
    as independent, follows.

    Parameters
    ----------
    fitted : mapping of str to (Cells, DataFrame, parts)
        Of each indicator, as `benchmarked` takes them.
    section : LevelBenchmark
    upper, coarser : mapping of str to sequence of callable
        The figures of each indicator.
    """
    cells = [one for one, _, _ in fitted.values()]
    starts = np.concatenate([[0], np.cumsum([len(one.frame) for one in cells])])
    frame = pd.concat([one for _, one, _ in fitted.values()], ignore_index=True)
    whole = _stacked(cells)
    parts: dict[int, Part] = {}
    fits = 0
    for start, (one, _, own) in zip(starts, fitted.values(), strict=False):
        moved = {
            fit: replace(part, frame=part.frame.set_axis(part.frame.index + start))
            for fit, part in own.items()
        }
        parts |= {fits + fit: part for fit, part in moved.items()}
        fits += len(one.keys)
    ones, notes = _ones(whole, frame, section.shares)
    joint = benchmarked(
        whole,
        frame,
        parts,
        section,
        [partial(_joined, makers) for makers in zip(*_named(upper), strict=True)],
        [*(partial(_joined, makers) for makers in zip(*_named(coarser), strict=True)), lambda: ones],
    )
    notes |= joint.notes
    out = {}
    for start, end, (name, (_, before, _)) in zip(starts, starts[1:], fitted.items(), strict=False):
        mine = {row - int(start): note for row, note in notes.items() if start <= row < end}
        out[name] = Benchmarked(joint.frame.iloc[start:end].set_axis(before.index), mine)
    return out


def _stacked(cells: Sequence[Cells]) -> Cells:
    """Return the rows of all indicators as cells of one."""
    fits = np.concatenate([[0], np.cumsum([len(one.keys) for one in cells])]).tolist()
    return replace(
        cells[0],
        indicator=" + ".join(one.indicator for one in cells),
        frame=pd.concat([one.frame for one in cells], ignore_index=True),
        covariates=pd.concat([one.covariates for one in cells], ignore_index=True),
        fit=np.concatenate([one.fit + first for first, one in zip(fits, cells, strict=False)]),
        keys=tuple(key for one in cells for key in one.keys),
        counted=np.concatenate([one.counted for one in cells]),
    )


def _ones(cells: Cells, frame: pd.DataFrame, names: Sequence[str]) -> tuple[Figures, dict[int, str]]:
    """Return the 1 of every cell, as the mean of its shares, and the rows of cells that lack a share."""
    by = cells.crossing.by
    texts = [labels(cells.frame[name]).tolist() for name in by]
    keys = pd.Series([" / ".join(one) for one in zip(*texts, strict=True)] if by else ["all"] * len(frame))
    there = frame["estimate"].notna()
    lacking = keys.map(there.groupby(keys).sum()) < len(names)
    counted = pd.Series(cells.counted).groupby(keys)
    unlike = keys.map(counted.max() - counted.min() > _SAME * counted.max())
    notes = dict.fromkeys(
        np.flatnonzero(there & lacking).tolist(), f"{SHARES}: not all of {', '.join(names)} have an estimate"
    )
    notes |= dict.fromkeys(
        np.flatnonzero(there & ~lacking & unlike).tolist(), f"{SHARES}: they are not of the same persons here"
    )
    values = np.where(lacking | unlike, np.nan, 1.0 / len(names))
    return Figures(SHARES, keys.to_numpy(dtype=object), values, np.zeros(len(keys))), notes


def _named(of: Mapping[str, Makers]) -> list[list[tuple[str, Callable[[], Figures]]]]:
    return [[(name, maker) for maker in makers] for name, makers in of.items()]


def _joined(makers: Sequence[tuple[str, Callable[[], Figures]]]) -> Figures:
    """Return the figures of all indicators in one respect, each label with its indicator."""
    made = [(name, make()) for name, make in makers]
    texts = [np.array([f"{name} / {label}" for label in one.labels], dtype=object) for name, one in made]
    values, variance = (
        np.concatenate([getattr(one, field) for _, one in made]) for field in ("values", "variance")
    )
    return Figures(made[0][1].name, np.concatenate(texts), values, variance)
