"""The lock of the store's objects, which a fork in the middle of another thread's work does not leave locked."""

import functools
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

T = TypeVar("T")


_LOCK = threading.RLock()


@functools.cache
def fork_lock() -> AbstractContextManager[bool]:
    """One re-entrant lock for all: a fork waits until no other thread holds it, so a child finds complete data."""
    # The handlers of the latest registration run first. A fork takes h5py's lock, too, for which ours may wait.
    # `numpy.unique` loads numpy.ma at its first call: a child would wait forever for another thread's import.
    import h5py  # noqa: F401
    import numpy.ma  # noqa: F401

    os.register_at_fork(before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_LOCK.release)
    return _LOCK


class cached_property(Generic[T]):  # noqa: N801 - as functools names it
    """`functools.cached_property` as it is since Python 3.12: without the lock that it holds while it computes."""

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self._name = compute.__name__
        self.__doc__ = compute.__doc__

    def __get__(self, instance: object, owner: type | None = None) -> T:
        value = instance.__dict__[self._name] = self._compute(instance)
        return value
