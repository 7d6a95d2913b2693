"""Allocations: closed forms, convex programmes, integers, budgets, with a model."""
