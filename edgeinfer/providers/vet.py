"""Open a model file of unknown origin in a child process first.

ONNX Runtime aborts the process on some files (a Split with fewer outputs than it names), so no
exception handler in this process can help. The verdict is remembered by content and version.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeinfer import cache
from edgeinfer.artifact import ModelFile, noted
from edgeinfer.errors import ModelFileError

if TYPE_CHECKING:
    from edgeinfer.child import Child, Finished

_TIMEOUT_S = 60.0
_PATIENCE_S = 2.0
_MIN_MEMORY = 6 << 30
_OUT_OF_MEMORY = ("bad_alloc", "Failed to allocate memory", "bad allocation")
_OPENED = b"opened"
OPENVINO = "vet_child_openvino.py"


def _start(path: Path, size: int, script: str | None = None) -> Child:
    """Start the child that opens a file and runs it once.

    Args:
        size: of the file, in bytes.
        script: one of another runtime; None for ONNX Runtime's.
    """
    # Only unknown files pay for importing what starts processes.
    from edgeinfer.child import Child

    memory = max(_MIN_MEMORY, 8 * size)
    arguments = [str(path.resolve())]
    library = _library() if script is None else None
    if library is not None:
        arguments.insert(0, str(library))
    script = script or ("vet_child_python.py" if library is None else "vet_child_c.py")
    return Child(
        str(Path(__file__).with_name(script)),
        arguments,
        memory_bytes=memory,
        bare=library is not None,
        aside=True,
    )


def _library() -> Path | None:
    """ONNX Runtime's C library, which its wheels carry beside the Python module; found unimported.

    A wheel that somebody built for a board may lack it.
    """
    from importlib.util import find_spec

    with contextlib.suppress(ImportError, ValueError):
        spec = find_spec("onnxruntime")
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            found = sorted(Path(folder, "capi").glob("libonnxruntime.so.*.*"))
            if len(found) == 1:
                return found[0]
    return None


def _is_new(status: os.stat_result) -> bool:
    """Whether nobody knows the content of a file to be harmless; external data may have changed."""
    known = noted(status)
    if known is None:
        return True
    sha256, external = known
    return not external and cache.recall("vetted", sha256) is None


def vouch(file: ModelFile, runtime: str) -> None:
    """Remember a file as harmless that this process made of one that was vetted.

    Args:
        runtime: name and version of the runtime that will open it.
    """
    cache.note("vetted", file.sha256, {runtime: True})


class HeadStart:
    """The child of a file that this box never saw, started before anything is imported.

    Within a `with` block; where nobody takes the child, it ends with the block.
    """

    def __init__(self, path: Path) -> None:
        self._child: Child | None = None
        with contextlib.suppress(OSError):
            status = path.stat()
            if stat.S_ISREG(status.st_mode) and status.st_size and _is_new(status):
                self._child = _start(path, status.st_size)

    def take(self) -> Child | None:
        """The child, once; None where there is none, or not any more."""
        child, self._child = self._child, None
        return child

    def __enter__(self) -> HeadStart:
        return self

    def __exit__(self, *error: object) -> None:
        child = self.take()
        if child is not None:
            child.close()


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
            self._child = _start(self._file.path, self._file.size, self._script)
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
