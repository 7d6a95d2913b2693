"""Kernels of generalised linear mixed models: nodes over the hyperparameters, one integral an area."""
