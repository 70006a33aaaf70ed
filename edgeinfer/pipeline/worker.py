"""A thread that whoever ends a run can rely on to be out of every library."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Worker:
    """Work in a thread of its own, which Ctrl-C can neither lose nor leave behind.

    An interpreter that ends while a thread is inside a C++ library aborts. Ctrl-C falls anywhere
    into the main thread: inside ``Thread.start``, after the thread began and before anybody knows
    of it, or inside ``Thread.join``, after which CPython before 3.13 takes a running thread for
    ended (https://github.com/python/cpython/issues/89455). So what is known of this thread is what
    the thread itself says.

    Args:
        work: what it does; catches its own errors.

    Attributes:
        ended: whether the work is over.
    """

    def __init__(self, work: Callable[[], None], name: str) -> None:
        self._work = work
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._over = threading.Lock()
        self._over.acquire()
        self._inside = False
        self._called_off = False
        self.ended = False

    def start(self) -> None:
        """Begin; once only."""
        self._thread.start()

    def _run(self) -> None:
        # Said before it is asked: who calls off either keeps it from working or waits for it.
        self._inside = True
        try:
            if not self._called_off:
                self._work()
        finally:
            self._inside = False
            self.ended = True
            self._over.release()

    def wait(self, timeout_s: float | None) -> bool:
        """Wait for the end of the work, with None for ever; whether it came."""
        if not self.ended and self._over.acquire(timeout=-1 if timeout_s is None else timeout_s):
            self._over.release()
        return self.ended

    def finish(self, timeout_s: float | None) -> bool:
        """Like `wait`, for work that began; what has not begun never will.

        Returns:
            Whether the thread is out of its work.
        """
        self._called_off = True
        return not self._inside or self.wait(timeout_s)
