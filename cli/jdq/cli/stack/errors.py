"""Errors of the local stack."""


class StackError(Exception):
    """The local stack does not or cannot start; the message says why and what to do."""
