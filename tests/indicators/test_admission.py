"""What a survey can carry: breaks that are mixed, remembered codes, levels that never occur, bands of age."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError, SaeSpecError, SaeWarning
from sae.indicators import BREAKS, REGISTRY, arrays, crossed_breaks
from sae.indicators.definition import UNSAMPLED
from sae.survey import Release, Survey
from sae.survey.variables import VARIABLES

BROKEN = [
    (name, token) for name, one in REGISTRY.items() if one.kind not in UNSAMPLED for token in one.breaks
]


def everybody(years, n=60):
    """Persons of every level of every variable in each of the years."""
    frames = []
    for number, year in enumerate(years):
        rng = np.random.default_rng(number)
        columns = {"year": year, "w": 1.0, "age": rng.integers(15, 65, n), "income": rng.lognormal(0, 0.6, n)}
        columns["poor"] = rng.integers(0, 2, n)
        for name, variable in VARIABLES.items():
            if variable.levels:
                codes = rng.permutation(np.arange(n) % len(variable.levels))
                columns[name] = pd.Categorical.from_codes(codes, variable.levels)
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def survey_of(periods, time="year", **release):
    survey = Survey.from_frame(everybody(periods), weights="w", time=time)
    return replace(survey, release=Release(**release))


@pytest.mark.parametrize(("name", "token"), BROKEN)
def test_periods_on_both_sides_of_a_break_are_refused_or_marked(name, token):
    year, survey = BREAKS[token].year, REGISTRY[name].survey
    mixed = survey_of([f"{year - 1}", f"{year}"], survey=survey)
    with pytest.raises(
        SaeSpecError, match=rf"covers {year - 1} to {year} across {token} \({year}: "
    ) as caught:
        sae.direct(mixed, name, by="year", accept=[name])
    assert f"accept=['{token}']" in str(caught.value)
    table = sae.direct(mixed, name, by="year", accept=[name, token])
    assert [f"break {token}" in status for status in table["status"]] == [False, True]
    assert table.provenance["breaks"] == {name: {token: year}} and any(token in line for line in table.log)
    pooled = sae.direct(mixed, name, accept=[name, token])
    assert f"break {token}" in pooled["status"][0]
    for one_side in ([f"{year}", f"{year + 1}"], [f"{year - 2}", f"{year - 1}"]):
        others = {one for one in REGISTRY[name].breaks if one != token}
        table = sae.direct(survey_of(one_side, survey=survey), name, by="year", accept=[name, *others])
        assert not table["status"].str.contains(token).any()


def test_a_file_of_unknown_origin_is_refused_another_survey_is_not():
    with pytest.raises(SaeSpecError, match="across lfs_2021"):
        sae.direct(survey_of(["2020", "2021"]), "employment_rate")
    table = sae.direct(survey_of(["2020", "2021"], survey="EPH"), "employment_rate", by="year")
    assert table["status"].eq("ok").all() and "breaks" not in table.provenance


def test_breaks_follow_the_survey_that_the_file_is_of():
    """A labour rate from EU-SILC breaks with EU-SILC; ISCED 2011 came to both."""
    mixed = survey_of(["2012", "2022"], survey="EU-SILC")
    assert {one.id for one in crossed_breaks(mixed, REGISTRY["employment_rate"])} == {"silc_2021"}
    education = {one.id for one in crossed_breaks(mixed, REGISTRY["low_education_share"])}
    assert education == {"silc_2021", "isced_2014"}
    own = sae.Indicator("poor", id="own")
    assert [one.id for one in crossed_breaks(mixed, own)] == ["silc_2021"]
    assert crossed_breaks(survey_of(["2012", "2022"]), own) == []
    assert crossed_breaks(survey_of(["2012", "2022"], survey="ESS"), REGISTRY["low_education_share"]) == []


def test_periods_are_those_of_the_subset_and_quarters_have_years():
    mixed = survey_of(["2020Q4", "2021Q1"])
    with pytest.raises(SaeSpecError, match="covers 2020 to 2021"):
        sae.direct(mixed, "employment_rate")
    assert sae.direct(mixed.subset("year == '2021Q1'"), "employment_rate")["status"][0] == "ok"
    table = sae.direct(mixed, "employment_rate", by="year", accept="lfs_2021")
    assert table["status"].tolist() == ["ok", "ok; break lfs_2021"]


@pytest.mark.parametrize(
    "periods", [("Q4 2020", "Q1 2021"), ("12/2020", "1/2021"), (202012, 202101), (2020.0, 2021.0)]
)
def test_a_year_is_found_wherever_it_stands_in_the_period(periods):
    mixed = survey_of(list(periods), survey="EU-LFS")
    with pytest.raises(SaeSpecError, match="covers 2020 to 2021 across lfs_2021"):
        sae.direct(mixed, "employment_rate")


def test_without_periods_the_years_of_the_release_count():
    release = {"survey": "EU-LFS", "years": (2010, 2020)}
    with pytest.raises(SaeSpecError, match="covers 2010 to 2020 across isced_2014"):
        sae.direct(survey_of(["2020"], time=None, **release), "low_education_share")
    assert sae.direct(survey_of(["2020"], **release), "low_education_share")["status"][0] == "ok"
    open_end = survey_of(["2023"], time=None, survey="EU-LFS", years=(2021, None))
    assert crossed_breaks(open_end, REGISTRY["low_education_share"]) == []


@pytest.mark.parametrize("group", ["birth_group", "citizenship_group"])
def test_the_composition_of_the_eu(group):
    years = ["2019", "2020"]
    with pytest.raises(SaeSpecError, match=f"across eu28_to_eu27_2020 .* domains by {group}, year before"):
        sae.direct(survey_of(years), "employment_rate", by=[group, "year"])
    migrants = sae.Indicator("poor", id="flag", universe=f"{group} == 'non_eu'")
    with pytest.raises(SaeSpecError, match=r"across eu28_to_eu27_2020 .* of flag before"):
        sae.direct(survey_of(years), migrants)
    one_composition = survey_of(years, eu="EU27_2020")
    assert sae.direct(one_composition, "employment_rate", by=[group, "year"])["status"].eq("ok").all()
    assert sae.direct(survey_of(years), "employment_rate", by=["birth", "year"])["status"].eq("ok").all()
    table = sae.direct(survey_of(years), "employment_rate", by=["year", group], accept=["eu28_to_eu27_2020"])
    marked = table.frame.groupby("year")["status"].agg(
        lambda part: part.str.contains("eu28_to_eu27_2020").all()
    )
    assert marked.tolist() == [False, True]


@pytest.mark.parametrize(
    ("token", "old", "new"),
    [
        ("nuts_2010_to_2013", "SI01", "SI03"),
        ("nuts_2013_to_2016", "HU10", "HU11"),
        ("nuts_2016_to_2021", "HR04", "HR02"),
        ("nuts_2021_to_2024", "PT16", "PT19"),
    ],
)
def test_vintages_of_nuts(token, old, new):
    year = BREAKS[token].year
    frame = everybody([f"{year - 1}", f"{year}"])
    codes = np.where(np.arange(len(frame)) % 2, "AT13", np.where(frame["year"] == f"{year}", new, old))
    survey = Survey.from_frame(frame.assign(nuts=codes), weights="w", time="year")
    flag = sae.Indicator("poor", id="flag")
    with pytest.raises(SaeSpecError, match=f"across {token} .* domains by nuts, year before") as caught:
        sae.direct(survey, flag, by=["nuts", "year"])
    assert f"accept=['{token}']" in str(caught.value)
    table = sae.direct(survey, flag, by=["nuts", "year"], accept=[token])
    marked = table["status"].str.contains(token)
    assert (marked == (table["year"] == f"{year}")).all()
    for unchanged in (
        frame.assign(nuts="AT13"),
        frame.assign(nuts=np.where(codes == "AT13", "Wien", "Graz")),
    ):
        same = Survey.from_frame(unchanged, weights="w", time="year")
        assert sae.direct(same, flag, by=["nuts", "year"])["status"].eq("ok").all()
    one_side = survey.subset(f"year == '{year}'")
    assert sae.direct(one_side, flag, by=["nuts", "year"])["status"].eq("ok").all()
    undated = Survey.from_frame(frame.assign(nuts=codes), weights="w")
    with pytest.raises(SaeSpecError, match=f"covers codes across {token}"):
        sae.direct(undated, flag, by="nuts")


def test_remembered_definitions_and_codes_run_by_name_only():
    survey = survey_of(["2023"])
    with pytest.raises(
        SaeSpecError, match=r"is remembered.*\n.*accept=\['recent_immigrant_employment_rate'\]"
    ):
        sae.direct(survey, "recent_immigrant_employment_rate")
    own = sae.Indicator("poor", id="own", state="remembered")
    with pytest.raises(SaeSpecError, match="'own' is remembered"):
        arrays(own, survey)
    assert sae.direct(survey, own, accept="own").provenance["accept"] == ["own"]
    layout = replace(
        survey,
        layout="eu_lfs",
        release=Release(survey="EU-LFS", remembered=frozenset({"contract", "degurba"})),
    )
    with pytest.raises(SaeSpecError, match=r"needs contract, .*\n.*accept=\['eu_lfs.contract'\]"):
        sae.direct(layout, "temporary_employment_share")
    with pytest.raises(SaeSpecError, match=r"needs degurba, .*\n.*accept=\['eu_lfs.degurba'\]"):
        sae.direct(layout, "employment_rate", by="degurba")
    accepted = ["eu_lfs.contract", "eu_lfs.degurba"]
    assert len(sae.direct(layout, "temporary_employment_share", by="degurba", accept=accepted)) == 3


def test_a_word_that_is_nothing_is_refused():
    with pytest.raises(SaeSpecError, match="'lfs2021', which is no indicator and no break") as caught:
        sae.direct(survey_of(["2023"]), "employment_rate", accept=["lfs2021"])
    assert "Did you mean lfs_2021" in str(caught.value)


def test_a_level_that_the_layout_promises_and_the_file_never_holds():
    """A fixture in the columns of the research file from 2021: nobody is unemployed in it."""
    frame = pd.DataFrame(
        {
            "REFYEAR": 2022,
            "COEFFY": 1.0,
            "AGE": 30,
            "ILOSTAT": [1, 3, 1, 3],
            "HHNUM": range(4),
            "COUNTRY": "AT",
        }
    )
    survey = Survey.from_frame(frame, layout="eu_lfs")
    with pytest.raises(
        SaeInputError, match="'eu_lfs' promises unemployed for labour_status, the file never holds"
    ):
        sae.direct(survey, "unemployment_rate")
    assert sae.direct(survey, "employment_rate")["estimate"][0] == 0.5
    with pytest.warns(SaeWarning, match="no record of the file has labour_status unemployed"):
        table = sae.direct(survey, "unemployment_rate", accept="eu_lfs.labour_status")
    assert table["estimate"][0] == 0 and any("has labour_status unemployed" in line for line in table.log)


def test_a_level_of_columns_of_ones_own_that_never_occurs_is_said():
    frame = pd.DataFrame({"w": 1.0, "age": 30, "labour_status": ["employed", "inactive"]})
    frame["labour_status"] = pd.Categorical(frame["labour_status"], VARIABLES["labour_status"].levels)
    survey = Survey.from_frame(frame, weights="w")
    with pytest.warns(
        SaeWarning, match="no record of the file has labour_status unemployed: unemployment_rate"
    ):
        table = sae.direct(survey, "unemployment_rate")
    assert any("has labour_status unemployed" in line for line in table.log)
    subset = survey_of(["2023"]).subset("labour_status != 'unemployed'")  # it is the file that must hold it
    assert sae.direct(subset, "unemployment_rate")["estimate"][0] == 0


BANDS = (0, *range(15, 80, 5))


@pytest.mark.parametrize(
    ("universe", "cut"),
    [
        ("18 <= age <= 24", "18 lies inside 15-19"),
        ("15 <= age <= 64", None),
        ("15 <= age < 62", "62 lies inside 60-64"),
        ("age > 14 and birth == 'foreign'", None),
        ("age >= 16", "16 lies inside 15-19"),
        ("age <= 17", "18 lies inside 15-19"),
        ("75 > age", None),
        ("age <= 80", "81 inside 75+"),
        ("age == 20", "21 lies inside 20-24"),
        ("age >= 0", None),
        ("0 <= age <= 14", None),
    ],
)
def test_limits_of_age_that_cut_a_band(universe, cut):
    survey = survey_of(["2023"], age_bands=BANDS)
    indicator = sae.Indicator("poor", id="rate", universe=universe)
    if cut is None:
        arrays(indicator, survey)
        return
    with pytest.raises(SaeSpecError) as caught:
        arrays(indicator, survey)
    assert cut in str(caught.value) and "The file can carry limits at 0, 15, 20, 25" in str(caught.value)
    arrays(indicator, survey_of(["2023"]))


def test_a_module_exists_in_its_years_only():
    module = sae.Indicator("poor", id="module", years=(2014, 2021))
    assert sae.direct(survey_of(["2021"]), module)["status"][0] == "ok"
    with pytest.raises(
        SaeSpecError, match="'module' exists in 2014, 2021 only, and the survey covers 2022 to 2023"
    ):
        sae.direct(survey_of(["2022", "2023"]), module)


def test_what_a_subset_names_is_held_to_the_same_rules():
    remembered = Release(survey="EU-LFS", remembered=frozenset({"contract"}))
    survey = replace(survey_of(["2023"]), layout="eu_lfs", release=remembered).subset(
        "contract == 'temporary'"
    )
    with pytest.raises(
        SaeSpecError, match=r"contract == 'temporary'.* needs contract, .*\n.*accept=\['eu_lfs.contract'\]"
    ):
        sae.direct(survey, "employment_rate")
    assert sae.direct(survey, "employment_rate", accept="eu_lfs.contract")["status"][0] == "ok"
    banded = survey_of(["2023"], age_bands=BANDS).subset("age >= 20")
    assert sae.direct(banded, "employment_rate")["status"][0] == "ok"
    with pytest.raises(SaeSpecError, match=r"of age of the subset 'age < 62' cut .* 62 lies inside 60-64"):
        sae.direct(banded.subset("age < 62"), "employment_rate")
    groups = survey_of(["2019", "2020"]).subset("birth_group != 'native'")
    with pytest.raises(SaeSpecError, match=r"across eu28_to_eu27_2020 .* of employment_rate before"):
        sae.direct(groups, "employment_rate", by="year")
    table = sae.direct(groups, "employment_rate", by="year", accept="eu28_to_eu27_2020")
    assert table["status"].tolist() == ["ok", "ok; break eu28_to_eu27_2020"]
    assert sae.direct(groups.subset("year == '2020'"), "employment_rate")["status"][0] == "ok"


def test_a_file_of_ones_own_across_2021_names_what_to_accept():
    """Of a yearly file without a layout: the message says which years, which break, what to write."""
    mixed = survey_of([2020, 2021])
    with pytest.raises(SaeSpecError) as caught:
        sae.direct(mixed, "unemployment_rate", by="year")
    message = str(caught.value)
    assert "covers 2020 to 2021 across lfs_2021 (2021: Reg. (EU) 2019/1700" in message
    assert "figures of unemployment_rate before and after do not compare" in message
    assert "Take the years of one side, or accept it by name: accept=['lfs_2021']" in message


@pytest.mark.parametrize("door", ["synthetic", "ssd", "composite", "spree", "gspree", "evaluate"])
def test_every_door_has_the_same_tokens(door):
    years = {"evaluate": ["2021"]}.get(door, ["2020", "2021"])
    survey = replace(survey_of(years, survey="EU-LFS"), layout="eu_lfs")
    survey = replace(survey, release=replace(survey.release, remembered=frozenset({"degurba"})))
    frame = survey.frame
    crossing = ["degurba", *(["labour_status"] if "spree" in door else [])]
    counts = frame.groupby("degurba", observed=False).size().rename("population").reset_index()
    census = frame.groupby(crossing, observed=False).size().rename("population").reset_index()
    estimators = sae.design_based

    def run(accept):
        if door == "evaluate":
            return sae.evaluation.evaluate(
                frame,
                lambda seed: survey,
                sae.FayHerriot("employment_rate ~ 1"),
                "employment_rate",
                domain="degurba",
                repetitions=1,
                seed=1,
                accept=accept,
            ).cells
        if "spree" in door:
            estimator = getattr(estimators, door)
            return estimator(survey, "labour_status", "degurba", census, counts, accept=accept).frame
        return getattr(estimators, door)(survey, "employment_rate", "degurba", counts, accept=accept).frame

    tokens = ["lfs_2021", "eu_lfs.degurba"] if door != "evaluate" else ["eu_lfs.degurba"]
    for number, token in enumerate(tokens):
        with pytest.raises(SaeSpecError, match=rf"accept=\['{token}'\]"):
            run(tokens[:number])
    with pytest.raises(SaeSpecError, match="accept names 'lfs2021', which is no indicator and no break"):
        run(["lfs2021"])
    table = run(tokens)
    if door != "evaluate":
        assert table["definition"].str.endswith("; break lfs_2021").all()
