"""Allocations for direct estimates."""
