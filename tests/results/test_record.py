"""The name of a run changes with what was fitted, and with nothing else."""

import numpy as np
import pandas as pd

import sae

AREAS = [f"A{k}" for k in range(12)]


def run_of(edges, path):
    """Fit with a map that is a file at `path`; return the name of the run."""
    edges.to_csv(path, index=False)
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"domain": AREAS, "x": rng.normal(size=12), "vardir": 0.2})
    frame["y"] = 1 + frame["x"] + rng.normal(size=12)
    fit = sae.FayHerriot("y ~ x", spatial=sae.SAR(path), replicates=2).fit(frame, seed=1)
    return fit.estimates["run"][0]


def test_a_map_counts_by_its_content_not_by_its_place(tmp_path):
    edges = pd.DataFrame({"a": AREAS[:-1], "b": AREAS[1:]})
    (tmp_path / "below").mkdir()
    first = run_of(edges, tmp_path / "edges.csv")
    assert run_of(edges, str(tmp_path / "below" / "map.csv")) == first
    assert run_of(edges[:-1], tmp_path / "edges.csv") != first
