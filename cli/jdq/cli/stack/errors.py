"""What can be wrong with the local stack."""


class StackError(Exception):
    """The local stack does not start, or is in the way; the message says why and what to do."""
