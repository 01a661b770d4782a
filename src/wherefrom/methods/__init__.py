"""Attribution methods: one file a family, each registered by its decorator."""

from wherefrom.methods import (  # noqa: F401
    _bayesian,
    _contrast,
    _dra,
    _embedding,
    _fisher,
    _for_value,
    _gradient,
    _knn_shapley,
    _kronecker,
    _less,
    _projected,
    _replay,
    _representation,
    _rept,
    _solvers,
    _source,
    _text,
    _trak,
)
from wherefrom.methods._block import BlockEvidence, BlockMethod, DampedMethod, Sums
from wherefrom.methods._clock import SHARED
from wherefrom.methods._evidence import Evidence, Point, Products
from wherefrom.methods._method import COSTS, DirectMethod, Method, Resource, Trait
from wherefrom.methods._registry import (
    method,
    parse_method,
    registered,
    select_methods,
    split_specs,
)
from wherefrom.methods._replay import ReplayMethod
from wherefrom.methods._score import Scored, score_all
from wherefrom.methods._streamed import cannot_stream, score_top

__all__ = [
    "COSTS",
    "SHARED",
    "BlockEvidence",
    "BlockMethod",
    "DampedMethod",
    "DirectMethod",
    "Evidence",
    "Method",
    "Point",
    "Products",
    "ReplayMethod",
    "Resource",
    "Scored",
    "Sums",
    "Trait",
    "cannot_stream",
    "method",
    "parse_method",
    "registered",
    "score_all",
    "score_top",
    "select_methods",
    "split_specs",
]
