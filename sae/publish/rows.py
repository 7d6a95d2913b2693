"""Which rows of an estimate table may appear in public."""

from __future__ import annotations

import numpy as np

from sae.errors import SaeInputError, name_some
from sae.quality.appearance import may_appear
from sae.tables import EstimateTable

__all__ = ["shown_rows"]


def shown_rows(table: EstimateTable) -> np.ndarray:
    """Return which rows may appear: a policy judged them publishable, and their records are not confidential.

    Raises
    ------
    SaeInputError
        If rows were not judged by any policy.
    """
    frame = table.frame
    unjudged = frame["policy"].eq("")
    if unjudged.any():
        domains = frame["domain"][unjudged]
        raise SaeInputError(
            f"{len(domains)} of {len(frame)} rows were not judged by any policy: {name_some(domains)}.",
            hint="Call fit.flag(policy) first: what may appear is for a policy to say.",
            areas=domains,
        )
    return may_appear(frame)
