"""One indicator of 100,000 municipalities through `sae run`: from files to published tables."""

import subprocess
import sys
import tempfile
from pathlib import Path

from harness import Case

AREAS = 100_000
MODEL = """
title = "Employment rate by municipality"
{source}

[estimate]
{indicator}
by = ["municipality"]
smoothing = "gvf"
{model}
[publish]
policy = "eurostat_lfs"
seed = 1
"""
RECORDS = """
[survey.columns]
weights = "weight"
strata = "province"
psu = "psu"
"""
OWN = """
[estimate.indicator]
id = "employment"
numerator = "works"
denominator = "1"
"""
DIRECT = """
[direct]
estimate = "rate"
se = "se"
n = "n"
"""
FAY_HERRIOT = """
[model]
kind = "fay_herriot"
formula = "employment ~ share_tertiary + register_unemployment"
transform = "arcsin"
{benchmark}
"""


def write(folder, areas=AREAS):
    """Write areas, records of two thirds of them, their direct estimates, and the model files."""
    import numpy as np
    import pandas as pd
    from scipy.special import expit

    folder, rng = Path(folder), np.random.default_rng(1)
    code = np.array([f"{number:06d}" for number in range(1, areas + 1)])
    province = np.arange(areas) * 100 // areas
    tertiary, unemployed = rng.beta(3, 7, areas), rng.beta(2, 18, areas)
    truth = expit(0.4 + 1.5 * tertiary - 4 * unemployed + 0.25 * rng.standard_normal(areas))
    population = np.maximum(np.exp(6.5 + 1.3 * rng.standard_normal(areas)).astype(int), 40)
    pd.DataFrame(
        {
            "municipality": code,
            "province": np.char.add("P", np.char.zfill(province.astype(str), 2)),
            "population": population,
            "share_tertiary": tertiary.round(4),
            "register_unemployment": unemployed.round(4),
        }
    ).to_csv(folder / "areas.csv", index=False)

    sampled = rng.random(areas) < 2 / 3
    interviews = np.where(sampled, 4 + rng.poisson(population / 150), 0)
    place = np.repeat(np.arange(areas), interviews)
    frame = pd.DataFrame(
        {
            "municipality": code[place],
            "province": np.char.add("P", np.char.zfill(province[place].astype(str), 2)),
            "psu": np.char.add(code[place], np.array(list("abcd"))[rng.integers(4, size=len(place))]),
            "weight": (population[place] / interviews[place] * rng.uniform(0.7, 1.3, len(place))).round(3),
            "works": (rng.random(len(place)) < truth[place]).astype(int),
        }
    )
    frame.to_parquet(folder / "persons.parquet")
    some = np.flatnonzero(sampled)
    n = interviews[some]
    rate = rng.binomial(n, truth[some]) / n
    pd.DataFrame(
        {
            "municipality": code[some],
            "rate": rate.round(4),
            "se": np.sqrt((rate * (1 - rate) + 0.25 / n) / n).round(4),
            "n": n,
        }
    ).to_csv(folder / "direct.csv", index=False)
    for name, source, indicator, model in (
        ("records", RECORDS, OWN, FAY_HERRIOT.format(benchmark="")),
        ("records_flagged", RECORDS, OWN, ""),
        ("direct", DIRECT, 'indicator = "employment"', FAY_HERRIOT.format(benchmark="")),
        ("direct_flagged", DIRECT, 'indicator = "employment"', ""),
    ):
        text = MODEL.format(source=source, indicator=indicator if indicator != OWN else "", model=model)
        (folder / f"{name}.toml").write_text(text + (OWN if indicator == OWN else ""), encoding="utf-8")


def setup():
    folder = tempfile.TemporaryDirectory()  # lives as long as the state
    write(folder.name)
    return folder


def process(*words):
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)


def command(folder, name, *data):
    place = Path(folder.name)
    given = [str(place / word) if "." in word else word for word in data]
    process("-m", "sae.cli", "run", str(place / f"{name}.toml"), *given, "--out", str(place / name))


def read_and_write(folder):
    """Read the areas, write a table of as many rows and thirty columns as CSV, by pandas."""
    code = (
        "import sys, pandas as pd, numpy as np; frame = pd.read_csv(sys.argv[1] + '/areas.csv', dtype=str);"
        "wide = pd.DataFrame(np.random.default_rng(1).random((len(frame), 30)));"
        "wide.to_csv(sys.argv[1] + '/peer.csv')"
    )
    process("-c", code, folder.name)


CASES = [
    Case(
        name=f"municipalities_{name}",
        setup=setup,
        run=lambda folder, name=name, data=data: command(folder, name, *data),
        peer=read_and_write,
        peer_name="pandas reads the areas and writes thirty columns as CSV",
        unit="area",
        units=AREAS,
        peer_units=AREAS,
        repeat=1,
        target="under 60 s on one idle core",
    )
    for name, data in (
        ("records", ("--survey", "persons.parquet", "--areas", "areas.csv")),
        ("records_flagged", ("--survey", "persons.parquet")),
        ("direct", ("--direct", "direct.csv", "--areas", "areas.csv")),
        ("direct_flagged", ("--direct", "direct.csv")),
    )
]
