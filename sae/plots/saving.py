"""Pictures of charts on disk: whole or not at all, the same bytes every time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.calls import answered
from sae.errors import SaeInputError
from sae.tables import file_path, whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SAME_BYTES", "save"]

# The same bytes every time: no clock, no version, fixed names of the parts of an SVG
SAME_BYTES: Mapping[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
}


@answered
def save(figure: Figure, path: str | Path, *, dpi: int = 150) -> Path:
    """Write a figure as PNG, SVG or PDF by the ending of `path`; the same bytes every time.

    Raises
    ------
    SaeInputError
        If the ending is none of these, or the folder does not exist.
    """
    import matplotlib

    path = file_path(path)
    ending = path.suffix.lower()
    if ending not in SAME_BYTES:
        raise SaeInputError(
            f"{path.name} ends in {path.suffix!r}, which is no known picture format.",
            hint=f"Use one of {', '.join(SAME_BYTES)}.",
        )
    with matplotlib.rc_context({"svg.hashsalt": "sae", "svg.fonttype": "path"}), whole_file(path) as part:
        figure.savefig(part, format=ending[1:], dpi=dpi, metadata=SAME_BYTES[ending], facecolor="white")
    return path
