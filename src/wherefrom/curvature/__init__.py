"""Curvature: damping, spectra, the dual and the primal form, Kronecker factors."""

from wherefrom.curvature._covariance import CovarianceBlock, Features
from wherefrom.curvature._fisher import DampingRule, Filter, FisherBlock, inverse_norms
from wherefrom.curvature._gram import GramBlock
from wherefrom.curvature._kronecker import FactorSums, KroneckerFactors

__all__ = [
    "CovarianceBlock",
    "DampingRule",
    "FactorSums",
    "Features",
    "Filter",
    "FisherBlock",
    "GramBlock",
    "KroneckerFactors",
    "inverse_norms",
]
