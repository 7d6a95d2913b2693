"""The page of messages: every quoted text is what the package says today, in the case that the page names."""

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sae

PAGE = (Path(__file__).parents[2] / "docs" / "how_to" / "messages.md").read_text(encoding="utf-8")
QUOTES = re.findall("“(.+?)”", PAGE)


@pytest.fixture(scope="module")
def data():
    land = sae.datasets.country(seed=1, regions=24)
    survey = land.lfs(seed=1)
    direct = sae.direct(survey, "employment_rate", by=["region"], smoothing="deff")
    fit = sae.FayHerriot("employment_rate ~ 1").fit(direct, areas=land.areas)
    table = direct.frame[["domain", "estimate", "vardir", "n"]]
    return {
        "survey": survey,
        "frame": survey.frame,
        "direct": direct,
        "areas": land.areas,
        "fit": fit,
        "table": table,
    }


def survey_of(frame, **options):
    return sae.Survey.from_frame(frame, **{"weights": "weight", **options})


def lonely(d):
    one = d["frame"].groupby("region", observed=True).head(1)
    sae.direct(survey_of(one, strata="region", psu="psu", nest=True), "employment_rate")


def repeated_units(d):
    units = d["frame"].groupby("region", observed=True)["psu"].transform(lambda psu: pd.factorize(psu)[0])
    survey_of(d["frame"].assign(psu=units), strata="region", psu="psu")


def unknown_encoding(d, folder, encoding="utf-8"):
    file = folder / "orte.csv"
    file.write_text("w;ort\n1,5;Köln\n2,5;Bonn\n", encoding="latin-1")
    sae.read_survey(file, weights="w", encoding=encoding)


def remembered(d, folder):
    file = sae.datasets.write_lfs(d["survey"], folder / "XA2025Q1.csv")
    sae.direct(sae.read_survey(file, layout="eu_lfs"), "adult_learning_rate")


def fitted(d, formula="employment_rate ~ register_employment", areas=None, **options):
    areas = d["areas"] if areas is None else areas
    return sae.FayHerriot(formula, **options).fit(d["direct"], areas=areas)


def few_cases(d):
    noise = np.random.default_rng(1).normal(0, 0.01, 24)
    table = pd.DataFrame({"domain": range(24), "estimate": 0.02 + abs(noise), "n_eff": 8.0})
    sae.FayHerriot("estimate ~ 1", domain="domain", transform="arcsin", n_eff="n_eff").fit(table, seed=1)


def small(d, areas, scale=1.0, **options):
    table = d["table"].head(areas)
    table = table.assign(vardir=table["vardir"] * scale)
    return sae.FayHerriot("estimate ~ 1", domain="domain", **options).fit(table)


def extrapolated(d):
    far = d["areas"].copy()
    far.loc[~far["region"].isin(d["direct"].frame["domain"]), "register_employment"] = 0.1
    fitted(d, areas=far)


def twice(d):
    far = d["areas"].assign(other=lambda a: a["register_employment"] + 1e-4 * np.arange(len(a)) % 3)
    fitted(d, "employment_rate ~ register_employment + other", areas=far)


def skewed(d):
    table = pd.DataFrame({"domain": range(40), "y": [0.5] * 36 + [0.9] * 4, "vardir": 1e-4})
    print(sae.FayHerriot("y ~ 1", domain="domain").fit(table).summary())


CASES = {
    "No weights are given": lambda d, f: sae.Survey.from_frame(d["frame"]),
    "Numbers need a decimal point, not a comma": lambda d, f: unknown_encoding(d, f, "latin-1"),
    "is not in the encoding": unknown_encoding,
    "are not all 0 or more": lambda d, f: survey_of(d["frame"].assign(weight=-1.0)),
    "have a single sampled unit": lambda d, f: lonely(d),
    "occur in more than one stratum": lambda d, f: repeated_units(d),
    "texts that look like missing values are kept": lambda d, f: survey_of(d["frame"].assign(city="NA")),
    "is neither an indicator of the registry nor a column of the survey": lambda d, f: sae.direct(
        d["survey"], "rate"
    ),
    "needs the columns": lambda d, f: sae.direct(survey_of(d["frame"][["weight"]]), "employment_rate"),
    "are remembered, not verified": remembered,
    "to group by": lambda d, f: sae.direct(d["survey"], "employment_rate", by="Region"),
    "Direct estimates are made of a Survey, not of a": lambda d, f: sae.direct(d["frame"], "employment_rate"),
    "have a sampling variance that is not positive": lambda d, f: small(d, 9, 0.0),
    "Add the missing labels to the areas": lambda d, f: fitted(d, areas=d["areas"].head(9)),
    "but numbers in": lambda d, f: fitted(d, areas=d["areas"].assign(region=range(24))),
    "Keep one row per label": lambda d, f: fitted(d, areas=pd.concat([d["areas"]] * 2)),
    "is a linear combination of": lambda d, f: fitted(
        d, "employment_rate ~ a + b", areas=d["areas"].assign(a=np.arange(24.0), b=2 * np.arange(24.0))
    ),
    "which draws random numbers; it has no seed": lambda d, f: fitted(d, transform="arcsin"),
    "a benchmark of shares needs weights": lambda d, f: d["fit"].benchmark(0.7),
    "were not judged by any policy": lambda d, f: sae.publish.published(d["fit"].estimates),
    "There is no policy": lambda d, f: d["fit"].flag("eurostat"),
    "The rows have no periods, or one only": lambda d, f: sae.compare.changes(d["direct"]),
    "needs a seed": lambda d, f: sae.compare.ranks(d["direct"]),
    "The model variance is estimated exactly 0": lambda d, f: small(d, 23, 100.0),
    "Covariates lie outside the range of the fit": lambda d, f: extrapolated(d),
    "nearly explain each other": lambda d, f: twice(d),
    "The arcsine is no scale for so few cases": lambda d, f: few_cases(d),
    "The sampling variance does not go with the direct estimates": lambda d, f: small(d, 23, 1e-6),
    "No interval in": lambda d, f: small(d, 2),
    "checks: normality of residuals doubtful": lambda d, f: skewed(d),
}


def test_every_quoted_message_has_a_case():
    assert set(QUOTES) == set(CASES)


@pytest.mark.parametrize("quote", CASES)
def test_the_message_is_said(quote, data, tmp_path, capsys):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            CASES[quote](data, tmp_path)
            text = ""
        except sae.errors.SaeError as error:
            text = str(error)
    text += "\n".join(str(one.message) for one in seen) + capsys.readouterr().out
    assert quote in text
