"""The catalogue: indicators, breaks, layouts, covariates and ready models of the package, and their state."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

import pandas as pd

from sae import auxiliary, indicators
from sae.batch.models import shipped_models, shipped_plans, shipped_productions
from sae.batch.spec import read_text, title_from, toml_tables
from sae.errors import SaeInputError
from sae.survey import layout_page, layouts

__all__ = ["catalogue", "page"]

_COLUMNS = ("kind", "name", "title", "version", "source", "state")


def catalogue() -> pd.DataFrame:
    """List what comes with the package: indicators, breaks, layouts, covariates, models and plans.

    Returns
    -------
    DataFrame
        One row each. Columns kind ("indicator", "break", "layout", "covariate", "model", "production",
        "plan"), name, title, version (of the definition; year of a break; release of a layout; indicator of
        a model), source (the survey or register), and state ("verified", "remembered: ..." or "ready"). What
        is remembered runs only where it is accepted by name.

    Examples
    --------
    >>> table = sae.catalogue()
    >>> table.loc[table["name"] == "employment_rate", ["kind", "version", "state"]].values.tolist()
    [['indicator', '20-64 v1', 'verified'], ['production', 'employment_rate', 'ready']]
    """
    rows = (*_indicators(), *_breaks(), *_layouts(), *_covariates(), *_models())
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def page(name: str) -> str:
    """Return all that is known of one entry of the catalogue, in words.

    Raises
    ------
    SaeInputError
        If nothing bears the name; near names are given.

    Examples
    --------
    >>> from sae.batch.catalogue import page
    >>> print(page("eu_lfs").splitlines()[1])
      release: EU-LFS 2021, 2021–, EU27_2020
    """
    entries = catalogue()
    kinds = entries.loc[entries["name"] == name, "kind"].tolist()
    if not kinds:
        near = get_close_matches(name, entries["name"], n=3)
        raise SaeInputError(
            f"Nothing in the catalogue bears the name {name!r}.",
            hint=f"Did you mean {' or '.join(near)}?"
            if near
            else "sae indicators, sae layouts and sae models list it.",
        )
    return "\n\n".join(_page(kind, name) for kind in kinds)


def _page(kind: str, name: str) -> str:
    if kind == "indicator":
        return str(indicators.REGISTRY[name])
    if kind == "break":
        return str(indicators.BREAKS[name])
    if kind == "layout":
        return layout_page(name)
    if kind == "covariate":
        return auxiliary.covariate_page(name)
    return read_text(_files()[name])


def _files() -> dict[str, Path]:
    return {**shipped_models(), **shipped_productions(), **shipped_plans()}


def _indicators() -> Iterator[tuple[str, ...]]:
    for one in indicators.REGISTRY.values():
        yield "indicator", one.id, one.label, one.version, one.survey or one.source, one.state


def _breaks() -> Iterator[tuple[str, ...]]:
    for one in indicators.BREAKS.values():
        yield "break", one.id, one.what, str(one.year), one.survey, "verified"


def _layouts() -> Iterator[tuple[str, ...]]:
    table = layouts()
    table["release"] = [
        ", ".join(filter(None, pair)) for pair in zip(table["release"], table["years"], strict=True)
    ]
    for row in _rows(table, ["name", "title", "release", "survey", "state"]):
        yield "layout", *row


def _covariates() -> Iterator[tuple[str, ...]]:
    for row in _rows(auxiliary.covariates(), ["name", "label", "definition", "source", "state"]):
        yield "covariate", *row


def _rows(table: pd.DataFrame, columns: list[str]) -> list[list[str]]:
    rows: list[list[str]] = table[columns].to_numpy(dtype=object).tolist()
    return rows


def _models() -> Iterator[tuple[str, ...]]:
    plans = shipped_plans()
    for name, path in _files().items():
        text = read_text(path)
        tables = toml_tables(text, path.name)
        surveys = tables.get("survey", {})
        if "production" in tables:
            layouts = ", ".join(survey.get("layout", "") for survey in surveys)
            what = tables["production"]["indicators"]
            yield "production", name, tables["production"]["title"], str(what), layouts, "ready"
            continue
        what = tables.get("estimate", {}).get("indicator", "")
        layout = surveys.get("layout", "")
        indicator = what if isinstance(what, str) else what.get("id", "")
        kind = "plan" if name in plans else "model"
        yield kind, name, title_from(tables, text, name), indicator, layout, "ready"
