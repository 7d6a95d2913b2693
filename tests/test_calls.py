"""Calls that do not fit get a sentence that says what to write: never a raw TypeError."""

import copy
import pickle
import warnings
from inspect import isfunction

import numpy as np
import pandas as pd
import pytest

import sae
from sae.calls import answered
from sae.errors import SaeError, SaeInputError, SaeSpecError, SaeTypeError, SaeWarning

FH = sae.FayHerriot


@pytest.fixture(scope="module")
def frame():
    return pd.DataFrame({"area": list("ABCDEF"), "y": [1.0, 3, 2, 5, 4, 6], "vardir": 0.5, "x": range(6)})


@pytest.fixture(scope="module")
def survey():
    records = pd.DataFrame({"w": [2.0, 2, 2, 2], "region": list("aabb"), "works": [1, 0, 1, 1]})
    return sae.Survey.from_frame(records, weights="w")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"method": "amrl_yl"}, "method = 'amrl_yl' is method='yl-reml' here."),
        ({"method": "ampl"}, "is method='ll-ml' here."),
        ({"method": "REML"}, "is method='reml' here."),
        ({"method": "HB"}, "is method='bayes' here."),
        ({"method": "reblup"}, "sae.RobustFayHerriot"),
        ({"method": "me"}, "sae.MeasurementErrorFayHerriot"),
        ({"transform": "no"}, "transform=None here."),
        ({"transform": "box.cox"}, "do not exist for area-level models"),
        ({"transform": "log", "back": "bc_sm"}, "is back='unbiased' here."),
        ({"mse": "boot"}, "is mse='bootstrap' here."),
        ({"mse": True}, "Every fit gives mean squared errors"),
        ({"transformation": "log"}, "transformation is transform= here."),
        ({"B": 100}, "B is replicates= here."),
        ({"eff_smpsize": "n"}, "eff_smpsize is n_eff= here."),
        ({"mse_type": "boot", "MSE": True}, "mse_type is mse= here. MSE is mse= here."),
        ({"seed": 1}, ".fit(data, seed=1)"),
        ({"data": 1}, "Give them to fit"),
        ({"transfrom": "log"}, "Did you mean transform=?"),
        ({"nonsense": 1}, "It takes formula, domain, vardir"),
    ],
)
def test_a_foreign_option_is_answered_with_ours(options, sentence):
    with pytest.raises(SaeSpecError) as caught:
        FH("y ~ x", **options)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda frame, survey: FH(), "FayHerriot() needs formula."),
        (lambda frame, survey: FH(frame), "formula is a DataFrame; it takes text."),
        (lambda frame, survey: FH("y ~ x", frame), "A specification holds no data."),
        (lambda frame, survey: FH("y ~ x").fit(), "fit() needs data."),
        (lambda frame, survey: FH("y ~ x").fit(frame, frame), "Name the others: areas=, seed=."),
        (lambda frame, survey: FH("y ~ x").fit(frame, newdata=frame), "newdata is areas= here."),
        (lambda frame, survey: FH("y ~ x").fit(frame, data=frame), "given data twice"),
        (lambda frame, survey: sae.direct(frame, "y", by="area"), "sae.Survey.from_frame(frame, weights="),
        (lambda frame, survey: sae.direct("works", survey), "not of a str"),
        (lambda frame, survey: sae.direct(survey), "direct() needs indicator."),
        (
            lambda frame, survey: sae.direct(survey, "works", domain="region", weights="w"),
            "domain is by= here. The design belongs to the survey",
        ),
        (lambda frame, survey: sae.direct(survey, "works", variance="taylor"), "variance='linearised' here"),
        (lambda frame, survey: sae.direct(survey, "works", variance="jk1"), "survey.with_replicates"),
        (lambda frame, survey: sae.Survey(frame), "sae.Survey.from_frame(frame"),
        (lambda frame, survey: sae.Survey.from_frame(frame, weight="y"), "weight is weights= here."),
        (lambda frame, survey: sae.Survey.from_frame(frame, ids="area"), "ids is psu= here."),
        (lambda frame, survey: sae.read_survey(frame), "sae.Survey.from_frame(frame"),
        (lambda frame, survey: sae.read_survey("a.csv", weight="w"), "weight is weights= here."),
        (
            lambda frame, survey: sae.BinomialMixed("y ~ x", method="pql"),
            "BinomialMixed() has no option method",
        ),
    ],
)
def test_a_near_miss_gets_a_sentence(call, sentence, frame, survey):
    with pytest.raises(SaeError) as caught:
        call(frame, survey)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    "name", ["fh", "eblupBHF", "svydesign", "svyby", "read_csv", "benchmark", "FayHeriot"]
)
def test_a_foreign_function_is_answered_with_ours(name):
    with pytest.raises(AttributeError, match=r"it is .* here|did you mean FayHerriot"):
        getattr(sae, name)


def test_an_error_inside_a_function_stays_as_it_is():
    @answered
    def broken(value):
        return value + "text"

    with pytest.raises(TypeError, match="unsupported operand"):
        broken(1)


def test_specifications_and_surveys_are_still_copied_and_pickled(survey):
    spec = FH("y ~ x", method="ml")
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert pickle.loads(pickle.dumps(survey)).weights.tolist() == survey.weights.tolist()


def test_a_warning_of_a_fit_points_at_the_call(frame):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        FH("y ~ x", domain="area").fit(frame.assign(vardir=50.0))
    ours = [each for each in caught if issubclass(each.category, SaeWarning)]
    assert ours and {each.filename for each in ours} == {__file__}


