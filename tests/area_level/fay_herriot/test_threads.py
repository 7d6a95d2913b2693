"""The same estimate table, bit for bit, whatever the number of threads."""

import os
import subprocess
import sys

MODELS = """
import numpy as np
import pandas as pd
from sae.area_level import SAR, FayHerriot, MultivariateFayHerriot

rng = np.random.default_rng(20261122)
names = [f"A{k:03d}" for k in range(120)]
frame = pd.DataFrame({"domain": names, "x": rng.normal(size=120)})
effect = rng.normal(size=(120, 2)) @ [[1.0, 0.5], [0.0, 0.8]]
for place, name in enumerate("ab"):
    frame["v" + name] = rng.uniform(0.2, 1.0, 120)
    frame[name] = frame["x"] + effect[:, place] + rng.normal(size=120) * np.sqrt(frame["v" + name])
frame["vab"] = 0.1
side = 12
edges = [(k, k + 1) for k in range(119) if k % side < side - 1] + [(k, k + side) for k in range(120 - side)]
edges = pd.DataFrame([(names[i], names[j]) for i, j in edges], columns=["a", "b"])
plain = FayHerriot("a ~ x", vardir="va", mse="bootstrap", replicates=50).fit(frame, seed=1)
spatial = FayHerriot("a ~ x", vardir="va", spatial=SAR(edges), mse="bootstrap", replicates=5)
spatial = spatial.fit(frame, seed=1)
vardir = {"a": "va", "b": "vb", ("a", "b"): "vab"}
several = MultivariateFayHerriot(["a ~ x", "b ~ x"], vardir=vardir).fit(frame)
for fit in (plain, spatial, several):
    print(fit.to_frame().to_csv())
"""


def tables(threads):
    """What a fresh process with so many threads prints: every digit of every table."""
    names = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, str(threads))}
    run = subprocess.run(
        [sys.executable, "-c", MODELS],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    return run.stdout


def test_one_thread_and_two_give_the_same_table():
    alone = tables(1)
    assert alone.count("\n") > 3 * 120 and "nan" not in alone
    assert tables(2) == alone
