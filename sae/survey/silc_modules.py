"""The modules of EU-SILC from 2021 on: which variables were asked in which years."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sae.errors import SaeSpecError
from sae.survey.layouts import Layout

__all__ = ["MODULES", "Module", "check_module_years"]

FIRST_YEAR = 2021  # before, modules changed from year to year and no rule covers them


@dataclass(frozen=True)
class Module:
    """A module, its years and the variables that stand in the user database of these years alone."""

    name: str
    years: tuple[int, ...]
    variables: frozenset[str]


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Years: Commission Delegated Regulation (EU) 2020/256; variables: user database of 2021 and 2022.
MODULES = (
    Module(
        "children",
        (2021, 2024, 2027),
        _names(
            "HCH010 HCH020 HCH030 HCH040 HD100 HD110 HD120 HD140 HD150 HD160 HD170 HD180 HD190 HD200 "
            "HD210 HD220 HD240"
        ),
    ),
    Module(
        "health",
        (2022, 2025, 2028),
        _names(
            "HS200 HS210 HS220 PH080 PH090 PH100 PH101 PH110A PH110B PH111 PH121 PH122 PH131 PH132 "
            "PH142 PH151 PH152 PH180"
        ),
    ),
    Module(
        "quality of life",
        (2022, 2028),
        _names(
            "PS010 PS020 PS030 PS040 PS041 PS042 PS050 PS060 PS070 PS080 PS102 PS110 PS111 PW005 "
            "PW030 PW090 PW120 PW160 PW180 PW230 PW241"
        ),
    ),
)


def check_module_years(layout: Layout, weights: str, year: int) -> None:
    """Refuse a variable of a module in a year in which the module was not asked.

    Raises
    ------
    SaeSpecError
        Naming the module and its years.
    """
    if year < FIRST_YEAR:
        return
    used = {weights.upper(): "weights"}
    for name in layout.required:
        wanted = layout.columns.get(name, layout.codes.get(name, {}).get("column"))
        names = wanted.get("first", ()) if isinstance(wanted, Mapping) else [wanted]
        used |= {one.upper(): name for one in names if isinstance(one, str)}
    for column, name in used.items():
        for module in MODULES:
            if column in module.variables and year not in module.years:
                raise SaeSpecError(
                    f"{name} asks for {column}, of the module on {module.name}, not asked in EU-SILC {year}.",
                    hint=f"It was asked in {', '.join(map(str, module.years))}: take a file of such a year. "
                    "Gap years come from a model over time.",
                    column=column,
                )
