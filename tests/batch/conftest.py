"""A small survey, its covariates and a model file, as files: what the tests of the batch room run on."""

import numpy as np
import pandas as pd
import pytest

REGIONS = [f"R{number:02d}" for number in range(1, 15)]
SPEC = """
title = "Employment rate by region"

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

[estimate]
indicator = "employment_rate"
by = ["region"]
smoothing = "gvf"

[model]
kind = "fay_herriot"
formula = "employment_rate ~ tertiary"
transform = "arcsin"

[benchmark]
method = "ratio"
weights = "population"

[publish]
policy = "eurostat_silc"
seed = 7
"""


@pytest.fixture(scope="session")
def persons():
    """Records: 14 regions of which R14 is not in the sample, 4 clusters each, 6 to 42 persons per cluster."""
    rng = np.random.default_rng(5)
    rows = []
    for position, region in enumerate(REGIONS[:-1]):
        for cluster in range(4):
            size = int(rng.integers(6, 12) + 2 * position)
            rate = 0.45 + 0.02 * position + rng.normal(0, 0.05)
            status = np.where(rng.random(size) < rate, 1, rng.integers(2, 4, size))
            rows.append(
                pd.DataFrame(
                    {
                        "region": region,
                        "psu": f"{region}-{cluster}",
                        "year": 2025,
                        "status": status,
                        "w": rng.uniform(50, 150, size).round(2),
                        "age": rng.integers(16, 70, size),
                    }
                )
            )
    return pd.concat(rows, ignore_index=True)


@pytest.fixture(scope="session")
def areas():
    rng = np.random.default_rng(6)
    position = np.arange(len(REGIONS))
    return pd.DataFrame(
        {
            "region": REGIONS,
            "tertiary": (0.2 + 0.015 * position + rng.normal(0, 0.01, len(REGIONS))).round(4),
            "population": 1000 + 100 * position,
        }
    )


@pytest.fixture
def inputs(tmp_path, persons, areas):
    """The files of a run that works, in an empty folder: spec.toml, persons.csv, areas.csv."""
    (tmp_path / "spec.toml").write_text(SPEC, encoding="utf-8")
    persons.to_csv(tmp_path / "persons.csv", index=False)
    areas.to_csv(tmp_path / "areas.csv", index=False)
    return tmp_path
