"""Publication policies at their limits, worked out by hand."""

import pandas as pd
import pytest

from sae.errors import SaeInputError, SaeSpecError
from sae.quality import assess, load_policy, policy_names


def table(method="direct", **columns):
    """One row per value of the longest column; a share of 0.5 with a small error unless said otherwise."""
    base = {
        "unit": "share",
        "estimate": 0.5,
        "se": 0.01,
        "n": 100,
        "method": method,
        "geo": "PT17",
        "time": "2024",
    }
    length = max((len(v) for v in columns.values() if isinstance(v, list)), default=1)
    return pd.DataFrame({**base, **columns}, index=range(3, 3 + length))


def flags(frame, policy):
    return assess(frame, policy)["flag"].tolist()


def test_the_index_and_the_columns():
    result = assess(table(n=[10, 60]), "eurostat_silc")
    assert result.index.tolist() == [3, 4]
    assert result.columns.tolist() == ["reliability", "flag", "publishable", "reason", "policy"]
    assert result["policy"].tolist() == ["eurostat_silc"] * 2


# EU-SILC: suppressed below 20 records or above 50 % item non-response, flagged below 50 or above 20 %


def test_silc_sample_size_limits():
    result = assess(table(n=[19, 20, 49, 50, None]), "eurostat_silc")
    assert result["flag"].tolist() == [":u", "u", "u", "", ":u"]
    assert result["publishable"].tolist() == [False, True, True, True, False]
    assert result["reliability"].tolist()[:4] == [
        "not publishable",
        "low reliability",
        "low reliability",
        "reliable",
    ]
    assert result["reason"].tolist()[0].startswith("n 19 < 20; item non-response not in the table")
    assert result["reason"].tolist()[4].startswith("n not known")


def test_silc_item_non_response_limits():
    result = assess(table(pcmiss=[0.20, 0.2001, 0.50, 0.5001]), "eurostat_silc")
    assert result["flag"].tolist() == ["", "u", "u", ":u"]
    assert result["reason"].tolist() == [
        "",
        "item non-response 20.01 % > 20.00 %",
        "item non-response 50.0 % > 20.0 %",
        "item non-response 50.01 % > 50.00 %",
    ]


def test_silc_strictest_rule_wins_and_all_reasons_are_named():
    result = assess(table(n=[30], pcmiss=[0.6]), "eurostat_silc").iloc[0]
    assert result["flag"] == ":u"
    assert result["reason"] == "n 30 < 50; item non-response 60.0 % > 50.0 %"


def test_silc_judges_a_model_row_by_its_own_error_not_by_n():
    # on p = 0.5 the limits 16.5 % and 33.3 % are standard errors of 0.0825 and 0.1665
    result = assess(
        table("fay_herriot", n=12, se=[0.0825, 0.0826, 0.1665, 0.1666], pcmiss=0.0), "eurostat_silc"
    )
    assert result["flag"].tolist() == ["e", "eu", "eu", ":u"]
    assert result["reason"].tolist()[3] == "CV 33.32 % > 33.30 %"


def test_silc_model_share_near_one_is_judged_by_its_smaller_side():
    # p = 0.95, se = 0.01: CV 1 %, but 20 % of the complement
    result = assess(table("fay_herriot", estimate=[0.95, 0.05], se=0.01, pcmiss=0.0), "eurostat_silc")
    assert result["flag"].tolist() == ["eu", "eu"]
    # the table prints the CV of p beside it, 1 %: the reason says that it is about the other side
    assert result["reason"].tolist() == ["CV of 1 − p 20.0 % > 16.5 %", "CV 20.0 % > 16.5 %"]
    euros = assess(table("fay_herriot", unit="EUR", estimate=0.95, se=0.01, pcmiss=0.0), "eurostat_silc")
    assert euros["flag"].tolist() == ["e"]


# EU-LFS: at least four records; two limits per country on the estimated population


def test_lfs_never_three_records_or_fewer():
    policy = {"base": "eurostat_lfs", "limits": [0, 0]}
    result = assess(table(n=[1, 3, 4], population=1e6), policy)
    assert result["flag"].tolist() == [":c", ":c", ""]
    assert result["reason"].tolist() == ["n 1 < 4", "n 3 < 4", ""]


