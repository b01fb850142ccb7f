"""Errors of the local stack."""


class StackError(Exception):
    """The local stack does not start, or cannot; the message says why and what to do."""