def test_a_warning_of_a_survey_points_at_the_call():
    records = pd.DataFrame({"w": [1.0, 1.0], "job": ["NA", "x"]})
    with pytest.warns(SaeWarning) as caught:
        sae.Survey.from_frame(records, weights="w")
    assert {each.filename for each in caught} == {__file__}


def test_what_prints_in_a_notebook(survey):
    assert "<pre>FayHerriot(" in FH("y ~ x")._repr_html_()
    assert "weighted total 8" in survey._repr_html_()


def test_a_path_that_is_none_is_named():
    with pytest.raises(SaeInputError, match="was given a int"):
        sae.read_survey(3)


@pytest.fixture(scope="module")
def fit(frame):
    return FH("y ~ x", domain="area").fit(frame)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda fit, survey: fit["estimate"], "Write fit.estimates['estimate']."),
        (lambda fit, survey: fit[["domain", "mse"]], "Write fit.estimates[['domain', 'mse']]."),
        (lambda fit, survey: fit["x"], "Write fit.areas['x']."),
        (lambda fit, survey: fit["coef"], "Write fit.coefficients['coef']."),
        (lambda fit, survey: fit[0], "Its table is fit.estimates"),
        (lambda fit, survey: len(fit), "Its table has 6 rows: len(fit.estimates)."),
        (lambda fit, survey: list(fit), "Its table is fit.estimates"),
        (lambda fit, survey: "A" in fit, "Its table is fit.estimates"),
        (lambda fit, survey: survey["region"], "Write survey.frame['region']."),
        (lambda fit, survey: survey[["region", "w"]], "Write survey.frame[['region', 'w']]."),
        (lambda fit, survey: survey["regoin"], "Its records are survey.frame, with w, region, works."),
        (lambda fit, survey: survey[survey.frame["works"] == 1], 'survey.subset("age >= 18")'),
        (lambda fit, survey: list(survey), "Its records are survey.frame"),
        (lambda fit, survey: "region" in survey, "Write survey.frame['region']."),
    ],
)
def test_what_is_no_table_says_where_its_table_is(fit, survey, call, sentence):
    with pytest.raises(SaeTypeError) as caught:
        call(fit, survey)
    assert sentence in str(caught.value)
    assert isinstance(caught.value, TypeError) and isinstance(caught.value, SaeSpecError)


def test_results_and_surveys_are_still_single_things_to_python_numpy_and_pandas(fit, survey):
    assert fit and survey
    for thing in (fit, survey):
        kept = pd.DataFrame({"name": ["a"], "thing": [thing]})
        assert kept["thing"][0] is thing and kept.shape == (1, 2)
        assert "a" in repr(kept) and "a" in kept.to_html() and pd.Series({"a": thing})["a"] is thing
        row = np.empty(1, dtype=object)
        row[0] = thing
        assert row[0] is thing and copy.copy(thing) is not None and {"a": thing}["a"] is thing
        assert [thing].index(thing) == 0


def test_a_pickled_error_keeps_what_it_names():
    error = SaeInputError("2 rows are wrong.", hint="Mend them.", areas=["A", "B"], column="x")
    again = pickle.loads(pickle.dumps(error))
    assert (again.what, again.hint, again.areas, again.column) == (error.what, error.hint, ("A", "B"), "x")
    assert str(again) == str(error) and type(again) is SaeInputError


def test_what_is_no_indicator_and_what_is_no_column_of_weights(survey):
    for indicator in (np.mean, lambda frame: frame["works"], 3, None):
        with pytest.raises(SaeSpecError, match=r"An indicator is a name or an sae\.Indicator, but got"):
            sae.direct(survey, indicator, by="region")
    with pytest.raises(SaeInputError, match="weights=1 is one number, not a weight for each record"):
        sae.Survey.from_frame(pd.DataFrame({"works": [1, 0]}), weights=1)


def test_labels_in_the_index_of_the_areas(survey):
    direct = sae.direct(survey, "works", by="region")
    areas = pd.DataFrame({"region": ["a", "b"], "x": [1.0, 2.0]}).set_index("region")
    with pytest.raises(SaeInputError, match=r"It is the index of the areas: give areas\.reset_index\(\)\."):
        sae.FayHerriot("works ~ 1").fit(direct, areas=areas)


ROOMS = ("compare", "publish", "planning", "plots", "evaluation")


@pytest.mark.parametrize("room", ROOMS)
def test_every_function_of_these_rooms_answers_an_option_that_it_does_not_have(room):
    home = getattr(sae, room)
    functions = [each for each in (getattr(home, name) for name in home.__all__) if isfunction(each)]
    assert functions
    for function in functions:
        with pytest.raises(SaeSpecError, match=r"\(\) has no option nonsense\."):
            function(nonsense=1)


def test_an_option_without_a_default_that_has_to_be_named_is_named(fit):
    with pytest.raises(SaeSpecError, match=r"exchange\(\) needs country, policy\."):
        sae.publish.exchange(fit, "e.zip")
    with pytest.raises(SaeSpecError, match=r"Indicator\(\) needs numerator\."):
        sae.Indicator()
    with pytest.raises(SaeSpecError, match=r"AR1\(\) has no option colum"):
        sae.AR1(colum="year")
    assert pickle.loads(pickle.dumps(sae.compare.pairs)) is sae.compare.pairs
