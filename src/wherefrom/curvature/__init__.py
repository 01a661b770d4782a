"""Curvature: what gradients say about the loss around the model."""

from wherefrom.curvature._gram import Filter, GramBlock

__all__ = ["Filter", "GramBlock"]
