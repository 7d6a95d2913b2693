"""The labour force layouts on fixtures of their documented structure (no real file may be held)."""

import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError, SaeSpecError, SaeWarning
from sae.survey import Survey
from tests.survey.lfs_fixtures import eu_lfs, eu_lfs_2020, eu_lfs_recoded

FILES = {"eu_lfs_2020": eu_lfs_2020, "eu_lfs_recoded": eu_lfs_recoded, "eu_lfs": eu_lfs}


def levels(survey, name):
    column = survey.frame[name]
    return column.astype(object).where(column.notna(), "").tolist()


@pytest.mark.parametrize("layout", FILES)
def test_the_same_persons_read_from_every_release(layout):
    """Six persons in the codes of three releases become the same harmonised records."""
    survey = Survey.from_frame(FILES[layout](), layout=layout)
    expected = {
        "country": ["AT", "AT", "EL", "EL", "CZ", "CZ"],
        "region": ["AT1", "AT2", "EL30", "EL30", "CZ02", "CZ03"],
        "sex": ["male", "female"] * 3,
        "birth": ["native", "foreign", "foreign", "", "foreign", "native"],
        "birth_group": ["native", "non_eu", "eu", "", "non_eu", "native"],
        "citizenship_group": ["native"] * 6,
        "residence": ["born_here", "under_5_years", "5_years_or_more", "", "5_years_or_more", "born_here"],
        "labour_status": ["employed"] * 3 + ["unemployed", "inactive", ""],
        "professional_status": ["self_employed", "employee", "family_worker", "", "", ""],
        "contract": ["", "temporary", "", "", "", ""],
        "working_time": ["full_time", "part_time", "full_time", "", "", ""],
        "occupation": ["armed_forces", "low_or_medium_skilled", "high_skilled", "", "", ""],
        "unemployment_duration": ["", "", "", "1_year_or_more", "", ""],
        "education": ["low", "medium", "tertiary", "tertiary", "low", ""],
    }
    assert {name: levels(survey, name) for name in expected} == expected
    learning = ["yes", "no", "no", "yes", "no", ""] if layout == "eu_lfs" else ["yes", *["no"] * 4, ""]
    assert levels(survey, "recent_education") == learning
    assert "region: NUTS 1 in AT; NUTS 2 in CZ, EL" in survey.notes


def test_weights_and_periods_go_together():
    old = Survey.from_frame(eu_lfs_2020(), layout="eu_lfs_2020")
    assert old.weights.tolist() == [1500, 500, 2000, 1250, 750, 1000] and old.time == "period"
    yearly = Survey.from_frame(eu_lfs_recoded(), layout="eu_lfs_recoded")
    assert yearly.weights.tolist() == old.weights.tolist() and yearly.time == "REFYEAR"
    quarterly = Survey.from_frame(eu_lfs(), layout="eu_lfs")
    assert quarterly.time == "period" and quarterly.weights[0] == 6000
    for weights in ("COEFFY", "COEFFHH", "coeffy"):
        file = eu_lfs().rename(columns={weights.upper(): weights})
        assert Survey.from_frame(file, layout="eu_lfs", weights=weights).time == "REFYEAR"
    assert Survey.from_frame(eu_lfs(), layout="eu_lfs", weights="COEFFY", time="period").time == "period"


def test_the_same_household_in_two_quarters_is_no_repeated_person():
    file = eu_lfs_recoded().iloc[[0, 0, 2]].assign(QUARTER=[1, 2, 2]).reset_index(drop=True)
    survey = Survey.from_frame(file, layout="eu_lfs_recoded")
    assert survey.stages[0].n_psu == 2 and survey.frame["person"].tolist() == ["1-1", "2-1", "2-1"]
    with pytest.raises(SaeInputError, match="repeats a person"):
        Survey.from_frame(file.assign(QUARTER=1), layout="eu_lfs_recoded")


