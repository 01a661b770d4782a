"""The passes: where models are run and signals read off."""

from wherefrom.capture._capture import Capture, FactorSink, Share
from wherefrom.capture._guard import BLOCK, WHOLE, Agreement, agreement
from wherefrom.capture._pass import Pass
from wherefrom.capture._probe import Speed, measure_speed
from wherefrom.capture._targets import Coverage, find_targets
from wherefrom.capture._workers import can_fork

__all__ = [
    "BLOCK",
    "WHOLE",
    "Agreement",
    "Capture",
    "Coverage",
    "FactorSink",
    "Pass",
    "Share",
    "Speed",
    "agreement",
    "can_fork",
    "find_targets",
    "measure_speed",
]
