"""Calls that do not fit get a sentence that says what to write: never a raw TypeError."""

import pickle
import warnings

import pandas as pd
import pytest

import sae
from sae.calls import answered
from sae.errors import SaeError, SaeInputError, SaeSpecError, SaeWarning

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
