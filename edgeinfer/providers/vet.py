"""Open a model file of unknown origin in a child process first.

ONNX Runtime aborts the process on some files (a Split with fewer outputs than it names), so no
exception handler in this process can help. The verdict is remembered by content and version.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeinfer import cache
from edgeinfer.artifact import ModelFile
from edgeinfer.errors import ModelFileError

if TYPE_CHECKING:
    from edgeinfer.child import Child, Finished

_TIMEOUT_S = 60.0
_MIN_MEMORY = 6 << 30
_OUT_OF_MEMORY = ("bad_alloc", "Failed to allocate memory", "bad allocation")
_OPENED = b"opened"
ONNXRUNTIME = "vet_child.py"
OPENVINO = "vet_child_openvino.py"


class Vetting:
    """The vetting of one file, begun at once, so that it overlaps with importing the runtime.

    Args:
        child: which runtime opens it there.
    """

    def __init__(self, file: ModelFile, child: str = ONNXRUNTIME) -> None:
        self._file = file
        self._script = str(Path(__file__).with_name(child))
        self._known = cache.recall("vetted", file.sha256) or {}
        self._child: Child | None = None
        self._runtime = ""
        if not self._known:
            self._child = self._start()

    def _start(self) -> Child:
        # Only unknown files pay for importing what starts processes.
        from edgeinfer.child import Child

        memory = max(_MIN_MEMORY, 8 * self._file.size)
        path = str(self._file.path.resolve())
        return Child(self._script, [path], memory_bytes=memory)

    def opened(self, runtime: str) -> None:
        """Wait until the child has opened the file; it runs it once while this process opens it.

        Args:
            runtime: name and version of the runtime that will open the file.

        Raises:
            ModelFileError: if opening the file killed or hung the child.
        """
        self._runtime = runtime
        if self._child is None:
            if runtime in self._known:
                return
            self._child = self._start()
        if self._child.read_line(_TIMEOUT_S) != _OPENED:
            # It is dead, stuck, or refused the file: the whole answer says which.
            self.finish()

    def finish(self) -> None:
        """Wait for the verdict.

        Raises:
            ModelFileError: if opening or running the file killed or hung the child.
        """
        if self._child is None:
            return
        finished = self._child.wait(_TIMEOUT_S)
        self._child = None
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
