"""The figure that every chart is: matplotlib's, which saves itself the same way every time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from sae.plots.saving import SAME_BYTES, save

__all__ = ["Chart"]


class Chart(Figure):
    """A figure of matplotlib with `save`; `savefig` gives the same bytes every time too."""

    def save(self, path: str | Path, *, dpi: int = 150) -> Path:
        """Write the chart as PNG, SVG or PDF by the ending of `path`, whole or not at all: see `save`."""
        return save(self, path, dpi=dpi)

    def savefig(self, fname: Any, **options: Any) -> None:
        """Save as matplotlib does, without a clock and with fixed names of the parts of an SVG."""
        kind = options.get("format") or Path(str(fname)).suffix.lstrip(".")
        options = {"metadata": SAME_BYTES.get(f".{str(kind).lower()}"), **options}
        with matplotlib.rc_context({"svg.hashsalt": "sae", "svg.fonttype": "path"}):
            super().savefig(fname, **options)

    def _repr_png_(self) -> bytes:
        """Show itself in a notebook, where pyplot is not in use."""
        import io

        sink = io.BytesIO()
        self.savefig(sink, format="png", dpi=100, facecolor="white")
        return sink.getvalue()
