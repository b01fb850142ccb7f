"""Locks that a fork in the middle of another thread's work does not leave locked forever in the child."""

from __future__ import annotations

import functools
import itertools
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

T = TypeVar("T")


class ForkLock:
    """A re-entrant lock. A fork waits until no other thread holds one, so that the child finds its data complete.

    Whoever holds one may only wait for older ones: a fork takes the newest first.
    """

    _all: ClassVar[weakref.WeakSet[ForkLock]] = weakref.WeakSet()
    _held: ClassVar[tuple[ForkLock, ...]] = ()
    _ages: ClassVar = itertools.count()

    def __init__(self) -> None:
        _register()
        self._lock = threading.RLock()
        self._age = next(ForkLock._ages)
        ForkLock._all.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    @classmethod
    def acquire_all(cls) -> None:
        """Before a fork."""
        while True:
            try:
                cls._held = tuple(sorted(cls._all, key=lambda lock: -lock._age))
            except RuntimeError:  # another thread made one meanwhile
                continue
            break
        for lock in cls._held:
            lock._lock.acquire()

    @classmethod
    def release_all(cls) -> None:
        """After a fork, in both processes."""
        for lock in cls._held:
            lock._lock.release()
        cls._held = ()


class cached_property(Generic[T]):  # noqa: N801 - as functools names it
    """`functools.cached_property` as it is since Python 3.12: without the lock that it holds while it computes."""

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self._name = compute.__name__
        self.__doc__ = compute.__doc__

    def __get__(self, instance: object, owner: type | None = None) -> T:
        value = instance.__dict__[self._name] = self._compute(instance)
        return value


@functools.cache
def _register() -> None:
    # The handlers of the latest registration run first. A fork takes h5py's lock, too, for which holders of ours wait.
    # `numpy.unique` loads numpy.ma at its first call: a child would wait forever for another thread's import.
    import h5py  # noqa: F401
    import numpy.ma  # noqa: F401

    os.register_at_fork(
        before=ForkLock.acquire_all, after_in_parent=ForkLock.release_all, after_in_child=ForkLock.release_all
    )
