"""The table of what is published, of a fit too: no row tells a confidential one by its totals and parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.errors import SaeSpecError
from sae.publish.linked import protected
from sae.publish.rows import shown_rows
from sae.quality.appearance import PROTECTING, confidential_rows
from sae.results import Result
from sae.tables import EstimateTable, labels

__all__ = ["shown", "table_of"]


def table_of(data: Result | EstimateTable) -> EstimateTable:
    """Return the estimates of a fit, or the table itself.

    Of a fit with levels or groups, which count the same persons again, further rows are hidden where the
    others would tell a confidential one.

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
    if not isinstance(data, Result) or not data.spec.overlapping:
        return table
    done = table["reason"].str.startswith(PROTECTING).any()
    if done or not confidential_rows(table.frame).any():
        return table
    levels = list(dict.fromkeys(labels(table["level"]))) if "level" in data.spec.overlapping else []
    homes = {f"in {name}": data.areas[name] for name in levels[1:]}
    # direct estimates are published nowhere: what the survey counts says nothing here
    links = pd.DataFrame({"weight": data.areas["population"], "counted": np.nan, **homes})
    return protected(table, links, levels)


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
