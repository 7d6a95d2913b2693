"""Publication policies: named limits on sample size, precision and item non-response, read from TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from math import isfinite
from numbers import Real
from pathlib import Path
from typing import Any

from sae.errors import SaeSpecError, name_some

__all__ = ["Policy", "Rule", "load_policy", "policy_names"]

MEASURES = ("n", "n_eff", "cv", "ci_width", "pcmiss", "population")
_CHOICES = {
    "measure": MEASURES,
    "applies_to": ("all", "direct", "model"),
    "missing": ("suppress", "open", "note"),
    "purpose": ("reliability", "confidentiality"),
}
_LIMITS = ("suppress_below", "flag_below", "suppress_above", "flag_above")
_BAD_WHEN_HIGH = ("cv", "ci_width", "pcmiss")
_SIDED = ("cv", "population")
_ANSWERS = ("publish", "flag", "suppress")
_FREQUENCIES = ("annual", "quarterly")
_MOST_BASES = 20  # a policy on a policy on a policy: beyond this it is a circle


@dataclass(frozen=True)
class Rule:
    """One limit of a policy.

    Attributes
    ----------
    measure : {"n", "n_eff", "cv", "ci_width", "pcmiss", "population"}
        What is looked at. ``cv``, ``pcmiss`` and the ``ci_width`` of a share are fractions (0.165, not 16.5).
    suppress_below, flag_below, suppress_above, flag_above : float or None
        The limits; a value on the limit itself passes. ``population`` takes them from `Policy.limits`.
    applies_to : {"all", "direct", "model"}
        The rows judged: those of a direct estimator, model-based ones (aggregates of them too), or both.
    missing : {"suppress", "open", "note"}
        What a row becomes whose measure is not known: suppressed; not assessed; as it is, with a note.
    purpose : {"reliability", "confidentiality"}
        Why a row is suppressed; the flag shows it (":u" or ":c").
    smaller_side : bool
        For ``cv`` of a share p: judge se / min(p, 1 − p); the reason says which. For ``population`` of a
        share: judge the smaller of numerator and denominator.
    """

    measure: str
    suppress_below: float | None = None
    flag_below: float | None = None
    suppress_above: float | None = None
    flag_above: float | None = None
    applies_to: str = "all"
    missing: str = "suppress"
    purpose: str = "reliability"
    smaller_side: bool = False

    def __post_init__(self) -> None:
        what = f"The rule on {self.measure!r}" if isinstance(self.measure, str) else "A rule"
        for name, choices in _CHOICES.items():
            _check_choice(what, name, getattr(self, name), choices)
        if not isinstance(self.smaller_side, bool):
            raise SaeSpecError(
                f"{what} has smaller_side = {self.smaller_side!r}, which is not a truth value.",
                hint="Write smaller_side = true or false, without quotation marks.",
            )
        if self.smaller_side and self.measure not in _SIDED:
            raise SaeSpecError(
                f"{what} has smaller_side = true, which has a meaning for {' and '.join(_SIDED)} only.",
                hint="Leave it out.",
            )
        given = [name for name in _LIMITS if getattr(self, name) is not None]
        for name in given:
            self._check_limit(name, getattr(self, name))
        if not given and self.measure != "population":
            raise SaeSpecError(
                f"The rule on {self.measure} has no limit.", hint=f"Give one of {', '.join(_LIMITS)}."
            )
        if given and self.measure == "population":
            raise SaeSpecError(
                "The limits on population belong in the policy's own `limits`, not in the rule.",
                hint="limits = [a, b], or limits = {PT = {annual = [a, b]}}.",
            )
        low, high = (self.suppress_below, self.flag_below), (self.flag_above, self.suppress_above)
        if any(pair[0] is not None and pair[1] is not None and pair[0] > pair[1] for pair in (low, high)):
            raise SaeSpecError(f"The rule on {self.measure} suppresses rows that it does not even flag.")

    def _check_limit(self, name: str, value: Any) -> None:
        if not _is_number(value):
            quoted = " It stands in quotation marks." if isinstance(value, str) else ""
            raise SaeSpecError(
                f"The rule on {self.measure} has {name} = {_shown(value)}, which is not a number.{quoted}",
                hint="Write a finite number, such as 20 or 0.165.",
            )
        if self.measure in ("cv", "pcmiss") and not 0 <= value <= 1:
            raise SaeSpecError(
                f"The rule on {self.measure} has {name} = {value}.",
                hint="Give a fraction: 0.165 for 16.5 %.",
            )
        if value < 0:
            raise SaeSpecError(
                f"The rule on {self.measure} has {name} = {value}, which no row can be below.",
                hint="Give a limit of 0 or more.",
            )
        side = "above" if self.measure in _BAD_WHEN_HIGH else "below"
        if not name.endswith(side) and self.measure != "population":
            raise SaeSpecError(
                f"The rule on {self.measure} has {name} = {value}: it would turn away the better rows.",
                hint=f"{self.measure} is limited by suppress_{side} and flag_{side}.",
            )


@dataclass(frozen=True)
class Policy:
    """A named set of rules; every row gets the strictest answer of the rules that apply to it.

    Attributes
    ----------
    name, title, source : str
        What it is called in the table, in words, and where it comes from.
    rules : tuple of Rule
    words : tuple of three str
        What the classes are called: good, flagged, suppressed.
    out_of_sample : {"publish", "flag", "suppress"}
        What becomes of a model-based row of an area without any record in the sample.
    limits : mapping or (float, float) or None
        Limits on the estimated population: (a, b) for all rows, or by country, ``{"PT": (a, b)}`` or
        ``{"PT": {"annual": (a, b), "quarterly": (a, b)}}``.
    """

    name: str
    rules: tuple[Rule, ...]
    title: str = ""
    source: str = ""
    words: tuple[str, str, str] = ("reliable", "low reliability", "not publishable")
    out_of_sample: str = "flag"
    limits: Any = None

    def __post_init__(self) -> None:
        for field in ("name", "title", "source"):
            if not isinstance(getattr(self, field), str):
                raise SaeSpecError(
                    f"The policy's {field} is {_shown(getattr(self, field))}, which is no text.",
                    hint=f'Write {field} = "...".',
                )
        if not self.name.strip():
            raise SaeSpecError("The policy has an empty name.", hint='Give it one: name = "city office".')
        if not isinstance(self.rules, list | tuple) or not all(isinstance(r, Rule) for r in self.rules):
            raise SaeSpecError(
                f"The rules of the policy {self.name} are {_shown(self.rules)}, not a list of rules.",
                hint='Give a list: rules = [{measure = "n", suppress_below = 20}].',
            )
        if not self.rules:
            raise SaeSpecError(f"The policy {self.name} has no rules.")
        object.__setattr__(self, "rules", tuple(self.rules))
        _check_choice(f"The policy {self.name}", "out_of_sample", self.out_of_sample, _ANSWERS)
        object.__setattr__(self, "words", _three_words(self.words, self.name))
        _check_limits(self.limits)
        if self.limits is not None and not any(rule.measure == "population" for rule in self.rules):
            raise SaeSpecError(
                f"The policy {self.name} has limits on the population, but no rule that uses them.",
                hint='Add a rule with measure = "population", or base the policy on eurostat_lfs.',
            )


def policy_names() -> tuple[str, ...]:
    """Return the names of the policies that come with the package.

    Examples
    --------
    >>> sae.quality.policy_names()
    ('eurostat_lfs', 'eurostat_silc', 'statcan')
    """
    folder = files("sae.quality") / "policies"
    return tuple(sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load_policy(policy: str | Path | Mapping[str, Any] | Policy) -> Policy:
    """Return a policy by its name, from a TOML file, or from a mapping of the same shape.

    Parameters
    ----------
    policy : str, Path, mapping or Policy
        A name of `policy_names`; a path that ends in ``.toml``; a mapping with ``rules`` and the other fields
        of `Policy`. With ``base = "eurostat_lfs"`` the rest replaces fields of that policy; the path of a
        base is taken from the folder of the file that names it. A policy under the name of one that comes
        with the package, but with other rules, is called "statcan, changed".

    Raises
    ------
    SaeSpecError
        If the name, the file, a field or a limit is not what a policy can hold, or a policy is its own base.

    Examples
    --------
    >>> sae.quality.load_policy("statcan").rules[0].flag_above
    0.165
    >>> rule = {"measure": "n_eff", "flag_below": 30}
    >>> own = sae.quality.load_policy({"name": "city office", "rules": [rule]})
    >>> own.name, own.rules[0].flag_below
    ('city office', 30)
    """
    return _load(policy, Path(), ())


def _load(policy: Any, folder: Path, bases: tuple[str, ...]) -> Policy:
    """Return a policy; `bases` are the policies that stand on it, the last one directly."""
    if isinstance(policy, Policy):
        return policy
    if len(bases) > _MOST_BASES:
        raise SaeSpecError(
            f"The policy {bases[0]} stands on more than {_MOST_BASES} others, the last {bases[-1]}.",
            hint="A policy cannot be its own base: give the last one rules instead.",
        )
    if isinstance(policy, Mapping):
        base = policy.get("base", "own")
        name = policy.get("name", base if isinstance(base, str) else "own")
        return _changed(_from_mapping(policy, name, folder, bases))
    if not isinstance(policy, str | Path):
        raise SaeSpecError(
            f"{_shown(policy)} is no policy.",
            hint=f"Use one of {', '.join(policy_names())}, a .toml file, or a mapping with rules.",
        )
    if str(policy).endswith(".toml"):
        path = folder / policy
        key = str(path.resolve())
        if key in bases:
            raise SaeSpecError(
                f"The policy {path} is its own base: "
                f"{', '.join(map(str, [*bases[bases.index(key) :], key]))}.",
                hint="Base it on another policy, or give it rules.",
            )
        return _changed(_from_mapping(_parse(_bytes_of(path), path.name), path.stem, path.parent, bases, key))
    if policy not in policy_names():
        near = get_close_matches(str(policy), policy_names(), 1)
        raise SaeSpecError(
            f"There is no policy {_shown(str(policy))}" + (f"; did you mean {near[0]!r}?" if near else "."),
            hint=f"Use one of {', '.join(policy_names())}, a .toml file, or a mapping with rules.",
        )
    return _shipped(str(policy))


@cache
def _shipped(name: str) -> Policy:
    file = files("sae.quality") / "policies" / f"{name}.toml"
    return _from_mapping(_parse(file.read_bytes(), file.name), name, Path(), ())


def _changed(policy: Policy) -> Policy:
    """Return the policy under a name that does not pass for one of the package's with other rules."""
    if policy.name not in policy_names():
        return policy
    known = _shipped(policy.name)
    same = (policy.rules, policy.out_of_sample) == (known.rules, known.out_of_sample)
    return policy if same else replace(policy, name=f"{policy.name}, changed")


