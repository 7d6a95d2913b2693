"""JSON-stat 2.0 as Eurostat gives it: a cube in row-major order, of which most cells may be absent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sae.auxiliary.eurostat import FLAGS, EurostatTable, refuse_attributes, spelt
from sae.auxiliary.eurostat_text import table_of
from sae.errors import SaeInputError, name_some

__all__ = ["json_stat_text", "read_json_stat"]

_HINT = "Download it again as JSON-stat 2.0 (format=JSON)."


_KINDS: Mapping[str, Any] = {
    "id": list,
    "size": list,
    "dimension": dict,
    "value": (dict, list),
    "status": (dict, list, str),
    "role": dict,
    "extension": dict,
}


class _Number(str):
    """A number as the file spells it."""


def read_json_stat(text: str, file: str) -> EurostatTable:
    """Read JSON-stat 2.0 of class "dataset"; cells with neither value nor status are no rows."""
    try:
        data = json.loads(
            text,
            parse_float=_Number,
            parse_int=_Number,
            parse_constant=_Number,
            object_pairs_hook=_no_repeats,
        )
    except json.JSONDecodeError as problem:
        raise SaeInputError(
            f"{file} is no JSON, or it is cut off: {problem.msg} "
            f"(line {problem.lineno}, column {problem.colno}).",
            hint=_HINT,
        ) from None
    except _Repeated as problem:
        raise SaeInputError(f"{file} names {problem.args[0]!r} twice in one object.", hint=_HINT) from None
    _check_kinds(data, file)
    names, sizes, time = _shape(data, file)
    codes = [
        _codes(data["dimension"][name], name, size, file) for name, size in zip(names, sizes, strict=True)
    ]
    total = int(np.prod(sizes))
    values = _by_cell(data["value"], "value", total, file)
    status = _by_cell(data.get("status", {}), "status", total, file)
    cells = np.array(sorted(values.keys() | status.keys()), dtype=np.int64)
    if not len(cells):
        raise SaeInputError(f"{file} holds no figures.", hint="Check the filters of the download.")
    odd = [k for k in cells if k in values and not isinstance(values[k], _Number)]
    if odd:
        shown = [f"{values[k]!r} (cell {k})" for k in odd]
        raise SaeInputError(
            f"{len(odd)} values of {file} are no numbers: {name_some(shown)}.", column="value"
        )
    at = np.unravel_index(cells, sizes)
    texts = {name: [held[k] for k in which] for name, held, which in zip(names, codes, at, strict=True)}
    own = {name: "time" if name == time else name for name in names}
    extension = data.get("extension", {})
    agency, code, version = (str(extension.get(key, "")) for key in ("agencyId", "id", "version"))
    return table_of(
        {name: column for name, column in texts.items() if name != time},
        texts[time],
        [str(values.get(k, "")) for k in cells],
        [str(status.get(k, "")).replace(":", "").replace("@", "").strip() for k in cells],
        file=file,
        places=lambda rows: [f"cell {cells[row]}" for row in rows],
        dataflow=f"{agency}:{code}({version})" if agency and code and version else code,
        updated=str(data.get("updated", "")),
        title=str(data.get("label", "")),
        labels={
            own[name]: _labels(data["dimension"][name], held) for name, held in zip(names, codes, strict=True)
        },
        dimension_labels={own[name]: str(data["dimension"][name].get("label", name)) for name in names},
    )


def json_stat_text(table: EurostatTable, file: str) -> str:
    """Return a table as JSON-stat 2.0, sparse; codes in the order of the source, else sorted."""
    refuse_attributes(table, file)
    names = [*table.dimensions, "time"]
    orders = {name: _order(table, name) for name in names}
    positions = [
        table.frame[name].map({code: k for k, code in enumerate(orders[name])}).to_numpy(np.int64)
        for name in names
    ]
    sizes = [len(orders[name]) for name in names]
    cells = np.ravel_multi_index(positions, sizes)
    order = np.argsort(cells, kind="stable")
    texts, flags = spelt(table), table.frame["flag"].tolist()
    figures = ",".join(f'"{cells[k]}":{texts[k]}' for k in order if texts[k])
    status = {str(cells[k]): flags[k] or ":" for k in order if flags[k] or not texts[k]}
    agency, _, rest = table.dataflow.partition(":")
    code, _, version = rest.rstrip(")").partition("(")
    present = sorted({letter for flag in flags for letter in flag})
    head = {
        "version": "2.0",
        "class": "dataset",
        "label": table.title,
        "source": agency,
        "updated": table.updated,
    }
    tail = {
        "status": status,
        "id": names,
        "size": sizes,
        "dimension": {
            name: {
                "label": table.dimension_labels.get(name, name),
                "category": {
                    "index": {own: k for k, own in enumerate(orders[name])},
                    "label": {own: table.labels.get(name, {}).get(own, own) for own in orders[name]},
                },
            }
            for name in names
        },
        "extension": {
            "id": code if rest else table.dataflow,
            "agencyId": agency if rest else "",
            "version": version,
            "status": {"label": {letter: FLAGS[letter] for letter in present}},
        },
    }
    return f'{_dump(head)[:-1]},"value":{{{figures}}},{_dump(tail)[1:]}\n'


class _Repeated(Exception):
    """A name that stands twice in one object, of which plain JSON readers drop one."""


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Repeated(next(name for name in names if names.count(name) > 1))
    return out


def _dump(part: Mapping[str, Any]) -> str:
    return json.dumps(part, ensure_ascii=False, separators=(",", ":"))


def _check_kinds(data: Any, file: str) -> None:
    """Refuse JSON that is not built as a JSON-stat data set is."""
    if not isinstance(data, dict) or not {"id", "size", "dimension", "value"} <= data.keys():
        raise SaeInputError(
            f"{file} is JSON, but no JSON-stat 2.0 data set: id, size, dimension, value.", hint=_HINT
        )
    wrong = [name for name, kind in _KINDS.items() if name in data and not isinstance(data[name], kind)]
    if not wrong:
        for name, dimension in data["dimension"].items():
            category = dimension.get("category") if isinstance(dimension, dict) else None
            if (
                not isinstance(category, dict)
                or not isinstance(category.get("label", {}), dict)
                or not isinstance(category.get("index", {}), (dict, list))
            ):
                wrong.append(f"dimension {name}")
    if wrong:
        raise SaeInputError(
            f"{file} is no whole JSON-stat data set: look at its {name_some(wrong)}.", hint=_HINT
        )


def _shape(data: Mapping[str, Any], file: str) -> tuple[list[str], list[int], str]:
    """Return the names of the dimensions, their sizes, and which of them is the time."""
    names = [str(name) for name in data["id"]]
    sizes = [_whole(size) for size in data["size"]]
    times = data.get("role", {}).get("time")
    time = str(times[0]) if isinstance(times, list) and times else "time"
    absent = [name for name in names if name not in data["dimension"]]
    if len(sizes) != len(names) or min(sizes, default=0) < 1 or absent or time not in names:
        raise SaeInputError(
            f"{file} is no whole JSON-stat cube: id {name_some(names, 12)}, "
            f"size {name_some(data['size'], 12)}"
            f"{f', without dimension {name_some(absent)}' if absent else ''}.",
            hint=f"Expected one size for each dimension, and the dimension {time}. {_HINT}",
        )
    return names, sizes, time


def _codes(dimension: Mapping[str, Any], name: str, size: int, file: str) -> list[str]:
    """Return the codes of a dimension in the order of its index, which is a list or gives places by code."""
    category = dimension["category"]
    index = category.get("index", list(category.get("label", {})) if size == 1 else [])
    if isinstance(index, dict):
        places = {code: _whole(place) for code, place in index.items()}
        codes = sorted(places, key=places.__getitem__)
        whole = len(codes) == size and [places[code] for code in codes] == list(range(size))
    else:
        codes = [str(code) for code in index]
        whole = len(set(codes)) == len(codes) == size
    if not whole:
        raise SaeInputError(
            f"Dimension {name} of {file} has {size} categories, but its index gives {len(codes)} codes, "
            "or not each place once.",
            hint=_HINT,
        )
    return codes


def _whole(number: object) -> int:
    """Return a whole number that the file spells, else -1, which is none of its sizes and places."""
    return int(number) if isinstance(number, _Number) and number.isdigit() else -1


def _labels(dimension: Mapping[str, Any], codes: Sequence[str]) -> dict[str, str]:
    given = dimension["category"].get("label", {})
    return {code: str(given.get(code, code)) for code in codes}


def _by_cell(given: Any, what: str, total: int, file: str) -> dict[int, Any]:
    """Return what cells hold by their place; given as a list, by place, or as one text for all."""
    if isinstance(given, str):
        return dict.fromkeys(range(total), given)
    if isinstance(given, dict):
        out = {int(place): held for place, held in given.items() if held is not None and place.isdigit()}
        odd = [place for place in given if not place.isdigit() or int(place) >= total]
    else:
        out = {place: held for place, held in enumerate(given) if held is not None}
        odd = [] if len(given) == total else [f"{len(given)} in a list"]
    if odd:
        raise SaeInputError(
            f"{what} of {file} does not fit its cube of {total} cells: {name_some(odd)}.", hint=_HINT
        )
    return out


def _order(table: EurostatTable, name: str) -> list[str]:
    held = set(table.frame[name].unique())
    known = list(table.labels.get(name, ()))
    return [*known, *sorted(held - set(known))] if held & set(known) else sorted(held)
