"""The child of `vet`, started before this process imports what it needs to open a model.

So this module, and what it imports, imports little itself: on a small box `typing`, `pathlib` and
`dataclasses` take as long as the child takes to start.
"""

from __future__ import annotations

import contextlib
import os
import stat

from edgeinfer import cache, hashes
from edgeinfer.errors import EdgeInferError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from edgeinfer.child import Child

_MIN_MEMORY = 6 << 30


class HeadStart:
    """The child of a file that this box never saw, started before anything is imported.

    Within a `with` block; where nobody takes the child, it ends with the block.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._child: Child | None = None
        with contextlib.suppress(OSError, ValueError, EdgeInferError):
            status = os.stat(path)
            if stat.S_ISREG(status.st_mode) and status.st_size and _is_new(status):
                self._child = start(path, status.st_size)

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


def start(path: str | os.PathLike[str], size: int, script: str | None = None) -> Child:
    """Start the child that opens a file and runs it once.

    Args:
        size: of the file, in bytes.
        script: one of another runtime; None for ONNX Runtime's.
    """
    # Only unknown files pay for importing what starts processes.
    from edgeinfer.child import Child

    memory = max(_MIN_MEMORY, 8 * size)
    arguments = [os.path.realpath(path)]
    library = _library() if script is None else None
    if library is not None:
        arguments.insert(0, library)
    script = script or ("vet_child_python.py" if library is None else "vet_child_c.py")
    return Child(
        os.path.join(os.path.dirname(os.path.abspath(__file__)), script),
        arguments,
        memory_bytes=memory,
        bare=library is not None,
        aside=True,
    )


def _library() -> str | None:
    """ONNX Runtime's C library, which its wheels carry beside the Python module; found unimported.

    A wheel that somebody built for a board may lack it.
    """
    from importlib.util import find_spec

    with contextlib.suppress(ImportError, ValueError, OSError):
        spec = find_spec("onnxruntime")
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            home = os.path.join(folder, "capi")
            # Beside it may lie a link that bears the first part of its version only.
            found = [
                name
                for name in os.listdir(home)
                if name.startswith("libonnxruntime.so.") and name.count(".") > 2
            ]
            if len(found) == 1:
                return os.path.join(home, found[0])
    return None


def _is_new(status: os.stat_result) -> bool:
    """Whether nobody knows the content of a file to be harmless; external data may have changed."""
    known = hashes.recall(status)
    if known is None:
        return True
    sha256, external = known
    return not external and cache.recall("vetted", sha256) is None