def _bytes_of(path: Path) -> bytes:
    if not path.is_file():
        raise SaeSpecError(f"There is no policy file {path}.", hint="Check the path.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise SaeSpecError(f"The policy file {path} cannot be read: {error.strerror}.") from error


def _parse(content: bytes, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, tables in tables
        raise SaeSpecError(f"{name} is not a TOML file in UTF-8: {error}.") from error


def _from_mapping(
    mapping: Mapping[str, Any], name: Any, folder: Path, bases: tuple[str, ...], key: str = ""
) -> Policy:
    given = {"name": name, **mapping}
    name, base = _shown(given["name"]).strip("'"), given.pop("base", None)
    _check_keys(given, Policy, f"The policy {name}")
    if "rules" in given:
        given["rules"] = _rules(given["rules"], name)
    elif base is None:
        raise SaeSpecError(f"The policy {name} has no rules.", hint='Give rules, or base = "eurostat_lfs".')
    if base is None:
        return Policy(**given)
    return replace(_load(base, folder, (*bases, key or name)), **given)


def _rules(given: Any, name: str) -> tuple[Rule, ...]:
    if not isinstance(given, list | tuple) or not all(isinstance(rule, Mapping | Rule) for rule in given):
        raise SaeSpecError(
            f"The rules of the policy {name} are {_shown(given)}, not a list of rules.",
            hint='Write [[rules]] above each, or rules = [{measure = "n", suppress_below = 20}].',
        )
    rules = []
    for rule in given:
        if isinstance(rule, Mapping):
            _check_keys(rule, Rule, f"A rule of the policy {name}")
            if "measure" not in rule:
                raise SaeSpecError(
                    f"A rule of the policy {name} has no measure.", hint=f"Use {', '.join(MEASURES)}."
                )
        rules.append(rule if isinstance(rule, Rule) else Rule(**rule))
    return tuple(rules)


def _check_keys(mapping: Mapping[str, Any], kind: type, what: str) -> None:
    allowed = [field.name for field in fields(kind)]
    unknown = [key for key in mapping if key not in allowed]
    if unknown:
        raise SaeSpecError(
            f"{what} has no field {name_some(unknown)}.", hint=f"It may hold {', '.join(allowed)}."
        )


def _check_choice(what: str, name: str, value: Any, choices: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in choices:
        raise SaeSpecError(f"{what} has {name} = {_shown(value)}.", hint=f"Use one of {', '.join(choices)}.")


def _three_words(words: Any, name: str) -> tuple[str, str, str]:
    texts = (
        [word.strip() for word in words if isinstance(word, str)] if isinstance(words, list | tuple) else []
    )
    if len(texts) != 3 or len(words) != 3 or len({"", "not assessed", *texts}) != 5:
        raise SaeSpecError(
            f"The policy {name} has words = {_shown(words)}, not three different words: good, flagged, "
            "suppressed.",
            hint='Write words = ["reliable", "low reliability", "not publishable"].',
        )
    return texts[0], texts[1], texts[2]


def _check_limits(limits: Any) -> None:
    """Refuse limits that are no pair, nor pairs by country, nor pairs by country and frequency."""
    if limits is None:
        return
    if not isinstance(limits, Mapping):
        return _check_pair(limits, "limits")
    if not limits:
        raise SaeSpecError("limits is empty.", hint="Give [a, b], by country: limits = {PT = [a, b]}.")
    for country, pair in limits.items():
        if not isinstance(country, str) or not country.strip():
            raise SaeSpecError(f"limits names the country {country!r}.", hint='Use its code, such as "PT".')
        if not isinstance(pair, Mapping):
            _check_pair(pair, f"limits.{country}")
            continue
        unknown = [often for often in pair if often not in _FREQUENCIES]
        if unknown or not pair:
            raise SaeSpecError(
                f"limits.{country} has no field {name_some(unknown)}."
                if pair
                else f"limits.{country} is empty.",
                hint=f"It may hold {' and '.join(_FREQUENCIES)}.",
            )
        for often, ends in pair.items():
            _check_pair(ends, f"limits.{country}.{often}")


def _check_pair(pair: Any, where: str) -> None:
    numbers = isinstance(pair, list | tuple) and len(pair) == 2 and all(map(_is_number, pair))
    if not numbers or not 0 <= pair[0] <= pair[1]:
        raise SaeSpecError(
            f"{where} = {_shown(pair)} is not a pair of limits.",
            hint="Give [a, b] with a <= b: below a suppressed, below b published with a warning.",
        )


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)
    except OverflowError:  # a whole number of more than 308 digits
        return False


def _shown(value: Any) -> str:
    """Show what was given, cut where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a whole number of thousands of digits, a list that holds itself
        return f"a {type(value).__name__} too long to print"
    return text if len(text) <= 80 else f"{text[:77]}..."
