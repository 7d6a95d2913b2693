"""The command line: parse, call, print."""

from sae.cli.application import app, main

__all__ = ["app", "main"]
