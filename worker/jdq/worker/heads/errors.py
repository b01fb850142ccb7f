"""What can be wrong with a head, its labels or its file. All of these are the user's to mend: never retried."""


class HeadError(Exception):
    """Root of everything that this package refuses; the text names the fact, the values and the next command."""


class OneClassOnly(HeadError):
    """Every row has the same label: there is nothing to tell apart."""


class TooFewRows(HeadError):
    """The rows leave nothing to train on or nothing to test on."""


class MissingLabels(HeadError):
    """Some rows have no label."""


class BadSplit(HeadError):
    """A stored split does not fit the rows, or is not a split at all."""


class UnknownHead(HeadError):
    """No head of this name."""


class BadParameter(HeadError):
    """A head's parameter that it does not have, or a value that it does not take."""


class DamagedHead(HeadError):
    """A head file that is cut, altered, or not a head file."""


class UnsafeHead(HeadError):
    """A head file that asks for more than arrays and the known estimators."""


class WrongFeatures(HeadError):
    """Features of another space or another width than those that the head was trained on."""
