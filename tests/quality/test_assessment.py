"""Verdicts of rows whose cells disagree, by hand; and of random tables: a right table or an error by name."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeError, SaeInputError, SaeSpecError
from sae.quality import assess

NORMAL = 1.959963984540054  # half-width of a 95 % interval in standard errors


def row(method="fay_herriot", **columns):
    """A share of 0.4, standard error 0.02, with the interval that belongs to it, unless said otherwise."""
    base = {
        "domain": "AT11",
        "unit": "share",
        "method": method,
        "n": 80,
        "estimate": 0.4,
        "se": 0.02,
        "mse": 0.0004,
        "ci_low": 0.4 - 0.02 * NORMAL,
        "ci_high": 0.4 + 0.02 * NORMAL,
        "interval": "posterior, flat-variance prior",
    }
    length = max((len(v) for v in columns.values() if isinstance(v, list)), default=1)
    return pd.DataFrame({**base, **columns}, index=range(length))


def only(frame, policy="statcan", **options):
    return assess(frame, policy, **options).iloc[0]


# the larger of the standard error and the interval


def test_an_interval_that_contradicts_the_standard_error_decides():
    # AT11: half of 0.572 - 0.288 over 1.96 is 0.0725, a CV of 17 %; the printed se says 4.6 %
    verdict = only(row(estimate=0.43, se=0.0197, ci_low=0.288, ci_high=0.572))
    assert verdict["reliability"] == "marginal" and verdict["flag"] == "eu"
    assert verdict["reason"] == "CV by its interval 16.8 % > 16.5 %"
    wider = only(row(estimate=0.43, se=0.0197, ci_low=0.05, ci_high=0.81))
    assert wider["flag"] == ":u" and wider["reason"] == "CV by its interval 45.1 % > 33.3 %"
    assert only(row())["reason"] == ""


def test_the_quantile_is_that_of_the_row():
    half = {level: 0.02 * float(q) for level, q in ((0.5, 0.6744897501960817), (0.95, NORMAL))}
    frame = row(estimate=0.13, se=0.02, ci_low=0.13 - half[0.5], ci_high=0.13 + half[0.5])
    assert only(frame, level=0.5)["reason"] == ""  # as its se says: 15.4 %
    wide = row(estimate=0.13, se=0.02, ci_low=0.13 - half[0.95], ci_high=0.13 + half[0.95])
    assert only(wide, level=0.5)["reason"] == "CV by its interval 44.7 % > 33.3 %"
    # Student's t with 3 degrees of freedom: 3.18 standard errors on either side are no contradiction
    t3 = 3.182446305284263 * 0.02
    direct = row("direct", estimate=0.13, ci_low=0.13 - t3, ci_high=0.13 + t3, interval="t")
    assert only(direct.assign(df=3.0))["reliability"] == "acceptable"
    assert only(direct)["reliability"] == "marginal"
    exact = row(estimate=0.13, ci_low=0.13 - t3, ci_high=0.13 + t3, interval="t on the MSE, benchmarked")
    assert only(exact)["reliability"] == "acceptable"


def test_the_columns_stay_as_estimated_and_a_limit_on_the_width_is_read_at_95_percent():
    frame = row(estimate=0.43, se=0.0197, ci_low=0.288, ci_high=0.572)
    before = frame.copy()
    assess(frame, "statcan")
    pd.testing.assert_frame_equal(frame, before)
    policy = {"name": "width", "rules": [{"measure": "ci_width", "suppress_above": 0.10}]}
    narrow = row(ci_low=0.38, ci_high=0.42)
    assert only(narrow, policy)["publishable"]
    # 0.04 at level 0.5 is 0.116 at 0.95
    assert only(narrow, policy, level=0.5)["reason"] == "width of the interval 11.6 % > 10.0 %"


def test_level_reaches_the_verdict_of_a_result():
    frame = pd.DataFrame(
        {"domain": list("abcdefgh"), "y": [5, 9, 6, 8, 7, 9, 5, 7.0], "vardir": 0.25, "n": 30}
    )
    wide = sae.FayHerriot("y ~ 1", level=0.5).fit(frame).flag("statcan").estimates
    usual = sae.FayHerriot("y ~ 1").fit(frame).flag("statcan").estimates
    assert wide["reliability"].tolist() == usual["reliability"].tolist()


# few records


@pytest.mark.parametrize(
    ("n", "reason"), [(0, "an estimate without any record"), (1, "one record tells nothing")]
)
def test_a_direct_row_of_no_record_or_one_is_never_acceptable(n, reason):
    for frame in (row("direct", n=n), row(n=n).drop(columns="method")):
        verdict = only(frame)
        assert not verdict["publishable"] and verdict["reliability"] == "unacceptable"
        assert reason in verdict["reason"]
    assert only(row("direct", n=2))["publishable"]
    silc = only(row("direct", n=n, pcmiss=0.0), "eurostat_silc")
    assert silc["reason"] == f"n {n} < 20"  # named once


def test_a_model_row_without_a_record_is_what_the_policy_says():
    answers = {"publish": "e", "flag": "eu", "suppress": ":u"}
    for answer, flag in answers.items():
        assert only(row(n=0), {"base": "statcan", "out_of_sample": answer})["flag"] == flag


def test_records_that_are_none_are_refused_by_name():
    with pytest.raises(SaeInputError, match=r"n is no number of records in 1 of 2 rows: -3 \(AT11\)"):
        assess(row(n=[-3, 5]), "statcan")
    with pytest.raises(SaeInputError, match=r"n is no number of records in 1 of 1 rows: 2\.5"):
        assess(row(n=2.5), "statcan")


# a model's error above the direct one, and failed checks


def test_a_model_error_above_the_direct_one_is_named_and_not_clamped():
    frame = row(direct_se=[0.019, 0.021, 0.0, np.nan])
    verdict = assess(frame, "statcan")
    assert verdict["reason"].tolist() == [
        "se 0.02 above the direct 0.019 (the direct one is itself an estimate)",
        "",
        "",
        "",
    ]
    assert verdict["publishable"].all() and (frame["se"] == 0.02).all()
    boot = only(row(direct_se=0.019, mse_method="parametric bootstrap, 200 replicates"))
    assert boot["reason"] == "se 0.02 above the direct 0.019 (the bootstrap averages over samples)"
    assert only(row("direct", direct_se=0.019))["reason"] == ""


def test_failed_checks_stand_in_the_reason_of_every_model_row(rng):
    m = 40
    x = rng.normal(size=m)
    frame = pd.DataFrame({"domain": [f"d{k}" for k in range(m)], "x": x, "vardir": 0.3, "n": 50})
    good = sae.FayHerriot("y ~ x").fit(frame.assign(y=20 + x + rng.normal(size=m)))
    assert good.flag("statcan").estimates["reason"].eq("").all()
    skewed = sae.FayHerriot("y ~ x").fit(frame.assign(y=20 + x + rng.exponential(size=m) ** 2))
    judged = skewed.flag("statcan").estimates
    assert "normality of residuals doubtful" in skewed.summary()
    assert judged["reason"].str.contains("normality of residuals doubtful (p ", regex=False).all()
    assert judged["publishable"].any()  # a note, not an answer


def test_a_bootstrap_verdict_that_another_seed_may_turn_says_so():
    # 200 replicates know a root mean square to one part in 20, two of which are 1.65 points of 16.5
    method = "parametric bootstrap, 200 replicates"
    wide = {"ci_low": 0.3, "ci_high": 0.5}
    se = [0.4 * cv for cv in (0.145, 0.150, 0.180, 0.182)]
    verdict = assess(row(se=se, mse_method=method, ci_low=0.39, ci_high=0.41), "statcan")
    note = "CV within the simulation error of 16.5 %: another seed may judge otherwise"
    assert [note in reason for reason in verdict["reason"]] == [False, True, True, False]
    assert verdict["flag"].tolist() == ["e", "e", "eu", "eu"]
    assert only(row(se=0.062, mse_method="Prasad-Rao", **wide))["reason"] == ""
    assert note not in only(row(se=0.062, mse_method=method.replace("200", "20000"), **wide))["reason"]
    stated = row(se=se, mse_method=f"{method}, se to 1.4%", ci_low=0.39, ci_high=0.41)
    assert not assess(stated, "statcan")["reason"].str.contains(note, regex=False).any()


def test_verdicts_that_turn_with_the_seed_are_marked(rng):
    m = 60
    x, vardir = rng.normal(size=m), rng.uniform(1.5, 4.0, m)
    y = 10.0 + 0.3 * x + rng.normal(size=m) * np.sqrt(1.0 + vardir)
    frame = pd.DataFrame({"domain": [f"d{k}" for k in range(m)], "x": x, "y": y, "vardir": vardir, "n": 50})
    policy = {"name": "limit", "rules": [{"measure": "cv", "flag_above": 0.0, "suppress_above": 0.5}]}
    spec = sae.FayHerriot("y ~ x", mse="bootstrap", replicates=20)
    cv = np.mean([spec.fit(frame, seed=seed).estimates["cv"].to_numpy(float) for seed in range(5)], axis=0)
    policy["rules"][0]["flag_above"] = float(np.median(cv))  # in the midst of the areas
    judged = [spec.fit(frame, seed=seed).flag(policy).estimates for seed in range(5)]
    answers = np.array([table["reliability"].astype(str) for table in judged])
    noted = np.array([table["reason"].str.contains("another seed may judge otherwise") for table in judged])
    turned = (answers != answers[0]).any(axis=0)
    assert turned.sum() > 3 and noted[:, turned].mean() > 0.9 and not noted.all(axis=0).all()
    # by default the errors are so small that few areas lie so near the limit
    sure = sae.FayHerriot("y ~ x", mse="bootstrap").fit(frame, seed=1).flag(policy).estimates
    assert sure["reason"].str.contains("another seed may judge otherwise").sum() < noted.sum(axis=1).min() / 2


# cells that contradict each other


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"ci_low": [np.nan, 0.3], "ci_high": [np.nan, 0.5]}, "a standard error without an interval"),
        ({"ci_low": np.nan, "ci_high": np.nan, "interval": "none: too few areas"}, "without an interval"),
        ({"ci_high": np.nan}, "the interval has one end only"),
        ({"ci_low": 0.45, "ci_high": 0.35}, "the ends of the interval are turned round"),
        ({"ci_low": 0.41, "ci_high": 0.45}, "the estimate lies outside its interval 0.41 to 0.45"),
        ({"estimate": [np.nan, 0.4]}, "no estimate"),
        ({"estimate": np.inf}, "no estimate"),
        ({"se": -0.02}, "the standard error is negative"),
        ({"mse": -0.0004}, "the mse is negative"),
        ({"se": np.inf}, "the standard error is infinite"),
        ({"se": np.nan}, "no CV: standard error missing"),
    ],
)
@pytest.mark.parametrize("method", ["direct", "fay_herriot"])
def test_cells_that_contradict_each_other_are_not_published(cells, reason, method):
    verdict = only(row(method, **cells))
    assert not verdict["publishable"] and reason in verdict["reason"]


def test_a_method_without_intervals_is_judged_by_its_standard_error():
    assert only(row(ci_low=np.nan, ci_high=np.nan, interval=""))["publishable"]


def test_what_is_no_table_for_a_policy_is_refused_by_name():
    with pytest.raises(SaeInputError, match="The rows are a list, not a pandas DataFrame"):
        assess([1, 2], "statcan")
    frame = row()
    with pytest.raises(SaeInputError, match="The rows repeat the columns se"):
        assess(pd.concat([frame, frame[["se"]]], axis=1), "statcan")
    with pytest.raises(SaeSpecError, match="level = 95"):
        assess(frame, "statcan", level=95)
    with pytest.raises(SaeSpecError, match="limits ci_width by more than 1"):
        assess(frame, {"rules": [{"measure": "ci_width", "suppress_above": 30}]})


# random tables: the only outcomes are a right table and an error that names the thing

CELLS = {
    "estimate": [0.5, 0.0, 1.0, -0.1, 45.0, np.nan, np.inf, None, "0.4", "few", True, 1e300],
    "se": [0.01, 0.0, -0.01, np.nan, np.inf, 0.3, None, "0,02", 1e-300],
    "mse": [1e-4, 0.0, -1.0, np.nan, np.inf],
    "ci_low": [0.4, 0.6, np.nan, -np.inf, None],
    "ci_high": [0.6, 0.4, np.nan, np.inf, None],
    "direct_se": [0.02, 0.0, np.nan, -1.0, np.inf],
    "n": [100, 0, 1, 3, 20, -1, 2.5, np.nan, None, np.inf, "60"],
    "n_eff": [50.0, 0.0, np.nan, np.inf],
    "pcmiss": [0.0, 0.2, 1.0, 1.2, np.nan],
    "population": [1e5, 0.0, -1.0, np.nan],
    "df": [3, 0.0, np.nan, np.inf],
    "unit": ["share", "EUR", "", None],
    "method": ["direct", "fay_herriot", "", None],
    "in_sample": [True, False, None],
    "interval": ["t", "t on the MSE", "none: too few areas", "", None],
    "geo": ["PT17", "", None, 7],
    "time": ["2024", "2024-Q1", None, 2024],
}
NUMBERS = ["estimate", "se", "mse", "ci_low", "ci_high", "n"]
POLICIES = [
    "eurostat_lfs",
    "eurostat_silc",
    "statcan",
    {"base": "eurostat_lfs", "limits": {"PT": {"annual": [10, 20]}, "AT": [1, 2]}},
    {"base": "statcan", "out_of_sample": "publish"},
    {"rules": [{"measure": "ci_width", "suppress_above": 0.3}, {"measure": "n_eff", "flag_below": 30}]},
]


def random_table(rng):
    rows = int(rng.integers(0, 4))
    chosen = [name for name in CELLS if name in ("estimate", "se") or rng.random() < 0.7]
    columns = {
        # mostly sound cells, so that the rest of the row is reached
        name: [
            CELLS[name][0 if rng.random() < 0.5 else int(rng.integers(len(CELLS[name])))] for _ in range(rows)
        ]
        for name in chosen
        if rng.random() > 0.02
    }
    return pd.DataFrame(columns)


def check_table(frame, policy):
    """Assess; whatever is called publishable must be so by what a reader sees in the row."""
    verdict = assess(frame, policy)
    assert verdict.index.equals(frame.index)
    assert verdict["publishable"].isna().tolist() == (verdict["reliability"] == "not assessed").tolist()
    good = verdict["publishable"].fillna(False).to_numpy(dtype=bool)
    # a row that is held back says why
    assert (verdict["reason"].str.len() > 0)[~good].all()
    seen = pd.DataFrame(
        {
            name: pd.to_numeric(frame[name].astype("object"), errors="coerce").to_numpy(
                float, na_value=np.nan
            )
            for name in NUMBERS
            if name in frame
        },
        index=frame.index,
    )[good]
    assert np.isfinite(seen["estimate"]).all() and not (seen["se"] < 0).any()
    low, high = (
        seen[name] if name in seen else pd.Series(np.nan, seen.index) for name in ("ci_low", "ci_high")
    )
    assert (
        not (low > high).any() and not (seen["estimate"] < low).any() and not (seen["estimate"] > high).any()
    )
    if "mse" in seen:
        assert not (seen["mse"] < 0).any()
    direct = frame["method"].eq("direct") if "method" in frame else pd.Series(True, frame.index)
    if "n" in seen:
        assert not (seen["n"][direct[good]] <= 1).any()


@pytest.mark.parametrize("number", [250, pytest.param(10_000, marks=pytest.mark.slow)])
def test_random_tables_give_a_right_verdict_or_an_error_by_name(number):
    rng = np.random.default_rng(20261128)
    judged = 0
    for _ in range(number):
        frame, policy = random_table(rng), POLICIES[int(rng.integers(len(POLICIES)))]
        try:
            check_table(frame, policy)
            judged += 1
        except SaeError as error:
            named = [*CELLS, "estimate", "se", "table"]
            assert any(name in str(error) for name in named), error
    assert judged > number / 4  # the sound part of the tables is reached
