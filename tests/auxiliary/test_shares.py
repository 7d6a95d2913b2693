"""Shares of registers as covariates with their vintage, and counts as populations: by hand, on real files."""

import pandas as pd
import pytest

import sae
from sae.auxiliary import counts, read_register, regroup, shares
from sae.errors import SaeInputError, SaeSpecError
from tests.auxiliary.test_registers import TEXTS, german

F, T = {"group": "f"}, {"group": "t"}


def register(values, *, years=("2020",), rounding=0.0, **columns):
    cells = pd.MultiIndex.from_product([["A", "B"], years, ["f", "t"]], names=["area", "year", "group"])
    frame = cells.to_frame(index=False).assign(value=values, **columns)
    texts = {role: text for role, text in TEXTS.items() if role not in columns}
    return read_register(frame, groups=["group"], rounding=rounding, **texts)


def share(of, **options):
    return shares(of, "x", **{"numerator": F, "denominator": T, "year": "2020", **options})


def test_a_share_by_hand_with_its_rounding():
    table = share(register([5, 50, 10, 40], rounding=5), area="city")
    assert table.frame.to_dict("list") == {"city": ["A", "B"], "x": [0.1, 0.25]}
    origin = table.origins["x"]
    assert origin.source == "Population register" and origin.definition == "1 January: f over t"
    assert origin.rounding_error == pytest.approx((2.5 + 0.25 * 2.5) / 40)  # of B, the larger of the two
    assert origin.text() == (
        "Population register, 2020 (1 January: f over t), rounding moves it by at most 0.078"
    )


def test_years_of_the_data_take_the_figures_they_are_given():
    of = register([5, 50, 6, 50, 10, 40, 20, 40], years=("2011", "2021"))
    table = share(of, year={"2019": "2011", "2020": "2011", "2021": "2021"}, time="period")
    assert table.frame["period"].tolist() == ["2019", "2019", "2020", "2020", "2021", "2021"]
    assert table.frame["x"].tolist() == [0.1, 0.25, 0.1, 0.25, 0.12, 0.5]
    assert table.origins["x"].vintage == {"2019": "2011", "2020": "2011", "2021": "2021"}
    numbers = share(of, year={2019: 2011, 2021: 2021})  # periods that a survey holds as numbers stay so
    assert numbers.frame["year"].tolist() == [2019, 2019, 2021, 2021]
    assert numbers.origins["x"].vintage == {"2019": "2011", "2021": "2021"}
    with pytest.raises(SaeInputError, match=r"The numerator: the register has no figures of '2020'"):
        share(of)


def test_a_denominator_of_another_register_and_year_is_said():
    people = register([0, 100, 0, 200], years=("2019",), source="Census", definition="residents")
    table = share(register([5, 50, 10, 40]), among=people)
    assert table.frame["x"].tolist() == [0.05, 0.05]
    assert table.origins["x"].source == "Population register over Census"
    assert table.origins["x"].definition == "1 January: f over residents: t of 2019"


def test_rows_by_group():
    table = counts(register([5, 50, 10, 40]), "people", year="2020", by=["group"])
    assert table.frame.to_dict("list") == {
        "area": ["A", "A", "B", "B"],
        "group": ["f", "t", "f", "t"],
        "people": [5.0, 50.0, 10.0, 40.0],
    }


@pytest.mark.parametrize(
    ("values", "options", "error", "text"),
    [
        ([5, 50, 10, 0], {}, SaeInputError, r"denominator of x is 0 in 1 of 2 rows of 2020: B"),
        ([5, 50, 50, 40], {}, SaeInputError, r"x is no share in 1 of 2 rows of 2020: B \(1\.25\)"),
        ([-5, 50, 10, 40], {}, SaeInputError, r"x is no share in 1 of 2 rows of 2020: A \(-0\.1\)"),
        ([5, 50, 10, 40], {"numerator": {}}, SaeInputError, "The numerator: group has several labels, f, t"),
        ([5, 50, 10, 40], {"numerator": {"sex": "f"}}, SaeSpecError, "no group column 'sex'"),
        ([5, 50, 10, 40], {"numerator": {"group": "x"}}, SaeInputError, "no group 'x'"),
        ([5, 50, 10, 40], {"year": {}}, SaeSpecError, "year= names no year"),
    ],
)
def test_what_is_no_share_is_refused(values, options, error, text):
    with pytest.raises(error, match=text):
        share(register(values), **options)


def test_an_area_without_a_figure_is_named():
    of = register([5, 50, 10, 40])
    half = read_register(of.frame.iloc[[0, 1, 3]].drop(columns="rounding_error"), groups=["group"])
    with pytest.raises(SaeInputError, match=r"0 only in the numerator, 1 only in the denominator \(B\)"):
        share(half)


