"""Policies in sentences: every limit of a rule is said, with its unit and what follows."""

import re

import pytest

from sae.quality import Policy, load_policy, policy_names
from sae.quality.policy_text import policy_notes, policy_sentences


@pytest.mark.parametrize("name", policy_names())
def test_every_limit_of_a_policy_of_the_package_is_said(name):
    policy = load_policy(name)
    texts = policy_sentences(policy)
    assert len(texts) == len(policy.rules) + 1
    for rule, text in zip(policy.rules, texts, strict=False):
        limits = [rule.suppress_below, rule.flag_below, rule.flag_above, rule.suppress_above]
        numbers = [float(number) for number in re.findall(r"(?:below|above) ([\d.]+)", text)]
        scale = 100 if rule.measure in ("cv", "pcmiss") else 1
        assert sorted(numbers) == pytest.approx(
            sorted(scale * limit for limit in limits if limit is not None)
        )


def test_what_a_rule_does_with_whom():
    policy = load_policy(
        {"name": "own", "out_of_sample": "suppress", "rules": [{"measure": "n_eff", "flag_below": 30}]}
    )
    assert policy_sentences(policy) == [
        "All figures: effective sample size below 30 marked u.",
        "Areas without any record in the sample: withheld.",
    ]
    assert "the country's limits" in policy_sentences(load_policy("eurostat_lfs"))[0]
    assert isinstance(policy, Policy)


def test_a_policy_of_the_package_has_its_source_and_an_own_one_its_name():
    notes = policy_notes(["eurostat_silc", "city office"])
    assert "n < 20" in notes[0][1] and notes[0][0] == "Policy"
    assert ("Policy", "city office: a policy of the office.") in notes
