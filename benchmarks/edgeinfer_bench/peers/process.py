"""A peer in a live process of its own, so that its blocks and ours can take turns."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeinfer.child import Child
from edgeinfer.errors import UsageError, suggest
from edgeinfer.remote import Remote, WorkerFailed
from edgeinfer_bench.peers import PEERS

# PyTorch and Ultralytics take long to import on a small box.
_OPEN_S = 300.0
_WORK_S = 600.0
_FOLDER = Path(__file__).resolve().parent


class PeerProcess:
    """Another library with the model and the frames; close() ends its process.

    The process starts with the first question. Errors are one sentence that names the library and
    gives its own reason.

    Args:
        name: of `PEERS`.
        python: the interpreter that has the library; None: this one.

    Raises:
        UsageError: for a name that is no peer.
    """

    def __init__(self, name: str, python: Path | None = None) -> None:
        if name not in PEERS:
            raise UsageError(f"There is no peer '{name}'. {suggest(name, PEERS)}")
        self.name = name
        self.peer = PEERS[name]
        # An interpreter of an environment is a link, by which it finds its packages.
        self._python = None if python is None else python.absolute()
        self._remote: Remote | None = None

    def why_unavailable(self) -> str | None:
        """What is missing in its interpreter, and how to get it; None where nothing is."""
        where = Path(sys.executable) if self._python is None else self._python
        if not where.is_file():
            return f"there is no interpreter {where}; {self.peer.remedy}"
        try:
            missing = self._ask({"do": "needs"}, _OPEN_S)["missing"]
        except WorkerFailed as error:
            return f"{where} does not run its script: {error}; {self.peer.remedy}"
        if missing:
            named = ", ".join(missing)
            return f"{where} has no {named}; {self.peer.remedy}"
        return None

    def open(
        self,
        path: Path,
        threads: int | None,
        spec: Mapping[str, Any],
        input_shape: Sequence[int] = (),
    ) -> dict[str, Any]:
        """Open a model.

        Args:
            path: an ONNX file.
            threads: for inference, and for OpenCV around it; None: the library's own choice.
            spec: `ModelSpec.to_dict()`.
            input_shape: of the first input, where the file may leave sizes open.

        Returns:
            ``name``, ``version``, ``threads`` (None: the library chose and does not tell),
            ``device``, ``precision``, ``head`` (``tensor``: it stops at the raw outputs) and
            ``opening_ns``.

        Raises:
            WorkerFailed: why it cannot.
        """
        asked = {
            "do": "open",
            "path": str(path.resolve()),
            "threads": threads,
            "spec": dict(spec),
            "input_shape": list(input_shape),
            "exact": self.peer.exact,
        }
        answer = self._said(asked, f"cannot open {path.name}", _OPEN_S)
        return {**answer["about"], "opening_ns": answer["opening_ns"]}

    def frames(self, folder: Path) -> int:
        """Give it the frames of a folder as `edgeinfer.tune.frames.material` writes them.

        Raises:
            WorkerFailed: if they cannot be read.
        """
        asked = {"do": "frames", "folder": str(folder.resolve())}
        return int(self._said(asked, f"cannot read the frames in {folder}")["count"])

    def block(self, frames: int, first: int = 0) -> dict[str, Any]:
        """Measure frames one after the other, from the one numbered `first`, round and round.

        Returns:
            Integer nanoseconds, one per frame: ``began_ns`` (the box's monotonic clock, as
            `now_ns`), ``latency_ns`` and, where the library lets one tell them, ``preprocess_ns``,
            ``inference_ns``, ``postprocess_ns``; and ``cpu_ns`` of the process over all of them.

        Raises:
            WorkerFailed: if it cannot run them.
        """
        asked = {"do": "block", "frames": frames, "first": first}
        answer = self._said(asked, "cannot run the model on these frames")
        return {key: value for key, value in answer.items() if key != "ok"}

    def answers(self) -> list[dict[str, Any]]:
        """What it says to each frame, see `agree.agreement`.

        Raises:
            WorkerFailed: if it cannot run them.
        """
        said = self._said({"do": "answers"}, "cannot run the model on these frames")
        return list(said["answers"])

    def _said(
        self, command: Mapping[str, Any], what: str, timeout_s: float = _WORK_S
    ) -> dict[str, Any]:
        try:
            return self._ask(command, timeout_s)
        except WorkerFailed as error:
            raise WorkerFailed(f"{self.peer.title} {what}: {error}.") from error

    def _ask(self, command: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        if self._remote is None:
            script = str(_FOLDER / self.peer.script)
            self._remote = Remote(Child(script, python=self._python))
        return self._remote.ask(command, timeout_s)

    def close(self) -> None:
        """End its process; a second call does nothing."""
        if self._remote is not None:
            self._remote.close()
            self._remote = None
