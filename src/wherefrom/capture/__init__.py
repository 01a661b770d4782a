"""The passes: where models are run and signals read off."""

from wherefrom.capture._capture import capture
from wherefrom.capture._pass import Pass
from wherefrom.capture._targets import Coverage, clean_name, find_targets

__all__ = ["Coverage", "Pass", "capture", "clean_name", "find_targets"]
