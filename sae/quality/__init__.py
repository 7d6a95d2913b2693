"""Publication policies, benchmarking to known figures, diagnosis and choice of models, as functions."""

from sae.quality.adjust import gap_variance
from sae.quality.assessment import assess
from sae.quality.benchmark import Benchmark, benchmark_estimates
from sae.quality.criteria import conditional_aic, fay_herriot_r2, information_criteria
from sae.quality.diagnostics import (
    bias_test,
    calibration,
    coverage,
    gain,
    goodness_of_fit,
    residual_normality,
)
from sae.quality.influence_measures import Influence, influence
from sae.quality.policy import Policy, Rule, load_policy, policy_names
from sae.quality.spatial import gearys_c, morans_i

__all__ = [
    "Benchmark",
    "Influence",
    "Policy",
    "Rule",
    "assess",
    "benchmark_estimates",
    "bias_test",
    "calibration",
    "conditional_aic",
    "coverage",
    "fay_herriot_r2",
    "gain",
    "gap_variance",
    "gearys_c",
    "goodness_of_fit",
    "influence",
    "information_criteria",
    "load_policy",
    "morans_i",
    "policy_names",
    "residual_normality",
]
