"""What keeps a model served when its provider fails in the middle of a run."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from edgeinfer.errors import EdgeInferError, ProviderError
from edgeinfer.providers import Selected
from edgeinfer.providers.failures import is_out_of_memory
from edgeinfer.threads import Processors, processors
from edgeinfer.timing import now_ns

# So many times in ten minutes: a device that is lost more often than that needs a person.
_MOST = 3
_SPAN_NS = 600 * 1_000_000_000


class Recovery:
    """The engine of a model, opened anew when it fails.

    After an error a session may stay broken (an allocation that failed, a device that was reset),
    so it is rebuilt, on the same provider; only where the user allowed it and that fails, on the
    CPU, and then every result says so.

    Args:
        selected: what was opened.
        lanes: how many runs there may be at a time.
        allow_fallback: whether the CPU may take over.
        clock: monotonic nanoseconds.
    """

    def __init__(
        self,
        selected: Selected,
        lanes: int,
        allow_fallback: bool,
        clock: Callable[[], int] = now_ns,
    ) -> None:
        self.selected = selected
        self.generation = 0
        self._lanes = lanes
        self._allow_fallback = allow_fallback
        self._clock = clock
        self._lock = threading.Lock()
        self._rebuilt: deque[int] = deque(maxlen=_MOST)
        self._share()

    def _share(self) -> None:
        served = self.selected.served
        on_cpu = served.device.lower().startswith("cpu")
        # Elsewhere the processors are not what is scarce: there only the lanes take turns.
        self.processors = processors() if on_cpu else Processors(self._lanes)
        self.each = served.threads if on_cpu else 1

    def after(self, error: ProviderError, generation: int) -> None:
        """Replace the engine that failed.

        Args:
            error: what it failed with. generation: of the engine that failed; where another lane
                has replaced it already, nothing is left to do.

        Raises:
            ProviderError: if it cannot be replaced, or too often was already.
        """
        with self._lock:
            if generation != self.generation:
                return
            # On the CPU all else is the model's or the frame's fault.
            if self.selected.served.provider == "cpu" and not is_out_of_memory(str(error)):
                raise error
            self.selected.engine.close()
            now = self._clock()
            if len(self._rebuilt) == _MOST and now - self._rebuilt[0] < _SPAN_NS:
                self._fall_back(error, f"It was opened anew {_MOST} times in ten minutes")
            else:
                self._rebuilt.append(now)
                try:
                    self.selected = self.selected.reopen()
                except EdgeInferError as again:
                    self._fall_back(error, f"Opening it anew failed, too ({again})")
            self.generation += 1
            self._share()

    def _fall_back(self, error: ProviderError, tried: str) -> None:
        served = self.selected.served
        if served.provider == "cpu" or not self._allow_fallback:
            remedy = "" if served.provider == "cpu" else "; --allow-fallback lets the CPU take over"
            raise ProviderError(
                f"{error} {tried}: check the device's memory and driver{remedy}."
            ) from error
        self.selected = self.selected.fall_back(str(error))
