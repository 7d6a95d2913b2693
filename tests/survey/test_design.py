"""The design: stages, checks of weights and identifiers, lonely units, subsets. Every fault is named."""

import pickle

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError, SaeSpecError
from sae.survey import Survey
from sae.survey.codes import encode, join_text


def make(**columns):
    size = len(next(iter(columns.values())))
    return pd.DataFrame({"w": np.ones(size), **columns})


# ---------------------------------------------------------------- weights


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1, np.nan, 3, np.inf], r"of 4, 2 missing or infinite \(rows 2, 4\)"),
        ([1, -2, 3, -4], r"of 4, 2 negative \(rows 2, 4\)"),
        ([0, -1, np.nan, 1], r"of 4, 1 missing or infinite \(rows 3\); 1 negative \(rows 2\)\."),
        ([0, 0, 0, 0], r"All 4 weights \(column 'w'\) are 0"),
        (["1", "x", "3", None], r"text in 1 of 4 records \(row 2: 'x'\)"),
    ],
)
def test_bad_weights(weights, said):
    with pytest.raises(SaeInputError, match=said) as caught:
        Survey.from_frame(pd.DataFrame({"w": weights}), weights="w")
    assert caught.value.column == "w"


def test_many_bad_rows_are_counted():
    with pytest.raises(SaeInputError, match=r"1,000 negative \(rows 1, 2, 3, 4, 5 and 995 more\)"):
        Survey.from_frame(pd.DataFrame({"w": np.full(1000, -1.0)}), weights="w")


