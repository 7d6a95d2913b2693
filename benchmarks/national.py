"""The production run at national scale: write the files of a synthetic country, run them, time the stages.

python benchmarks/national.py write FOLDER                              10 years of 1.5 million interviews
python benchmarks/national.py write FOLDER --years 2 --persons 150000   smaller
python benchmarks/national.py run FOLDER                                seconds by stage, peak memory
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

FIRST, YEARS, PERSONS, REGIONS = 2024, 10, 1_500_000, 120
INCOMES = 25  # interviews of the labour force survey for each of EU-SILC
AVERAGED = ("share_65", "share_foreign", "share_eu", "share_tertiary", "register_unemployment")
NOT_ASKED = ("smd_rate", "persistent_arpr", "good_health_share", "unmet_medical_need_rate")  # in these files
ACCEPT = (
    "recent_immigrant_employment_rate",
    *("eu_lfs.recent_education", "eu_lfs.residence", "eu_lfs.arrival", "eu_lfs.unemployment_duration"),
)
TABLE = """
# All indicators of the two surveys by region, for 12 groups of persons and every year
[production]
title = "All survey indicators by region, citizenship, birth and sex"
seed = 20260101
indicators = [{indicators}]
groups = [[], ["citizenship_group"], ["citizenship_group", "sex"], ["birth"]]
levels = {{ region = "region", nuts1 = "nuts1", nation = "" }}
smoothing = "gvf"
accept = [{accept}]

[[survey]]
name = "lfs"
layout = "eu_lfs"
lonely_psu = "collapse"
columns = {{ region = "AREA", strata = "STRATUM", psu = "PSU", time = "year" }}
derive = {{ year = {{ join = ["REFYEAR"] }} }}

[[survey]]
name = "silc"
layout = "eu_silc"
lonely_psu = "collapse"
columns = {{ time = "year" }}
derive = {{ year = {{ join = ["RB010"] }} }}

[[register]]
name = "registers"

[[model]]
for = "*"
[[model.rung]]
kind = "fay_herriot"
formula = "~ share_tertiary + register_unemployment"
transform = "arcsin"
accept_if = {{ areas = 20, cases = 2 }}
[[model.rung]]
kind = "binomial_mixed"
formula = "~ share_tertiary + register_unemployment"
accept_if = {{ areas = 20 }}
[[model.rung]]
kind = "synthetic"
of = "nation"
[[model.rung]]
kind = "direct"

[[model]]
for = [{amounts}]
[[model.rung]]
kind = "fay_herriot"
formula = "~ share_tertiary + register_unemployment"
accept_if = {{ areas = 20 }}
[[model.rung]]
kind = "synthetic"
of = "nation"
[[model.rung]]
kind = "direct"

[[benchmark]]
for = "*"
to = "nation"
groups = true
method = "logit"
factor_range = [0.2, 5.0]

