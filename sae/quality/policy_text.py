"""What a publication policy says, in sentences: its title, where it comes from, what each rule does."""

from __future__ import annotations

from collections.abc import Iterable

from sae.quality.policy import Policy, Rule, load_policy, policy_names

__all__ = ["policy_notes", "policy_sentences"]

_MEASURES = {
    "n": "records in the sample",
    "n_eff": "effective sample size",
    "cv": "coefficient of variation",
    "ci_width": "width of the interval",
    "pcmiss": "item non-response",
    "population": "estimated population",
}
_ROWS = {"all": "All figures", "direct": "Direct figures", "model": "Model-based figures"}
_UNSAMPLED = {"publish": "published", "flag": "marked u", "suppress": "withheld"}


def policy_sentences(policy: Policy) -> list[str]:
    """Return what the rules of a policy do with a figure, one sentence a rule.

    Examples
    --------
    >>> from sae.quality.policy_text import policy_sentences
    >>> policy_sentences(sae.quality.load_policy("statcan"))[0]
    'All figures: coefficient of variation above 33.3 % withheld, above 16.5 % marked u.'
    """
    unsampled = _UNSAMPLED[policy.out_of_sample]
    return [*map(_sentence, policy.rules), f"Areas without any record in the sample: {unsampled}."]


def policy_notes(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return heading and text of what is known of policies by their names; of an own one it is the name."""
    notes = []
    for name in names:
        if name not in policy_names():
            notes.append(("Policy", f"{name}: a policy of the office."))
            continue
        policy = load_policy(name)
        notes.append(("Policy", f"{policy.title} ({name}). {policy.source}."))
        notes += [("Rule", text) for text in policy_sentences(policy)]
        notes.append(("Classes", ", ".join(policy.words)))
    return notes


def _sentence(rule: Rule) -> str:
    what = _MEASURES[rule.measure]
    if rule.smaller_side:
        what += (
            " of the smaller of p and 1 - p" if rule.measure == "cv" else " of the smaller side of a share"
        )
    if rule.measure == "population":
        done = "below the first of the country's limits withheld, below the second marked u"
    else:
        percent = rule.measure in ("cv", "pcmiss")
        limits = (
            ("below", rule.suppress_below, "withheld"),
            ("below", rule.flag_below, "marked u"),
            ("above", rule.suppress_above, "withheld"),
            ("above", rule.flag_above, "marked u"),
        )
        done = ", ".join(
            f"{side} {_limit(value, percent)} {answer}" for side, value, answer in limits if value is not None
        )
    confidential = " as confidential" if rule.purpose == "confidentiality" else ""
    return f"{_ROWS[rule.applies_to]}: {what} {done}{confidential}."


def _limit(value: float, percent: bool) -> str:
    return f"{100 * value:.4g} %" if percent else f"{value:g}"
