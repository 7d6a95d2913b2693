"""Direct estimates against the survey package 4.1.1 and sae 1.3, and published ACS errors."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.survey import Survey

EXACT = 1e-10  # the same closed formula in another order of summation
CALIBRATED = 1e-8  # the peers iterate raking and logit to about 1e-10 in the weights
ROUNDED = 5e-5  # figures printed with four decimals

TOTALS = {"1": 6194, "stype": {"E": 4421, "H": 755, "M": 1018}, "api99": 3914069}
DESIGNS = {
    "survey_apistrat": dict(weights="pw", strata="stype", fpc="fpc"),
    "survey_apistrat_nofpc": dict(weights="pw", strata="stype"),
    "survey_apiclus1": dict(weights="pw", psu="dnum", fpc="fpc"),
    "survey_apiclus2": dict(weights="pw2", psu=["dnum", "snum"], fpc=["fpc1", "fpc2"]),
}
CASES = list(DESIGNS)


def total(column):
    return sae.Indicator(column, kind="total", id=f"total {column}")


@pytest.fixture(scope="module")
def api(shared_data):
    def load(case):
        frame = pd.read_csv(shared_data / f"{case.removesuffix('_nofpc')}.csv")
        if case == "survey_apiclus2":  # the peer takes the weights from the population counts of both stages
            districts = frame["dnum"].nunique()
            schools = frame.groupby("dnum")["snum"].transform("count")
            frame["pw2"] = frame["fpc1"] / districts * frame["fpc2"] / schools
        return Survey.from_frame(frame, **DESIGNS[case])

    return load


def known(column):
    """A mean over those who answered everything: the peer leaves a record out for any missing value."""
    return sae.Indicator(column, universe="enroll >= 0", id=column)


def same(got, expected, tolerance=EXACT):
    np.testing.assert_allclose(np.asarray(got, float), np.asarray(expected, float), rtol=tolerance)


@pytest.mark.parametrize("case", CASES)
def test_means_with_their_covariance(api, reference, case):
    expected = reference(case)["outputs"]["mean"]
    got = sae.direct(api(case), [known(name) for name in expected["names"]], covariance=True)
    same(got["estimate"], expected["est"])
    same(got["se"], expected["se"])
    same(got.covariance, expected["vcov"]["rows"])


def test_two_stages_with_all_answers(api):
    got = sae.direct(api("survey_apiclus2"), "api00")
    np.testing.assert_allclose(got["estimate"], [670.8118], atol=ROUNDED)
    np.testing.assert_allclose(got["se"], [30.09903], atol=ROUNDED / 10)


@pytest.mark.parametrize("case", CASES)
def test_totals_and_counts_with_their_covariance(api, reference, case):
    out = reference(case)["outputs"]
    got = sae.direct(api(case), total("enroll"))
    same(got["estimate"], out["total_enroll"]["est"])
    same(got["se"], out["total_enroll"]["se"])
    counts = [sae.Indicator(f"stype == '{level}'", kind="total", id=level) for level in "EHM"]
    got = sae.direct(api(case), counts, covariance=True)
    same(got["estimate"], out["total_stype"]["est"])
    same(got["se"], out["total_stype"]["se"])  # exactly 0 where the strata are counted
    same(got.covariance, out["total_stype"]["vcov"]["rows"], 1e-9)


@pytest.mark.parametrize("case", CASES)
def test_ratio_overall_and_by_domain(api, reference, case):
    out = reference(case)["outputs"]
    ratio = sae.Indicator("api_stu", "enroll", id="participation")
    survey = renamed(api(case))
    got = sae.direct(survey, ratio)
    same(got["estimate"], [out["ratio_apistu_enroll"]["est"]])
    same(got["se"], [out["ratio_apistu_enroll"]["se"]])
    table = out["ratio_by_stype"]["table"]
    got = sae.direct(survey, ratio, by="stype")
    assert got["domain"].tolist() == table["stype"]
    same(got["estimate"], table["api.stu.enroll"])
    same(got["se"], table["se.api.stu.enroll"])


def renamed(survey):
    """The survey with a name for api.stu that an expression can hold."""
    from dataclasses import replace

    return replace(survey, frame=survey.frame.rename(columns={"api.stu": "api_stu"}))


@pytest.mark.parametrize("case", CASES)
def test_domain_means_and_totals(api, reference, case):
    out = reference(case)["outputs"]
    table = out["mean_by_stype"]["table"]
    got = sae.direct(api(case), [known("api00"), known("enroll")], by="stype")
    same(got["estimate"], table["api00"] + table["enroll"])
    same(got["se"], table["se.api00"] + table["se.enroll"])
    table = out["total_by_schwide"]["table"]
    got = sae.direct(api(case), total("api.stu"), by="sch.wide")
    same(got["estimate"], table["api.stu"])
    same(got["se"], table["se"])


@pytest.mark.parametrize("case", CASES)
def test_design_effect_with_replacement(api, reference, case):
    got = sae.direct(api(case), "api00")
    same(got["deff"], [reference(case)["outputs"]["deff_replace"]])
    same(got["n_eff"], got["n"] / got["deff"])


@pytest.mark.parametrize("case", ["survey_apistrat", "survey_apiclus1", "survey_apiclus2"])
@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("greg_linear_stype_api99", {}),
        ("raking_stype_api99", {"method": "raking"}),
        ("logit_bounds_0.5_2", {"method": "logit", "bounds": (0.5, 2.0)}),
    ],
)
def test_calibrated_estimates(api, reference, case, key, options):
    expected = reference(case)["outputs"][key]
    survey = api(case).calibrate(TOTALS, **options)
    got = sae.direct(survey, [total("enroll"), "api00"])
    assert (got["variance_method"] == "linearised, calibration residuals").all()
    same(got["estimate"][:1], expected["total_enroll"]["est"], CALIBRATED)
    same(got["se"][:1], expected["total_enroll"]["se"], CALIBRATED)
    if "mean_api00" in expected:
        same(got["estimate"][1:], expected["mean_api00"]["est"], CALIBRATED)
        same(got["se"][1:], expected["mean_api00"]["se"], CALIBRATED)


@pytest.mark.parametrize("case", ["survey_apistrat", "survey_apiclus1", "survey_apiclus2"])
def test_calibrated_domains(api, reference, case):
    expected = reference(case)["outputs"]["greg_linear_stype_api99"]
    survey = api(case).calibrate(TOTALS)
    for indicator, key in (("api00", "by_schwide"), (total("api00"), "by_schwide_total")):
        got = sae.direct(survey, indicator, by="sch.wide")
        same(got["estimate"], expected[key]["table"]["api00"], CALIBRATED)
        same(got["se"], expected[key]["table"]["se"], CALIBRATED)


@pytest.mark.parametrize("case", ["survey_apistrat", "survey_apiclus1", "survey_apiclus2"])
def test_a_calibrated_total_has_no_error_left(api, case):
    survey = api(case).calibrate(TOTALS)
    got = sae.direct(survey, [total("api99"), sae.Indicator("stype == 'H'", kind="total")])
    same(got["estimate"], [3914069, 755])
    assert got["variance"].tolist() == [0.0, 0.0]
    assert got["status"].tolist() == ["zero variance", "zero variance"]


@pytest.mark.parametrize("case", ["survey_apiclus1", "survey_apiclus2"])
def test_poststratified_estimates(api, reference, case):
    expected = reference(case)["outputs"]["poststratified_stype"]
    survey = api(case).post_stratify("stype", TOTALS["stype"])
    got = sae.direct(survey, [total("enroll"), "api00"])
    same(got["estimate"], expected["total_enroll"]["est"] + expected["mean"]["est"])
    same(got["se"], expected["total_enroll"]["se"] + expected["mean"]["se"])
    got = sae.direct(survey, "api00", by="sch.wide")
    same(got["estimate"], expected["by"]["table"]["api00"])
    same(got["se"], expected["by"]["table"]["se"])


@pytest.mark.parametrize(("case", "method"), [("survey_apistrat", "jkn"), ("survey_apiclus1", "jk1")])
def test_jackknife(api, reference, case, method):
    expected = reference(case)["outputs"]["jackknife"]
    survey = api(case).with_replicates(method, centre="mean")
    got = sae.direct(survey, expected["mean"]["names"], covariance=True)
    same(got["se"], expected["mean"]["se"])
    same(got.covariance, expected["mean"]["vcov"]["rows"], 1e-9)
    got = sae.direct(survey, total("enroll"))
    same(got["se"], expected["total"]["se"])


# ---------------------------------------------------------------- nhanes: item non-response, 2 or 3 PSUs


@pytest.fixture(scope="module")
def nhanes(shared_data):
    frame = pd.read_csv(shared_data / "survey_nhanes.csv")
    return Survey.from_frame(frame, weights="WTMEC2YR", strata="SDMVSTRA", psu="SDMVPSU", nest=True)


def test_nhanes_keeps_the_design_of_those_who_did_not_answer(nhanes, reference):
    out = reference("survey_nhanes")["outputs"]
    got = sae.direct(nhanes, ["HI_CHOL", total("HI_CHOL")])
    same(got["estimate"], out["mean"]["est"] + out["total"]["est"])
    same(got["se"], out["mean"]["se"] + out["total"]["se"])
    assert got["df"].tolist() == [out["degf"]] * 2
    got = sae.direct(nhanes, "HI_CHOL", by="race")
    same(got["estimate"], out["by_race"]["table"]["HI_CHOL"])
    same(got["se"], out["by_race"]["table"]["se"])
    assert any("no answer" in line for line in got.log)


def test_nhanes_design_effect_without_replacement(nhanes, reference):
    # the peer's deff compares with sampling without replacement: a factor 1 - n/N
    got = sae.direct(nhanes, "HI_CHOL")
    answered = nhanes.frame["HI_CHOL"].notna()
    fraction = answered.sum() / nhanes.weights[answered].sum()
    same(got["deff"] / (1 - fraction), [reference("survey_nhanes")["outputs"]["deff"]])


def test_nhanes_crossed_domains(nhanes, reference):
    table = pd.DataFrame(reference("survey_nhanes")["outputs"]["by_race_age"]["table"])
    table["domain"] = table["race"] + " / " + table["agecat"]
    got = (
        sae.direct(nhanes, "HI_CHOL", by=["race", "agecat"])
        .to_frame()
        .set_index("domain")
        .loc[table["domain"]]
    )
    same(got["estimate"], table["HI_CHOL"])
    same(got["se"], table["se"])


def test_nhanes_jackknife(nhanes, reference):
    out = reference("survey_nhanes")["outputs"]["jkn"]
    survey = nhanes.with_replicates("jkn", centre="mean")
    same(sae.direct(survey, "HI_CHOL")["se"], out["mean"]["se"])
    same(sae.direct(survey, "HI_CHOL", by="race")["se"], out["by_race"]["table"]["se"])


# ---------------------------------------------------------------- sae::direct, four forms of it


@pytest.fixture(scope="module")
def provinces(shared_data):
    frame = pd.read_csv(shared_data / "sae_incomedata.csv")
    sizes = pd.read_csv(shared_data / "sae_sizeprov.csv").set_index("prov")["Nd"]
    frame["poor"] = (frame["income"] < 0.6 * frame["income"].median()).astype(int)
    frame["size"] = frame["prov"].map(sizes)
    return frame, sizes


@pytest.mark.parametrize("name", ["income", "poor"])
def test_poisson_variance_with_known_domain_sizes(provinces, reference, name):
    frame, sizes = provinces
    expected = reference(f"sae_incomedata_direct_{name}")["outputs"]["HT"]
    survey = Survey.from_frame(frame, weights="weight")
    got = sae.direct(survey, name, by="prov", variance="poisson", domain_sizes=sizes)
    assert got["domain"].tolist() == [str(code) for code in expected["Domain"]]
    assert got["n"].tolist() == expected["SampSize"]
    same(got["estimate"], expected["Direct"])
    same(got["se"], expected["SD"])
    same(100 * got["cv"], expected["CV"])
    assert (got["variance_method"] == "poisson").all()


@pytest.mark.parametrize("name", ["income", "poor"])
@pytest.mark.parametrize(("form", "fpc"), [("SRSWOR", "size"), ("SRSWR", None)])
def test_simple_random_sampling_in_each_domain_is_a_stratified_design(provinces, reference, name, form, fpc):
    frame, _ = provinces
    expected = reference(f"sae_incomedata_direct_{name}")["outputs"][form]
    equal = frame.assign(weight=frame["size"] / frame.groupby("prov")["prov"].transform("count"))
    survey = Survey.from_frame(equal, weights="weight", strata="prov", fpc=fpc)
    got = sae.direct(survey, name, by="prov")
    same(got["estimate"], expected["Direct"])
    same(got["se"], expected["SD"])


@pytest.mark.parametrize("name", ["income", "poor"])
def test_with_replacement_form_is_a_stratified_total_over_the_known_size(provinces, reference, name):
    # the peer's variance lacks the division by n - 1: it is the one of a single draw, not of their mean
    frame, sizes = provinces
    expected = reference(f"sae_incomedata_direct_{name}")["outputs"]["HT_WR"]
    survey = Survey.from_frame(frame, weights="weight", strata="prov")
    got = sae.direct(survey, total(name), by="prov")
    same(got["estimate"] / sizes.to_numpy(), expected["Direct"])
    draws = np.sqrt(got["n"].to_numpy(float) - 1.0)
    same(got["se"] / sizes.to_numpy() * draws, expected["SD"])


def test_with_replacement_variance_is_that_of_repeated_samples(provinces, rng):
    # province 1 as a population, n draws with probability p: the total's error over 4000 samples
    frame, _ = provinces
    people = frame[frame["prov"] == 1]
    y, p = people["income"].to_numpy(), (1 / people["weight"] / (1 / people["weight"]).sum()).to_numpy()
    n, repeats = 60, 4000
    drawn = rng.choice(y.size, size=(repeats, n), p=p)
    expanded = (y / p)[drawn]
    empirical = expanded.mean(axis=1).var()
    sample = pd.DataFrame({"y": y[drawn[0]], "w": 1 / (n * p[drawn[0]])})
    ours = expanded.var(axis=1, ddof=1).mean() / n
    same(
        sae.direct(Survey.from_frame(sample, weights="w"), total("y"))["variance"],
        [expanded[0].var(ddof=1) / n],
    )
    assert abs(ours / empirical - 1) < 4 * np.sqrt(2 / repeats)  # four standard errors of a variance


# ---------------------------------------------------------------- successive differences


def test_acs_replicate_weights(shared_data):
    path = shared_data / "real" / "us_pums2018_hi_nm_repwt.csv.gz"
    names = ["ST", "AGEP", "NATIVITY", "ESR", "PWGTP", *(f"PWGTP{r}" for r in range(1, 81))]
    frame = pd.read_csv(path, usecols=names, dtype={"ST": str})
    frame["origin"] = frame["NATIVITY"].map({1: "native", 2: "foreign"})
    survey = Survey.from_frame(frame, weights="PWGTP", replicates={"columns": "PWGTP", "method": "sdr"})
    rate = sae.Indicator("ESR in [1, 2, 4, 5]", universe="20 <= AGEP <= 64", id="employed")
    got = sae.direct(survey, rate, by=["ST", "origin"]).to_frame().set_index("domain")
    foreign = got.loc[["15 / foreign", "35 / foreign"]]
    np.testing.assert_allclose(foreign["estimate"], [0.7755, 0.6711], atol=ROUNDED)
    np.testing.assert_allclose(foreign["se"], [0.0131, 0.0167], atol=ROUNDED)
    assert (got["df"] <= 79).all()
