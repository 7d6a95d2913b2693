"""Counts with small noise instead of hidden cells: the cell-key method.

Every record has a key; that of a cell is the sum of its records' keys, so a cell has the same noise in
whatever table it stands. The noise of each count is the distribution of largest entropy with mean 0 and a
given variance on the noise that is allowed (Fraser and Wooton 2005; Marley and Leaver 2011; Giessing 2016;
Hundepool et al. 2024, Handbook on Statistical Disclosure Control, 2nd edition, cell-key method).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.numerics.random.streams import seed_of, stream_keys
from sae.tables import labels, pandas_frame, to_numbers

__all__ = ["noise_table", "perturb", "record_keys"]

_KEYS = 2**20  # sums of so many different keys are exact for eight thousand million records
_STEPS = 200


@answered
def record_keys(records: Sequence[object] | pd.Series, seed: int) -> np.ndarray:
    """Return the key of each record, a whole number from 0 to 2^20 - 1 that its label and a secret seed give.

    Parameters
    ----------
    records : sequence
        Labels that tell the records apart, such as person numbers that last.
    seed : int
        To be kept secret, and the same for all tables of one source.

    Examples
    --------
    >>> keys = sae.disclosure.record_keys(["person 1", "person 2"], seed=1)
    >>> bool((keys == sae.disclosure.record_keys(["person 2", "person 1"], seed=1)[::-1]).all())
    True
    """
    names = labels(pd.Series(records))
    twice = names[names.duplicated()].unique()
    if len(twice):
        raise SaeInputError(
            f"{len(twice)} labels belong to several records: {name_some(twice)}.",
            hint="Give labels that tell the records apart.",
            areas=twice,
        )
    return (stream_keys(seed_of(seed), "record key", names.tolist()) % np.uint64(_KEYS)).astype(np.int64)


@answered
def perturb(
    frame: pd.DataFrame, *, value: str, key: str, variance: float, largest: int, barred: int = 0
) -> pd.DataFrame:
    """Add to each count the noise that its key gives; counts of 0 stay, and no count becomes negative.

    Parameters
    ----------
    frame : DataFrame
        One row per cell.
    value : str
        Whole numbers of persons.
    key : str
        Sums of `record_keys`, such as `with_totals` makes beside the counts.
    variance : float
        Of the noise, which has mean 0 at every count.
    largest : int
        Noise beyond this, up or down, does not occur.
    barred : int
        Counts from 1 up to this do not occur in the answer.

    Returns
    -------
    DataFrame
        The rows as they are, with ``perturbed``. Totals need not be the sums of their parts.

    Raises
    ------
    SaeSpecError
        If there is no noise of such a variance.
    SaeInputError
        If counts or keys are missing, negative or not whole.

    Examples
    --------
    >>> cells = pd.DataFrame({"area": ["A", "B", "C"], "n": [0, 3, 120], "key": [0, 1_000_000, 77]})
    >>> sae.disclosure.perturb(cells, value="n", key="key", variance=2, largest=4)["perturbed"].tolist()
    [0, 5, 116]
    """
    frame = pandas_frame(frame, "The cells")
    if "perturbed" in frame:
        raise SaeInputError("The table has a column perturbed already.", hint="Rename or drop it.")
    counts, keys = (_whole(frame, name) for name in (value, key))
    table = noise_table(variance, largest, barred)
    share = (keys % _KEYS + 0.5) / _KEYS
    row = np.minimum(counts, len(table) - 1)
    noise = (share[:, None] > np.cumsum(table, axis=1)[row][:, :-1]).sum(axis=1) - largest
    return frame.assign(perturbed=np.where(counts > 0, counts + noise, 0))


@answered
def noise_table(variance: float, largest: int, barred: int = 0) -> np.ndarray:
    """Return the probabilities of noise from -largest to largest at counts of 0, 1, 2, ...; the last goes on.

    Parameters
    ----------
    variance, largest, barred
        As in `perturb`.

    Returns
    -------
    ndarray of float, shape (n_counts, 2 largest + 1)

    Examples
    --------
    >>> sae.disclosure.noise_table(variance=0.5, largest=1).round(3).tolist()
    [[0.0, 1.0, 0.0], [0.25, 0.5, 0.25]]
    """
    if not (isinstance(largest, (int, np.integer)) and largest >= 1 and variance > 0 and barred >= 0):
        raise SaeSpecError(
            f"variance={variance!r}, largest={largest!r}, barred={barred!r}.",
            hint="Give a variance > 0, a largest noise of 1 or more, and barred counts of 0 or more.",
        )
    noise = np.arange(-largest, largest + 1)
    table = np.zeros((largest + 1 + (barred + 1 if barred else 0), len(noise)))
    table[0, largest] = 1.0
    for count in range(1, len(table)):
        after = count + noise
        allowed = (after >= 0) & ((after == 0) | (after > barred))
        table[count, allowed] = _largest_entropy(noise[allowed].astype(float), variance, count)
    return table


def _largest_entropy(noise: np.ndarray, variance: float, count: int) -> np.ndarray:
    """Return p ∝ exp(a d + b d²) with mean 0 and the given variance, by Newton's method on its dual."""
    features = np.column_stack([noise, noise**2])
    target = np.array([0.0, variance])
    dual = np.zeros(2)

    def value(at: np.ndarray) -> tuple[float, np.ndarray]:
        score = features @ at
        top = score.max()
        weight = np.exp(score - top)
        return top + np.log(weight.sum()) - float(at @ target), weight / weight.sum()

    height, p = value(dual)
    for _ in range(_STEPS):
        gradient = p @ features - target
        if np.abs(gradient).max() < 1e-12 * max(1.0, variance):
            return p
        centred = features - p @ features
        curvature = (centred * p[:, None]).T @ centred + 1e-14 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while size > 1e-10 and value(dual - size * step)[0] > height - 1e-4 * size * float(gradient @ step):
            size /= 2.0
        dual = dual - size * step
        height, p = value(dual)
    if np.abs(p @ features - target).max() < 1e-8 * max(1.0, variance):
        return p
    raise SaeSpecError(
        f"At a count of {count} no noise within {int(noise.min())} to {int(noise.max())} has mean 0 and "
        f"variance {variance:g}.",
        hint="Change variance=, largest= or barred=.",
    )


def _whole(frame: pd.DataFrame, column: str) -> np.ndarray:
    numbers = to_numbers(frame, column)
    bad = ~((numbers >= 0) & (numbers % 1 == 0))
    if bad.any():
        raise SaeInputError(
            f"{column} is missing, negative or not whole in {int(bad.sum())} rows.",
            hint="Give counts, and sums of record keys.",
            column=column,
        )
    return numbers.astype(np.int64)
