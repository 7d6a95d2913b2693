"""EU-SILC from its four files: on fixtures of the documented structure (silc_fixtures), worked by hand."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError, SaeSpecError
from sae.survey import modified_oecd_scale, read_silc
from sae.survey.silc_files import silc_kind
from sae.survey.silc_variables import rooms_needed
from tests.survey.silc_fixtures import files_2020, files_2022, write_silc


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "silc"


def read(folder, frames, **options):
    return read_silc(write_silc(folder, frames), **options)


def of(survey, name):
    """A harmonised variable by person, missing as None."""
    values = survey.frame[name].astype(object)
    return dict(zip(survey.frame["RB030"], values.where(values.notna(), None), strict=True))


def by_home(survey, name):
    return [of(survey, name)[person] for person in (11, 21, 31, 41)]


# ---------------------------------------------------------------- the join and the release


def test_the_four_files_become_one_row_per_person(folder):
    frames = files_2022()
    survey = read(folder, {**frames, "P": frames["P"].sample(frac=1, random_state=1)})
    assert len(survey) == 11 and survey.layout == "eu_silc"
    np.testing.assert_array_equal(survey.weights, frames["R"]["RB050"])
    assert of(survey, "income")[13] == pytest.approx(30000 / 2.1) and of(survey, "income")[42] == -500 / 1.5
    assert of(survey, "region")[31] == "AT2" and of(survey, "degurba")[21] == "towns"
    assert of(survey, "labour_status") == {
        **{11: "employed", 12: "unemployed", 21: "inactive", 31: "employed", 32: "inactive"},
        **dict.fromkeys((13, 14, 33, 34, 41, 42)),
    }
    assert of(survey, "citizenship_group")[33] == "eu" and of(survey, "birth_group")[42] == "non_eu"
    assert of(survey, "in_work") == {
        **{11: "yes", 12: "no", 21: "no", 31: "yes", 32: "no", 41: "yes"},
        **dict.fromkeys((13, 14, 33, 34, 42)),
    }
    assert of(survey, "low_work_intensity")[21] == "not_applicable"
    assert of(survey, "occupation")[11] == "low_or_medium_skilled"
    assert by_home(survey, "tenure") == ["owner_with_mortgage", "owner", "tenant_market", "rent_free"]
    assert survey.stages[0].n_strata == 2 and survey.stages[0].n_psu == 4
    assert survey.release.years == (2022, 2022) and survey.release.eu == "EU27_2020"
    assert "_F" not in "".join(survey.frame.columns)
    assert survey.source["file"].startswith("UDB_cAT22D.csv") and len(survey.source["sha256"]) == 64


def test_the_release_up_to_2020_has_other_variables_and_codes(folder):
    survey = read(folder, files_2020())
    assert survey.layout == "eu_silc_2020" and survey.release.geo == "NUTS 2013"
    status = of(survey, "labour_status")
    assert [status[person] for person in (11, 12, 21, 31, 32)] == [
        *("employed", "unemployed", "inactive", "employed", "inactive")
    ]
    assert status[41] is None  # military service
    assert of(survey, "working_time")[11] == "full_time" and of(survey, "working_time")[31] == "part_time"
    assert of(survey, "citizenship_group")[31] == "eu" and of(survey, "citizenship_group")[33] is None
    assert of(survey, "education")[41] == "tertiary" and of(survey, "contract")[11] == "temporary"
    # RX060 is material deprivation here; the answers give material and social deprivation too
    assert of(survey, "severe_material_deprivation")[11] == "yes"
    assert of(survey, "severe_material_social_deprivation")[12] == "no"
    assert "low_work_intensity" not in survey.frame and by_home(survey, "low_work_intensity_2020")[2] == "yes"


def test_a_layout_of_another_release_is_refused_with_the_one_that_fits(folder):
    write_silc(folder, files_2022())
    with pytest.raises(SaeSpecError, match=r"'eu_silc_2020' is of another release .* 2022: 'eu_silc' fits"):
        read_silc(folder, layout="eu_silc_2020")
    with pytest.raises(SaeSpecError, match="'eu_lfs' is not one of EU-SILC"):
        sae.read_survey(folder, layout="eu_lfs")
    assert sae.read_survey(folder, layout="eu_silc").layout == "eu_silc"
    said = {"layout": "eu_silc_2020", "about": {"years": [2004, 2022]}}
    assert read_silc(folder, layout=said).layout == "eu_silc_2020"


def test_files_are_found_by_name_beside_one_of_them_or_one_by_one(folder, tmp_path):
    write_silc(folder, files_2022())
    one = folder / "UDB_cAT22D.csv"
    assert silc_kind(folder) == silc_kind(one) == "c"
    assert silc_kind(tmp_path) == silc_kind(folder / "persons.csv") == ""
    beside = sae.read_survey(one)
    pd.testing.assert_frame_equal(beside.frame, read_silc(folder).frame)
    paths = {part: (folder / f"UDB_cAT22{part}.csv").rename(tmp_path / f"{part}.csv") for part in "DHRP"}
    assert len(read_silc(paths)) == 11
    other = tmp_path / "other.csv"
    files_2022("DE")["H"].to_csv(other, index=False)
    said = "not of one country and the same year: D holds AT of 2022; H holds DE of 2022"
    with pytest.raises(SaeInputError, match=said):
        read_silc({**paths, "H": other})
    with pytest.raises(SaeSpecError, match="D, H, R and P, but D, H are given"):
        read_silc({part: paths[part] for part in "DH"})
    with pytest.raises(
        SaeInputError, match="holds no cross-sectional EU-SILC files of AT 2022: no such file"
    ):
        read_silc(tmp_path, country="AT", year=2022)
    with pytest.raises(SaeInputError, match="There is no file or folder"):
        read_silc(tmp_path / "nowhere")


def test_several_countries_or_years_are_told_apart(folder):
    write_silc(folder, files_2022())
    write_silc(folder, files_2020())
    write_silc(folder, files_2022("EL"))
    with pytest.raises(SaeInputError, match="holds 3 sets of EU-SILC files: AT 2020, AT 2022, EL 2022"):
        read_silc(folder)
    assert read_silc(folder, country="AT", year=2020).layout == "eu_silc_2020"
    assert read_silc(folder, country="GR").release.years == (2022, 2022)
    assert len(sae.read_survey(folder / "UDB_cAT20P.csv")) == 11


def test_files_of_several_countries(folder, tmp_path):
    """The releases of the first years hold all countries in one file."""
    paths = {}
    for part in "DHRP":
        both = pd.concat([files_2022("AT")[part], files_2022("SE")[part]])
        paths[part] = tmp_path / f"{part}.csv"
        both.to_csv(paths[part], index=False)
    with pytest.raises(SaeInputError, match=r"not of one country .*D holds AT, SE of 2022"):
        read_silc(paths)
    assert len(read_silc(paths, country="SE")) == 11
    with pytest.raises(SaeInputError, match=r"D.csv holds no record of DE .DB020.: it holds AT, SE"):
        read_silc(paths, country="DE")
    with pytest.raises(SaeInputError, match="holds no record of 2021"):
        read_silc(paths, country="SE", year=2021)


def test_lower_case_names_are_the_same(folder):
    frames = {part: frame.rename(columns=str.lower) for part, frame in files_2022().items()}
    assert len(read(folder, frames)) == 11


# ---------------------------------------------------------------- files that do not fit


def drop(part, rows):
    def change(frames):
        frames[part] = frames[part].drop(index=rows)

    return change


def repeat(part, row):
    def change(frames):
        frames[part] = pd.concat([frames[part], frames[part].loc[[row]]])

    return change


def put(part, column, value):
    def change(frames):
        frames[part][column] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (drop("R", [9, 10]), "1 household of D has no members in R .4."),
        (
            drop("D", [0, 2]),
            "2 households of H are not in D .1, 3.; 2 households of R are not in D: their members have none",
        ),
        (drop("H", [3]), "1 household of D is not in H .4."),
        (drop("R", [0]), "1 person of P is not in R .11."),
        (repeat("R", 4), "1 key is more than once in the R file of AT 2022 .RB030: 21."),
        (repeat("D", 0), "1 key is more than once in the D file .*DB030: 1."),
        (put("P", "PX030", [1, 1, 2, 3, 3, 2]), "1 person lives in another household in P than in R .41."),
        (put("H", "HB020", "DE"), "UDB_cAT22H.csv holds DE of 2022, not what its name says"),
        (
            put("R", "RB010", 2021),
            "UDB_cAT22R.csv holds AT of 2021, not what its name says",
        ),
        (put("R", "RB030", [None, *range(10)]), "RB030 is missing in 1 record of UDB_cAT22R.csv .rows 1."),
        (put("P", "HH021", 1), "The same columns are in two of the four files of AT 2022: HH021"),
        (put("P", "PX050", [1, 2, 3, 4, 5, 6]), "PX050 of AT 2022 holds the code 1"),
    ],
)
def test_files_that_do_not_fit_are_refused_by_name_and_count(folder, change, said):
    frames = files_2022()
    change(frames)
    with pytest.raises(SaeInputError, match=said):
        read(folder, frames)


def test_a_missing_mixed_up_or_truncated_file(folder):
    write_silc(folder, files_2022())
    home, register = folder / "UDB_cAT22H.csv", folder / "UDB_cAT22R.csv"
    whole = home.read_bytes()
    home.write_bytes(register.read_bytes())
    with pytest.raises(
        SaeInputError, match=r"UDB_cAT22H.csv is no H file of EU-SILC .household data.: it lacks HB010"
    ):
        read_silc(folder)
    home.write_bytes(whole[: len(whole) - 30])
    with pytest.raises(SaeInputError, match=r"UDB_cAT22H\.csv"):
        read_silc(folder)
    home.unlink()
    with pytest.raises(SaeInputError, match=r"Of the four files of AT 2022 is missing: H .household data."):
        read_silc(folder)


# ---------------------------------------------------------------- weights, and what they are for


def test_the_weight_decides_who_the_survey_is_about(folder):
    survey = read(folder, files_2022(), weights="PB040")
    np.testing.assert_array_equal(survey.weights, [110, 105, 0, 0, 210, 160, 155, 0, 0, 240, 0])
    assert survey.mask.sum() == 6 and survey.stages[0].n_psu == 4
    assert of(survey, "self_perceived_health")[21] == "very_bad"
    # 31 needed no examination (flag -2), 32 gave no answer (-1), 12 was afraid (reason 5)
    assert of(survey, "unmet_medical_need") == {
        **{11: "yes", 12: "no", 21: "no", 31: "no", 32: None, 41: "yes"},
        **dict.fromkeys((13, 14, 33, 34, 42)),
    }
    good = sae.direct(survey, sae.Indicator("self_perceived_health in ['very_good', 'good']"))
    assert good.frame["estimate"].item() == pytest.approx((110 + 105 + 155) / 980)
    with pytest.raises(
        SaeSpecError, match=r"needs the column income(.|\n)*not for the weight PB040(.|\n)*RB050"
    ):
        sae.direct(survey, "arpr")
    assert any("income (not for the weight PB040" in note for note in survey.notes)


def test_health_is_not_estimated_with_the_weight_of_all_persons(folder):
    write_silc(folder, files_2022())
    health = {"self_perceived_health": {"column": "PH010", "good": [1, 2], "bad": ["3..5"]}}
    survey = read_silc(folder)
    assert "self_perceived_health" not in survey.frame and "income" in survey.frame
    with pytest.raises(SaeSpecError, match="self_perceived_health cannot be estimated with the weight RB050"):
        read_silc(folder, layout={"codes": health})
    assert "self_perceived_health" in read_silc(folder, layout={"codes": health}, weights="PB040").frame
    # the same by the layout's own weight, as in a model file
    assert read_silc(folder, layout={"columns": {"weights": "PB040"}}).weights.sum() == 980


def test_selected_respondents(folder):
    frames = files_2022("DK")
    write_silc(folder, frames)
    with pytest.raises(SaeInputError, match="hold no PB060, the weight of the selected respondents"):
        read_silc(folder, weights="PB060")
    frames["P"]["PB060"] = [215, None, 210, 315, None, 240]
    frames["P"]["PB060_F"] = [1, -3, 1, 1, -3, 1]
    write_silc(folder, frames)
    np.testing.assert_array_equal(
        read_silc(folder, weights="PB060").weights, [215, 0, 0, 0, 210, 315, 0, 0, 0, 240, 0]
    )
    adults = read_silc(folder, weights="PB040")
    assert "self_perceived_health" not in adults.frame and "in_work" in adults.frame
    assert any("selected respondents: PB060" in note for note in adults.notes)


def test_a_weight_missing_without_reason_is_refused(folder):
    frames = files_2022()
    frames["R"]["RB050"] = [None, *[100.0] * 10]
    with pytest.raises(SaeInputError, match="1 missing or infinite"):
        read(folder, frames)
    frames["R"]["RB050_F"] = [-2, *[1] * 10]  # no member of the household now
    assert read(folder, frames).mask.sum() == 10


def test_modules_in_their_years_alone(folder):
    frames = files_2022()
    frames["P"]["PH180"] = [1, 2, 3, 4, 5, 1]
    layout = {"codes": {"drinks": {"column": "PH180", "daily": [1], "less": ["2..5"]}}}
    assert of(read(folder, frames, layout=layout), "drinks")[11] == "daily"
    with pytest.raises(SaeSpecError, match=r"HD100, of the module on children, not asked in EU-SILC 2022"):
        read(folder, frames, layout={"columns": {"clothes": "HD100"}})
    for part, letter in zip("DHRP", "DHRP", strict=True):
        frames[part][f"{letter}B010"] = 2023
    write_silc(folder, frames)
    with pytest.raises(SaeSpecError, match=r"module on health(.|\n)*asked in 2022, 2025, 2028"):
        read_silc(folder, year=2023, layout=layout)
    with pytest.raises(SaeSpecError, match="weights asks for PW005, of the module on quality of life"):
        read_silc(folder, year=2023, weights="PW005")


ALL = {
    "arpr": 240 / 1440,  # the median is 9000 / 2.3: only household 4 is below 60 % of it
    "smsd_rate": 300 / 1440,
    "low_work_intensity_rate": 600 / 1240,  # 21 is over 64
    "arope": 1140 / 1440,  # households 4, 3 and the three deprived of household 1
    "in_work_arpr": 120 / 370,
    "child_arpr": 0.0,
    "housing_cost_overburden_rate": 440 / 1440,
    "overcrowding_rate": 800 / 1440,
    "home_ownership_share": 600 / 1440,
}


def test_indicators_of_the_registry_by_hand(folder):
    write_silc(folder, files_2022())
    table = sae.direct(read_silc(folder), list(ALL)).frame.set_index("indicator")
    for name, expected in ALL.items():
        assert table.loc[name, "estimate"] == pytest.approx(expected), name
    adults = sae.direct(read_silc(folder, weights="PB040"), ["good_health_share", "unmet_medical_need_rate"])
    assert adults.frame["estimate"].tolist() == pytest.approx([370 / 980, 350 / 825])  # 32 gave no answer
    before = sae.direct(read(folder, files_2020(), year=2020), ["arope_2020", "smd_rate"]).frame
    assert before["estimate"].tolist() == pytest.approx([1140 / 1440, 300 / 1440])


# ---------------------------------------------------------------- what the file cannot tell


@pytest.mark.parametrize(
    ("country", "gone"),
    [
        ("EE", {"citizenship_group", "birth_group", "degurba"}),
        ("SI", {"citizenship_group", "birth_group", "occupation"}),
        ("IT", {"birth_group"}),
        ("AT", set()),
    ],
)
def test_groups_that_a_country_recodes_are_left_out_and_said(folder, country, gone):
    survey = read(folder, files_2022(country))
    groups = {"citizenship_group", "birth_group", "degurba", "occupation"}
    assert groups - set(survey.frame) == gone
    assert {"birth", "citizenship"} <= set(survey.frame)
    assert all(any(name in note and country in note for note in survey.notes) for name in gone)


def test_what_depends_on_the_year(folder):
    def of_year(year):
        frames = files_2020()
        for part in "DHRP":
            frames[part][f"{part}B010"] = year
        return read(folder, frames, year=year)

    assert of_year(2019).release.eu == "EU28" and of_year(2020).release.eu == of_year(2010).release.eu == ""
    assert "tenure" in of_year(2010).frame and "tenure" not in of_year(2009).frame
    assert [of_year(year).release.geo for year in (2011, 2014, 2018)] == [
        "NUTS 2003",
        "NUTS 2010",
        "NUTS 2013",
    ]


def test_a_national_file_keeps_what_its_own_layout_maps(folder):
    own = {"birth_group": {"column": "RB280", "native": ["LOC"], "eu": ["EU"], "non_eu": ["OTH"]}}
    survey = read(folder, files_2022("IT"), layout={"codes": own})
    assert of(survey, "birth_group")[31] == "eu"


def test_flags_decide_where_they_contradict_the_answer(folder):
    frames = files_2022()
    frames["H"]["HX120_F"] = [1, -1, 1, 1]
    survey = read(folder, frames)
    assert by_home(survey, "overcrowded") == ["no", None, "yes", "no"]
    assert any("flagged as missing or not applicable, so missing: HX120 1" in note for note in survey.notes)


def test_age_where_the_usual_one_is_empty(folder):
    frames = files_2022("DE")
    frames["R"]["RB081"] = frames["R"].pop("RX020")
    frames["R"]["RX020"] = -1
    survey = read(folder, frames)
    assert of(survey, "age")[32] == 16 and "age is RB081: RX020 is empty" in survey.notes
    frames["R"] = frames["R"].drop(columns=["RB081", "RX010"])
    assert any("no age in the file" in note for note in read(folder, frames).notes)


# ---------------------------------------------------------------- the design


def test_strata_and_units_where_the_file_has_none(folder):
    frames = files_2022()
    frames["D"]["DB050"], frames["D"]["DB050_F"], frames["D"]["DB060"] = None, -2, None
    survey = read(folder, frames)
    assert list(survey.stages[0].strata_labels) == ["region AT1", "region AT2"]
    assert survey.stages[0].n_psu == 4
    notes = "\n".join(survey.notes)
    assert "no strata (DB050): the region (DB040) is the stratum" in notes
    assert "no sampling units (DB060): the household is the sampling unit" in notes


def test_part_of_the_design_and_self_representing_units(folder):
    frames = files_2022()
    frames["D"]["DB050"] = [1, 1, None, None]
    frames["D"]["DB060"] = [10, 10, None, 40]  # 10 represents itself: its two households are sampled
    frames["D"]["DB050_F"] = [2, 2, -1, -1]
    survey = read(folder, frames)
    assert list(survey.stages[0].psu_labels) == ["household 1", "household 2", "household 3", "unit 40"]
    notes = "\n".join(survey.notes)
    assert "no stratum for 6 of 11 persons" in notes and "no unit for 4 of 11 persons" in notes
    assert "5 persons of self-representing units" in notes
    assert read(folder, frames, strata="DB040", psu="DB030").stages[0].columns["psu"] == "DB030"
    frames["D"]["DB062"] = [5, None, None, None]  # drawn within the unit that represents itself
    assert list(read(folder, frames).stages[0].psu_labels) == [
        "10/5",
        "household 2",
        "household 3",
        "unit 40",
    ]


# ---------------------------------------------------------------- variables made by EU-SILC's own rules


def test_housing_costs_above_two_fifths_of_income(folder):
    """12*900-1200 = 9600 of 28800: 33 %; 6000 of 12000: 50 %; 1200-1500 < 0: none; 600 of a loss: all."""
    assert by_home(read(folder, files_2022()), "housing_cost_overburden") == ["no", "yes", "no", "yes"]


def test_material_and_social_deprivation_from_its_thirteen_items(folder):
    """Household 1 lacks 5 of 7 items (arrears, HS040, HS050, HS060, HD080).

    11 lacks 2 more, 12 one; for the children half of the adults suffices, so clothes and shoes: 7 of 13,
    five of the household. Household 3 lacks 4, its answer to HS060 is missing: 31 and, by him alone of two
    adults, the children lack 2 more, so 6 or 7. 42 gave no interview, but lacks 0 of 7 and at most 6.
    """
    frames = files_2022()
    frames["R"] = frames["R"].drop(columns="RX060")
    survey = read(folder, frames)
    assert of(survey, "severe_material_social_deprivation") == {
        **{11: "yes", 12: "no", 13: "yes", 14: "yes", 21: "no", 31: None, 32: "no", 33: None, 34: None},
        **{41: "no", 42: "no"},
    }
    frames["H"]["HS060"] = [2, 1, 2, 1]
    assert of(read(folder, frames), "severe_material_social_deprivation")[33] == "yes"
    frames["H"]["HH050"], frames["H"]["HS110"] = [1, 1, 1, 1], [1, 1, 1, 3]
    frames["P"].loc[3, ["PD020", "PD030", "PD050", "PD060", "PD070"]] = 2
    deprived = of(read(folder, frames), "severe_material_social_deprivation")
    assert deprived[31] == "yes" and deprived[33] == "yes"  # 3 of the household and 5 of his own
    frames["H"]["HS060"] = 1
    frames["P"].loc[3, "PD080"] = 2
    deprived = of(read(folder, frames), "severe_material_social_deprivation")
    assert deprived[31] == "yes" and deprived[33] == "no"  # 8 of 13, but only 2 of the household


def test_material_deprivation_from_its_nine_items(folder):
    """1 lacks arrears, HS040, HS050, HS060; 3 lacks 5 whatever HS060 is; 2 lacks none or HS040."""
    frames = files_2020()
    frames["R"] = frames["R"].drop(columns="RX060")
    survey = read(folder, frames)
    assert by_home(survey, "severe_material_deprivation") == ["yes", "no", "yes", "no"]
    assert survey.release.remembered == {"severe_material_deprivation"}  # which arrears count is remembered
    frames["H"]["HS080"], frames["H"]["HS110"] = 1, 1
    assert by_home(read(folder, frames), "severe_material_deprivation")[2] is None  # 3 and one unknown


def test_a_code_that_is_no_answer_is_not_counted_as_no(folder):
    """Household 1 lacks arrears, HS040, HS050, HS060: with 9 (or -1) for one of them, 3 and one unknown."""
    for column, code in (("HS040", 9), ("HS040", -1), ("HS021", 9)):
        frames = files_2020()
        frames["R"] = frames["R"].drop(columns="RX060")
        frames["H"] = frames["H"].assign(HS011=3, HS021=[1, 3, 3, 3], HS031=3)
        assert by_home(read(folder, frames), "severe_material_deprivation")[0] == "yes"
        frames["H"].loc[0, column] = code
        assert by_home(read(folder, frames), "severe_material_deprivation")[0] is None, (column, code)


def test_rooms_that_a_household_needs(folder):
    """1: itself, a couple, two children; 2: one person; 3: 45, boys of 16 and 13, a girl; 4: two women."""
    frames = files_2022()
    frames["H"] = frames["H"].drop(columns="HX120")
    survey = read(folder, frames)
    assert by_home(survey, "overcrowded") == ["no", "yes", "yes", "no"]
    people = pd.DataFrame(
        {
            "RB030": range(9),
            "DB030": 1,
            "RX020": [40, 35, 17, 15, 14, 13, 10, 8, 1],
            "RB240": [1, *[None] * 8],
        }
    )
    people["RB090"] = [1, 2, 2, 2, 2, 1, 1, 2, 1]
    # itself 1, couple 1 (named by one of them), girls 17+15 and 14: 2, boy 1, children under 12: 2
    assert set(rooms_needed(people)) == {7.0}
    assert np.isnan(rooms_needed(people.assign(RX020=[40, 35, None, 15, 14, 13, 10, 8, 1]))).all()
    assert np.isnan(rooms_needed(people.assign(RB090=[1, 2, 9, 2, 2, 1, 1, 2, 1]))).all()
    frames["R"].loc[9:, "RX030"] = 4
    assert by_home(read(folder, frames), "overcrowded")[3] == "no"


def test_six_or_more_rooms_may_be_enough(folder):
    frames = files_2022()
    frames["H"] = frames["H"].drop(columns="HX120").assign(HH030=[6, 6, 6, 6])
    for number in range(6):  # seven women of 18 and over in household 4 need 8 rooms
        row = frames["R"].iloc[[10]].assign(RB030=100 + number)
        frames["R"] = pd.concat([frames["R"], row], ignore_index=True)
    assert by_home(read(folder, frames), "overcrowded") == ["no", "no", "no", None]


def test_time_in_the_country(folder):
    assert of(read(folder, files_2022()), "residence") == {
        **dict.fromkeys((11, 13, 14, 21, 32, 33, 34, 41), "born_here"),
        **{12: "5_years_or_more", 31: "under_5_years", 42: None},
    }


def test_codes_that_are_no_answer_make_no_level(folder):
    """9 and -2 of the need of an examination, its reason and the years in the country."""
    frames = files_2022()
    frames["P"] = frames["P"].assign(PH040=[1, 1, 1, 2, 9, -1], PH050=[1, 7, 9, None, None, None])
    frames["P"] = frames["P"].drop(columns=["PH040_F", "PH050_F"], errors="ignore")
    need = of(read(folder, frames, weights="PB040"), "unmet_medical_need")
    assert [need[person] for person in frames["P"]["PB030"]] == ["yes", "no", None, "no", None, None]
    frames["R"] = (
        frames["R"].assign(RB285=[None, -2, *[None] * 3, 99, *[None] * 4, 0]).drop(columns="RB285_F")
    )
    years = of(read(folder, frames), "residence")
    assert (years[12], years[31], years[42]) == (None, None, "under_5_years")


def test_equivalised_income_from_ages(folder):
    frames = files_2022()
    frames["H"] = frames["H"].drop(columns=["HX090", "HX050"])
    survey = read(folder, frames)
    assert by_home(survey, "income") == pytest.approx([30000 / 2.1, 12000, 9000 / 2.3, -500 / 1.5])
    assert "income is HY020 / the modified OECD scale of the ages: HX090 is not there" in survey.notes
    size = modified_oecd_scale([14, 13, 40, None], ["a", "a", "b", "c"])
    assert size.tolist()[:3] == [1.3, 1.3, 1.0] and np.isnan(size[3])
