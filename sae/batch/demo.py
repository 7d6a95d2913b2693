"""The demo: a synthetic country is surveyed, estimated, and compared with its known truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sae.batch.estimate import Outcome, Step, silent
from sae.batch.models import find_spec
from sae.batch.runner import produce
from sae.batch.staging import staged
from sae.datasets import Country, country, households, write_lfs, write_silc
from sae.publish import shown
from sae.survey import Survey
from sae.tables import join_by_name, write_table

__all__ = [
    "DemoReport",
    "compare_with_truth",
    "country_areas",
    "country_strata",
    "run_demo",
    "write_production_inputs",
]

MODEL = "employment_rate_by_birth"
PLAN = "plan_foreign_employment"
POVERTY = "poverty_by_region"
HOUSEHOLDS, REGISTER = "households.csv", "register.parquet"
SURVEY, AREAS, TRUTH, STRATA = "persons.csv", "areas.csv", "truth.csv", "strata.csv"
LFS, REGISTERS, REGIONS = "lfs.csv", "registers.csv", "regions.csv"  # beside the four files of EU-SILC
_DENSE = 0.2  # share of foreign-born adults from which a sampling unit belongs to the dense stratum


@dataclass(frozen=True, eq=False)
class DemoReport:
    """What the demo found.

    Attributes
    ----------
    outcome : Outcome
        The run of the shipped model on the synthetic survey.
    gain : DataFrame
        Direct against model, as `compare_with_truth` gives it.
    setting : str
        The country and its survey in one line.
    """

    outcome: Outcome
    gain: pd.DataFrame
    setting: str

    @property
    def text(self) -> str:
        """What the command prints."""
        folder, frame = self.outcome.files[0].parent, self.outcome.table.frame
        publishable = int(frame["publishable"].fillna(False).sum())
        public = len(shown(self.outcome.table))
        unsampled = int(self.gain["unsampled"].sum())
        blocks = "\n".join(_block(row) for row in self.gain.to_dict("records"))
        files = "\n".join(f"  {path}" for path in self.outcome.files)
        return "\n\n".join(
            [
                self.setting,
                f"{self.outcome.spec.title}\n\n{'':<38}{'direct':>9}{'model':>9}{'gain':>9}\n{blocks}",
                f"{unsampled} more domains have no record in the survey: the model predicts them.\n"
                f"{publishable} of {len(frame)} domains can be published by {frame['policy'].iloc[0]}; the "
                f"published table holds {public}:\na model estimate must not give a few respondents away. "
                "The others stay in the working table with their reason.",
                f"Files\n{files}",
                "The same by hand, then with your own data\n"
                f"  sae run {MODEL} --survey {folder / SURVEY} --areas {folder / AREAS} --out my-results\n"
                "The core set of indicators by region, citizenship and sex, or one of them by its name\n"
                f"  sae run core_set --survey lfs={folder / LFS} --survey silc={folder} "
                f"--survey registers={folder / REGISTERS} --areas {folder / REGIONS} --out my-core-set\n"
                "Poverty by region from the households of a survey and of a register\n"
                f"  sae run {POVERTY} --survey {folder / HOUSEHOLDS} "
                f"--population {folder / REGISTER} --out my-poverty\n"
                "How many more interviews each region would need\n"
                f"  sae plan {PLAN} --frame {folder / STRATA} --survey {folder / SURVEY} "
                f"--areas {folder / AREAS} --out my-plan",
            ]
        )


def _block(row: Mapping[Any, Any]) -> str:
    return "\n".join(
        [
            f"{row['birth']}-born ({row['domains']} regions, median {row['n']:.0f} records)",
            _line("median CV", row["cv_direct"], row["cv_model"], "{:.1%}", gain=True),
            _line(
                "error against the truth (RMSE)", row["rmse_direct"], row["rmse_model"], "{:.3f}", gain=True
            ),
            _line(
                "95% intervals that hold the truth",
                row["held_direct"],
                row["held_model"],
                "{:.0%}",
                gain=False,
            ),
        ]
    )


def _line(name: str, direct: float, model: float, form: str, *, gain: bool) -> str:
    less = f"{1 - model / direct:.0%}" if gain else ""
    return f"  {name:<36}{form.format(direct):>9}{form.format(model):>9}{less:>9}".rstrip()


def run_demo(out: str | Path, *, seed: int = 1, step: Step = silent) -> DemoReport:
    """Draw a country and its labour force survey, run the shipped model on the files, compare with the truth.

    Parameters
    ----------
    out : path
        Folder for the survey, the covariates, the truth and the results.
    seed : int
        Of the country and of the sample.
    step : callable
        Called with what is being done.

    Raises
    ------
    SaeInputError
        If `out` cannot be written or the seed is negative.
    """
    out = Path(out)
    with staged(out, MODEL) as stage:
        step("drawing a country")
        land = country(seed)
        survey = land.lfs(seed)
        write_table(survey.frame, stage / SURVEY)
        write_table(country_areas(land), stage / AREAS)
        write_table(land.truth, stage / TRUTH)
        write_table(country_strata(land, survey), stage / STRATA)
        write_production_inputs(land, stage, seed)
        outcome = produce(find_spec(MODEL), stage / SURVEY, stage / AREAS, stage, step)
        names = sorted(path.name for path in stage.iterdir())
    outcome = replace(outcome, files=tuple(out / name for name in names))
    persons, regions = len(land.population), land.areas["region"].nunique()
    setting = (
        f"A synthetic country of {persons:,} persons in {regions} regions (seed {seed}), "
        f"surveyed: {len(survey):,} persons in {survey.stages[0].n_psu} sampling units."
    )
    return DemoReport(outcome, compare_with_truth(outcome, land.truth), setting)


def write_production_inputs(land: Country, folder: Path, seed: int) -> None:
    """Write what the shipped production files of the core set and of its indicators run on.

    A file of the EU-LFS, the four files of EU-SILC, a table of registers, and the regions with covariates;
    and for the shipped model of units the households of the income survey and those of a register.
    """
    write_lfs(land.lfs(seed), folder / LFS)
    incomes = land.silc(seed)
    write_silc(incomes, folder)
    write_table(households(incomes.frame), folder / HOUSEHOLDS)
    write_table(households(land.population).drop(columns=["psu", "income"]), folder / REGISTER)
    write_table(land.registers, folder / REGISTERS)
    write_table(land.areas, folder / REGIONS)


def country_areas(land: Country) -> pd.DataFrame:
    """Return the covariates by region and birth, with the register's count of residents aged 20 to 64."""
    counts = land.truth.loc[land.truth["birth"] != "total", ["region", "birth", "n_20_64"]]
    areas, _ = join_by_name(counts.reset_index(drop=True), land.areas, "region")
    foreign = areas["birth"].eq("foreign").to_numpy(dtype=bool)
    own = np.where(foreign, areas["share_tertiary_foreign"], areas["share_tertiary"])
    return (
        areas.assign(share_tertiary=own)
        .drop(columns="share_tertiary_foreign")
        .rename(columns={"n_20_64": "population_20_64"})
    )


