"""What keeps a model served when its provider fails in the middle of a run."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from edgeinfer.artifact import open_model_file
from edgeinfer.errors import EdgeInferError, InputError, ProviderError
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
        self.generation = 0
        self._selected = selected
        self._lanes = lanes
        self._allow_fallback = allow_fallback
        self._clock = clock
        self._lock = threading.Lock()
        self._rebuilt: deque[int] = deque(maxlen=_MOST)
        self._failure: ProviderError | None = None
        self._closed = False
        self._share()

    @property
    def selected(self) -> Selected:
        """What serves the model now."""
        return self._selected

    def _share(self) -> None:
        served = self._selected.served
        self.on_cpu = served.device.lower().startswith("cpu")
        # Elsewhere the processors are not what is scarce: there only the lanes take turns.
        self.processors = processors() if self.on_cpu else Processors(self._lanes)
        self.each = served.threads if self.on_cpu else 1

    def current(self) -> Selected:
        """What buffers are to be made of; where replacing it failed before, that is tried again.

        Raises:
            InputError: if the model is closed.
            ProviderError: if nothing serves it.
        """
        with self._lock:
            self._check_open()
            if self._failure is not None:
                self._replace(self._failure)
            return self._selected

    def after(self, error: ProviderError, generation: int, release: Callable[[], None]) -> None:
        """Replace the engine that failed.

        Args:
            error: what it failed with.
            generation: of the engine that failed; where another lane has replaced it already,
                nothing is left to do.
            release: lets the buffers of the caller go, which hold memory that the successor needs.

        Raises:
            InputError: if the model is closed.
            ProviderError: if it cannot be replaced, or too often was already.
        """
        with self._lock:
            self._check_open()
            if generation != self.generation:
                release()
                return
            # On the CPU all else is the model's or the frame's fault.
            if self._selected.served.provider == "cpu" and not is_out_of_memory(str(error)):
                raise error
            release()
            self._selected.engine.close()
            self._replace(error)

    def close(self) -> None:
        """Let the engine go; nothing is opened any more."""
        with self._lock:
            self._closed = True
            self._selected.engine.close()

    def _check_open(self) -> None:
        if self._closed:
            raise InputError("This model is closed: load it again.")

    def _replace(self, error: ProviderError) -> None:
        self._failure = error
        self._check_file()
        now = self._clock()
        if len(self._rebuilt) == _MOST and now - self._rebuilt[0] < _SPAN_NS:
            self._fall_back(error, f"It was opened anew {_MOST} times in ten minutes")
        else:
            self._rebuilt.append(now)
            try:
                self._selected = self._selected.reopen()
            except EdgeInferError as again:
                self._fall_back(error, f"Opening it anew failed, too ({again})")
        self._failure = None
        self.generation += 1
        self._share()

    def _check_file(self) -> None:
        """Another file may lie there by now: nobody vetted it, and it may mean something else."""
        opening = self._selected.opening
        if opening.sha256 and open_model_file(opening.path).sha256 != opening.sha256:
            raise ProviderError(
                f"The provider failed, and {opening.path} was changed since it was opened: load it "
                f"again."
            )

    def _fall_back(self, error: ProviderError, tried: str) -> None:
        served = self._selected.served
        if served.provider == "cpu" or not self._allow_fallback:
            remedy = "" if served.provider == "cpu" else "; --allow-fallback lets the CPU take over"
            raise ProviderError(
                f"{error} {tried}: check the device's memory and driver{remedy}."
            ) from error
        self._selected = self._selected.fall_back(str(error))
