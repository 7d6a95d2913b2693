"""A small survey with groups, its areas, and production files for them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

REGIONS = [f"R{number:02d}" for number in range(1, 17)]
HEAD = """
[production]
title = "Employment"
seed = 7
indicators = ["employment_rate"]
groups = [["birth"]]
levels = { region = "region", nation = "" }
time = false
smoothing = "gvf"

[[survey]]
name = "lfs"
nest = true

[survey.columns]
weights = "w"
strata = "region"
psu = "psu"
time = "year"

[survey.codes.labour_status]
column = "status"
employed = [1]
unemployed = [2]
inactive = [3]

[publish]
policy = "eurostat_silc"
"""
ARCSIN = """
[[model]]
[[model.rung]]
kind = "fay_herriot"
formula = "~ tertiary"
transform = "arcsin"
"""


def draw(rng, year=2025):
    """Records: 16 regions of which R16 is not in the sample, 5 clusters each."""
    rows = []
    for position, region in enumerate(REGIONS[:-1]):
        for cluster in range(5):
            size = int(rng.integers(10, 16) + position)
            foreign = rng.random(size) < 0.4
            rate = 0.45 + 0.02 * position - 0.1 * foreign + rng.normal(0, 0.05)
            rows.append(
                pd.DataFrame(
                    {
                        "region": region,
                        "psu": cluster,
                        "year": year,
                        "birth": np.where(foreign, "foreign", "native"),
                        "sex": rng.choice(["female", "male"], size),
                        "status": np.where(rng.random(size) < rate, 1, rng.integers(2, 4, size)),
                        "w": rng.uniform(50, 150, size).round(2),
                        "age": rng.integers(16, 75, size),
                    }
                )
            )
    return pd.concat(rows, ignore_index=True)


@pytest.fixture
def folder(tmp_path):
    """persons.csv and areas.csv in an empty folder."""
    draw(np.random.default_rng(5)).to_csv(tmp_path / "persons.csv", index=False)
    position = np.arange(len(REGIONS))
    areas = {
        "region": REGIONS,
        "district": [f"D{number // 4}" for number in position],
        "tertiary": (0.2 + 0.015 * position + np.random.default_rng(6).normal(0, 0.01, len(REGIONS))).round(
            4
        ),
        "population": 1000 + 100 * position,
    }
    pd.DataFrame(areas).to_csv(tmp_path / "areas.csv", index=False)
    return tmp_path


@pytest.fixture(scope="session")
def texts():
    """The parts of a production file, and what draws its records."""
    return SimpleNamespace(head=HEAD, arcsin=ARCSIN, draw=draw)
