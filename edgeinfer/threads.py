"""Processors that all sessions of this process share.

Each session has a pool of threads as large as the box allows. Two that computed at the same time
would wait for each other's threads at every operator, so inferences take turns at the processors.
"""

from __future__ import annotations

import functools
import threading
from collections import deque

from edgeinfer.machine import usable_cpus


class Processors:
    """So many processors, lent in the order in which they are asked for.

    Args:
        count: how many there are.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = count
        self._lock = threading.Lock()
        self._queue: deque[tuple[int, threading.Lock]] = deque()

    def take(self, wanted: int) -> bool:
        """Take processors, all of them at most; wait until they are free and it is our turn.

        Returns:
            Whether it had to wait.
        """
        wanted = min(wanted, self.count)
        with self._lock:
            if not self._queue and self._free >= wanted:
                self._free -= wanted
                return False
            ready = threading.Lock()
            ready.acquire()
            place = (wanted, ready)
            self._queue.append(place)
        try:
            ready.acquire()
        except BaseException:  # Ctrl-C while waiting
            self._leave(place)
            raise
        return True

    def _leave(self, place: tuple[int, threading.Lock]) -> None:
        """Give up a place in the queue, or what was got with it meanwhile."""
        with self._lock:
            waiting = place in self._queue
            if waiting:
                self._queue.remove(place)
        self.give(0 if waiting else place[0])

    def give(self, taken: int) -> None:
        """Give back what `take` was called with."""
        with self._lock:
            self._free += min(taken, self.count)
            while self._queue and self._queue[0][0] <= self._free:
                wanted, ready = self._queue.popleft()
                self._free -= wanted
                ready.release()


@functools.cache
def processors() -> Processors:
    """Those that the process may use: affinity and control-group quota at the first call."""
    return Processors(usable_cpus())
