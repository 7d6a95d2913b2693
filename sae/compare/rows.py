"""Rows of figures by what names them: whom each is compared with, and how a comparison is called."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy

from sae.compare.joint import Figures
from sae.compare.sides import without_composition
from sae.errors import SaeInputError, name_some
from sae.tables import labels

__all__ = ["named", "over_time", "partner", "rows_alone"]


def partner(figures: Figures, mask: np.ndarray, rest: Sequence[str]) -> np.ndarray:
    """Return for each row the marked one that agrees with it in the columns `rest`, or -1."""
    keys = pd.DataFrame({name: labels(figures.frame[name]).to_numpy() for name in rest})
    codes = keys.groupby(list(rest), sort=False).ngroup().to_numpy() if rest else np.zeros(len(mask), int)
    places = np.flatnonzero(mask)
    if len(np.unique(codes[places])) < len(places):
        twice = pd.Series(codes[places])
        names = labels(figures.frame["domain"].iloc[places[twice.duplicated(keep=False)]])
        raise SaeInputError(
            f"The other side is not one row: {name_some(names)}.",
            hint=f"The rows are by {name_some(figures.parts)}; name values of as many columns as it takes.",
        )
    row_of = np.full(codes.max(initial=0) + 1, -1)
    row_of[codes[places]] = places
    return row_of[codes]


def over_time(figures: Figures) -> pd.DataFrame:
    """Return what is the same in all periods of a row: its parts but the period, as labels.

    Groups of EU origin are one group through the compositions of the EU, but for those that a period has by
    two compositions at once.
    """
    names = [name for name in figures.parts if name != "time"]
    exact = pd.DataFrame({name: labels(figures.frame[name]).to_numpy(dtype=object) for name in names})
    made = exact.apply(lambda column: column.map({text: without_composition(text) for text in set(column)}))
    time = labels(figures.frame["time"]).to_numpy(dtype=object)
    codes = made.groupby(names, sort=False).ngroup()
    both = codes[made.assign(_time=time).duplicated()].unique()
    return made.mask(codes.isin(both), exact)


def rows_alone(figures: Figures) -> scipy.sparse.csr_array:
    """Return the weights of other sides that are a row each."""
    return scipy.sparse.eye_array(len(figures.estimate), format="csr")


def named(figures: Figures, one: np.ndarray, parts: Sequence[str]) -> pd.DataFrame:
    """Return the columns that tell rows apart, `domain` first."""
    frame = figures.frame.iloc[one]
    texts = {name: labels(frame[name]).to_numpy(dtype=object) for name in parts}
    areas = [text for name, text in texts.items() if name not in ("indicator", "time")]
    if "domain" not in texts:
        joined = [" / ".join(part) for part in zip(*areas, strict=True)] if areas else ["all"] * len(one)
        several = {
            name: text for name, text in texts.items() if len(areas) > 1 or name in ("indicator", "time")
        }
        texts = {"domain": np.array(joined, dtype=object), **several}
    return pd.DataFrame(texts)
