"""Registers: what the reader makes of long and wide files, what it refuses by name, where series break."""

import pandas as pd
import pytest

from sae.auxiliary import check_totals, read_register
from sae.errors import SaeInputError, SaeSpecError

TEXTS = {"indicator": "residents", "source": "Population register", "definition": "1 January"}


def frame(**columns):
    base = {"area": ["01", "01", "02"], "year": ["2020", "2021", "2020"], "value": [5, 6, 7]}
    return pd.DataFrame({**base, **columns})


def german(shared_data, **options):
    return read_register(
        shared_data / "real/de_kreise_foreigners_by_group.csv.gz",
        columns={"area": "ags"},
        groups=["group"],
        value={"men": "male", "women": "female"},
        across="sex",
        indicator="foreign residents",
        source="Central Register of Foreigners",
        definition="foreign citizens, 31 December",
        rounding=5,
        **options,
    )


def test_a_long_file_keeps_its_codes_as_text(tmp_path):
    file = tmp_path / "register.csv"
    file.write_text("ags;jahr;nat;wert\n01;2020;A;1,5\n01;2020;B;-\n02;2020;A;:\n", encoding="utf-8")
    register = read_register(
        file,
        columns={"area": "ags", "year": "jahr"},
        groups={"citizenship": "nat"},
        value="wert",
        zero=["-"],
        decimal=",",
        **TEXTS,
    )
    assert list(register.frame) == [
        *("area", "year", "citizenship", "indicator", "value", "source", "definition", "rounding_error")
    ]
    assert register.frame["area"].tolist() == ["01", "01", "02"]
    assert register.frame["value"].fillna(-1).tolist() == [1.5, 0.0, -1.0]
    assert "not published: 1 figures" in repr(register)


def test_columns_of_years_become_rows():
    wide = pd.DataFrame({"INS": ["11001"], "Tot03": [13951], "Tot04": [14140]})
    register = read_register(
        wide, columns={"area": "INS"}, value={"Tot03": "2003", "Tot04": "2004"}, across="year", **TEXTS
    )
    assert register.frame[["year", "value"]].values.tolist() == [["2003", 13951.0], ["2004", 14140.0]]


def test_the_german_register(shared_data):
    with pytest.raises(SaeInputError, match=r"men holds text .*'-'"):
        german(shared_data)
    register = german(shared_data, zero=["-"])
    assert len(register) == 2 * 68_544 and register.groups == ("group", "sex")
    assert register.frame["value"].notna().all() and (register.frame["value"] % 5 == 0).all()
    assert (register.frame["rounding_error"] == 2.5).all()
    flensburg = register.select(area="01001", year="2015", group="Insgesamt").frame["value"]
    assert flensburg.tolist() == [4515.0, 3780.0]


def test_belgian_municipalities(shared_data):
    register = read_register(
        shared_data / "real/be_municipalities_2001_2004.csv",
        columns={"area": "INS"},
        value={"Men04": "male", "Women04": "female", "Tot04": "all"},
        across="sex",
        year="2004",
        **TEXTS,
    )
    assert len(register) == 3 * 589 and register.levels("area")[0] == "11001"
    check_totals(register, "sex", {"all": ["male", "female"]})