def test_a_yearly_file_whose_key_links_nothing_says_so():
    file = eu_lfs_recoded().assign(HHNUM=[1, 1, 2, 2, 3, 4])
    with pytest.warns(SaeWarning, match=r"no household occurs in two quarters(.|\n)*yearly_weights=True"):
        Survey.from_frame(file, layout="eu_lfs_recoded")
    linked = Survey.from_frame(file.assign(HHNUM=[1, 2, 1, 2, 5, 5], COUNTRY="AT"), layout="eu_lfs_recoded")
    assert "the quarters of a year are linked by household: 3 of 3 occur in several" in linked.notes


def test_bands_of_age_are_those_of_the_file():
    old = Survey.from_frame(eu_lfs_2020(), layout="eu_lfs_2020")
    assert old.release.age_bands == tuple(range(0, 80, 5))
    recoded = Survey.from_frame(eu_lfs_recoded(), layout="eu_lfs_recoded")
    assert recoded.frame["age"].tolist() == [17, 22, 42, 62, 75, 7]
    carried = {*range(6), *range(10, 16), 20, *range(25, 41), *range(45, 61), *range(65, 76)}
    assert set(recoded.release.age_bands) == carried
    mixed = Survey.from_frame(eu_lfs(), layout="eu_lfs")
    assert mixed.frame["age"].tolist() == [17, 22, 41, 62, 75, 7]
    assert {17, 41, 65} < set(mixed.release.age_bands) and not {22, 62, 80} & set(mixed.release.age_bands)
    single = Survey.from_frame(eu_lfs().assign(AGE=[17, 21, 41, 62, 80, 7]), layout="eu_lfs")
    assert single.release.age_bands == ()
    national = Survey.from_frame(eu_lfs_2020().assign(AGE=[15, 21, 41, 62, 80, 7]), layout="eu_lfs_2020")
    assert national.release.age_bands == () and any("single years" in note for note in national.notes)


def test_weights_of_ones_own_and_weights_that_the_layout_multiplies():
    for layout, make in FILES.items():
        for weights in ("mine", [1.0] * 6):
            survey = Survey.from_frame(make().assign(mine=1.0), layout=layout, weights=weights)
            assert survey.weights.sum() == 6 and survey.time == "period"
    with pytest.raises(SaeSpecError, match=r"does not weigh with coeff, but with COEFF \* 1000"):
        Survey.from_frame(eu_lfs_2020().rename(columns=str.lower), layout="eu_lfs_2020", weights="coeff")


def test_codes_among_the_ages_are_missing_and_leave_the_bands_alone():
    """With -1 and 999 the file seemed to hold single years, and 18-24 was cut out of the band 15-19."""
    old = eu_lfs_2020().assign(AGE=[-1, 22, 42, 999, 77, 7])
    survey = Survey.from_frame(old, layout="eu_lfs_2020")
    assert survey.frame["age"].fillna(-9).tolist() == [-9, 22, 42, -9, 77, 7]
    assert any("no age of a person, so missing: -1 1, 999 1" in note for note in survey.notes)
    assert survey.release.age_bands == tuple(range(0, 80, 5))
    with pytest.raises(SaeSpecError, match="18 lies inside 15-19"):
        sae.direct(survey, "early_leaver_rate")
    new = Survey.from_frame(eu_lfs().assign(AGE=[-1, None, 41, 999, None, None]), layout="eu_lfs")
    assert new.frame["age"].isna().tolist() == [True, False, False, True, False, False]
    odd = Survey.from_frame(eu_lfs_2020().assign(AGE=[17, 22, 42, 62, 77, 8]), layout="eu_lfs_2020")
    assert odd.release.age_bands and any("1 of 5 records do not stand" in note for note in odd.notes)


def test_no_condition_cuts_a_band_of_age():
    """18-24 of the middles 17 and 22 would be 20-24."""
    survey = Survey.from_frame(eu_lfs_2020(), layout="eu_lfs_2020")
    with pytest.raises(SaeSpecError, match="subset '18 <= age <= 24' cut the bands of the file: 18 lies"):
        survey.subset("18 <= age <= 24")
    assert survey.subset("15 <= age <= 24 and sex == 'male'").mask.sum() == 1
    for how in ({"levels": {"young": "18 <= age <= 24"}}, {"expression": "age < 18"}):
        with pytest.raises(SaeSpecError, match=r"derive\.young cut the bands of the file: 18 lies"):
            Survey.from_frame(eu_lfs_2020(), layout={"layout": "eu_lfs_2020", "derive": {"young": how}})


