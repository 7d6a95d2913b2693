"""Publication policies: named limits on sample size, precision and item non-response, read from TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from importlib.resources import files
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
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise SaeSpecError(
                    f"The rule on {self.measure!r} has {name} = {getattr(self, name)!r}.",
                    hint=f"Use one of {', '.join(choices)}.",
                )
        given = [name for name in _LIMITS if getattr(self, name) is not None]
        for name in given:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise SaeSpecError(
                    f"The rule on {self.measure} has {name} = {value!r}, which is not a number."
                )
            if self.measure in ("cv", "pcmiss") and not 0 <= value <= 1:
                raise SaeSpecError(
                    f"The rule on {self.measure} has {name} = {value}.",
                    hint="Give a fraction: 0.165 for 16.5 %.",
                )
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
        if not self.rules:
            raise SaeSpecError(f"The policy {self.name} has no rules.")
        if self.out_of_sample not in ("publish", "flag", "suppress"):
            raise SaeSpecError(
                f"out_of_sample = {self.out_of_sample!r} is no answer.", hint="Use publish, flag or suppress."
            )
        if len(self.words) != 3:
            raise SaeSpecError(f"The policy {self.name} needs three words: good, flagged, suppressed.")
        if self.limits and not any(rule.measure == "population" for rule in self.rules):
            raise SaeSpecError(
                f"The policy {self.name} has limits on the population, but no rule that uses them.",
                hint='Add a rule with measure = "population", or base the policy on eurostat_lfs.',
            )
        _check_limits(self.limits)


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
        of `Policy`. With ``base = "eurostat_lfs"`` the rest replaces fields of that policy.

    Raises
    ------
    SaeSpecError
        If the name, the file, a field or a limit is not what a policy can hold.

    Examples
    --------
    >>> sae.quality.load_policy("statcan").rules[0].flag_above
    0.165
    >>> rule = {"measure": "n_eff", "flag_below": 30}
    >>> own = sae.quality.load_policy({"name": "city office", "rules": [rule]})
    >>> own.name, own.rules[0].flag_below
    ('city office', 30)
    """
    if isinstance(policy, Policy):
        return policy
    if isinstance(policy, Mapping):
        return _from_mapping(policy, str(policy.get("name", policy.get("base", "own"))))
    if str(policy).endswith(".toml"):
        path = Path(policy)
        if not path.is_file():
            raise SaeSpecError(f"There is no policy file {path}.", hint="Check the path.")
        return _from_mapping(_parse(path.read_bytes(), path.name), path.stem)
    if policy not in policy_names():
        near = get_close_matches(str(policy), policy_names(), 1)
        raise SaeSpecError(
            f"There is no policy {str(policy)!r}" + (f"; did you mean {near[0]!r}?" if near else "."),
            hint=f"Use one of {', '.join(policy_names())}, a .toml file, or a mapping with rules.",
        )
    file = files("sae.quality") / "policies" / f"{policy}.toml"
    return _from_mapping(_parse(file.read_bytes(), file.name), str(policy))


def _parse(content: bytes, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SaeSpecError(f"{name} is not a TOML file in UTF-8: {error}.") from error


def _from_mapping(mapping: Mapping[str, Any], name: str) -> Policy:
    given = {"name": name, **mapping}
    base = given.pop("base", None)
    _check_keys(given, Policy, f"The policy {name}")
    if "rules" in given:
        for rule in given["rules"]:
            _check_keys(rule, Rule, f"A rule of the policy {name}")
            if "measure" not in rule:
                raise SaeSpecError(
                    f"A rule of the policy {name} has no measure.", hint=f"Use {', '.join(MEASURES)}."
                )
        given["rules"] = tuple(Rule(**rule) for rule in given["rules"])
    elif base is None:
        raise SaeSpecError(f"The policy {name} has no rules.", hint='Give rules, or base = "eurostat_lfs".')
    if "words" in given:
        given["words"] = tuple(given["words"])
    return replace(load_policy(base), **given) if base is not None else Policy(**given)


def _check_keys(mapping: Mapping[str, Any], kind: type, what: str) -> None:
    allowed = [field.name for field in fields(kind)]
    unknown = [key for key in mapping if key not in allowed]
    if unknown:
        raise SaeSpecError(
            f"{what} has no field {name_some(unknown)}.", hint=f"It may hold {', '.join(allowed)}."
        )


def _check_limits(limits: Any, where: str = "limits") -> None:
    if limits is None:
        return
    if isinstance(limits, Mapping):
        for key, value in limits.items():
            _check_limits(value, f"{where}.{key}")
    elif len(limits) != 2 or not 0 <= limits[0] <= limits[1]:
        raise SaeSpecError(
            f"{where} = {limits!r} is not a pair of limits.",
            hint="Give [a, b] with a <= b: below a suppressed, below b published with a warning.",
        )
