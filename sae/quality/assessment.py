"""Judge the rows of a table by a publication policy, with the reasons in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from scipy.special import ndtri, stdtrit

from sae.calls import answered
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.quality.policy import Policy, Rule, load_policy
from sae.tables import pandas_frame, require, to_numbers
from sae.tables.base import Table

__all__ = ["DIRECT_CONFIDENTIAL", "assess"]

DIRECT_CONFIDENTIAL = "direct columns confidential"  # in the reason of a row whose estimate may stand

_GOOD, _FLAGGED, _OPEN, _SUPPRESSED = range(4)
_ANSWER = {"suppress": _SUPPRESSED, "open": _OPEN, "note": _GOOD}
_ROUNDING = 1e-9  # two routes to the same number
_VERDICT = ["reliability", "flag", "publishable", "reason", "policy"]
_LEVEL = 0.95  # at which a policy reads the width of an interval
_REPLICATES = re.compile(r"bootstrap.* (\d+) replicates(?:, se to ([\d.]+)%)?")
_EXACT = "t on the MSE"  # intervals that are a quantile times the standard error, whatever the quantile


@answered
def assess(
    frame: Any,
    policy: str | Path | Mapping[str, Any] | Policy,
    *,
    level: float = _LEVEL,
    doubts: Sequence[str] = (),
) -> pd.DataFrame:
    """Judge every row of a table of estimates by `policy`.

    A row is direct when its ``method`` is "direct" or the table has no ``method`` (a table of direct
    estimates); every other row, aggregates of model estimates included, is model-based. What a policy asks of
    model-based rows stands in its file.

    A CV is judged by the larger of ``se`` and the half-width of the interval over its quantile (Student's t
    where the table has ``df``), and the reason says so; the columns stay as they are. A row whose cells
    contradict each other (half an interval, an estimate outside it, a negative variance) is not publishable,
    nor is a direct estimate from one record.

    Parameters
    ----------
    frame : DataFrame, table or Result
        A result is judged as by `Result.flag`; a table has ``estimate`` and ``se``, and what the policy looks
        at: ``n``, ``n_eff``, ``ci_low`` and ``ci_high``, ``pcmiss`` (share of item non-response, 0 to 1),
        ``population`` (estimated population of the cell); ``unit`` tells the shares, ``in_sample`` the areas
        without a sample.
    policy : str, Path, mapping or Policy
        As in `load_policy`.
    level : float
        Of the intervals.
    doubts : sequence of str
        Diagnostics that the model fails; they stand in the reason of every model-based row and change no
        answer.

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
        If the table has no estimates or standard errors, a column twice, a number of records that is none, or
        a share of non-response is not between 0 and 1.
    SaeSpecError
        If the policy cannot be loaded, or limits the width of a share's interval in percent.

    Examples
    --------
    >>> table = pd.DataFrame({"estimate": [0.5, 0.5], "se": [0.05, 0.10], "n": [80, 12]})
    >>> sae.quality.assess(table, "eurostat_silc")[["flag", "publishable"]].values.tolist()
    [['', True], [':u', False]]
    """
    policy = load_policy(policy)
    if isinstance(frame, Table):
        frame = frame.frame
    elif not isinstance(frame, pd.DataFrame) and hasattr(frame, "estimates") and hasattr(frame, "flag"):
        # a result knows the level of its intervals and the checks that it fails
        return cast(pd.DataFrame, frame.flag(policy).estimates[_VERDICT])
    frame = pandas_frame(frame, "The rows")
    require(frame, ["estimate", "se"], "The table has", "(that a policy needs)")
    if not 0 < level < 1:
        raise SaeSpecError(f"level = {level!r} is no level of intervals.", hint="Give one such as 0.95.")
    rows = _Rows(frame, level)
    verdict = _Verdict(len(frame))
    verdict.judge(rows.absent & (rows.n == 0), _SUPPRESSED, "no estimate: no record in the sample")
    verdict.judge(rows.absent & (rows.n != 0), _SUPPRESSED, "no estimate")
    outside = rows.share & ((rows.estimate < 0) | (rows.estimate > 1))
    verdict.judge(
        outside, _SUPPRESSED, lambda row: f"a share of {rows.estimate[row]:.3g} lies outside 0 to 1"
    )
    _contradictions(rows, verdict)
    for rule in policy.rules:
        _apply(rule, policy.limits, rows, verdict)
    unsampled = ~rows.absent & ~rows.direct & rows.out_of_sample
    answer = {"publish": _GOOD, "flag": _FLAGGED, "suppress": _SUPPRESSED}[policy.out_of_sample]
    verdict.judge(unsampled, answer, "no record in the sample: predicted by the model alone")
    alone = ~rows.absent & rows.direct & (rows.n <= 1) & (verdict.status < _SUPPRESSED)
    verdict.judge(alone & (rows.n == 0), _SUPPRESSED, "an estimate without any record in the sample")
    verdict.judge(alone & (rows.n == 1), _SUPPRESSED, "one record tells nothing of its own error")
    _notes(rows, verdict, doubts)
    return verdict.table(rows, policy).set_axis(frame.index)


def _contradictions(rows: _Rows, verdict: _Verdict) -> None:
    """Suppress the rows whose cells cannot all be true."""
    here = ~rows.absent
    for name, values in (("standard error", rows.se), ("mse", rows.mse)):
        verdict.judge(here & (values < 0), _SUPPRESSED, f"the {name} is negative")
        verdict.judge(here & np.isinf(values), _SUPPRESSED, f"the {name} is infinite")
    ends = np.isfinite(rows.low).astype(int) + np.isfinite(rows.high)
    verdict.judge(here & (ends == 1), _SUPPRESSED, "the interval has one end only")
    # a method without intervals leaves the whole column empty
    given = (ends == 2).any() | rows.of_text("interval", lambda text: text.startswith("none"))
    verdict.judge(
        here & (ends == 0) & (rows.se > 0) & given,
        _SUPPRESSED,
        "a standard error without an interval: too little is known of the error",
    )
    slack = _ROUNDING * (np.abs(rows.estimate) + np.abs(rows.low) + np.abs(rows.high))
    turned = here & (rows.low > rows.high)
    verdict.judge(turned, _SUPPRESSED, "the ends of the interval are turned round")
    outside = (rows.estimate < rows.low - slack) | (rows.estimate > rows.high + slack)
    verdict.judge(
        here & (ends == 2) & ~turned & outside,
        _SUPPRESSED,
        lambda row: f"the estimate lies outside its interval {rows.low[row]:.3g} to {rows.high[row]:.3g}",
    )


def _notes(rows: _Rows, verdict: _Verdict, doubts: Sequence[str]) -> None:
    """Name what a reader of a model-based row should know; it changes no answer."""
    model = ~rows.absent & ~rows.direct
    above = model & (rows.direct_se > 0) & (rows.se > rows.direct_se * (1 + _ROUNDING))

    def why(row: int) -> str:
        bootstrap = rows.bootstrap[row]
        because = (
            "the bootstrap averages over samples" if bootstrap else "the direct one is itself an estimate"
        )
        return f"se {rows.se[row]:.3g} above the direct {rows.direct_se[row]:.3g} ({because})"

    verdict.judge(above, _GOOD, why)
    for doubt in doubts:
        verdict.judge(model, _GOOD, doubt)


def _simulation_error(method: str) -> float:
    """Return the relative error of a bootstrap's standard error: as it is stated, else 1 in √(2B)."""
    match = _REPLICATES.search(method)
    if match is None:
        return 0.0
    return 0.01 * float(match[2]) if match[2] else 1.0 / np.sqrt(2.0 * float(match[1]))


