"""A production run on a year of 150,000 interviews: all survey indicators of 120 regions in 12 groups.

`benchmarks/national.py` runs it at any size and tells the stages apart.
"""

import tempfile
from pathlib import Path

from harness import Case

PERSONS = 150_000


def setup():
    import national

    folder = tempfile.TemporaryDirectory()  # lives as long as the state
    national.write(Path(folder.name), years=1, persons=PERSONS)
    return folder


def produce(folder):
    import national

    with tempfile.TemporaryDirectory() as out:
        national.run(Path(folder.name), Path(out))


def read(folder):
    """Read the files, and sum the weights by region once for each of 12 groups."""
    import pandas as pd

    place = Path(folder.name)
    frame = pd.read_parquet(next(place.glob("lfs_*.parquet")))
    for path in place.glob("silc_*/*.csv"):
        pd.read_csv(path)
    for _ in range(12):
        frame.groupby("AREA", observed=True)["COEFFY"].sum()


CASES = [
    Case(
        name="production_150k",
        setup=setup,
        run=produce,
        peer=read,
        peer_name="pandas reads the files and sums the weights by region twelve times",
        unit="interview",
        units=PERSONS,
        peer_units=PERSONS,
        repeat=1,
    )
]
