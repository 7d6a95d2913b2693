"""Direct estimates as the table that a run without a model gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from sae.quality import assess
from sae.tables import DirectEstimates, EstimateTable

__all__ = ["NOT_PUBLISHED", "OF_PUBLISHED", "direct_rows", "direct_table"]

NOT_PUBLISHED = "not published"
OF_PUBLISHED = ("no error known", NOT_PUBLISHED)  # what rows of a table made elsewhere may lack
_KEPT = ("indicator", "definition", "geo", "time", "domain", "n", "n_eff", "ci_low", "ci_high", "interval")


def direct_table(direct: DirectEstimates, policy: str | Mapping[str, Any]) -> EstimateTable:
    """Make the estimate table of direct estimates, every row judged by a policy.

    A domain without a record, or without a standard error, is a row with its reason.

    Examples
    --------
    >>> from sae.batch.direct_table import direct_table
    >>> frame = pd.DataFrame({"w": 1.0, "works": [1, 0, 1, 1] * 8, "region": ["N", "S"] * 16})
    >>> direct = sae.direct(sae.Survey.from_frame(frame, weights="w"), "works", by="region")
    >>> direct_table(direct, "eurostat_silc")[["domain", "estimate", "flag", "method"]].values.tolist()
    [['N', 1.0, ':u', 'direct'], ['S', 0.5, ':u', 'direct']]
    """
    frame = direct_rows(direct)
    verdict = assess(frame, policy)
    frame = frame.assign(**{str(name): verdict[name] for name in verdict})
    status = direct.frame["status"]
    lack = status.where(status.isin(OF_PUBLISHED), "")
    frame["reason"] = (lack + "; " + frame["reason"]).str.strip("; ").where(lack != "", frame["reason"])
    return EstimateTable(frame, tuple(direct.by))


def direct_rows(direct: DirectEstimates) -> pd.DataFrame:
    """Return direct estimates in the columns of the estimate table, not judged yet."""
    source = direct.frame
    groups = tuple(name for name in direct.by if name not in _KEPT)
    return source[[*_KEPT, *groups]].assign(
        unit=source["indicator"].map(dict(direct.units)).fillna(""),
        geo_version=str(direct.provenance.get("release", {}).get("geo_version", "")),
        direct=source["estimate"],
        direct_se=source["se"],
        direct_cv=source["cv"],
        estimate=source["estimate"],
        mse=source["variance"],
        se=source["se"],
        cv=source["cv"],
        in_sample=source["n"]
        .gt(0)
        .fillna(source["estimate"].notna()),  # of a published table n may be unknown
        method="direct",
        mse_method=source["variance_method"],
    )
