"""Threads before and behind whoever takes their results: in order, and no further from it than memory allows.

Decoding, NumPy, OpenCV and the writers of files let other threads run while they work.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

__all__ = ["Workers"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """A few threads and what is asked of them; a context manager.

    When it is left, what has not begun is dropped and what has is waited for, so that no file is half written. Work of
    several steps asks `leaving` between them.

    Args:
        threads: how many.

    Attributes:
        leaving: set when the block is left.

    Example:
        >>> with Workers(2) as workers:
        ...     list(workers.ahead(abs, [-1, 2, -3], room=lambda newest: 2))
        [1, 2, 3]
    """

    def __init__(self, threads: int) -> None:
        self.leaving = threading.Event()
        self._pool = ThreadPoolExecutor(threads)

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leaving.set()
        self._pool.shutdown(cancel_futures=True)

    def ahead(
        self, work: Callable[[Item], Result], items: Iterable[Item], room: Callable[[Result], int]
    ) -> Iterator[Result]:
        """Results in order, for whoever takes them, with the work on those that follow already begun.

        Args:
            work: on one item, in a thread.
            items: taken in the calling thread.
            room: how many results may wait to be taken, by the one that was taken last; 1 before the first.

        Raises:
            Exception: what the work raises, in the item's turn.
        """
        pending = deque[Future[Result]]()
        most = 1
        for item in items:
            pending.append(self._pool.submit(work, item))
            while len(pending) > most:
                result = pending.popleft().result()
                most = room(result)
                yield result
        while pending:
            yield pending.popleft().result()

    def behind(
        self, work: Callable[[Item], Result], items: Iterable[Item], room: Callable[[Item], int]
    ) -> Iterator[Result]:
        """Results in order, each as soon as it is there, with the work left behind while the next item is made.

        Args:
            work: on one item, in a thread.
            items: made in the calling thread; the next only when there is room for it.
            room: how many items may wait for their work, by the newest.

        Raises:
            Exception: what the work raises, in the item's turn.
        """
        pending = deque[Future[Result]]()
        for item in items:
            pending.append(self._pool.submit(work, item))
            most = room(item)
            while pending and (len(pending) > most or pending[0].done()):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
