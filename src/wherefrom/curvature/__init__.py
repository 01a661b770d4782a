"""Curvature: damping, spectra, the dual and the primal form, Kronecker factors."""

from wherefrom.curvature._covariance import CovarianceBlock
from wherefrom.curvature._features import Features
from wherefrom.curvature._fisher import DampingRule, Filter, FisherBlock, inverse_norms
from wherefrom.curvature._gram import GramBlock
from wherefrom.curvature._kronecker import FactorSums, KroneckerFactors
from wherefrom.curvature._passing import PassingRows
from wherefrom.curvature._projection import matrix_shape, projected_block, projections

__all__ = [
    "CovarianceBlock",
    "DampingRule",
    "FactorSums",
    "Features",
    "Filter",
    "FisherBlock",
    "GramBlock",
    "KroneckerFactors",
    "PassingRows",
    "inverse_norms",
    "matrix_shape",
    "projected_block",
    "projections",
]
