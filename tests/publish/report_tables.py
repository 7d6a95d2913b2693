"""Tables as a Fay-Herriot fit gives them, judged, for the tests of reports; all figures are invented."""

import numpy as np
import pandas as pd

import sae

SECRET = 0.73519846  # the estimate of the row that the tests look for in the bytes


def table(areas=12, times=("2024", "2025"), indicators=("employment_rate",), seed=1, **secret):
    """Return a judged table; "city 001" is confidential, "city 002" not reliable, in every period."""
    draw, parts = np.random.default_rng(seed), []
    for indicator in indicators:
        for time in times:
            n = draw.integers(60, 400, areas)
            estimate = draw.uniform(0.45, 0.75, areas)
            se = np.sqrt(0.24 / n)
            frame = pd.DataFrame(
                {
                    "indicator": indicator,
                    "definition": "of 20 to 64, v1",
                    "unit": "share",
                    "time": time,
                    "city": [f"city {k:03}" for k in range(areas)],
                    "domain": [f"city {k:03}" for k in range(areas)],
                    "n": n,
                    "direct": estimate + draw.normal(0, 0.01, areas),
                    "direct_se": 1.4 * se,
                    "estimate": estimate,
                    "se": se,
                    "in_sample": True,
                    "method": "EBLUP",
                    "run": "abc123",
                }
            )
            frame.loc[1, ["n", "estimate", "se", "direct"]] = [3, SECRET, 0.0219, 0.9137]
            frame.loc[2, ["n", "estimate", "se", "direct", "direct_se"]] = [83, 0.5123, 0.29, 0.5123, 0.31]
            for name, value in secret.items():
                frame.loc[1, name] = value
            parts.append(frame)
    frame = pd.concat(parts, ignore_index=True)
    frame["direct_cv"], frame["mse"] = frame["direct_se"] / frame["direct"], frame["se"] ** 2
    frame["ci_low"], frame["ci_high"] = (
        frame["estimate"] - 1.96 * frame["se"],
        frame["estimate"] + 1.96 * frame["se"],
    )
    verdict = sae.quality.assess(frame, "eurostat_lfs")
    return sae.EstimateTable(frame.assign(**verdict), ("city",))