@pytest.mark.parametrize(
    ("data", "options", "error", "text"),
    [
        ({"area": ["01", None, "02"]}, {}, SaeInputError, "1 of 3 rows have no area: row 2"),
        ({"year": ["2020", "soon", "2020"]}, {}, SaeInputError, "begins with no year in 'soon'"),
        ({"year": ["2020", "20201", "2020"]}, {}, SaeInputError, "begins with no year in '20201'"),
        ({"value": [1, "few", 3]}, {}, SaeInputError, "value holds text .*'few'"),
        ({"value": [1, float("inf"), 3]}, {}, SaeInputError, "infinite in 1 rows"),
        ({"year": "2020"}, {}, SaeInputError, "1 figures of the register stand twice: 01 / 2020 / residents"),
        ({}, {"areas": ["01"]}, SaeInputError, "1 unknown areas: 02"),
        ({}, {"source": ""}, SaeSpecError, "nothing else says the source"),
        ({}, {"year": "2020"}, SaeSpecError, "year is given twice: by the column 'year' and '2020'"),
        ({}, {"columns": {"region": "area"}}, SaeSpecError, "'region', which is no part of a register"),
        ({}, {"columns": {"area": "ags"}}, SaeInputError, "no column 'ags'"),
        ({}, {"groups": ["sex"]}, SaeInputError, "no column 'sex'"),
        ({}, {"groups": {"source": "area"}}, SaeSpecError, "A group cannot be called source"),
        ({}, {"value": {"value": "a"}}, SaeSpecError, "across= says"),
        ({}, {"across": "sex"}, SaeSpecError, "across= says"),
        ({}, {"value": {"value": "a"}, "across": "area"}, SaeSpecError, "across='area' .* cannot be"),
        ({}, {"rounding": -5}, SaeSpecError, "rounding=-5 cannot be"),
        ({}, {"value": {"value": "a"}, "across": "indicator"}, SaeSpecError, "by 'residents' and the labels"),
        ({}, {"missing": "x"}, SaeSpecError, "not a list of words"),
    ],
)
def test_what_is_wrong_is_named(data, options, error, text):
    with pytest.raises(error, match=text):
        read_register(frame(**data), **{**TEXTS, **options})


def test_figures_that_stand_twice_may_want_a_group():
    with pytest.raises(SaeInputError, match=r"Perhaps sex tells them apart: name it in groups="):
        read_register(frame(area="01", year="2020", sex=["f", "m", "x"]), **TEXTS)


def test_a_new_definition_is_a_break_and_two_at_once_are_refused():
    texts = {key: text for key, text in TEXTS.items() if key != "definition"}
    register = read_register(frame(definition=["old", "new", "old"]), **texts)
    (row,) = register.breaks().to_dict("records")
    assert row == {
        "indicator": "residents",
        "year": "2021",
        "before": "Population register: old",
        "after": "Population register: new",
        "figures": 1,
    }
    assert "break in 2021" in repr(register)
    both = read_register(frame(year="2020", definition=["old", "new", "old"]), **texts)
    assert not len(both.breaks())
    with pytest.raises(SaeInputError, match="1 figures have several of definition: 'old', 'new'"):
        both.single("The share")
    assert len(both.select(definition="old").single("The share")) == 2


def test_select_names_what_it_does_not_know():
    register = read_register(frame(), **TEXTS)
    with pytest.raises(SaeInputError, match="no year '2019'"):
        register.select(year="2019")
    with pytest.raises(SaeInputError, match="No figure"):
        register.select(area="02", year="2021")


def test_a_truncated_file_is_named(tmp_path):
    file = tmp_path / "register.csv"
    file.write_text("area,year,value\n01,2020,5\n02,2020\n", encoding="utf-8")
    with pytest.raises(SaeInputError, match=r"register\.csv cannot be read as a table"):
        read_register(file, **TEXTS)


def test_frames_of_other_libraries_and_numbers_that_are_labels():
    polars = pytest.importorskip("polars")
    table = polars.DataFrame({"area": [9, 9, 13], "year": [2020, 2021, 2020], "value": [5, -9, 7]})
    register = read_register(table, missing=[-9], **TEXTS)
    assert register.frame["area"].tolist() == ["9", "9", "13"]
    assert register.frame["value"].isna().tolist() == [False, True, False]
    assert register.select(year=2020, area=[9, 13]).frame["value"].tolist() == [5.0, 7.0]


def test_points_beside_decimal_commas_are_refused():
    """1.234 would be read as a little more than one."""
    frame = pd.DataFrame({"area": ["A", "B"], "value": ["1.234", "2,5"]})
    with pytest.raises(SaeInputError, match=r"points beside decimal commas in 1 rows: '1\.234' \(row 1\)"):
        read_register(frame, decimal=",", year="2020", **TEXTS)
    assert read_register(frame[1:], decimal=",", year="2020", **TEXTS).frame["value"].tolist() == [2.5]
