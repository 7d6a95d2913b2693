"""Several surveys of one indicator as one table; what does not go together is named."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError, SaeSpecError
from sae.tables import DirectEstimates

LFS = {"release": {"survey": "EU-LFS", "release": "2021", "eu": "EU27_2020", "geo_version": "NUTS 2021"}}


def table(regions=("AT11", "AT13"), by=("region",), time="2022", definition="v1", provenance=LFS, **more):
    rows = pd.DataFrame({"region": list(regions), "geo": list(regions), "domain": list(regions)})
    rows = rows.assign(indicator="rate", definition=definition, time=time, n=50, estimate=0.5, vardir=0.01)
    options = {"units": {"rate": "share"}, "log": ("smoothed",)} | more
    rows = rows if by else rows.drop(columns="region")
    return DirectEstimates(rows.assign(status="ok"), by, provenance=provenance, **options)


SILC = {"release": {"survey": "EU-SILC", "release": "2021", "eu": "EU27_2020", "geo_version": "NUTS 2021"}}


def test_rows_stand_below_each_other_under_the_name_of_their_source():
    both = sae.combine({"lfs": table(), "silc": table(["AT13"], provenance=SILC)})
    assert both.by == ("region", "survey") and len(both) == 3
    assert both["domain"].tolist() == ["AT11 / lfs", "AT13 / lfs", "AT13 / silc"]
    assert both["survey"].tolist() == ["lfs", "lfs", "silc"] and both["geo"].tolist() == [
        "AT11",
        "AT13",
        "AT13",
    ]
    assert both.units == {"rate": "share"} and both.log == ("lfs: smoothed", "silc: smoothed")
    assert both.provenance["combined"]["silc"] == SILC
    assert both.provenance["release"] == {"release": "2021", "eu": "EU27_2020", "geo_version": "NUTS 2021"}
    assert (both["status"] == "ok").all()


def test_the_domain_of_a_whole_country_is_its_source():
    whole = [table(["all"], by=()) for _ in range(2)]
    assert sae.combine({"lfs": whole[0], "silc": whole[1]}, source="s")["domain"].tolist() == ["lfs", "silc"]


def test_covariances_are_those_within_the_sources():
    index = pd.MultiIndex.from_tuples([("rate", name, "2022") for name in ("AT11", "AT13")])
    index.names = ["indicator", "domain", "time"]
    ones = pd.DataFrame(np.ones((2, 2)), index=index, columns=index)
    both = sae.combine({"lfs": table(covariance=ones), "silc": table(covariance=2.0 * ones)})
    assert both.covariance.loc[("rate", "AT13 / silc", "2022")].tolist() == [0.0, 0.0, 2.0, 2.0]
    assert sae.combine({"lfs": table(covariance=ones), "silc": table()}).covariance is None


def test_an_accepted_break_marks_every_row_and_reaches_the_estimate_table():
    old = {"release": LFS["release"] | {"release": "2020"}}
    tables = {"new": table(list("abcdefgh")), "old": table(list("abcdefgh"), provenance=old, time="2020")}
    with pytest.raises(
        SaeInputError, match=r"new, old lie across breaks: lfs_2021 \(2020 in old, 2021 in new\)"
    ):
        sae.combine(tables)
    both = sae.combine(tables, source="wave", accept="lfs_2021")
    assert (both["status"] == "ok; break lfs_2021").all() and both.provenance["breaks"] == {
        "rate": {"lfs_2021": 0}
    }
    both.frame["estimate"] += np.random.default_rng(1).normal(size=16)
    fit = sae.FayHerriot("rate ~ 1", per=["wave"]).fit(both)
    assert (fit.estimates["definition"] == "v1; break lfs_2021").all()
    assert (fit.estimates["geo_version"] == "NUTS 2021").all()


def test_accepted_definitions_stand_together():
    both = sae.combine({"lfs": table(), "silc": table(definition="v2")}, accept=["v2"])
    assert (both["definition"] == "v1 and v2").all()


@pytest.mark.parametrize(
    ("other", "match"),
    [
        (table(definition="v2"), "rate is defined differently: 'v1' in lfs, 'v2' in other"),
        (table(units={"rate": "percent"}), "rate is in share in lfs, in percent in other"),
        (table(units={}), "rate is in share in lfs, in an unknown unit in other"),
        (table(by=("region", "time")), "The domains of lfs are by region, those of other by region, time"),
        (table(["at11"]), "'AT11' and 'at11' differ only by zeros"),
        (table([11, 13]), "region is text in lfs .* but numbers in other"),
    ],
)
def test_tables_that_do_not_go_together_are_refused(other, match):
    with pytest.raises(SaeInputError, match=match):
        sae.combine({"lfs": table(), "other": other})


@pytest.mark.parametrize(
    ("tables", "options", "error", "match"),
    [
        ({"lfs": table()}, {}, SaeSpecError, "at least two sources"),
        ([table(), table()], {}, SaeSpecError, "takes a mapping"),
        ({"a": table(), "b": table().frame}, {}, SaeInputError, "b are no DirectEstimates"),
        ({"1": table(), 1: table()}, {}, SaeSpecError, "names of the sources are '1', 1"),
        ({"a": table(), "b": table()}, {"source": "region"}, SaeInputError, "has a column 'region' already"),
        ({"a": table(), "b": table()}, {"source": "time"}, SaeSpecError, "'time' is a column of every"),
        ({"a": table(), "b": table()}, {"source": ""}, SaeSpecError, "no name of a column"),
        (
            {"a": table(), "b": sae.combine({"c": table(), "d": table()})},
            {},
            SaeInputError,
            "b are combined already",
        ),
    ],
)
def test_malformed_calls_are_refused_by_name(tables, options, error, match):
    with pytest.raises(error, match=match):
        sae.combine(tables, **options)


def test_two_definitions_in_one_table_are_refused_at_the_fit():
    rows = pd.concat([table(list("abcd")).frame, table(list("efgh"), definition="v2").frame])
    with pytest.raises(SaeInputError, match=r"Rows of rate hold several values of definition: v1 \(4 rows\)"):
        sae.FayHerriot("rate ~ 1").fit(DirectEstimates(rows, ("region",)))
    with pytest.raises(SaeInputError, match="Rows of rate hold several values of definition"):
        sae.FayHerriot("estimate ~ 1").fit(rows)
    with pytest.raises(SaeInputError, match="several values of definition"):
        sae.combine({"a": table(), "b": DirectEstimates(rows, ("region",))})


@pytest.fixture(scope="module")
def country():
    return sae.datasets.country(seed=1, regions=12)


def of_year(country, year, indicator="employment_rate"):
    people = country.lfs(seed=year).frame.assign(year=str(year))
    survey = sae.Survey.from_frame(people, weights="weight", strata="region", time="year")
    return sae.direct(survey, indicator, ["region", "year"], smoothing="gvf")


def test_years_on_both_sides_of_a_break_of_the_registry(country):
    """Direct estimates know the breaks of their indicator; their frames alone are judged by its name."""
    waves = {str(year): of_year(country, year) for year in (2019, 2022)}
    with pytest.raises(SaeInputError, match=r"lfs_2021 \(employment_rate from 2019 to 2022\)"):
        sae.combine(waves, source="wave")
    series = sae.combine(waves, source="wave", accept="lfs_2021")
    spec = sae.FayHerriot("estimate ~ 1", temporal=sae.AR1("year"), replicates=2)
    with pytest.raises(SaeInputError, match="employment_rate go from 2019 to 2022, across lfs_2021"):
        spec.fit(pd.concat([table.frame for table in waves.values()]), seed=1)
    marked = series.frame.assign(domain=series.frame["region"].astype(str))
    fit = spec.fit(marked, seed=1)
    assert fit.estimates["definition"].str.endswith("; break lfs_2021").all()
    later = {str(year): of_year(country, year) for year in (2021, 2022)}
    assert sae.combine(later, source="wave").provenance["known_breaks"]["employment_rate"]["lfs_2021"] == 2021
    together = pd.concat([table.frame for table in later.values()])
    spec.fit(together.assign(domain=together["region"].astype(str)), seed=1)


def test_two_samples_of_a_country_and_the_bias_of_one(country):
    """The second sample misses half of the employed: its bias is told, and the estimates are free of it."""
    people = country.lfs(seed=2).frame
    odd = people[(people["labour_status"] != "employed") | (np.arange(len(people)) % 2 == 0)]
    surveys = {
        name: sae.Survey.from_frame(frame, weights="weight", strata="region")
        for name, frame in (("lfs", country.lfs(seed=1).frame), ("other", odd))
    }
    tables = {
        name: sae.direct(survey, "employment_rate", "region", smoothing="gvf")
        for name, survey in surveys.items()
    }
    fit = sae.FayHerriot("employment_rate ~ register_employment", source="survey").fit(
        sae.combine(tables), areas=country.areas
    )
    alone = sae.FayHerriot("employment_rate ~ register_employment").fit(tables["lfs"], areas=country.areas)
    bias = fit.coefficients.loc["survey[other]"]
    assert bias["coef"] < -0.1 and bias["coef"] / bias["se"] < -5.0
    truth = country.truth_of(["region"]).set_index("region")["employment_rate"]
    error = [
        (each.estimates.frame.set_index("domain")["estimate"] - truth).abs().mean() for each in (fit, alone)
    ]
    assert error[0] < error[1] + 0.01


def test_domains_crossed_in_another_order_are_refused():
    """They would stand as "N / f" beside "f / N" in one table."""

    def crossed(*by):
        rows = pd.DataFrame({"indicator": "rate", "region": ["N", "S"], "sex": ["f", "m"], "estimate": 0.5})
        return sae.DirectEstimates(rows.assign(domain=rows[by[0]] + " / " + rows[by[1]]), by)

    with pytest.raises(SaeInputError, match="by region, sex, those of silc by sex, region"):
        sae.combine({"lfs": crossed("region", "sex"), "silc": crossed("sex", "region")})


def test_names_that_differ_by_capitals_or_spaces_are_one_source():
    with pytest.raises(SaeSpecError, match="give each its own"):
        sae.combine({"lfs": table(), "LFS ": table()})