def test_lfs_country_limits_by_frequency():
    policy = {
        "base": "eurostat_lfs",
        "limits": {"PT": {"annual": [3000, 6000], "quarterly": [7500, 9000]}, "AT": [1, 2]},
    }
    frame = table(
        population=[2999, 3000, 5999, 6000, 7000, 1.5],
        time=["2024"] * 4 + ["2024-Q1", "2024"],
        geo=["PT17"] * 5 + ["AT13"],
    )
    result = assess(frame, policy)
    assert result["flag"].tolist() == [":u", "u", "u", "", ":u", "u"]
    assert result["reason"].tolist()[0] == "estimated population 2,999 < 3,000"


def test_lfs_without_limits_says_so_and_claims_nothing():
    result = assess(table(n=[3, 10], population=5000.0), "eurostat_lfs")
    assert result["publishable"].tolist()[0] is False
    assert result["publishable"].isna().tolist() == [False, True]
    assert result["reliability"].tolist() == ["not publishable", "not assessed"]
    assert result["reason"].tolist()[1] == "no limits given for the population"
    other = assess(table(geo="ES30", population=5000.0), {"base": "eurostat_lfs", "limits": {"PT": [1, 2]}})
    assert other["reliability"].tolist() == ["not assessed"]
    no_column = assess(table(), {"base": "eurostat_lfs", "limits": [1, 2]})
    assert "estimated population not in the table" in no_column["reason"].tolist()[0]


def test_lfs_rate_by_the_smaller_of_numerator_and_denominator_where_asked():
    rules = [{"measure": "population", "smaller_side": True}]
    policy = {"base": "eurostat_lfs", "rules": rules, "limits": [1000, 2000]}
    assert flags(table(estimate=[0.1, 0.25, 0.9], population=6000.0), policy) == [":u", "u", ""]


def test_lfs_model_row_of_a_tiny_cell_stands_but_its_direct_columns_do_not():
    result = assess(table("fay_herriot", n=[2, 0, 10], in_sample=[True, False, True]), "eurostat_lfs")
    assert result["flag"].tolist() == ["e", "eu", "e"]
    assert result["reason"].tolist() == [
        "direct columns confidential: n 2 < 4",
        "no record in the sample: predicted by the model alone",
        "",
    ]


# Statistics Canada: CV up to 16.5 % acceptable, up to 33.3 % marginal


@pytest.mark.parametrize(("method", "mark"), [("direct", ""), ("fay_herriot", "e")])
def test_statcan_bands(method, mark):
    result = assess(table(method, unit="EUR", estimate=1000.0, se=[165.0, 165.1, 333.0, 333.1]), "statcan")
    assert result["flag"].tolist() == [mark, f"{mark}u", f"{mark}u", ":u"]
    assert result["reliability"].tolist() == ["acceptable", "marginal", "marginal", "unacceptable"]
    assert result["reason"].tolist()[1] == "CV 16.51 % > 16.50 %"


def test_statcan_with_the_smaller_side_where_the_user_says_so():
    rule = {"measure": "cv", "flag_above": 0.165, "suppress_above": 0.333}
    frame = table(estimate=[0.9], se=[0.02])  # CV 2.2 %, of the complement 20 %
    assert flags(frame, "statcan") == [""]
    assert flags(frame, {"base": "statcan", "rules": [{**rule, "smaller_side": True}]}) == ["u"]


@pytest.mark.parametrize("se", [0.0, None])
def test_a_standard_error_of_zero_is_never_certainty(se):
    result = assess(table(se=[se]), "statcan").iloc[0]
    assert result["flag"] == ":u" and not result["publishable"]
    assert result["reason"].startswith("no CV: standard error missing or 0")


def test_aggregate_of_model_estimates_is_model_based():
    assert flags(table("aggregate of fay_herriot", n=5000), "statcan") == ["e"]


def test_table_of_direct_estimates_has_no_method_and_is_direct():
    assert flags(table(n=[60]).drop(columns="method"), "eurostat_silc") == [""]


@pytest.mark.parametrize("policy", ["eurostat_silc", "eurostat_lfs", "statcan"])
@pytest.mark.parametrize("method", ["direct", "fay_herriot"])
def test_no_estimate_is_a_row_with_its_reason(policy, method):
    result = assess(table(method, estimate=[None, None], se=None, n=[0, 7]), policy)
    assert result["flag"].tolist() == [":", ":"]
    assert result["publishable"].tolist() == [False, False]
    assert result["reason"].tolist() == ["no estimate: no record in the sample", "no estimate"]