def country_strata(land: Country, survey: Survey) -> pd.DataFrame:
    """Return the frame of a plan for the foreign-born: each region's thin and dense sampling units.

    Columns ``stratum, region, population`` (persons aged 20 to 64), ``density`` (share of foreign-born among
    them; strata without any are left out) and ``n_now`` (foreign-born of that age in the survey).
    """

    def adults(frame: pd.DataFrame) -> pd.DataFrame:
        chosen = frame.loc[frame["age"].between(20, 64), ["region", "psu", "birth"]].astype(str)
        counts = chosen.assign(foreign=chosen["birth"] == "foreign").groupby(["region", "psu"])["foreign"]
        return counts.agg(["size", "sum"]).reset_index()

    units = adults(land.population).merge(
        adults(survey.frame), on=["region", "psu"], how="left", suffixes=("", "_now"), validate="one_to_one"
    )
    kind = np.where(units["sum"] >= _DENSE * units["size"], "dense", "thin")
    strata = (
        units.groupby(["region", kind])[["size", "sum", "sum_now"]]
        .sum()
        .reset_index(names=["region", "kind"])
    )
    strata = strata[strata["sum"] > 0].reset_index(drop=True)
    return pd.DataFrame(
        {
            "stratum": strata["region"] + " " + strata["kind"],
            "region": strata["region"],
            "population": strata["size"],
            "density": strata["sum"] / strata["size"],
            "n_now": strata["sum_now"].astype("int64"),
        }
    )


def compare_with_truth(outcome: Outcome, truth: pd.DataFrame) -> pd.DataFrame:
    """Set direct and model estimates by region and birth against the truth, over the domains that have both.

    Parameters
    ----------
    outcome : Outcome
        A run by region and birth.
    truth : DataFrame
        ``region``, ``birth`` and ``employment_rate``.

    Returns
    -------
    DataFrame
        One row per birth: number of sampled domains, median n, median CV (where the direct one is above 0),
        RMSE against the truth, share of 95 % intervals that hold the truth, each for direct and model; the
        number of domains without a sample.
    """
    keys = ["region", "birth"]
    known = truth.rename(columns={"employment_rate": "truth"})[[*keys, "truth"]]
    limits = outcome.direct.frame.rename(columns={"ci_low": "direct_low", "ci_high": "direct_high"})
    table, _ = join_by_name(outcome.table.frame, known, keys)
    table, _ = join_by_name(table, limits[[*keys, "direct_low", "direct_high"]], keys, how="outer")
    rows = []
    for birth, group in table.groupby(table["birth"].astype(str)):
        sampled = group[group["direct"].notna() & group["estimate"].notna()]
        varied = sampled[sampled["direct_cv"] > 0]
        rows.append(
            {
                "birth": birth,
                "domains": len(sampled),
                "n": sampled["n"].median(),
                "cv_direct": varied["direct_cv"].median(),
                "cv_model": varied["cv"].median(),
                "rmse_direct": _rmse(sampled["direct"] - sampled["truth"]),
                "rmse_model": _rmse(sampled["estimate"] - sampled["truth"]),
                "held_direct": sampled["truth"].between(sampled["direct_low"], sampled["direct_high"]).mean(),
                "held_model": sampled["truth"].between(sampled["ci_low"], sampled["ci_high"]).mean(),
                "unsampled": len(group) - len(sampled),
            }
        )
    return pd.DataFrame(rows)


def _rmse(error: pd.Series) -> float:
    return float(np.sqrt(np.mean(error.to_numpy(dtype=float) ** 2)))
