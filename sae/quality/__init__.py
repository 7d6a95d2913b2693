"""Publication policies, benchmarking to known figures, diagnosis and choice of models, as functions."""

from typing import TYPE_CHECKING

from sae.lazy import public

if TYPE_CHECKING:
    from sae.quality.adjust import gap_variance as gap_variance
    from sae.quality.assessment import assess as assess
    from sae.quality.benchmark import Benchmark as Benchmark
    from sae.quality.benchmark import benchmark_estimates as benchmark_estimates
    from sae.quality.criteria import conditional_aic as conditional_aic
    from sae.quality.criteria import fay_herriot_r2 as fay_herriot_r2
    from sae.quality.criteria import information_criteria as information_criteria
    from sae.quality.diagnostics import bias_test as bias_test
    from sae.quality.diagnostics import calibration as calibration
    from sae.quality.diagnostics import coverage as coverage
    from sae.quality.diagnostics import gain as gain
    from sae.quality.diagnostics import goodness_of_fit as goodness_of_fit
    from sae.quality.diagnostics import residual_normality as residual_normality
    from sae.quality.influence_measures import Influence as Influence
    from sae.quality.influence_measures import influence as influence
    from sae.quality.policy import Policy as Policy
    from sae.quality.policy import Rule as Rule
    from sae.quality.policy import load_policy as load_policy
    from sae.quality.policy import policy_names as policy_names
    from sae.quality.spatial import gearys_c as gearys_c
    from sae.quality.spatial import morans_i as morans_i
else:
    __all__, __getattr__, __dir__ = public(
        __name__,
        {
            "adjust": ["gap_variance"],
            "assessment": ["assess"],
            "benchmark": ["Benchmark", "benchmark_estimates"],
            "criteria": ["conditional_aic", "fay_herriot_r2", "information_criteria"],
            "diagnostics": [
                "bias_test",
                "calibration",
                "coverage",
                "gain",
                "goodness_of_fit",
                "residual_normality",
            ],
            "influence_measures": ["Influence", "influence"],
            "policy": ["Policy", "Rule", "load_policy", "policy_names"],
            "spatial": ["gearys_c", "morans_i"],
        },
    )
