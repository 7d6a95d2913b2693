"""Head counts of 10,000 areas from a Parquet file of 20 million persons: closed form.

With levels rows are counted in one pass; the target is of 100 million: 10 million rows a second on two cores.
With numbers that are all different they are checked in one pass and added up in another. `N` is all that is
to be changed.
"""

import atexit
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from harness import Case

N, AREAS, SAMPLE, STEP = 20_000_000, 10_000, 20_000, 1_000_000
LEVELS = {
    "sex": ["f", "m"],
    "age": ["0-17", "18-29", "30-44", "45-64", "65-79", "80+"],
    "birth": ["EU", "foreign", "native"],
}
NUMBERS = {"age": 45.0, "register": 10.0}


@dataclass(frozen=True)
class Input:
    """The file, in no order, and a sample."""

    path: Path
    sample: Any


def persons(rng, n, numbers=False):
    """Return n persons of areas at random as a table of text, or with numbers in the place of levels."""
    import numpy as np
    import pyarrow as pa

    columns = {"area": [f"{k:05d}" for k in range(AREAS)], **({} if numbers else LEVELS)}
    coded = {
        name: pa.DictionaryArray.from_arrays(rng.integers(0, len(levels), n).astype(np.int32), levels)
        for name, levels in columns.items()
    }
    table = pa.table(coded).cast(pa.schema([(name, pa.string()) for name in columns]))
    for name, middle in NUMBERS.items() if numbers else ():
        table = table.append_column(name, pa.array(middle * rng.uniform(0.5, 1.5, n)))
    return table


def setup(numbers=False):
    import numpy as np
    from pyarrow import parquet

    rng = np.random.default_rng(1)
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    path = Path(folder.name) / "persons.parquet"
    first = persons(rng, SAMPLE, numbers)
    with parquet.ParquetWriter(path, first.schema) as file:
        for _ in range(N // STEP):
            file.write_table(persons(rng, STEP, numbers))
    sample = first.to_pandas()
    if numbers:
        score = 8.0 + 0.01 * sample["age"] + 0.05 * sample["register"]
    else:
        score = 9.0 + 0.2 * (sample["sex"] == "m") - 0.3 * (sample["birth"] == "foreign")
    effect = 0.3 * rng.normal(size=AREAS)[sample["area"].astype(int)]
    return Input(path, sample.assign(income=np.exp(score + effect + 0.5 * rng.normal(size=SAMPLE))))


def head_counts(data, covariates=LEVELS):
    import sae

    model = sae.EBP(
        f"income ~ {' + '.join(covariates)}",
        domain="area",
        indicators=["head_count"],
        transform="log",
        threshold=7_000.0,
        mse="none",
    )
    return model.fit(data.sample, areas=data.path)


def read(data, covariates=LEVELS):
    from pyarrow import parquet

    return parquet.read_table(data.path, columns=["area", *covariates], use_threads=False)


def check(data, ours, theirs):
    assert ours.provenance["population"] == theirs.num_rows == N
    assert len(ours.estimates) == AREAS


CASES = [
    Case(
        name="ebp_population_parquet_20000000",
        setup=setup,
        run=head_counts,
        peer=read,
        peer_name="pyarrow reads the same columns into memory",
        check=check,
        unit="person",
        units=N,
        peer_units=N,
        repeat=3,
        target="2 s on two cores, so that 100 million take 10 s; under 2 GB",
    ),
    Case(
        name="ebp_population_of_numbers_20000000",
        setup=partial(setup, numbers=True),
        run=partial(head_counts, covariates=NUMBERS),
        peer=partial(read, covariates=NUMBERS),
        peer_name="pyarrow reads the same columns into memory",
        check=check,
        unit="person",
        units=N,
        peer_units=N,
        repeat=3,
    ),
]
