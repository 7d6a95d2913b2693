"""Ten linear indicators in 300 domains of 10 million records, linearised over 20,000 PSUs in 400 strata."""

from dataclasses import dataclass
from typing import Any

from harness import Case

N = 10_000_000
REGIONS = 150
INDICATORS = 10


@dataclass(frozen=True)
class Input:
    """The survey, its indicators, and one column for the peer."""

    survey: Any
    indicators: list
    column: Any
    np: Any


def records(n, psus=20_000, strata=400, sorted_file=False, seed=20261122):
    """Draw a survey of `n` persons with labour status, age, education, birth and region."""
    import numpy as np
    import pandas as pd

    from sae.survey import Survey

    rng = np.random.default_rng(seed)

    def levels(names, p):
        return pd.Categorical.from_codes(rng.choice(len(names), n, p=p).astype(np.int8), names)

    psu = rng.integers(0, psus, n, dtype=np.int32)
    if sorted_file:
        psu.sort()
    frame = pd.DataFrame(
        {
            "w": rng.uniform(50, 150, n),
            "stratum": psu % strata,
            "psu": psu,
            "region": (psu % REGIONS).astype(np.int16),
            "birth": levels(["native", "foreign"], [0.85, 0.15]),
            "age": rng.integers(0, 95, n, dtype=np.int8),
            "labour_status": levels(["employed", "unemployed", "inactive"], [0.55, 0.05, 0.4]),
            "education": levels(["low", "medium", "tertiary"], [0.3, 0.4, 0.3]),
            "hours": rng.uniform(0, 60, n).astype(np.float32),
        }
    )
    return Survey.from_frame(frame, weights="w", strata="stratum", psu="psu")


def indicators():
    from sae import Indicator

    working = "labour_status in ['employed', 'unemployed']"
    return [
        "employment_rate",
        "unemployment_rate",
        "activity_rate",
        Indicator("education == 'tertiary'", universe="25 <= age <= 64", id="tertiary"),
        Indicator("education == 'low'", universe="age >= 18", id="low"),
        Indicator("labour_status == 'unemployed'", universe="15 <= age <= 24", id="young"),
        Indicator("hours", universe="labour_status == 'employed'", id="hours"),
        Indicator("hours", working, universe="age >= 15", id="hours_per_active"),
        Indicator("labour_status == 'employed'", kind="total", id="employed"),
        Indicator("age", kind="mean", id="age"),
    ]


def setup():
    import numpy as np

    survey = records(N)
    return Input(survey, indicators(), survey.weights, np)


def estimate(data):
    import sae

    return sae.direct(data.survey, data.indicators, by=["region", "birth"])


def one_pass(data):
    return data.column.sum()


def same_people(data, table, total):
    """Compare the weights of the employed over all domains with those of the column."""
    employed = data.survey.frame["labour_status"] == "employed"
    rows = table.frame[table.frame["indicator"] == "employed"]
    data.np.testing.assert_allclose(rows["estimate"].sum(), data.column[employed].sum(), rtol=1e-9)


CASES = [
    Case(
        name="direct_10m_300_10",
        setup=setup,
        run=estimate,
        peer=one_pass,
        peer_name="one sum over 10 million weights",
        unit="record",
        units=N * INDICATORS,
        peer_units=N,
        check=same_people,
        repeat=3,
        target="under 10 s and 4 GB on 2 cores",
    )
]
