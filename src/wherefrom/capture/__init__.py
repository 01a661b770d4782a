"""The passes: where models are run and signals read off."""

from wherefrom.capture._capture import FactorSink, capture
from wherefrom.capture._pass import Pass
from wherefrom.capture._probe import Speed, measure_speed
from wherefrom.capture._targets import Coverage, find_targets

__all__ = ["Coverage", "FactorSink", "Pass", "Speed", "capture", "find_targets", "measure_speed"]
