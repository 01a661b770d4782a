"""The command line: parse, call, print."""

from wherefrom.cli._main import main

__all__ = ["main"]