def test_answers_on_education_in_every_spelling():
    plain = levels(Survey.from_frame(eu_lfs(), layout="eu_lfs"), "recent_education")
    assert plain == ["yes", "no", "no", "yes", "no", ""]
    text = eu_lfs().assign(EDUCFED4=list("122229"), EDUCNFE4=["02", "2", "2.0", "1", "2", None])
    assert levels(Survey.from_frame(text, layout="eu_lfs"), "recent_education") == plain
    open_ = Survey.from_frame(eu_lfs().assign(EDUCNFE4=None), layout="eu_lfs")
    assert levels(open_, "recent_education") == ["yes", *[""] * 5]


def test_the_composition_of_the_eu_comes_from_the_groups():
    assert Survey.from_frame(eu_lfs_2020(), layout="eu_lfs_2020").release.eu == "EU28"
    assert Survey.from_frame(eu_lfs_recoded(2019), layout="eu_lfs_recoded").release.eu == "EU28"
    assert Survey.from_frame(eu_lfs_recoded(2020), layout="eu_lfs_recoded").release.eu == "EU27_2020"
    both = pd.concat([eu_lfs_recoded(2019), eu_lfs_recoded(2020)], ignore_index=True)
    with pytest.raises(SaeInputError, match=r"EU28: 'EU15'; EU27_2020(.|\n)*eu28_to_eu27_2020"):
        Survey.from_frame(both, layout="eu_lfs_recoded")
    own = {"layout": "eu_lfs_recoded", "about": {"eu": "EU28"}}
    assert Survey.from_frame(both, layout=own).release.eu == "EU28"


def test_remembered_codes_are_marked_by_variable():
    marked = {name: Survey.from_frame(FILES[name](), layout=name).release.remembered for name in FILES}
    assert {"unemployment_duration", "residence"} <= marked["eu_lfs_2020"] & marked["eu_lfs"]
    assert "recent_education" in marked["eu_lfs"] and "recent_education" not in marked["eu_lfs_2020"]
    assert "birth_group" in marked["eu_lfs_2020"] and "birth_group" not in marked["eu_lfs"]
    for name, variables in marked.items():
        assert not {"labour_status", "professional_status", "birth", "education"} & variables, name


def test_the_weight_of_the_module_belongs_to_its_years():
    module = eu_lfs(2021).assign(COEFFMOD=1.0)
    assert Survey.from_frame(module, layout="eu_lfs", weights="COEFFMOD").weights.sum() == 6
    with pytest.raises(SaeInputError, match=r"COEFFMOD(.|\n)*holds 2022"):
        Survey.from_frame(module.assign(REFYEAR=2022), layout="eu_lfs", weights="COEFFMOD")


def test_finer_origin_where_the_file_has_it():
    survey = Survey.from_frame(eu_lfs(), layout="eu_lfs")
    assert levels(survey, "birth_origin") == ["native", "other_africa", "eu", "", "efta", "native"]


def test_indicators_on_the_fixtures_ask_for_what_is_remembered():
    """Six persons by hand: three employed and one unemployed of 20-64 and 15-74; codes accepted by name."""
    for layout, make in FILES.items():
        survey = Survey.from_frame(make(), layout=layout, lonely_psu="certainty")
        w = survey.weights
        employed = sae.direct(survey, "employment_rate").frame["estimate"].item()
        assert employed == pytest.approx((w[1] + w[2]) / w[1:4].sum())
        with pytest.raises(SaeSpecError, match=f"accept=..{layout}.unemployment_duration"):
            sae.direct(survey, "long_term_unemployment_rate")
        accepted = [f"{layout}.unemployment_duration"]
        long_term = (
            sae.direct(survey, "long_term_unemployment_rate", accept=accepted).frame["estimate"].item()
        )
        assert long_term == pytest.approx(w[3] / w[:4].sum())