[publish]
policy = "eurostat_silc"
"""


def write(folder: Path, years: int = YEARS, persons: int = PERSONS, regions: int = REGIONS) -> None:
    """Write the files: every year a country of its own, large enough for so many interviews.

    Regions of the synthetic country are put together to `regions` areas; they remain the strata.
    """
    import numpy as np
    import pandas as pd

    from sae.datasets import country, lfs_panel, write_lfs, write_silc

    folder.mkdir(parents=True, exist_ok=True)
    # of some 3,000 persons each, of whom an eighth is interviewed in each quarter
    parts = min(max(persons // 1_550, regions), 999)
    tables, registers = [], []
    for year in range(FIRST, FIRST + years):
        land = country(seed=year, regions=parts, year=year)
        areas = land.areas
        within = areas.groupby("nuts1", observed=True)["region"]
        size = within.transform("size").astype(int)
        number = within.cumcount() * (size * regions / parts).round().clip(lower=1).astype(int) // size
        code = areas["nuts1"].astype(str) + number.add(1).map("{:03d}".format)
        larger = dict(zip(areas["region"].astype(str), code, strict=True))

        path = write_lfs(lfs_panel([land], seed=1, persons=persons // 4), folder / f"lfs_{year}.parquet")
        frame = pd.read_parquet(path)
        frame["AREA"] = frame["AREA"].astype(str).map(larger).astype("category")
        frame["COEFFY"] = frame.pop("COEFFQ") / 4
        frame.to_parquet(path)

        home = folder / f"silc_{year}"
        home.mkdir(exist_ok=True)
        sample = land.silc(seed=1, persons=max(persons // INCOMES, 4000))
        files = write_silc(sample, home)
        design = pd.read_csv(files["D"])
        design["DB040"] = design["DB040"].map(larger)
        design.to_csv(files["D"], index=False)

        sums = {name: areas[name] * areas["population"] for name in AVERAGED}
        whole = areas.assign(region=code, year=year, **sums).groupby(
            ["region", "nuts1", "year"], observed=True
        )
        whole = whole[["population", *AVERAGED]].sum().reset_index()
        whole[list(AVERAGED)] = whole[list(AVERAGED)].div(whole["population"], axis=0).round(4)
        tables.append(whole)
        counts = land.registers.assign(area=land.registers["area"].astype(str).map(larger))
        keys = [name for name in counts if name != "value"]
        registers.append(counts.groupby(keys, observed=True, sort=False)["value"].sum().reset_index())
        print(f"{year}: {len(frame):,} + {len(sample.frame):,} persons, {len(whole)} areas", flush=True)
        assert np.isfinite(frame["COEFFY"]).all()
    pd.concat(tables).to_csv(folder / "areas.csv", index=False)
    pd.concat(registers).to_csv(folder / "registers.csv", index=False)
    (folder / "national.toml").write_text(_table(), encoding="utf-8")


def _table() -> str:
    from sae.indicators import REGISTRY

    surveys = [one for one in REGISTRY.values() if one.survey in ("EU-LFS", "EU-SILC")]
    names = [one.id for one in surveys if one.id not in NOT_ASKED and not one.id.endswith("_2020")]
    amounts = [one.id for one in surveys if one.id in names and one.kind not in ("ratio", "mean", "arpr")]
    quoted = (", ".join(f'"{name}"' for name in some) for some in (names, amounts))
    indicators, other = quoted
    return TABLE.format(indicators=indicators, amounts=other, accept=", ".join(f'"{one}"' for one in ACCEPT))


def run(folder: Path, out: Path) -> list[tuple[str, float, float]]:
    """Run the production file; return the wall and CPU seconds of every step, by its name."""
    from sae.batch.production.runner import run_production
    from sae.batch.production.spec import read_production

    marks: list[tuple[str, float, float]] = []

    def step(text: str) -> None:
        marks.append((text, time.perf_counter(), time.process_time()))

    step("start")
    surveys = [f"lfs={path}" for path in sorted(folder.glob("lfs_*.parquet"))]
    surveys += [f"silc={path}" for path in sorted(folder.glob("silc_*"))]
    surveys.append(f"registers={folder / 'registers.csv'}")
    outcome = run_production(
        read_production(folder / "national.toml"),
        surveys=surveys,
        areas=folder / "areas.csv",
        out=out,
        step=step,
    )
    step("end")
    print(outcome.text)
    return [(a[0], b[1] - a[1], b[2] - a[2]) for a, b in pairwise(marks)]


def stages(steps: list[tuple[str, float, float]]) -> Iterator[str]:
    """Yield one line per stage, the longest first: steps of the same beginning together."""
    sums: dict[str, list[float]] = {}
    for text, wall, cpu in steps:
        name, colon, rest = text.partition(": ")
        name = rest.partition(",")[0] if rest.startswith("direct") else "fits" if colon else name
        total = sums.setdefault(name, [0.0, 0.0, 0])
        total[0], total[1], total[2] = total[0] + wall, total[1] + cpu, total[2] + 1
    for name, (wall, cpu, count) in sorted(sums.items(), key=lambda item: -item[1][1]):
        yield f"{name:<28}{count:>6} steps {wall:>9.1f} s wall {cpu:>9.1f} s CPU"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["write", "run"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--years", type=int, default=YEARS)
    parser.add_argument("--persons", type=int, default=PERSONS, help="of the labour force survey, a year")
    parser.add_argument("--regions", type=int, default=REGIONS)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--steps", action="store_true", help="every step, not the stages only")
    given = parser.parse_args()
    start = time.perf_counter()
    if given.what == "write":
        write(given.folder, given.years, given.persons, given.regions)
    else:
        steps = run(given.folder, given.out or given.folder / "out")
        if given.steps:
            for text, wall, cpu in steps:
                print(f"{wall:9.2f} {cpu:9.2f}  {text}")
        print("\n".join(stages(steps)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{time.perf_counter() - start:.1f} s, peak {peak:.2f} GB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
