"""Errors that a user can mend.

Every one of them names what is wrong, where it is, and what to do about it. The command line
prints the message alone; a traceback is kept for faults of our own.
"""


class WherefromError(Exception):
    """A mistake the user can mend; the message names the file or row and the fix."""


class DataError(WherefromError):
    """Rows that cannot be read, understood or rendered."""


class ModelError(WherefromError):
    """A model, adapter or tokenizer that cannot be loaded or traced."""


class IdentityError(WherefromError):
    """Two things that must belong together do not; both sides are printed."""


class StoreError(WherefromError):
    """Signals on disk that are missing, damaged or not finished."""


class NonFiniteError(WherefromError):
    """NaN or Inf where a number must be; the row is named."""


class SettingError(WherefromError):
    """A setting, name or option that does not exist or does not fit."""


class WorkerError(WherefromError):
    """A process that shared the work ended before its time; what it finished is kept."""
