"""The nouns of a pass: blocks, arrays, and the two ends of the pipe."""

from wherefrom.signals._memory import MemorySignals
from wherefrom.signals._signals import (
    LOSS,
    POOLS,
    TOKEN_LOSS,
    TOKENS,
    Block,
    Need,
    SignalArray,
    Sink,
    Source,
    gradient_name,
    hidden_name,
)

__all__ = [
    "LOSS",
    "POOLS",
    "TOKENS",
    "TOKEN_LOSS",
    "Block",
    "MemorySignals",
    "Need",
    "SignalArray",
    "Sink",
    "Source",
    "gradient_name",
    "hidden_name",
]