def test_share_outside_its_range_is_not_published():
    result = assess(table("fay_herriot", estimate=[1.02, -0.01, 1.0], se=0.001), "statcan")
    assert result["publishable"].tolist() == [False, False, True]
    assert "a share of 1.02 lies outside 0 to 1" in result["reason"].tolist()[0]


@pytest.mark.parametrize(("answer", "flag"), [("publish", "e"), ("flag", "eu"), ("suppress", ":u")])
def test_out_of_sample_areas(answer, flag):
    frame = table("fay_herriot", n=[0], in_sample=[False])
    assert flags(frame, {"base": "statcan", "out_of_sample": answer}) == [flag]


def test_own_policy_from_a_file(tmp_path):
    path = tmp_path / "office.toml"
    path.write_text(
        'words = ["fit", "caution", "no"]\n'
        '[[rules]]\nmeasure = "n_eff"\nsuppress_below = 30\n'
        '[[rules]]\nmeasure = "ci_width"\nflag_above = 0.10\nsuppress_above = 0.30\n',
        encoding="utf-8",
    )
    frame = table(n_eff=[29.9, 30, 30, 30], ci_low=0.4, ci_high=[0.45, 0.5, 0.501, 0.701])
    result = assess(frame, path)
    assert result["flag"].tolist() == [":u", "", "u", ":u"]
    assert result["reliability"].tolist() == ["no", "fit", "caution", "no"]
    assert result["reason"].tolist()[:3] == [
        "effective n 29.9 < 30",
        "",
        "width of the interval 10.1 % > 10.0 %",
    ]
    assert result["policy"].tolist()[0] == "office"
    assert assess(frame, str(path)).equals(result)


def test_shipped_policies_hold_what_their_source_says():
    assert policy_names() == ("eurostat_lfs", "eurostat_silc", "statcan")
    for name in policy_names():
        policy = load_policy(name)
        assert policy.name == name and policy.title and policy.source
        # every policy answers for direct and for model-based rows
        kinds = {rule.applies_to for rule in policy.rules}
        assert "all" in kinds or {"direct", "model"} <= kinds
    assert load_policy("eurostat_lfs").limits is None


@pytest.mark.parametrize(
    ("policy", "match"),
    [
        ("eurostat_slic", "no policy 'eurostat_slic'; did you mean 'eurostat_silc'"),
        ("missing.toml", "no policy file missing.toml"),
        ({"rules": []}, "has no rules"),
        ({"name": "x"}, "has no rules"),
        ({"rules": [{"flag_below": 3}]}, "has no measure"),
        ({"rules": [{"measure": "size", "flag_below": 3}]}, "measure = 'size'"),
        ({"rules": [{"measure": "n"}]}, "has no limit"),
        ({"rules": [{"measure": "cv", "flag_above": 16.5}]}, "Give a fraction"),
        (
            {"rules": [{"measure": "n", "flag_below": 20, "suppress_below": 50}]},
            "suppresses rows that it does not",
        ),
        ({"rules": [{"measure": "n", "below": 20}]}, "no field below"),
        ({"rules": [{"measure": "n", "flag_below": "many"}]}, "not a number"),
        ({"base": "statcan", "limits": [1, 2]}, "no rule that uses them"),
        ({"base": "eurostat_lfs", "limits": {"PT": [6000, 3000]}}, r"limits.PT = \[6000, 3000\]"),
        ({"base": "statcan", "out_of_sample": "maybe"}, "'maybe' is no answer"),
        ({"base": "statcan", "flags": 1}, "no field flags"),
    ],
)
def test_what_a_policy_cannot_hold_is_refused_by_name(policy, match):
    with pytest.raises(SaeSpecError, match=match):
        load_policy(policy)


def test_broken_policy_file(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text("rules = [", encoding="utf-8")
    with pytest.raises(SaeSpecError, match=r"p.toml is not a TOML file"):
        load_policy(path)


def test_table_without_errors_and_percentages_are_refused():
    with pytest.raises(SaeInputError, match="no column 'se'"):
        assess(table().drop(columns="se"), "statcan")
    with pytest.raises(SaeInputError, match="pcmiss goes from 12 to 12"):
        assess(table(pcmiss=[12.0]), "eurostat_silc")
