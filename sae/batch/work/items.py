"""What a run is made of: items with inputs, needs and a job, each with a key that names its output."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Any, Generic, TypeVar

import numpy as np
import pandas as pd

from sae.errors import SaeSpecError, name_some

__all__ = ["Item", "Job", "Output", "Reader", "in_order", "item_keys"]

T = TypeVar("T")

FORMAT = 1  # of the parts: another number, other keys


@dataclass(frozen=True, eq=False)
class Output:
    """What a job gives, and what is stored of it.

    Attributes
    ----------
    tables : mapping of str to DataFrame
        Their columns come back as they were (numbers, texts, categories, booleans, dates; of objects: texts,
        booleans, integers, floats and what is missing). Index and ``attrs`` do not.
    facts : mapping of str to JSON
        Lists and tuples come back as lists, keys as texts.
    arrays : mapping of str to ndarray
        Of numbers; they come back with the same bits.
    """

    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


Job = Callable[[Mapping[str, Output]], Output]


@dataclass(frozen=True, eq=False)
class Item:
    """One piece of work.

    Attributes
    ----------
    name : str
        Unique in its run, for people.
    inputs : mapping of str to JSON
        Everything that determines the output besides the job and the needs: hashes of files, texts, versions.
        What the job has bound is not looked at.
    job : callable
        A function of a module, or a `partial` of one. It is called with the outputs of the needs by name,
        each read when it is looked up, and not kept.
    needs : tuple of str
        Names of the items whose outputs the job reads.
    cost : float
        Relative, for the time left.
    """

    name: str
    inputs: Mapping[str, Any]
    job: Job
    needs: tuple[str, ...] = ()
    cost: float = 1.0


class Reader(Mapping[str, T], Generic[T]):
    """A mapping that reads a value each time that it is looked up, and keeps none."""

    def __init__(self, names: Iterable[str], read: Callable[[str], T]):
        self._names = dict.fromkeys(names)
        self._read = read

    def __getitem__(self, name: str) -> T:
        if name not in self._names:
            raise KeyError(name)
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names  # without reading


def item_keys(items: Sequence[Item]) -> dict[str, str]:
    """Return the key of each item by its name: the same for the same job, inputs and keys of the needs.

    Parameters
    ----------
    items : sequence of Item

    Raises
    ------
    SaeSpecError
        If a name comes twice, a need is no item, or items need each other in a circle.

    Examples
    --------
    >>> from sae.batch.work import Item, Output, item_keys
    >>> def job(needs): return Output(facts={"sum": 1})
    >>> one = Item("one", {"file": "a"}, job)
    >>> keys = item_keys([Item("two", {}, job, needs=("one",)), one])
    >>> keys["one"] == item_keys([one])["one"], len(keys["two"])
    (True, 64)
    """
    keys: dict[str, str] = {}
    for item in in_order(items):
        content = [FORMAT, _job_name(item), item.inputs, [[name, keys[name]] for name in item.needs]]
        try:
            text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        except (TypeError, ValueError) as error:
            raise TypeError(f"the inputs of the item {item.name!r} are no JSON: {error}") from None
        keys[item.name] = sha256(text.encode()).hexdigest()
    return {item.name: keys[item.name] for item in items}


def in_order(items: Sequence[Item]) -> list[Item]:
    """Return the items so that each comes after its needs, and else as they are given."""
    by_name = {item.name: item for item in items}
    if len(by_name) < len(items):
        names = [item.name for item in items]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise SaeSpecError(f"{len(twice)} items have the name of another: {name_some(twice)}.")
    lost = sorted({need for item in items for need in item.needs if need not in by_name})
    if lost:
        raise SaeSpecError(f"{len(lost)} needs are no items of the run: {name_some(lost)}.")
    ordered: dict[str, Item] = {}
    for first in items:
        way = [first.name]  # without recursion: chains may be long
        while way:
            item = by_name[way[-1]]
            missing = [need for need in item.needs if need not in ordered]
            if item.name in ordered or not missing:
                ordered.setdefault(way.pop(), item)
            elif missing[0] in way:
                circle = way[way.index(missing[0]) :]
                raise SaeSpecError(f"{len(circle)} items need each other in a circle: {name_some(circle)}.")
            else:
                way.append(missing[0])
    return list(ordered.values())


def _job_name(item: Item) -> str:
    job: Any = item.job
    while isinstance(job, partial):
        job = job.func
    name = f"{job.__module__}.{job.__qualname__}"
    if "<lambda>" in name:
        raise TypeError(f"the job of the item {item.name!r} is no function of a module: {name}")
    return name
