"""What the tables of a planning file must not contradict in each other."""

from __future__ import annotations

from sae.batch.kinds import UNIT_KINDS
from sae.batch.planning_sections import RULES, Contents
from sae.errors import SaeSpecError

__all__ = ["check_together"]


def check_together(contents: Contents, file: str) -> None:
    """Refuse tables that contradict each other.

    Raises
    ------
    SaeSpecError
        Naming the file, the table and the key.
    """
    places = [(f"[[target]] number {i}", target) for i, target in enumerate(contents.target, 1)]
    if contents.national is not None:
        places.append(("[national]", contents.national))
    for where, target in places:
        if len(target.given) != 1:
            rules = " and ".join(target.given) or "no rule"
            raise SaeSpecError(
                f"{file}: {where} gives {rules}.", hint=f"Give exactly one of {', '.join(RULES)}."
            )
        try:
            target.rule  # noqa: B018 - a rule checks itself
        except SaeSpecError as error:
            raise SaeSpecError(f"{file}: {where}: {error.what}", hint=error.hint) from None
    if (contents.model is None) != (contents.estimate is None):
        has, lacks = ("model", "estimate") if contents.estimate is None else ("estimate", "model")
        raise SaeSpecError(
            f"{file} has [{has}] but no [{lacks}].",
            hint="A plan from a fitted model needs both; a plan without a model neither.",
        )
    (_check_with_model if contents.model is not None else _check_without_model)(contents, file)


def _check_with_model(contents: Contents, file: str) -> None:
    assert contents.model is not None and contents.estimate is not None
    left = contents.model.formula.partition("~")[0].strip()
    if left != contents.estimate.indicator_id:
        raise SaeSpecError(
            f'{file}: [model] formula models "{left}", but [estimate] estimates '
            f'"{contents.estimate.indicator_id}".',
            hint="The left-hand side of the formula is the indicator.",
        )
    if contents.model.kind in UNIT_KINDS:
        raise SaeSpecError(
            f'{file}: [model] kind = "{contents.model.kind}" is of units; a plan is of a model of areas.',
            hint="A plan from a fit of units is made in Python: give the fit to sae.planning.",
        )
    if contents.model.per:
        raise SaeSpecError(
            f"{file}: [model] per asks for several fits; a plan is made from one.",
            hint="Narrow [estimate] universe to the one group, and make a plan for each.",
        )
    for number, target in enumerate(contents.target, 1):
        wrong = [name for name in ("indicator", "by", "group") if getattr(target, name)]
        wrong += [f"only.{name}" for name in target.only if name != "domain"]
        if wrong:
            raise SaeSpecError(
                f"{file}: [[target]] number {number} has {', '.join(wrong)}, but a target of a fitted model "
                "is about its domains.",
                hint='Name domains with only = {domain = ["..."]}.',
            )
    for name in ("total", "budget"):
        if getattr(contents.plan, name) is not None:
            raise SaeSpecError(
                f"{file}: [plan] {name} is for plans without a model.",
                hint="The report's frontier shows what every budget buys with the model.",
            )
    needs_seed = contents.plan.confirm or (
        contents.model.transform is not None and contents.model.mse == "auto"
    )
    if needs_seed and contents.publish.seed is None:
        raise SaeSpecError(
            f"{file}: the model's bootstrap or [plan] confirm draws random numbers, but [publish] gives no "
            "seed.",
            hint="Write a seed under [publish], such as seed = 20260101.",
        )
    if 0 < contents.plan.assurance < 0.5:
        raise SaeSpecError(
            f"{file}: [plan] assurance = {contents.plan.assurance:g} is less than even odds.",
            hint="Give a probability from 0.5 to below 1, or 0 to hold the average error to the target.",
        )


def _check_without_model(contents: Contents, file: str) -> None:
    for number, target in enumerate(contents.target, 1):
        if target.indicator is None:
            raise SaeSpecError(
                f"{file}: [[target]] number {number} names no indicator.",
                hint='Such as indicator = "employed" with the column share_employed in the frame; '
                "or give [estimate] and [model].",
            )
    if contents.national is not None:
        raise SaeSpecError(
            f"{file}: [national] belongs to a plan from a fitted model.",
            hint="Without a model, give it as a [[target]] without by.",
        )
    if contents.plan.confirm:
        raise SaeSpecError(
            f"{file}: [plan] confirm simulates a fitted model, and there is none.", hint="Leave it out."
        )
    if contents.plan.total is not None and contents.plan.budget is not None:
        raise SaeSpecError(f"{file}: [plan] has both total and budget.", hint="Give one of the two.")
