"""Work in a room: a script runs there as a child process, once or again and again."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeinfer.child import Child
from edgeinfer.errors import ModelFileError
from edgeinfer.frames import Array
from edgeinfer.machine import memory_bytes, memory_limit
from edgeinfer.remote import Remote, WorkerFailed

_INSIDE = Path(__file__).with_name("inside")
# Frameworks map libraries and thread stacks without using them.
_MAPPED_BYTES = 16 << 30
_DEFAULT_S = 1800.0
_RUN_S = 600.0
# Frameworks that talk less leave the last line of stderr to what matters.
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "TF_ENABLE_ONEDNN_OPTS": "0"}


@dataclass(frozen=True)
class Room:
    """An environment that is ready.

    Attributes:
        name: its name in the table.
        holds: what is in it, for people.
        python: its interpreter.
    """

    name: str
    holds: str
    python: Path

    def run(
        self,
        script: str,
        request: Mapping[str, Any],
        say: Callable[[str], None] = lambda text: None,
        timeout_s: float = _DEFAULT_S,
    ) -> Any:
        """Run a script once.

        Args:
            script: file name under `inside/`, or the path of one that stands beside its caller.
            request: what it is given, as JSON; big things are files that it names.
            say: told what the script says.

        Returns:
            Its answer, from JSON.

        Raises:
            ModelFileError: if it refused, died, or took too long.
        """
        remote = self._start(script)
        try:
            return self._ask(remote, request, say, timeout_s)
        finally:
            remote.close()

    def reference(
        self,
        script: str,
        request: Mapping[str, Any],
        outputs: Sequence[str] | None,
        folder: Path,
        say: Callable[[str], None] = lambda text: None,
    ) -> RoomReference:
        """Open a model there and keep it open: a `Reference` for parity.

        Args:
            script: as for `run`; its answer holds ``name``, what runs the model.
            outputs: names of the outputs that it gives; None where its answer lists them.
            folder: for the arrays on their way; it must stay as long as the reference.

        Raises:
            ModelFileError: if the script refused, died, or took too long.
        """
        remote = self._start(script)
        try:
            answer = self._ask(remote, request, say, _DEFAULT_S)
            return RoomReference(remote, answer, outputs or answer["outputs"], folder, self)
        except BaseException:
            remote.close()
            raise

    def _start(self, script: str) -> Remote:
        path = Path(script) if os.path.isabs(script) else _INSIDE / script
        bound = (memory_limit() or memory_bytes()) + _MAPPED_BYTES
        # Scripts that stand elsewhere find roomkit, too.
        arguments = [str(_INSIDE / "start.py"), str(path)]
        child = Child(
            arguments[0], arguments[1:], python=self.python, memory_bytes=bound, environment=_QUIET
        )
        return Remote(child)

    def _ask(
        self,
        remote: Remote,
        order: Mapping[str, Any],
        say: Callable[[str], None],
        timeout_s: float,
    ) -> Any:
        try:
            remote.tell(order)
            while True:
                heard = remote.hear(timeout_s)
                if "say" in heard:
                    say(str(heard["say"]))
                elif "answer" in heard:
                    return heard["answer"]
                elif "refused" in heard:
                    raise ModelFileError(f"{heard['refused'].rstrip('.')}.")
                else:
                    raise WorkerFailed(str(heard.get("failed", heard)))
        except WorkerFailed as error:
            raise ModelFileError(
                f"{self.holds} cannot read or run this model: {str(error).rstrip('.')}. (It ran "
                f"in the environment {self.python.parents[1]}.)"
            ) from error


class RoomReference:
    """A model that stays open in a room; it ends with the last reference to it.

    Attributes:
        answer: what the script said when it had opened it.
    """

    def __init__(
        self,
        remote: Remote,
        answer: Mapping[str, Any],
        outputs: Sequence[str],
        folder: Path,
        room: Room,
    ) -> None:
        self.name = str(answer["name"])
        self.answer = answer
        self.outputs = tuple(outputs)
        self._remote, self._room = remote, room
        self._files = (folder / f"{os.urandom(6).hex()}.npz", folder / f"{os.urandom(6).hex()}.npz")
        self.close = weakref.finalize(self, remote.close)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name.

        Raises:
            ModelFileError: if the source cannot be run on these inputs.
        """
        given, made = self._files
        try:
            # Names of tensors are no names of files: arrays go by number.
            np.savez(given, *inputs.values())
            order = {
                "input": str(given),
                "output": str(made),
                "names": list(inputs),
                "outputs": list(self.outputs),
            }
            self._room._ask(self._remote, order, lambda text: None, _RUN_S)
            with np.load(made, allow_pickle=False) as loaded:
                return {name: loaded[f"arr_{i}"] for i, name in enumerate(self.outputs)}
        except OSError as error:
            raise ModelFileError(
                f"Values cannot be exchanged with {self.name} through {given.parent}: "
                f"{error.strerror or error}. Make room there, or set TMPDIR."
            ) from error
        finally:
            for path in self._files:
                path.unlink(missing_ok=True)
