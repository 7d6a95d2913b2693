"""Packages whose public names load on first use, so that who needs one model does not load all of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

__all__ = ["public"]


def public(
    package: str, modules: Mapping[str, Sequence[str]], renamed: Mapping[str, str] | None = None
) -> tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__all__``, ``__getattr__`` and ``__dir__`` of a package.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    modules : mapping of str to sequence of str
        Modules below it and the public names that each holds. A name may not be that of a module or package
        beside it, which would take its place once that is imported.
    renamed : mapping of str to str, optional
        Names that the package had, and what to call in their place.

    Examples
    --------
    >>> names, load, _ = public("sae.area_level", {"fay_herriot.model": ["FayHerriot"]})
    >>> names, load("FayHerriot") is sae.FayHerriot
    (['FayHerriot'], True)
    """
    homes = {name: f"{package}.{module}" for module, names in modules.items() for name in names}
    known = sorted(homes)

    def load(name: str) -> Any:
        if renamed and name in renamed:
            raise AttributeError(f"{package}.{name} is now {renamed[name]}")
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}; it has {', '.join(known)}")
        value = getattr(import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)  # asked of this function once only
        return value

    return known, load, lambda: known