def test_several_definitions_are_refused_by_name():
    mixed = register([5, 50, 10, 40], definition=["old", "old", "new", "new"])
    with pytest.raises(SaeInputError, match=r"mix several of definition: 'old' \(A\), 'new' \(B\)"):
        share(mixed)
    years = register([5, 50, 6, 50, 5, 50, 6, 50], years=("2020", "2021"), definition=["old"] * 8)
    frame = years.frame.drop(columns="rounding_error")
    frame.loc[frame["year"] == "2021", "definition"] = "new"
    broken = read_register(frame, groups=["group"])
    with pytest.raises(SaeInputError, match="definition of x changes in 2021, from 'old: f over t' to 'new"):
        share(broken, year={"2020": "2020", "2021": "2021"})


def test_an_unpublished_figure_is_a_missing_covariate():
    assert share(register([None, 50, 10, 40])).frame["x"].isna().tolist() == [True, False]


def test_the_german_register_over_itself_reaches_a_summary(shared_data):
    whole = regroup(german(shared_data, zero=["-"]), "sex", {"all": ["male", "female"]})
    eu = {"group": "EU-28 (bis 31.01.2020)"}
    total = {"group": "Insgesamt"}
    with pytest.raises(SaeInputError, match="denominator of share_eu is 0 in"):  # districts of other years
        shares(whole, "share_eu", numerator=eu, denominator=total, year="2021")
    people = whole.select(year="2021", group="Insgesamt").frame
    kept = whole.select(area=list(people.loc[people["value"] > 0, "area"]))
    table = shares(kept, "share_eu", numerator=eu, denominator=total, year="2021", area="district")
    assert 390 < len(table) <= 401 and table.frame["share_eu"].between(0, 1).all()
    assert 0 < table.origins["share_eu"].rounding_error < 0.01
    data = table.frame.assign(y=0.5 + 0.1 * table.frame["share_eu"], vardir=1e-4, time="2023")
    data["y"] += [(-1) ** k * 0.01 for k in range(len(data))]
    summary = sae.FayHerriot("y ~ share_eu", domain="district").fit(
        data.drop(columns="share_eu"), areas=table, seed=1
    ).summary()  # fmt: skip
    assert "share_eu: Central Register of Foreigners, 2021 (foreign citizens, 31 December: EU-28" in summary
    assert "2 years before the data" in summary


def test_counts_are_complete_or_refused():
    whole = register([5, 50, 10, 40])
    with pytest.raises(SaeInputError, match="The counts people: group has several labels"):
        counts(whole, "people", year="2020")
    for cut, text in (
        (whole.frame.iloc[:3], "no row for 1 of 4"),
        (whole.frame.assign(value=-1), "negative"),
    ):
        part = read_register(cut.drop(columns="rounding_error"), groups=["group"])
        with pytest.raises(SaeInputError, match=text):
            counts(part, "people", year="2020", by=["group"])
    with pytest.raises(SaeInputError, match="people is missing in 1 of 4 rows: A / f"):
        counts(register([None, 50, 10, 40]), "people", year="2020", by=["group"])


def test_naturalisation_in_the_synthetic_country_is_the_indicator_and_the_truth():
    land = sae.datasets.country(seed=3, regions=12)
    whole = read_register(land.registers, groups=["citizenship_group"], areas=land.areas["region"])
    table = shares(
        whole,
        "rate",
        numerator={"indicator": "naturalisations"},
        denominator={"indicator": "foreign_residents"},
        year="2025",
        by=["citizenship_group"],
        area="region",
    )
    keys = ["region", "citizenship_group"]
    people = land.population[land.population["citizenship"] == "foreign"]
    truth = people.assign(rate=people["naturalised"] == "yes").groupby(keys, observed=True)["rate"].mean()
    both = table.frame.merge(
        truth.rename("truth").reset_index().astype({name: str for name in keys}), on=keys
    )
    assert len(both) == 24 and both["rate"].to_numpy() == pytest.approx(both["truth"].to_numpy(), rel=1e-12)
    indicator = sae.indicators.register_rate(whole.frame, "naturalisation_rate", group="citizenship_group")
    assert indicator["value"].tolist() == table.frame.sort_values(keys)["rate"].tolist()
    assert table.origins["rate"].text(["2025Q1"]) == (
        "citizenship register over population register, 2025 (acquisitions of citizenship within the year: "
        "naturalisations over non-nationals, 1 January: foreign_residents)"
    )
    both_groups = regroup(
        whole.select(indicator="foreign_residents"), "citizenship_group", {"foreign": ["eu", "non_eu"]}
    )
    assert both_groups.frame["value"].sum() == len(people)
