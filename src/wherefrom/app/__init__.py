"""The live page: ask a run on loopback, and mark the rows behind its answers.

What it is served with is an extra (`page`), so that only `serve` is imported here.
"""

from wherefrom.app._serve import PORT, serve

__all__ = ["PORT", "serve"]
