"""Open a model file of unknown origin in a child process first.

ONNX Runtime aborts the process on some files (a Split with fewer outputs than it names), so no
exception handler in this process can help. The verdict is remembered by content and version.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from edgeinfer import cache
from edgeinfer.artifact import ModelFile
from edgeinfer.errors import ModelFileError
from edgeinfer.providers.headstart import HeadStart, start

if TYPE_CHECKING:
    from edgeinfer.child import Child, Finished

_TIMEOUT_S = 60.0
_PATIENCE_S = 2.0
_OUT_OF_MEMORY = ("bad_alloc", "Failed to allocate memory", "bad allocation")
_OPENED = b"opened"
OPENVINO = "vet_child_openvino.py"


def vouch(file: ModelFile, runtime: str) -> None:
    """Remember a file as harmless that this process made of one that was vetted.

    Args:
        runtime: name and version of the runtime that will open it.
    """
    cache.note("vetted", file.sha256, {runtime: True})


class Vetting:
    """The vetting of one file, begun at once, so that it overlaps with importing the runtime.

    Args:
        script: that of another runtime than ONNX Runtime.
        started: where its child may run already.
    """

    def __init__(
        self, file: ModelFile, script: str | None = None, started: HeadStart | None = None
    ) -> None:
        self._file = file
        self._script = script
        self._known = cache.recall("vetted", file.sha256) or {}
        self._child = started.take() if started is not None else None
        self._runtime = ""
        if not self._known:
            self._ensure_child()

    def _ensure_child(self) -> Child:
        if self._child is None:
            self._child = start(self._file.path, self._file.size, self._script)
        return self._child

    def opened(self, runtime: str) -> None:
        """Wait until the child has opened the file; it runs it when `go_on` says so.

        Args:
            runtime: name and version of the runtime that will open the file.

        Raises:
            ModelFileError: if opening the file killed or hung the child.
        """
        self._runtime = runtime
        if runtime in self._known:
            self.close()
            return
        if self._ensure_child().read_line(_TIMEOUT_S) != _OPENED:
            # It is dead, stuck, or refused the file: the whole answer says which.
            self.finish()

    def go_on(self) -> None:
        """Let the child run the file, now that this process has opened it.

        Not before: the two would take memory and processors from each other.
        """
        if self._child is not None:
            self._child.go_on()

    def finish(self) -> None:
        """Wait for the verdict; nobody runs the file before. A second call does nothing.

        Raises:
            ModelFileError: if opening or running the file killed or hung the child.
        """
        self._conclude(_TIMEOUT_S)

    def settle(self) -> None:
        """Note the verdict on a file that nobody ran, if it comes soon; else end the child."""
        with contextlib.suppress(ModelFileError):
            self._conclude(_PATIENCE_S)

    def _conclude(self, timeout_s: float) -> None:
        if self._child is None:
            return
        child, self._child = self._child, None
        finished = child.wait(timeout_s)
        answer, why = _verdict(finished)
        if why is not None:
            raise ModelFileError(
                f"The model {self._file.path} is refused: {why}. It is damaged or hostile; export "
                f"it again from its source."
            )
        if answer["opened"]:
            known = cache.recall("vetted", self._file.sha256) or {}
            cache.note("vetted", self._file.sha256, {**known, self._runtime: True})

    def close(self) -> None:
        """End the child if it still runs."""
        if self._child is not None:
            self._child.close()
            self._child = None


def _verdict(finished: Finished) -> tuple[dict[str, Any], str | None]:
    """What the child said, and why the file is refused.

    What the child could not open but survived, the parent opens itself, to say why.
    """
    if finished.returncode is None:
        return {}, f"opening and running it once takes longer than {_TIMEOUT_S:.0f} s"
    if finished.returncode < 0:
        import signal

        name = signal.Signals(-finished.returncode).name
        return {}, f"opening and running it once kills the runtime ({name})"
    try:
        answer = json.loads(finished.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        lines = finished.stderr.strip().splitlines()
        last = lines[-1] if lines else "no message"
        return {}, f"opening and running it once ends the process that tries ({last})"
    if any(mark in (answer["error"] or "") for mark in _OUT_OF_MEMORY):
        return answer, "it takes more memory than a model of its size may need"
    return answer, None
