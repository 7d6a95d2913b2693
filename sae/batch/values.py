"""Values of a model file: what any key can hold, and how a message shows one."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

from sae.errors import SaeSpecError

__all__ = ["LONGEST", "check_values", "shown"]

DEEPEST = 20  # lists and tables in each other; model files have five
LONGEST = 80  # characters of a value in a message


def check_values(value: Any, file: str, path: tuple[str, ...] = ()) -> None:
    """Refuse, by the path of its key, what no key of a model file can hold.

    Raises
    ------
    SaeSpecError
        If an entry is a date, is not finite, or is larger or deeper than any use of it.
    """
    where = f"{file}: {'.'.join(path)}"
    if isinstance(value, dict | list):
        if len(path) > DEEPEST:
            raise SaeSpecError(f"{where} lies more than {DEEPEST} tables or lists deep.")
        for key, part in value.items() if isinstance(value, dict) else enumerate(value, 1):
            check_values(part, file, (*path, str(key)))
    elif isinstance(value, str):
        if "\0" in value:
            raise SaeSpecError(f"{where} holds the character \\u0000, which no text has.")
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise SaeSpecError(f"{where} is a whole number of {len(str(abs(value)))} digits: too large.")
    elif isinstance(value, float):
        if not isfinite(value):
            raise SaeSpecError(f"{where} = {value} is not a finite number.")
    else:
        raise SaeSpecError(
            f"{where} = {value} is a date or a time, which no key takes.", hint="Write it as text, in quotes."
        )


def shown(value: object) -> str:
    """Return a value as a file writes it, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
