"""Judge the rows of a table by a publication policy, with the reasons in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeInputError
from sae.quality.policy import Policy, Rule, load_policy
from sae.tables import require, to_numbers

__all__ = ["assess"]

_GOOD, _FLAGGED, _OPEN, _SUPPRESSED = range(4)
_ANSWER = {"suppress": _SUPPRESSED, "open": _OPEN, "note": _GOOD}


def assess(frame: pd.DataFrame, policy: str | Path | Mapping[str, Any] | Policy) -> pd.DataFrame:
    """Judge every row of a table of estimates by `policy`.

    A row is direct when its ``method`` is "direct" or the table has no ``method`` (a table of direct
    estimates); every other row, aggregates of model estimates included, is model-based. What a policy asks of
    model-based rows stands in its file.

    Parameters
    ----------
    frame : DataFrame
        ``estimate`` and ``se``, and what the policy looks at: ``n``, ``n_eff``, ``ci_low`` and ``ci_high``,
        ``pcmiss`` (share of item non-response, 0 to 1), ``population`` (estimated population of the cell);
        ``unit`` tells the shares, ``in_sample`` the areas without a sample.
    policy : str, Path, mapping or Policy
        As in `load_policy`.

    Returns
    -------
    DataFrame
        On the index of `frame`: ``reliability``, ``flag``, ``publishable``, ``reason``, ``policy``.
        Flags: "e" model-based, "u" low reliability, ":" not available, ":u" suppressed as unreliable,
        ":c" suppressed for confidentiality. A row that the policy cannot judge is "not assessed" and its
        ``publishable`` missing.

    Raises
    ------
    SaeInputError
        If the table has no estimates or standard errors, or a share of non-response is not between 0 and 1.

    Examples
    --------
    >>> table = pd.DataFrame({"estimate": [0.5, 0.5], "se": [0.05, 0.10], "n": [80, 12]})
    >>> sae.quality.assess(table, "eurostat_silc")[["flag", "publishable"]].values.tolist()
    [['', True], [':u', False]]
    """
    policy = load_policy(policy)
    require(frame, ["estimate", "se"], "The table has", "(that a policy needs)")
    rows = _Rows(frame)
    verdict = _Verdict(len(frame))
    verdict.judge(rows.absent & (rows.n == 0), _SUPPRESSED, "no estimate: no record in the sample")
    verdict.judge(rows.absent & (rows.n != 0), _SUPPRESSED, "no estimate")
    outside = rows.share & ((rows.estimate < 0) | (rows.estimate > 1))
    verdict.judge(
        outside, _SUPPRESSED, lambda row: f"a share of {rows.estimate[row]:.3g} lies outside 0 to 1"
    )
    for rule in policy.rules:
        _apply(rule, policy.limits, rows, verdict)
    unsampled = ~rows.absent & ~rows.direct & rows.out_of_sample
    answer = {"publish": _GOOD, "flag": _FLAGGED, "suppress": _SUPPRESSED}[policy.out_of_sample]
    verdict.judge(unsampled, answer, "no record in the sample: predicted by the model alone")
    return verdict.table(rows, policy).set_axis(frame.index)


class _Rows:
    """The columns of a table of estimates as arrays; what the table lacks is missing."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame
        self.estimate, self.se, self.n = (self.number(name) for name in ("estimate", "se", "n"))
        self.absent = ~np.isfinite(self.estimate)
        self.share = self.text("unit") == "share"
        self.direct = (
            self.text("method") == "direct" if "method" in frame else np.ones(len(frame), dtype=bool)
        )
        self.out_of_sample = self.n == 0
        if "in_sample" in frame:
            self.out_of_sample |= frame["in_sample"].eq(False).fillna(False).to_numpy(dtype=bool)
        missing_share = self.number("pcmiss")
        if (missing_share > 1).any() or (missing_share < 0).any():
            raise SaeInputError(
                f"pcmiss goes from {np.nanmin(missing_share):g} to {np.nanmax(missing_share):g}.",
                hint="Give the share of item non-response as a fraction between 0 and 1.",
                column="pcmiss",
            )

    def number(self, name: str) -> np.ndarray:
        if name not in self._frame:
            return np.full(len(self._frame), np.nan)
        return to_numbers(self._frame, name)

    def text(self, name: str) -> np.ndarray:
        if name not in self._frame:
            return np.full(len(self._frame), "")
        return self._frame[name].astype("object").fillna("").to_numpy().astype(str)

    def measure(self, rule: Rule) -> np.ndarray:
        """Value of the rule's measure in every row, missing where it cannot be known."""
        if rule.measure == "cv":
            # a standard error of 0 says that the few records are alike, not that the figure is certain
            se = np.where(self.se > 0, self.se, np.nan)
            size = np.abs(self.estimate)
            if rule.smaller_side:
                size = np.where(self.share, np.minimum(self.estimate, 1 - self.estimate), size)
            return np.divide(se, size, out=np.full_like(se, np.nan), where=size > 0)
        if rule.measure == "ci_width":
            return self.number("ci_high") - self.number("ci_low")
        values = self.number(rule.measure)
        if rule.measure == "population" and rule.smaller_side:
            return np.where(self.share, values * self.estimate, values)
        return values

    def limits(self, given: Any) -> tuple[np.ndarray, np.ndarray]:
        """Limits (a, b) on the population of every row, missing where none are given for its country."""
        if given is None:
            given = (np.nan, np.nan)
        if not isinstance(given, Mapping):
            below, above = (np.full(len(self._frame), float(limit)) for limit in given)
            return below, above
        country = self.text("country") if "country" in self._frame else self.text("geo").astype("U2")
        frequency = np.where(np.char.count(self.text("time"), "Q") > 0, "quarterly", "annual")
        pairs = []
        for name, often in zip(country.tolist(), frequency.tolist(), strict=True):
            pair = given.get(name)
            pair = pair.get(often) if isinstance(pair, Mapping) else pair
            pairs.append((np.nan, np.nan) if pair is None else pair)
        low, high = np.array(pairs, dtype=float).reshape(-1, 2).T
        return low, high


