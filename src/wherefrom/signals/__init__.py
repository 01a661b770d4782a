"""The nouns of a pass: needs, blocks, arrays, and the two ends of the pipe."""

from wherefrom.signals._appended import AppendedSignals
from wherefrom.signals._joined import JoinedSignals
from wherefrom.signals._kept import KeptSignals, Room, Shelf
from wherefrom.signals._memory import MemorySignals
from wherefrom.signals._need import (
    BALANCED,
    LOSS_TARGET,
    MARGIN,
    SAMPLED,
    At,
    Kind,
    Need,
    Policy,
    Side,
    both,
)
from wherefrom.signals._signals import (
    LOSS,
    POOLS,
    STATE_GRADIENT,
    TOKEN_ERROR,
    TOKEN_LOSS,
    TOKENS,
    Block,
    Moments,
    SignalArray,
    Sink,
    Source,
    gradient_name,
    hidden_name,
)
from wherefrom.signals._some_rows import Renamed, SomeRows

__all__ = [
    "BALANCED",
    "LOSS",
    "LOSS_TARGET",
    "MARGIN",
    "POOLS",
    "SAMPLED",
    "STATE_GRADIENT",
    "TOKENS",
    "TOKEN_ERROR",
    "TOKEN_LOSS",
    "AppendedSignals",
    "At",
    "Block",
    "JoinedSignals",
    "KeptSignals",
    "Kind",
    "MemorySignals",
    "Moments",
    "Need",
    "Policy",
    "Renamed",
    "Room",
    "Shelf",
    "Side",
    "SignalArray",
    "Sink",
    "SomeRows",
    "Source",
    "both",
    "gradient_name",
    "hidden_name",
]
