"""What links the rows of a production with each other: weights, and the larger units of their areas."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sae.auxiliary import AreaFile
from sae.batch.production.benchmarks import benchmark_weights
from sae.batch.production.cells import Cells, larger_areas
from sae.batch.production.design import Design
from sae.errors import SaeError

__all__ = ["with_links"]


def with_links(design: Design, cells: Cells, frame: pd.DataFrame, areas: AreaFile | None) -> pd.DataFrame:
    """Give rows what links them with others: weights, and the larger units in which their areas lie."""
    file, crossing = design.file, cells.crossing
    frame = frame.assign(counted=cells.counted, weight=cells.counted)
    section = file.benchmark(cells.indicator, crossing.level)
    if section is not None and section.weights in cells.covariates:
        frame["weight"] = benchmark_weights(cells, section)
    for one in file.benchmarks:
        if cells.indicator in one.shares:
            frame["shares"] = " + ".join(one.shares)
    levels = [*file.production.levels]
    for level in levels[levels.index(crossing.level) + 1 :]:
        frame[f"in {level}"] = _homes(design, cells, level, areas)
    return frame


def _homes(design: Design, cells: Cells, level: str, areas: AreaFile | None) -> np.ndarray | None:
    """Return the larger unit of each row; None where an area lies in several, and nothing adds up."""
    for known in (areas, None):  # where the file of the areas says otherwise, figures add up by the survey's
        try:
            return larger_areas(design, cells, level, known)
        except SaeError:
            continue
    return None