class _Verdict:
    """The strictest answer so far for every row, with the reasons in words."""

    def __init__(self, size: int) -> None:
        self.status = np.full(size, _GOOD)
        self.secret = np.zeros(size, dtype=bool)
        self.reasons: list[list[str]] = [[] for _ in range(size)]

    def judge(self, hit: np.ndarray, answer: int, words: str | Callable[[int], str]) -> None:
        self.status[hit] = np.maximum(self.status[hit], answer)
        for row in np.flatnonzero(hit).tolist():
            self.reasons[row].append(words if isinstance(words, str) else words(row))

    def table(self, rows: _Rows, policy: Policy) -> pd.DataFrame:
        good, flagged, suppressed = policy.words
        words = np.array([good, flagged, "not assessed", suppressed], dtype=object)
        flag = np.where(rows.direct, "", "e").astype(object)
        flag[self.status == _FLAGGED] += "u"
        flag[self.status == _SUPPRESSED] = ":u"
        flag[self.secret] = ":c"
        flag[rows.absent] = ":"
        publishable = pd.array(self.status < _OPEN, dtype="boolean")
        publishable[self.status == _OPEN] = pd.NA
        columns = {
            "reliability": words[self.status],
            "flag": flag,
            "reason": ["; ".join(reason) for reason in self.reasons],
            "policy": [policy.name] * len(flag),
        }
        texts = {name: pd.array(values, dtype="string") for name, values in columns.items()}
        table = pd.DataFrame({**texts, "publishable": publishable})
        return table[["reliability", "flag", "publishable", "reason", "policy"]]


def _apply(rule: Rule, limits: Any, rows: _Rows, verdict: _Verdict) -> None:
    judged = {"all": True, "direct": rows.direct, "model": ~rows.direct}[rule.applies_to] & ~rows.absent
    value, name = rows.measure(rule), _NAME[rule.measure]
    known = np.isfinite(value)
    verdict.judge(judged & ~known, _ANSWER[rule.missing], _UNKNOWN.get(rule.measure, f"{name} not known"))
    suppress_below: Any = rule.suppress_below
    flag_below: Any = rule.flag_below
    if rule.measure == "population":
        suppress_below, flag_below = rows.limits(limits)
        judged &= known
        verdict.judge(
            judged & np.isnan(flag_below), _ANSWER[rule.missing], "no limits given for the population"
        )
    # each limit with its answer, the stricter first, so that a row is named once
    checks = [
        (suppress_below, "<", _SUPPRESSED),
        (rule.suppress_above, ">", _SUPPRESSED),
        (flag_below, "<", _FLAGGED),
        (rule.flag_above, ">", _FLAGGED),
    ]
    # the table prints the CV of p beside a reason that may be about the smaller of p and 1 - p
    other_side = (
        rows.share & (rows.estimate > 0.5) if rule.measure == "cv" and rule.smaller_side else ~known & known
    )
    left = known.copy()
    for limit, sign, answer in checks:
        if limit is None:
            continue
        bound = np.broadcast_to(np.asarray(limit, dtype=float), value.shape)
        beyond = left & (value < bound if sign == "<" else value > bound)
        left &= ~beyond

        def words(row: int, bound: np.ndarray = bound, sign: str = sign) -> str:
            side = " of 1 − p" if other_side[row] else ""
            return f"{name}{side} {_compare(rule.measure, value[row], sign, bound[row], rows.share[row])}"

        verdict.judge(judged & beyond, answer, words)
        if rule.purpose == "confidentiality" and answer == _SUPPRESSED:
            verdict.secret |= judged & beyond
            # a model-based row may stand, but the table shows the direct estimate beside it
            beside = ~judged & beyond & ~rows.absent & (rows.n > 0)
            for row in np.flatnonzero(beside).tolist():
                verdict.reasons[row].append(f"direct columns confidential: {words(row)}")


_NAME = {
    "n": "n",
    "n_eff": "effective n",
    "cv": "CV",
    "ci_width": "width of the interval",
    "pcmiss": "item non-response",
    "population": "estimated population",
}
_UNKNOWN = {
    "cv": "no CV: standard error missing or 0, or estimate at the end of its range",
    "pcmiss": "item non-response not in the table, so not checked",
    "population": "estimated population not in the table, so its limits are not checked",
}


def _compare(measure: str, value: float, sign: str, limit: float, share: bool) -> str:
    """Write "12 < 20" with just enough digits that the two numbers differ."""
    percent = measure in ("cv", "pcmiss") or (measure == "ci_width" and share)
    scale, unit = (100.0, " %") if percent else (1.0, "")
    least = 1 if percent or measure == "n_eff" else 0
    for digits in range(least, 12):
        texts = [f"{number * scale:,.{digits}f}" for number in (value, limit)]
        if texts[0] != texts[1]:
            break
    texts = [text.rstrip("0").rstrip(".") if "." in text and not percent else text for text in texts]
    return f"{texts[0]}{unit} {sign} {texts[1]}{unit}"
