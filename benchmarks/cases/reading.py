"""Reading survey files, wide as EU-SILC and long as the EU-LFS, and the direct table on an EU-LFS sample."""

from dataclasses import dataclass
from typing import Any

from harness import Case

WIDE, COLUMNS = 30_000, 650
LONG, COPIES = 400_000, 20  # records; copies of a sample of 20,000 persons
BY = ["region", "citizenship_group"]


@dataclass(frozen=True)
class File:
    """A file, and the column of its weights."""

    folder: Any  # removed with the last reference
    path: Any
    weights: str


def written(columns, weights):
    from pathlib import Path
    from tempfile import TemporaryDirectory

    import pyarrow as pa
    from pyarrow import csv

    pa.set_cpu_count(1)
    folder = TemporaryDirectory()
    path = Path(folder.name) / "persons.csv"
    csv.write_csv(pa.table(columns), path, csv.WriteOptions(quoting_style="needed"))
    return File(folder, path, weights)


def wide():
    """Write answers with their flags: of four answers three are codes and one an amount; some are empty."""
    import numpy as np
    import pyarrow as pa

    rng = np.random.default_rng(1)
    columns = {"PB030": np.arange(WIDE), "PB040": rng.gamma(2, 500, WIDE).round(6)}
    columns["DB040"] = np.array([f"AT{number}" for number in range(11, 35)])[rng.integers(24, size=WIDE)]
    for number in range((COLUMNS - len(columns)) // 2):
        gap = rng.random(WIDE) < 0.3
        values = rng.gamma(2, 9000, WIDE).round(2) if number % 4 == 0 else rng.integers(1, 9, WIDE)
        columns[f"V{number:03d}"] = pa.array(values, mask=gap | (number % 9 == 0))
        columns[f"V{number:03d}_F"] = np.where(gap, -1, 1)
    return written(columns, "PB040")


def long():
    """Write numbers beside codes that are text: regions with leading zeros, countries, educations."""
    import numpy as np
    import pyarrow as pa

    rng = np.random.default_rng(1)
    columns = {
        "HHNUM": np.arange(LONG) // 2,
        "HHSEQNUM": np.arange(LONG) % 2,
        "COEFFQ": rng.gamma(2, 90, LONG).round(4),
        "REGION_2D": np.array(["01", "02", "03", "04"])[rng.integers(4, size=LONG)],
        "CITIZENSHIP": np.array(["NAT", "EU27_2020", "NO ANSWER"])[rng.integers(3, size=LONG)],
        "HATLEV1D": np.array(["L", "M", "H", None])[rng.integers(4, size=LONG)],
    }
    for number in range(30):
        columns[f"V{number:02d}"] = pa.array(rng.integers(0, 12, LONG), mask=rng.random(LONG) < 0.4)
    return written(columns, "COEFFQ")


def read(file):
    import sae

    return sae.read_survey(file.path, weights=file.weights)


def arrow(file):
    from pyarrow import csv

    return csv.read_csv(file.path)


def same_cells(file, survey, table):
    assert survey.frame.shape == table.shape
    assert (survey.weights == table[file.weights].to_numpy()).all()


def labour():
    """Return an EU-LFS file of 400,000 persons as a frame: copies of a sample, each with its households."""
    from pathlib import Path
    from tempfile import TemporaryDirectory

    import numpy as np
    import pandas as pd

    from sae.datasets import country, write_lfs

    with TemporaryDirectory() as folder:
        sample = country(1).lfs(1, persons=LONG // COPIES)
        frame = pd.read_parquet(write_lfs(sample, Path(folder) / "lfs.parquet"))
    size = len(frame)
    frame = pd.concat([frame] * COPIES, ignore_index=True)
    frame["HHNUM"] += np.arange(len(frame)) // size * (int(frame["HHNUM"].max()) + 1)
    return frame


def indicators():
    from sae.indicators import REGISTRY

    return [name for name, one in REGISTRY.items() if one.survey == "EU-LFS"]


def direct(frame):
    import sae

    survey = sae.Survey.from_frame(frame, layout="eu_lfs")
    names = indicators()
    accept = [*names, *(f"eu_lfs.{name}" for name in survey.release.remembered)]
    return sae.direct(survey, names, by=BY, accept=accept).frame


def weighted_sums(frame):
    """Sum weights by group, once per indicator: conditions on the codes, no variance, no check."""
    import pandas as pd

    employed, aged = frame["ILOSTAT"] == 1, frame["AGE"].between(15, 64)
    sums = []
    for _ in indicators():
        weight = frame["COEFFQ"] * aged
        part = pd.DataFrame({"y": weight * employed, "weight": weight})
        part = part.groupby([frame["REGION_2D"], frame["CITIZENSHIP"]])[["y", "weight"]].sum()
        sums.append(part["y"] / part["weight"])
    return sums


def same_rates(_, table, rates):
    activity = table[table["indicator"] == "employment_rate"]
    assert len(activity) == len(rates[0]) and len(table) == len(activity) * len(rates)


CASES = [
    Case(
        name=name,
        setup=setup,
        run=read,
        peer=arrow,
        peer_name="pyarrow.csv.read_csv of the same file",
        check=same_cells,
        unit="cell",
        units=cells,
        peer_units=cells,
        target="below 4",
    )
    for name, setup, cells in (
        ("read_survey_wide", wide, WIDE * COLUMNS),
        ("read_survey_long", long, LONG * 36),
    )
] + [
    Case(
        name="lfs_frame_to_direct",
        setup=labour,
        run=direct,
        peer=weighted_sums,
        peer_name="pandas groupby of the weighted sums, one per indicator",
        check=same_rates,
        unit="person",
        units=LONG,
        peer_units=LONG,
        target="below 5",
    )
]
