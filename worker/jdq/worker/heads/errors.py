"""What can be wrong with a head, its labels or its file. Only the user can fix these: they are never retried."""


class HeadError(Exception):
    """Root of this package's errors; the message states the fact, the values and the next command."""


class OneClassOnly(HeadError):
    """Every row has the same label: there is nothing to learn."""


class TooFewRows(HeadError):
    """The rows leave nothing to train on or nothing to test on."""


class MissingLabels(HeadError):
    """Some rows have no label."""


class BadSplit(HeadError):
    """A stored split does not fit the rows, or is not a split at all."""


class UnknownHead(HeadError):
    """No head of this name."""


class BadParameter(HeadError):
    """A parameter that the head does not have, or a value that it does not accept."""


class NoCertainty(HeadError):
    """A head or model without the probabilities at which its predictions are certain enough."""


class DamagedHead(HeadError):
    """A file that is truncated, altered, or not a head."""


class UnsafeHead(HeadError):
    """A head file that asks for more than arrays and the known estimators."""


class WrongFeatures(HeadError):
    """Features of another space or another width than those that the head was trained on."""


class TimeIsUp(HeadError):
    """The search ran out of time before a trial had its score."""
