"""Designs and models on a population whose truth is known: bias, error, coverage, and promises kept."""

from sae.evaluation.simulate import Evaluation, evaluate

__all__ = ["Evaluation", "evaluate"]
