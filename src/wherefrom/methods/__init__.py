"""Attribution methods: one file a family, each registered by its decorator."""

from wherefrom.methods import (  # noqa: F401
    _along,
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
from wherefrom.methods._block import (
    REMOVAL,
    BlockEvidence,
    BlockMethod,
    DampedMethod,
    Sums,
    predicts_removal,
)
from wherefrom.methods._clock import SHARED
from wherefrom.methods._evidence import Evidence, Point, Products
from wherefrom.methods._method import COSTS, DirectMethod, Method, Resource, Trait
from wherefrom.methods._pieces import Pieces, cannot_take_apart, score_pieces
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
    "REMOVAL",
    "SHARED",
    "BlockEvidence",
    "BlockMethod",
    "DampedMethod",
    "DirectMethod",
    "Evidence",
    "Method",
    "Pieces",
    "Point",
    "Products",
    "ReplayMethod",
    "Resource",
    "Scored",
    "Sums",
    "Trait",
    "cannot_stream",
    "cannot_take_apart",
    "method",
    "parse_method",
    "predicts_removal",
    "registered",
    "score_all",
    "score_pieces",
    "score_top",
    "select_methods",
    "split_specs",
]