class _Rows:
    """The columns of a table of estimates as arrays; what the table lacks is missing."""

    def __init__(self, frame: pd.DataFrame, level: float) -> None:
        self._frame = frame
        self._normal = float(ndtri(0.5 + 0.5 * level))
        self.estimate, self.se, self.n = (self.number(name) for name in ("estimate", "se", "n"))
        self.low, self.high, self.mse = (self.number(name) for name in ("ci_low", "ci_high", "mse"))
        self.direct_se = self.number("direct_se")
        self.simulated = self.of_text("mse_method", _simulation_error)
        self.bootstrap = self.of_text("mse_method", lambda text: "bootstrap" in text)
        self._check_records()
        self.absent = ~np.isfinite(self.estimate)
        self.share = self.of_text("unit", lambda text: text == "share")
        self.direct = (
            self.of_text("method", lambda text: text == "direct")
            if "method" in frame
            else np.ones(len(frame), dtype=bool)
        )
        self.error = self._error(level)
        self.widened = self.error > self.se
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

    def _check_records(self) -> None:
        bad = ~np.isnan(self.n) & ~((self.n >= 0) & (self.n == np.floor(self.n)) & np.isfinite(self.n))
        if bad.any():
            domains = self.text("domain")[bad] if "domain" in self._frame else self._frame.index[bad]
            raise SaeInputError(
                f"n is no number of records in {int(bad.sum())} of {len(bad)} rows: {self.n[bad][0]:g} "
                f"({name_some(domains)}).",
                hint="Give whole numbers of 0 or more; the effective sample size is n_eff.",
                areas=domains,
                column="n",
            )

    def _error(self, level: float) -> np.ndarray:
        """Return the larger of the standard error and what the interval says it is."""
        quantile = np.full(len(self.se), self._normal)
        df = self.number("df")
        few = (df > 0) & np.isfinite(df)
        quantile[few] = stdtrit(df[few], 0.5 + 0.5 * level)
        own = self.of_text("interval", lambda text: text.replace(", benchmarked", "") == _EXACT)
        by_interval = np.where(own, np.nan, 0.5 * (self.high - self.low) / quantile)
        wider = (self.se > 0) & (by_interval > self.se * (1 + _ROUNDING)) & np.isfinite(by_interval)
        return np.where(wider, by_interval, self.se)

    def number(self, name: str) -> np.ndarray:
        if name not in self._frame:
            return np.full(len(self._frame), np.nan)
        return to_numbers(self._frame, name)

    def of_text(self, name: str, read: Callable[[str], Any]) -> np.ndarray:
        """Return what `read` makes of a column of text; it is called once for every distinct one."""
        if name not in self._frame:
            return np.full(len(self._frame), read(""))
        codes, levels = pd.factorize(self._frame[name])
        return np.array([*(read(str(level)) for level in levels), read("")])[codes]  # -1: missing, the last

    def text(self, name: str) -> np.ndarray:
        if name not in self._frame:
            return np.full(len(self._frame), "")
        return self._frame[name].astype("object").fillna("").to_numpy().astype(str)

    def measure(self, rule: Rule) -> np.ndarray:
        """Value of the rule's measure in every row, missing where it cannot be known."""
        if rule.measure == "cv":
            # a standard error of 0 says that the few records are alike, not that the figure is certain
            se = np.where(self.se > 0, self.error, np.nan)
            size = np.abs(self.estimate)
            if rule.smaller_side:
                size = np.where(self.share, np.minimum(self.estimate, 1 - self.estimate), size)
            return np.divide(se, size, out=np.full_like(se, np.nan), where=(size > 0) & np.isfinite(size))
        if rule.measure == "ci_width":
            if max(rule.flag_above or 0.0, rule.suppress_above or 0.0) > 1 and self.share.any():
                raise SaeSpecError(
                    "The policy limits ci_width by more than 1, but the table holds shares.",
                    hint="Give the width of a share's interval as a fraction: 0.10 for ten points.",
                    column="ci_width",
                )
            return (self.high - self.low) * (float(ndtri(0.5 + 0.5 * _LEVEL)) / self._normal)
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
        return pd.DataFrame(
            {
                "reliability": pd.array(words[self.status], dtype="string"),
                "flag": pd.array(flag, dtype="string"),
                "publishable": publishable,
                "reason": pd.array(["; ".join(reason) for reason in self.reasons], dtype="string"),
                "policy": pd.array(np.full(len(flag), policy.name, dtype=object), dtype="string"),
            }
        )


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
            side += " by its interval" if rule.measure == "cv" and rows.widened[row] else ""
            return f"{name}{side} {_compare(rule.measure, value[row], sign, bound[row], rows.share[row])}"

        verdict.judge(judged & beyond, answer, words)
        if rule.measure == "cv":
            near = judged & known & (np.abs(value - bound) < 2.0 * bound * rows.simulated)
            verdict.judge(
                near & ~rows.widened,
                _GOOD,
                f"CV within the simulation error of {100 * limit:.1f} %: another seed may judge otherwise",
            )
        if rule.purpose == "confidentiality" and answer == _SUPPRESSED:
            verdict.secret |= judged & beyond
            # a model-based row may stand, but the table shows the direct estimate beside it
            beside = ~judged & beyond & ~rows.absent & (rows.n > 0)
            for row in np.flatnonzero(beside).tolist():
                verdict.reasons[row].append(f"{DIRECT_CONFIDENTIAL}: {words(row)}")


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
