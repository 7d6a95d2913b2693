"""Layouts: known ones on real files, one's own mapping, and every misspelling named."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError, SaeSpecError, SaeWarning
from sae.survey import Survey, layout_names
from sae.survey.layouts import resolve_layout

RATE = 5e-5  # the README of the real data prints shares to four decimals


def rate(survey, numerator, denominator):
    from sae.survey.expressions import evaluate

    top, bottom = evaluate(numerator, survey.frame), evaluate(denominator, survey.frame)
    w = survey.weights
    known = bottom.values & ~bottom.missing & ~top.missing
    return w[known & top.values].sum() / w[known].sum()


@pytest.mark.parametrize("name", layout_names())
def test_every_layout_is_well_formed(name):
    layout = resolve_layout(name)
    assert layout.name == name and "weights" in layout.columns


# ---------------------------------------------------------------- mappings of one's own


def test_codes_ranges_texts_and_floats():
    frame = pd.DataFrame({"w": [1.0] * 6, "c": [1.0, 2.0, 15.0, 99.0, np.nan, 10.0]})
    layout = {
        "codes": {"status": {"column": "c", "employed": [1], "unemployed": [2], "inactive": ["10..28"]}}
    }
    with pytest.warns(SaeWarning, match=r"status \(from c\) '99' 1 of 6 records. Give") as caught:
        survey = Survey.from_frame(frame, weights="w", layout=layout)
    assert caught[0].filename == __file__
    status = survey.frame["status"]
    assert status.cat.categories.tolist() == ["employed", "unemployed", "inactive"]
    assert status.astype(object).where(status.notna(), "").tolist() == [
        "employed",
        "unemployed",
        "inactive",
        "",
        "",
        "inactive",
    ]
    assert "status (from c): 2 of 6 records missing: '99' 1, empty 1" in survey.notes


@pytest.mark.filterwarnings("error::sae.errors.SaeWarning")
def test_codes_that_are_listed_as_missing_and_those_of_a_known_layout_need_no_warning():
    frame = pd.DataFrame({"w": 1.0, "c": ["yes", "no", "k.A.", "99"]})
    layout = {"codes": {"works": {"column": "c", "yes": ["yes"], "no": ["no"], "missing": ["k.A.", 99]}}}
    survey = Survey.from_frame(frame, weights="w", layout=layout)
    assert survey.missing["works"] == 2


def test_text_codes_match_numbers_and_numbers_match_text():
    frame = pd.DataFrame({"w": [1.0] * 3, "padded": ["01", "02", "1"], "number": [1, 2, 3]})
    layout = {
        "codes": {
            "a": {"column": "padded", "one": [1], "two": [2]},
            "b": {"column": "number", "one": ["1"], "more": ["2", 3]},
        }
    }
    records = Survey.from_frame(frame, weights="w", layout=layout).frame
    assert records["a"].tolist() == ["one", "two", "one"]
    assert records["b"].tolist() == ["one", "more", "more"]


def test_roles_derived_columns_and_places():
    frame = pd.DataFrame(
        {
            "wt": [1.0, 2.0],
            "y": [2013, 2013],
            "q": [1, 2],
            "town": [2.0, 11.0],
            "a": ["07", "20"],
            "inc": [50, 150],
        }
    )
    layout = {
        "columns": {"weights": "wt", "time": "period", "city": "town", "age": "a"},
        "derive": {"period": {"join": ["y", "q"], "separator": "Q"}, "poor": {"expression": "inc < 100"}},
    }
    survey = Survey.from_frame(frame, layout=layout)
    assert survey.time == "period" and survey.frame["period"].tolist() == ["2013Q1", "2013Q2"]
    assert survey.frame["city"].tolist() == ["2", "11"] and survey.frame["age"].tolist() == [7.0, 20.0]
    assert survey.frame["poor"].tolist() == [1.0, 0.0]
    assert survey.frame["town"].tolist() == [2.0, 11.0]
    assert Survey.from_frame(frame.assign(v=5.0), weights="v", layout=layout).weights.tolist() == [5.0, 5.0]


def test_a_mapping_builds_on_a_known_layout():
    frame = pd.DataFrame(
        {"expr": [1.0, 1.0], "activ": [1, 2], "edad": [20, 30], "sex": [1, 2], "sexo": [1, 2]}
    )
    layout = {"layout": "chile_casen", "codes": {"labour_status": {"column": "activ", "employed": [1, 2]}}}
    survey = Survey.from_frame(frame, layout=layout)
    assert (
        survey.frame["labour_status"].tolist() == ["employed", "employed"] and survey.layout == "chile_casen"
    )
    assert "the file's own column 'sex' is replaced by the layout's" in survey.notes
    with pytest.raises(SaeInputError, match="The birth column 'PAIS' is not in the survey"):
        Survey.from_frame(frame, layout={"layout": "chile_casen", "columns": {"birth": "PAIS"}})


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        ("eu_lsf", "Did you mean eu_lfs"),
        (5, "layout is a name or a mapping"),
        ({"code": {}}, "The layout has no part 'code'"),
        ({"codes": {"s": {"a": [1]}}}, "codes.s needs 'column'"),
        ({"codes": {"s": {"column": "c"}}}, "codes.s defines no level"),
        ({"codes": {"s": {"column": "c", "a": [1, 2], "b": [2]}}}, "'a' and 'b' both claim the code 2"),
        ({"codes": {"s": {"column": "c", "a": ["1..9"], "b": [5]}}}, "'a' and 'b' both claim the code 5"),
        ({"codes": {"s": {"column": "c", "a": ["1..9"], "b": ["4..5", 20]}}}, "both claim the code 4"),
        ({"codes": {"s": {"column": "c", "a": ["x"], "b": ["x"]}}}, "both claim the code 'x'"),
        ({"codes": {"s": {"column": "c", "a": ["1..x"]}}}, "which is not a range"),
        ({"codes": {"s": {"column": "c", "a": ["9..1"]}}}, "wrong way round"),
        ({"codes": {"s": {"column": "c", "a": [None]}}}, "neither a number nor text"),
        ({"derive": {"d": {"separator": "Q"}}}, "derive.d needs 'join'"),
        (
            {"derive": {"d": {"join": ["a"], "seperator": "Q"}}},
            "unknown key 'seperator'(.|\n)*mean separator",
        ),
        ({"derive": {"d": {"join": []}}}, "join is a list of columns"),
        ({"derive": {"d": {"expression": 1}}}, "expression is text, not 1"),
        ({"code": {}}, "mean codes"),
        ({"weights": "w"}, "no part 'weights'(.|\n)*belongs in columns"),
        ({"columns": ["w"]}, "columns of the layout is .'w'., not a table"),
        ({"columns": {"age": {}}}, "columns.age = {} does not say which column"),
        ({"columns": {"age": ["A", "B"]}}, "columns.age = .'A', 'B'. does not say"),
        ({"columns": {"psu": []}}, "columns.psu = .. does not say"),
        ({"columns": {"age": {"frist": ["A"]}}}, "columns.age"),
        ({"columns": {"age": 5}}, "columns.age = 5"),
        ({"columns": {"replicates": {"column": "R", "method": "brr"}}}, "columns.replicates"),
        ({"codes": {"s": {"column": {}, "a": [1]}}}, "codes.s needs 'column'"),
        ({"missing": "NA"}, "missing = 'NA' is not a list"),
        ({"layout": 5}, "5 is not a known layout"),
    ],
)
def test_bad_layouts(layout, said):
    with pytest.raises(SaeSpecError, match=said):
        Survey.from_frame(pd.DataFrame({"w": [1.0], "c": [1]}), weights="w", layout=layout)


def test_codes_that_never_occur_and_columns_that_are_absent():
    frame = pd.DataFrame({"w": [1.0, 1.0], "c": [7, 8]})
    with pytest.raises(SaeInputError, match="No value of the column 'c' is a code of 's': it holds '7', '8'"):
        Survey.from_frame(frame, weights="w", layout={"codes": {"s": {"column": "c", "a": [1]}}})
    with pytest.raises(SaeInputError, match="Did you mean c"):
        Survey.from_frame(frame, weights="w", layout={"codes": {"s": {"column": "C", "a": [7]}}})
    with pytest.raises(SaeInputError, match="The weights column 'PONDERA' is not in the survey"):
        Survey.from_frame(frame, layout="argentina_eph")


def test_a_code_of_poverty_that_is_none_is_missing():
    frame = pd.DataFrame({"expr": 1.0, "pobreza": [1, 2, 3, 9, None], "folio": range(5)})
    poor = Survey.from_frame(frame, layout="chile_casen").frame["poor"]
    assert poor.fillna(-1).tolist() == [1, 1, 0, -1, -1]


# ---------------------------------------------------------------- real files


def test_argentina(shared_data):
    survey = sae.read_survey(shared_data / "real/ar_eph2013_2014_persons.csv.gz", layout="argentina_eph")
    assert len(survey) == 463_411
    assert survey.frame["period"].nunique() == 8 and survey.frame["city"].nunique() == 32
    assert survey.frame["region"].nunique() == 6
    assert survey.stages[0].n_psu == survey.frame["DWELLING"].nunique()
    assert survey.frame["age"].min() == 0 and survey.missing.get("age", 0) == 0  # under 1 is written -1
    answered = "labour_status in ['employed', 'unemployed', 'inactive']"
    late = survey.subset(f"birth == 'foreign' and 20 <= age <= 64 and period == '2014Q4' and {answered}")
    by_city = pd.Series(late.frame["city"][late.mask]).value_counts()
    assert (by_city.min(), by_city.max()) == (2, 302)  # README of the real data, section 6


def test_american_community_survey(shared_data):
    survey = sae.read_survey(shared_data / "real/us_pums2024_ny_nj_persons.csv.gz", layout="us_pums")
    truth = pd.read_csv(
        shared_data / "real/us_pums2024_ny_nj_puma_truth.csv", dtype={"STATE": str, "PUMA": str}
    )
    assert survey.frame["geo"].nunique() == 218 and survey.frame["PUMA"].str.len().eq(5).all()
    assert set(survey.frame["geo"]) == set(truth["STATE"] + "-" + truth["PUMA"])
    row = truth[(truth["STATE"] == "36") & (truth["group"] == "foreign_born")].iloc[0]
    mask = survey.subset(f"geo == '36-{row['PUMA']}' and birth == 'foreign'").mask
    part = survey.frame[mask]
    adults = part[part["age"].between(20, 64)]
    assert (adults["labour_status"] == "employed").mean() == pytest.approx(
        row["employment_rate_20_64"], abs=RATE
    )
    assert part["poor"].mean() == pytest.approx(row["poverty_rate"], abs=RATE)
    older = part[part["age"].between(25, 64)]
    # the truth counts from the bachelor's degree on; ISCED 5 begins with the associate's (SCHL 20)
    assert (older["SCHL"] >= 21).mean() == pytest.approx(row["tertiary_rate_25_64"], abs=RATE)
    assert (older["education"] == "tertiary").equals(older["SCHL"] >= 20)


def test_successive_differences_on_american_data(shared_data):
    survey = sae.read_survey(shared_data / "real/us_pums2018_hi_nm_repwt.csv.gz", layout="us_pums")
    made = survey.replicates
    assert made.weights.shape == (33_647, 80) and made.scale == 0.05 and made.method == "sdr"
    np.testing.assert_array_equal(made.weights[:, 9], survey.frame["PWGTP10"])
    # README of the real data, section 2: rates and standard errors to four decimals
    for state, expected, error in (("15", 0.7755, 0.0131), ("35", 0.6711, 0.0167)):
        inside = survey.subset(f"ST == {state} and birth == 'foreign' and 20 <= age <= 64").mask
        y = (survey.frame["labour_status"] == "employed").to_numpy()[inside]
        w, replicate = survey.weights[inside], made.weights[inside]
        theta = y @ w / w.sum()
        deviations = y @ replicate / replicate.sum(axis=0) - theta
        assert theta == pytest.approx(expected, abs=RATE)
        assert np.sqrt(made.scale * np.sum(made.rscales * deviations**2)) == pytest.approx(error, abs=RATE)


def test_chile(shared_data):
    with pytest.raises(SaeInputError, match="4 of 392 strata have a single sampled unit"):
        sae.read_survey(shared_data / "real/cl_ene2020_persons.csv.gz", layout="chile_ene")
    file = shared_data / "real/cl_ene2020_persons.csv.gz"
    survey = sae.read_survey(file, layout="chile_ene", lonely_psu="collapse")
    active = "labour_status in ['employed', 'unemployed']"
    assert rate(survey, "labour_status == 'unemployed'", active) == pytest.approx(0.0823, abs=RATE)
    casen = sae.read_survey(
        shared_data / "real/cl_casen2020_persons.csv.gz", layout="chile_casen", lonely_psu="certainty"
    )
    assert casen.stages[0].n_strata == 588 and casen.stages[0].n_psu == 11_490
    assert rate(casen, "poor == 1", "True") == pytest.approx(0.108, abs=5e-4)  # one decimal of a percentage


def test_european_labour_force_survey(shared_data):
    file = shared_data / "real/fr_eulfs_puf_sample50k.csv.gz"
    with pytest.raises(SaeInputError, match=r"age, professional_status(.|\n)*fits the layout .eu_lfs_puf"):
        sae.read_survey(file, layout="eu_lfs_2020")
    whole = sae.read_survey(file, layout="eu_lfs_puf")
    assert any("271 records of weight 0" in note for note in whole.notes) and whole.mask.sum() == 49_729
    assert whole.release.age_bands == (0, 15, 25, 40, 55, 75) and whole.release.eu == "EU28"
    raw = pd.read_csv(file, low_memory=False)
    kept = raw[raw["COEFF"] > 0].reset_index(drop=True)
    survey = Survey.from_frame(kept, layout="eu_lfs_puf")
    np.testing.assert_array_equal(survey.weights, 1000 * kept["COEFF"])
    records = survey.frame
    assert survey.time == "period" and records["period"].nunique() == 40
    assert records["period"].cat.categories[0] == "2004Q1"
    for name, level, column, codes in (
        ("labour_status", "unemployed", "ILOSTAT", [2]),
        ("degurba", "rural", "DEGURBA", [3]),
        ("birth", "foreign", "COUNTRYB", ["005-EU28"]),
        ("citizenship_group", "eu", "NATIONAL", ["005-EU28"]),
        ("professional_status", "self_employed", "STAPRO", [0]),
        ("contract", "temporary", "TEMP", [2]),
        ("working_time", "part_time", "FTPT", [2]),
        ("occupation", "low_or_medium_skilled", "ISCO1D", [400, 500, 600, 700, 800, 900]),
        ("unemployment_duration", "1_year_or_more", "DURUNE", [3]),
        ("education", "tertiary", "HATLEV1D", ["H"]),
    ):
        assert (records[name] == level).sum() == kept[column].isin(codes).sum() > 0, name
    assert any("birth (from COUNTRYB)" in note and "'NO ANSWER'" in note for note in survey.notes)
    assert any("no level non_eu" in note for note in survey.notes)
    known = kept["EDUC4WN"].isin([0, 1]) & kept["EDUCSTAT"].notna() & kept["COURATT"].notna()
    learning = kept["EDUCSTAT"].isin([1, 3]) | (kept["COURATT"] == 1)
    assert ((records["recent_education"] == "yes") == learning)[known].all()


def test_what_the_codes_of_the_public_file_rest_on(shared_data):
    """DURUNE 3 is a year or more: none worked in the year of the interview; STAPRO 5 has contracts."""
    raw = pd.read_csv(shared_data / "real/fr_eulfs_puf_sample50k.csv.gz", low_memory=False)
    jobless = raw[(raw["ILOSTAT"] == 2) & (raw["YEARPR"] < 3000)]
    since = (jobless["REFYEAR"] - jobless["YEARPR"]).groupby(jobless["DURUNE"]).agg(["size", "min"])
    assert since.loc[3, "min"] == 1 and since.loc[3, "size"] > 600 and since.loc[[1, 2], "min"].eq(0).all()
    assert raw.loc[raw["TEMP"].isin([1, 2]), "STAPRO"].dropna().eq(5).all()
    assert raw.loc[raw["ILOSTAT"] == 1, "STAPRO"].dropna().isin([0, 5]).all()


def test_new_labour_force_release():
    frame = pd.DataFrame(
        {
            "COEFFY": [1.0, 2.0, 1.5],
            "REFYEAR": [2021, 2021, 2021],
            "QUARTER": [1, 2, 2],
            "COUNTRY": ["AT", "AT", "AT"],
            "HHNUM": [1, 1, 2],
            "HHSEQNUM": [1, 2, 1],
            "ILOSTAT": [1, 2, 3],
            "COUNTRYB": ["NAT", "UNKNOWN COUNTRY ABROAD", "EFTA"],
            "CITIZENSHIP": ["NAT", "EU27_2020", "AFR_N"],
            "REGION_2D": ["AT11", "AT12", "AT12"],
            "HATLEV1D": ["L", "M", "H"],
        }
    )
    records = Survey.from_frame(frame, layout="eu_lfs").frame
    assert records["birth"].tolist() == ["native", "foreign", "foreign"]
    assert records["birth_group"].isna().tolist() == [False, True, False]
    assert records["citizenship_group"].tolist() == ["native", "eu", "non_eu"]
    assert records["education"].tolist() == ["low", "medium", "tertiary"]
    assert records["region"].tolist() == ["AT11", "AT12", "AT12"]
    assert records["period"].tolist() == ["2021Q1", "2021Q2", "2021Q2"]


@pytest.mark.parametrize(
    ("misspelt", "role"),
    [
        *[("stratum", "strata"), ("Strata", "strata"), ("stratas", "strata"), ("strat", "strata")],
        *[("cluster", "psu"), ("clusters", "psu"), ("PSU", "psu"), ("psus", "psu")],
        *[("weight", "weights"), ("wgt", "weights"), ("pweights", "weights")],
        *[("fpcs", "fpc"), ("replicate", "replicates"), ("repweights", "replicates")],
        *[("households", "household"), ("hhid", "household"), ("persons", "person"), ("pid", "person")],
    ],
)
def test_a_misspelt_role_is_refused_with_the_near_one(misspelt, role):
    """`stratum =` for `strata =` dropped the design: standard errors .52 to 1.34 times the right ones."""
    with pytest.raises(
        SaeSpecError, match=rf"columns\.{misspelt} is no role .* did you mean {role}\?"
    ) as caught:
        resolve_layout({"columns": {misspelt: "x"}})
    assert caught.value.column == misspelt
    base = {"layout": "chile_casen", "columns": {misspelt: "x"}}
    if role not in resolve_layout("chile_casen").columns:
        with pytest.raises(SaeSpecError, match=f"did you mean {role}"):
            resolve_layout(base)


@pytest.mark.parametrize(
    "name", ["state", "region", "city", "household_size", "tenure", "period", "status", "poor"]
)
def test_columns_of_ones_own_keep_their_names(name):
    assert resolve_layout({"columns": {name: "x"}}).columns == {name: "x"}


def test_a_near_name_beside_the_role_is_a_column():
    frame = pd.DataFrame({"w": [1.0] * 4, "h": ["a", "a", "b", "b"]})
    layout = {"columns": {"strata": "h", "stratum": "h"}}
    assert Survey.from_frame(frame, weights="w", layout=layout).stages[0].n_strata == 2


# ---------------------------------------------------------------- the release a layout describes


def test_about_becomes_the_release_and_remembered_codes_are_known():
    frame = pd.DataFrame({"w": [1.0, 1.0, 1.0], "d": [1, 2, 3], "rooms": [1, 3, np.nan]})
    layout = {
        "about": {"survey": "X", "name": "2021", "years": [2021], "eu": "EU27_2020", "age_bands": [0, 15]},
        "codes": {"unemployment_duration": {"column": "d", "state": "remembered", "under_1_year": ["1..2"]}},
        "derive": {"overcrowded": {"expression": "rooms < 2"}},
    }
    survey = Survey.from_frame(frame, weights="w", layout=layout)
    assert survey.release.remembered == {"unemployment_duration"}
    assert survey.release.years == (2021, None) and survey.release.age_bands == (0, 15)
    assert survey.release.facts == {"survey": "X", "release": "2021", "eu": "EU27_2020"}
    assert survey.frame["unemployment_duration"].cat.categories.tolist() == ["under_1_year"]
    answers = survey.frame["overcrowded"]
    assert answers.astype(object).where(answers.notna(), "").tolist() == ["yes", "no", ""]


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"about": {"surveys": "X"}}, "Did you mean survey"),
        ({"about": {"years": [2021, 2020]}}, "about.years"),
        ({"about": {"years": ["2021"]}}, "about.years"),
        ({"about": {"age_bands": [5, 5]}}, "about.age_bands"),
        ({"about": {"eu": 28}}, "about.eu is text"),
        ({"about": ["X"]}, "not a table"),
        ({"codes": {"a": {"column": "d", "state": "sure", "b": [1]}}}, "verified or remembered"),
    ],
)
def test_a_misspelt_release_is_named(part, message):
    frame = pd.DataFrame({"w": [1.0], "d": [1]})
    with pytest.raises(SaeSpecError, match=message):
        Survey.from_frame(frame, weights="w", layout=part)


def test_codes_of_ones_own_are_no_longer_remembered():
    parts = {"layout": "eu_lfs", "codes": {"sex": {"column": "SEX", "male": [1]}}}
    assert "sex" not in resolve_layout(parts).release.remembered


# ---------------------------------------------------------------- bands


def test_bands_of_age():
    frame = pd.DataFrame({"w": [1.0] * 6, "alder": [14, 15, 24, 25, 90, np.nan]})
    layout = {
        "columns": {"age": "alder"},
        "derive": {"age_group": {"bands": [15, 25, 65], "column": "age"}},
    }
    group = Survey.from_frame(frame, weights="w", layout=layout).frame["age_group"]
    assert group.cat.categories.tolist() == ["15-24", "25-64", "65+"]
    assert group.astype(object).where(group.notna(), "").tolist() == [
        "",
        "15-24",
        "15-24",
        "25-64",
        "65+",
        "",
    ]


def test_bands_that_the_file_cannot_tell_are_refused():
    frame = pd.DataFrame({"COEFF": [1.0], "AGE": [17], "ILOSTAT": [1], "REFYEAR": [2013], "QUARTER": [1]})
    layout = {
        "layout": "eu_lfs_2020",
        "derive": {"age_group": {"bands": [15, 18, 25], "column": "age"}},
    }
    with pytest.raises(SaeSpecError, match="in bands, which the limits 18 would cut"):
        Survey.from_frame(frame, layout=layout)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"bands": [], "column": "age"}, "rising lower limits"),
        ({"bands": [25, 15], "column": "age"}, "rising lower limits"),
        ({"bands": ["15"], "column": "age"}, "rising lower limits"),
        ({"bands": [15]}, "needs 'column'"),
        ({"bands": [15], "expression": "age > 3"}, "'expression' or 'bands'"),
    ],
)
def test_misspelt_bands_are_named(how, message):
    with pytest.raises(SaeSpecError, match=message):
        resolve_layout({"derive": {"age_group": how}})
