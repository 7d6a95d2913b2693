"""Which rows may appear in public, by what a policy said of them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sae.quality.assessment import DIRECT_CONFIDENTIAL

__all__ = ["PROTECTING", "confidential_rows", "may_appear"]

PROTECTING = "hidden to protect another cell"  # how the reason of such a row begins


def confidential_rows(frame: pd.DataFrame) -> np.ndarray:
    """Return which rows rest on records that the policy keeps secret, or on those of one person.

    A model-based estimate of such a row may satisfy the policy. It is not shown all the same: who fits the
    covariates to the other estimates sees to which side this one is pulled, and with so few records that is
    their answer (in the synthetic country, of all such rows).

    Parameters
    ----------
    frame : DataFrame
        Columns flag, reason and n of an estimate table.
    """
    secret = frame["flag"].str.startswith(":c") | frame["reason"].str.contains(
        DIRECT_CONFIDENTIAL, regex=False
    )
    secret |= frame["n"].eq(1).fillna(False)
    return (secret & ~frame["reason"].str.startswith(PROTECTING)).to_numpy(dtype=bool)


def may_appear(frame: pd.DataFrame) -> np.ndarray:
    """Return which rows of a judged estimate table may appear: publishable, and not confidential."""
    good = frame["publishable"].fillna(False) & frame["estimate"].notna()
    withheld = frame["flag"].str.startswith(":").to_numpy(dtype=bool)
    return good.to_numpy(dtype=bool) & ~withheld & ~confidential_rows(frame)
