"""Ten linear indicators in 300 domains of a Parquet file of 2 million records, in blocks; PSUs not sorted."""

import atexit
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import Case

N = 2_000_000
COLUMNS = ["w", "stratum", "psu", "region", "birth", "age", "labour_status", "education", "hours"]


@dataclass(frozen=True)
class Input:
    """The file, its indicators, and the estimates of the same records in memory."""

    path: Path
    indicators: list
    expected: Any


def setup():
    from cases.direct_linear import indicators, records

    import sae

    survey = records(N)
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    path = Path(folder.name) / "persons.parquet"
    survey.frame.to_parquet(path, row_group_size=500_000)
    return Input(path, indicators(), sae.direct(survey, indicators(), by=["region", "birth"]).frame)


def estimate(data):
    from sae.design_based import direct_from_blocks

    return direct_from_blocks(
        data.path, data.indicators, ["region", "birth"], weights="w", strata="stratum", psu="psu"
    ).frame


def read(data):
    from pyarrow import parquet

    return parquet.read_table(data.path, columns=COLUMNS, use_threads=False)


def check(data, ours, theirs):
    import numpy as np

    assert theirs.num_rows == N
    for name in ("estimate", "variance", "n", "deff"):
        np.testing.assert_allclose(ours[name], data.expected[name], rtol=1e-8)


CASES = [
    Case(
        name="direct_blocks_2m",
        setup=setup,
        run=estimate,
        peer=read,
        peer_name="pyarrow reads the same columns into memory",
        check=check,
        unit="record",
        units=N,
        peer_units=N,
    )
]