def outsiders(rng, n=200):
    """A clustered survey with records of weight 0, among them whole units and a domain of its own."""
    psu = np.repeat(np.arange(n // 4), 4)
    frame = pd.DataFrame(
        {
            "w": rng.gamma(3, 1, n),
            "s": psu % 2,
            "p": psu,
            "y": rng.lognormal(size=n),
            "g": rng.integers(0, 3, n),
            "sex": rng.choice(["f", "m"], n),
        }
    )
    frame.loc[(rng.random(n) < 0.1) | (psu == 7), "w"] = 0.0
    return frame


def test_a_weight_of_zero_is_outside_the_population(rng):
    frame = outsiders(rng)
    zero = frame["w"] == 0
    survey = Survey.from_frame(frame, weights="w", strata="s", psu="p")
    assert any(f"{zero.sum()} records of weight 0 are outside" in note for note in survey.notes)
    assert f"outside the population: {zero.sum()} records" in repr(survey) and "subset" not in repr(survey)
    # the same as a subset of a file in which they have a weight: the design is kept
    other = Survey.from_frame(frame.assign(w=frame["w"] + zero, z=zero), weights="w", strata="s", psu="p")
    for indicator in ("y", sae.Indicator("y", kind="total"), sae.Indicator("y", kind="gini")):
        one, two = (sae.direct(each, indicator, "g") for each in (survey, other.subset("not z")))
        pd.testing.assert_frame_equal(one.frame, two.frame)
    # a threshold is the whole population's, in which they are not
    poor = sae.direct(survey, sae.Indicator("y", kind="arpr"), "g")
    left_out = Survey.from_frame(frame[~zero], weights="w", strata="s", psu="p")
    without = sae.direct(left_out, sae.Indicator("y", kind="arpr"), "g")
    for name in ("n", "estimate"):
        np.testing.assert_allclose(poor[name], without[name], rtol=1e-12)
    adults = survey.subset("y < 1")
    assert not adults.mask[zero].any() and "subset" in repr(adults)


def test_records_of_weight_zero_need_no_place_among_known_counts(rng):
    frame = outsiders(rng)
    frame.loc[frame["w"] == 0, "sex"] = None
    frame.loc[frame.index[frame["w"] == 0][0], "sex"] = "unknown"
    frame["age"] = np.where(frame["w"] == 0, np.nan, 40.0)
    survey = Survey.from_frame(frame, weights="w")
    for after in (
        survey.post_stratify("sex", {"f": 300, "m": 310}),
        survey.calibrate({"sex": {"f": 300, "m": 310}, "age": 40 * 610.0}),
        survey.with_replicates("jk1").calibrate({"sex": {"f": 300, "m": 310}}),
    ):
        assert after.weights[frame["sex"] == "f"].sum() == pytest.approx(300)
        assert after.weights.sum() == pytest.approx(610)
        assert (after.weights[frame["w"] == 0] == 0).all()
        assert np.isfinite(sae.direct(after, "y")["se"]).all()


def test_the_design_is_said_with_its_columns():
    frame = make(s=["a", "a", "b", "b"], h=[1, 1, 2, 2], p=[1, 2, 3, 4], N=[9, 9, 8, 8])
    frame = frame.assign(r1=[0, 2, 1, 1], r2=[2, 0, 1, 1.0])
    cases = [
        ({}, "no strata, every record a sampling unit, drawn with replacement; errors linearised"),
        (
            {"strata": "s", "psu": "p", "fpc": "N"},
            "2 strata (s), 4 sampling units (p), population counts (N); errors linearised",
        ),
        (
            {"household": "h"},
            "no strata, 2 sampling units (h), drawn with replacement; errors linearised",
        ),
        (
            {"replicates": {"columns": "r", "method": "bootstrap"}},
            "no strata, every record a sampling unit, drawn with replacement; "
            "errors from 2 bootstrap replicate weights",
        ),
    ]
    for roles, sentence in cases:
        assert Survey.from_frame(frame, weights="w", **roles).design == sentence
    joined = make(s=["a", "b", "b", "b"])
    survey = Survey.from_frame(joined, weights="w", strata="s", lonely_psu="collapse")
    assert survey.design.startswith("1 stratum (s), every record")
    assert survey.post_stratify("s", {"a": 1, "b": 4}).design.endswith(
        "weights calibrated (poststratified, 2 totals)"
    )


def test_weights_given_as_values():
    frame = make(a=[1, 2, 3])
    assert Survey.from_frame(frame, weights=[1, 2, 3]).weights.tolist() == [1, 2, 3]
    with pytest.raises(SaeInputError, match="have 2 values, but there are 3 records"):
        Survey.from_frame(frame, weights=[1, 2])
    with pytest.raises(SaeInputError, match="index is not that of the records"):
        Survey.from_frame(frame, weights=pd.Series([1, 2, 3], index=[3, 2, 1]))
    with pytest.raises(SaeInputError, match="No weights are given"):
        Survey.from_frame(frame)


def test_text_numbers_are_read_as_numbers():
    assert Survey.from_frame(pd.DataFrame({"w": ["1.5", "2"]}), weights="w").weights.tolist() == [1.5, 2.0]


# ---------------------------------------------------------------- the frame


def test_empty_frames_and_repeated_columns():
    with pytest.raises(SaeInputError, match="no records"):
        Survey.from_frame(pd.DataFrame({"w": []}), weights="w")
    frame = pd.DataFrame([[1.0, 2.0]], columns=["w", "w"])
    with pytest.raises(SaeInputError, match="The records repeat the columns w"):
        Survey.from_frame(frame, weights="w")


def test_the_users_frame_is_neither_changed_nor_copied():
    frame = make(t=["b", "a", None], y=[1.0, 2.0, 3.0]).set_index(pd.Index([7, 8, 9]))
    before = frame.copy()
    survey = Survey.from_frame(
        frame, weights="w", layout={"codes": {"g": {"column": "y", "one": [1], "more": ["2..3"]}}}
    )
    pd.testing.assert_frame_equal(frame, before)
    assert survey.frame.index.tolist() == [0, 1, 2]
    assert survey.frame["t"].cat.categories.tolist() == ["a", "b"]
    plain = make(y=[1.0, 2.0, 3.0])
    shared = Survey.from_frame(plain, weights="w").frame["y"].to_numpy()
    assert np.shares_memory(shared, plain["y"].to_numpy())


def test_immutable_and_picklable():
    survey = Survey.from_frame(make(y=[1.0, 2.0]), weights="w")
    with pytest.raises(AttributeError):
        survey.time = "y"
    with pytest.raises(ValueError, match="read-only"):
        survey.weights[0] = 5
    assert pickle.loads(pickle.dumps(survey)).weights.tolist() == [1.0, 1.0]


# ---------------------------------------------------------------- stages


def test_default_units_are_records_then_households():
    frame = make(hh=["b", "a", "b"])
    assert Survey.from_frame(frame, weights="w").stages[0].psu.tolist() == [0, 1, 2]
    survey = Survey.from_frame(frame, weights="w", household="hh")
    assert survey.stages[0].psu.tolist() == [1, 0, 1]
    assert any("household (hh) is the sampling unit" in note for note in survey.notes)


def test_two_stages_nest_and_count():
    frame = make(
        h=[1, 1, 1, 1, 2, 2, 2, 2],
        a=[10, 10, 11, 11, 20, 20, 21, 21],
        b=[1, 2, 1, 2, 1, 2, 1, 2],
        na=[5, 5, 5, 5, 9, 9, 9, 9],
        nb=[3, 3, 4, 4, 5, 5, 6, 6],
    )
    survey = Survey.from_frame(frame, weights="w", strata="h", psu=["a", "b"], fpc=["na", "nb"])
    first, second = survey.stages
    assert first.strata.tolist() == [0] * 4 + [1] * 4 and first.psu.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert second.strata.tolist() == first.psu.tolist() and second.psu.tolist() == list(range(8))
    assert first.stratum_fpc().tolist() == [5, 9] and second.stratum_fpc().tolist() == [3, 4, 5, 6]
    assert first.psu_counts().tolist() == [2, 2] and second.psu_counts().tolist() == [2] * 4


def test_a_psu_in_two_strata():
    frame = make(s=["a", "a", "b", "b", "c", "c"], p=[1, 2, 1, 2, 3, 4])
    with pytest.raises(
        SaeInputError, match=r"2 of 4 labels .* occur in more than one stratum of 's': 1, 2"
    ) as caught:
        Survey.from_frame(frame, weights="w", strata="s", psu="p")
    assert "nest=True" in caught.value.hint and caught.value.areas == ("1", "2")
    nested = Survey.from_frame(frame, weights="w", strata="s", psu="p", nest=True).stages[0]
    assert nested.n_psu == 6 and nested.psu_counts().tolist() == [2, 2, 2]
    assert len(set(zip(nested.strata, nested.psu, strict=True))) == 6


@pytest.mark.parametrize(
    ("columns", "roles", "said"),
    [
        (
            {"s": ["a", None, "b"]},
            {"strata": "s"},
            r"strata column 's' is missing in 1 of 3 records \(rows 2\)",
        ),
        ({"p": [1, np.nan, 2]}, {"psu": "p"}, r"psu column 'p' is missing in 1 of 3"),
        ({"f": [9, 9, 8]}, {"fpc": "f"}, r"fpc column 'f' varies within 1 of 1 strata: all"),
        (
            {"f": [2, 2, 2]},
            {"fpc": "f"},
            r"smaller than the sample in 1 of 1 strata.*2 in the population, 3 sampled",
        ),
        ({"f": [0.1, 0.1, 0.1]}, {"fpc": "f"}, "smaller than the sample"),
        ({"f": [9, 9, np.nan]}, {"fpc": "f"}, r"not positive in 1 record \(rows 3\)"),
        ({"s": [1, 1, 1]}, {"strata": "ss"}, "Did you mean s"),
        ({"s": [1, 1, 1]}, {"time": "q"}, "The time column 'q' is not in the survey"),
        ({"s": [1, 1, 1]}, {"household": "q"}, "The household column 'q' is not"),
    ],
)
def test_bad_designs(columns, roles, said):
    with pytest.raises(SaeInputError, match=said):
        Survey.from_frame(make(**columns), weights="w", **roles)


def test_more_stages_of_strata_than_of_units():
    with pytest.raises(SaeSpecError, match="strata names 2 stages, but psu names 1"):
        Survey.from_frame(make(a=[1, 1], b=[1, 2]), weights="w", strata=["a", "b"], psu="b")


# ---------------------------------------------------------------- lonely units

LONELY = {"s": ["a", "b", "b", "c", "d", "d", "e"], "p": [1, 2, 3, 4, 5, 6, 7], "f": [2, 9, 9, 3, 8, 8, 4]}


def test_lonely_units_fail_by_name():
    with pytest.raises(SaeInputError, match="3 of 5 strata have a single sampled unit: a, c, e") as caught:
        Survey.from_frame(make(**LONELY), weights="w", strata="s", psu="p")
    assert caught.value.areas == ("a", "c", "e")
    with pytest.raises(SaeSpecError, match="is not a policy"):
        Survey.from_frame(make(**LONELY), weights="w", strata="s", psu="p", lonely_psu="remove")


@pytest.mark.parametrize("policy", ["certainty", "average"])
def test_lonely_policies_that_leave_the_strata(policy):
    survey = Survey.from_frame(make(**LONELY), weights="w", strata="s", psu="p", lonely_psu=policy)
    assert survey.stages[0].n_strata == 5 and survey.lonely_psu == policy
    assert any(f"policy {policy}" in note for note in survey.notes)


def test_collapse_joins_in_sorted_order_and_adds_the_populations():
    survey = Survey.from_frame(
        make(**LONELY), weights="w", strata="s", psu="p", fpc="f", lonely_psu="collapse"
    )
    stage = survey.stages[0]
    assert stage.strata_labels.tolist() == ["a+b", "c+d+e"]
    assert stage.stratum_fpc().tolist() == [11, 15] and stage.psu_counts().tolist() == [3, 4]
    assert any("joined to the next in sorted order: a+b, c+d+e" in note for note in survey.notes)
    lonely_pair = make(s=["a", "b", "c", "c"], p=[1, 2, 3, 4])
    stage = Survey.from_frame(lonely_pair, weights="w", strata="s", psu="p", lonely_psu="collapse").stages[0]
    assert stage.strata_labels.tolist() == ["a+b", "c"]
    with pytest.raises(SaeInputError, match="only stratum has a single"):
        Survey.from_frame(make(p=[1, 1]), weights="w", psu="p", lonely_psu="collapse")


def test_a_census_of_one_unit_is_not_lonely():
    frame = make(s=["a", "b", "b"], f=[1, 9, 9])
    assert Survey.from_frame(frame, weights="w", strata="s", fpc="f").stages[0].n_strata == 2


def test_replicates_need_no_second_unit():
    frame = make(s=["a", "b", "b"], r1=[1.0, 2, 0], r2=[1.0, 0, 2])
    replicates = {"columns": "r", "method": "brr"}
    assert Survey.from_frame(frame, weights="w", strata="s", replicates=replicates).replicates is not None


# ---------------------------------------------------------------- persons


def test_repeated_persons():
    frame = make(hh=[1, 1, 2, 2], p=[1, 1, 1, 2], q=["a", "b", "a", "a"])
    with pytest.raises(
        SaeInputError, match=r"1 record repeats a person: 2 records share hh, p .*1 / 1; rows 1, 2"
    ):
        Survey.from_frame(frame, weights="w", household="hh", person="p")
    assert len(Survey.from_frame(frame, weights="w", household="hh", person="p", time="q")) == 4
    with pytest.raises(SaeInputError, match="2 records repeat a person"):
        Survey.from_frame(frame, weights="w", person="p")
    frame = make(p=[1, None, 2])
    with pytest.raises(SaeInputError, match="person column 'p' is missing in 1 record "):
        Survey.from_frame(frame, weights="w", person="p")


# ---------------------------------------------------------------- subsets


def test_subset_keeps_the_design():
    survey = Survey.from_frame(
        make(s=["a", "a", "b", "b"], age=[10, 20, np.nan, 70], sex=["f", "m", "f", "m"]),
        weights="w",
        strata="s",
    )
    adults = survey.subset("age >= 18")
    assert adults.mask.tolist() == [False, True, False, True] and survey.mask is None
    assert adults.stages is survey.stages and len(adults) == 4 and adults.frame is survey.frame
    assert adults.notes[-1] == (
        "subset 'age >= 18': 2 of 4 records; 1 record for which it is missing is outside"
    )
    assert adults.subset("sex == 'm' and age < 65").mask.tolist() == [False, True, False, False]
    with pytest.raises(SaeInputError, match="No record of 2 fulfils"):
        adults.subset("age < 18")
    with pytest.raises(SaeSpecError, match="gives numbers; a subset needs a condition"):
        survey.subset("age + 1")


# ---------------------------------------------------------------- printing


def test_repr_and_summary():
    frame = make(s=["a", "a", "b", "b"], y=[1, 2, np.nan, 4], t=["2020Q1", "2020Q2"] * 2)
    survey = Survey.from_frame(frame, weights="w", strata="s", time="t").subset("y >= 2")
    assert repr(survey).splitlines() == [
        "Survey: 4 records, weighted total 4",
        "  subset: 2 records, weighted 2",
        "  design: 2 strata, 4 units (records), with replacement",
        "  periods: 2 (t: 2020Q1, 2020Q2)",
        "  notes: 2, see summary()",
    ]
    text = survey.summary()
    assert "item non-response (records): y 1" in text and "degrees of freedom: 2" in text


# ---------------------------------------------------------------- codes


def test_encode_agrees_with_pandas(rng):
    columns = [
        pd.Series(rng.integers(-5, 5, 200)),
        pd.Series(rng.integers(-(10**15), 10**15, 200)),
        pd.Series(rng.choice([1.5, 2.5, np.nan], 200)),
        pd.Series(rng.choice([1.0, 2.0, np.nan], 200)),
        pd.Series(rng.choice(["b", "a", None], 200)),
        pd.Series(pd.Categorical(rng.choice(["b", "a"], 200), ["c", "b", "a"])),
        pd.Series(pd.array([1, None, 3] * 10, dtype="Int64")),
        pd.Series([np.nan, np.nan]),
    ]
    for column in columns:
        codes, labels = encode(column)
        expected_codes, expected = pd.factorize(column.astype(object), sort=True)
        np.testing.assert_array_equal(codes, expected_codes)
        assert [str(float(x)) if not isinstance(x, str) else x for x in labels] == [
            str(float(x)) if not isinstance(x, str) else x for x in expected
        ]


def test_join_text():
    years, quarters = pd.Series([2013.0, 2014.0, np.nan, 2013.0]), pd.Series([1, 2, 3, 1])
    assert join_text([years, quarters], "Q").tolist()[:2] == ["2013Q1", "2014Q2"]
    joined = join_text([years, pd.Series(["Q1", "Q2", "Q3", "Q1"])], "Q")
    assert joined.isna().tolist() == [False, False, True, False] and joined[3] == "2013Q1"
    ambiguous = join_text([pd.Series(["1", "12"]), pd.Series(["23", "3"])], "")
    assert ambiguous.tolist() == ["123", "123"]
    three = join_text([pd.Series([36, 34]), pd.Series(["00101", "00102"]), pd.Series([1, 1])], "-")
    assert three.tolist() == ["36-00101-1", "34-00102-1"]


def test_survey_is_public():
    assert sae.Survey is Survey
