"""Which rows of an estimate table may appear in public."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sae.calls import answered
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.quality.appearance import may_appear
from sae.results import Result
from sae.tables import EstimateTable

__all__ = ["shown", "shown_rows", "table_of"]


def table_of(data: Result | EstimateTable) -> EstimateTable:
    """Return the estimates of a fit, or the table itself.

    Raises
    ------
    SaeSpecError
        If it is neither.
    """
    table = data.estimates if isinstance(data, Result) else data
    if not isinstance(table, EstimateTable):
        raise SaeSpecError(
            f"What is published is a fit or a table of estimates, not a {type(data).__name__}.",
            hint="Give what fit.flag(policy) returned, or EstimateTable.read(path).",
        )
    return table


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


@answered
def shown(table: Result | EstimateTable) -> EstimateTable:
    """Return the rows that may appear, with all their columns: what a chart for everybody may draw.

    Parameters
    ----------
    table : Result or EstimateTable
        Judged by a policy.

    Returns
    -------
    EstimateTable

    Raises
    ------
    SaeInputError
        If rows were not judged by any policy.

    Examples
    --------
    >>> frame = pd.DataFrame({"domain": ["A", "B"], "n": [90, 1], "direct": [0.5, 1.0], "estimate": 0.5})
    >>> table = sae.EstimateTable(frame.assign(policy="own", publishable=True))
    >>> sae.publish.shown(table)["domain"].tolist()
    ['A']
    """
    table = table_of(table)
    return replace(table, frame=table.frame[shown_rows(table)])
